"""Who is in our way and who waits behind us, on real servers: sessions, vacuums, prepared transactions, migrations."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from typing import Any

import psycopg2
import pytest
from psycopg2.errors import LockNotAvailable

from alembic_job.gateways import blockers, locks
from alembic_job.gateways.blockers import Blocker, behind, blocking, holders, terminate_idle
from alembic_job.gateways.embedded import Server
from alembic_job.rules.effect import Mode
from tests.conftest import Database, roomy_memory
from tests.waiting import until

CONF = {"max_prepared_transactions": "10", "autovacuum_naptime": "1s"}
EAGER = "autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_insert_threshold = -1"
SLOW = "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1"


class Session:
    """A client of its own, which can also be left waiting in a thread."""

    def __init__(self, url: str, **parameters: str) -> None:
        self.connection = psycopg2.connect(url, **parameters)
        self.connection.autocommit = True
        self.pid: int = self.connection.info.backend_pid
        self.pool = ThreadPoolExecutor(1)

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def start(self, sql: str) -> Future[list[tuple[Any, ...]]]:
        return self.pool.submit(self.run, sql)


class Site:
    """A database with a table `users`, and sessions in it. The look at it is through `own`, as the job does."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.sessions: list[Session] = []
        self.own = self.session()
        self.own.run('CREATE TABLE users (id int PRIMARY KEY); CREATE TABLE "Odd ""name" (id int)')

    def session(self, url: str | None = None, **parameters: str) -> Session:
        self.sessions.append(Session(url or self.database.url, **parameters))
        return self.sessions[-1]

    def oid(self, table: str = "users") -> int:
        [[oid]] = self.own.run(f"SELECT oid FROM pg_class WHERE relname = '{table}'")
        return int(oid)

    def holders(self, mode: Mode = Mode.ACCESS_EXCLUSIVE, *ours: int, **options: bool) -> list[Blocker]:
        return holders(self.own.connection, [(self.oid(), mode)], ours, **options)

    def waits(self, *sessions: Session) -> None:
        pids = [session.pid for session in sessions]
        waiting = (
            f"SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = ANY (ARRAY{pids}) AND waitstart IS NOT NULL"
        )
        until(lambda: self.own.run(waiting) == [(len(pids),)], what=f"{pids} to wait")

    def close(self) -> None:
        """Ends each session on the server too, so that what waits for another comes back."""
        pids = [session.pid for session in self.sessions]
        self.database.query("SELECT pg_terminate_backend(pid) FROM unnest(%s) pid", pids)
        for session in self.sessions:
            session.pool.shutdown()
            session.connection.close()
        for [gid] in self.database.query("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"):
            self.database.execute("ROLLBACK PREPARED %s", gid)


@pytest.fixture(scope="module", params=[pytest.param(16, marks=pytest.mark.thorough), 18])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(request.param, CONF, folder=roomy_memory()) as server:
        yield server


@pytest.fixture
def site(server: Server, new_database: Callable[[Server], Database]) -> Iterator[Site]:
    site = Site(new_database(server))
    yield site
    site.close()


@pytest.fixture
def stranger(site: Site) -> Iterator[Session]:
    """A session of a role that may see nothing of others."""
    name = "nosy parker"
    site.own.run(f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'x'")
    yield site.session(user=name, password="x")
    site.database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", name)
    site.database.execute(f'DROP OWNED BY "{name}"')
    site.database.execute(f'DROP ROLE "{name}"')


def idler(site: Site, sql: str = "SELECT * FROM users", **parameters: str) -> Session:
    """A session that left a transaction open after this statement."""
    session = site.session(**parameters)
    session.run("BEGIN")
    session.run(sql)
    return session


def pids(found: list[Blocker]) -> set[int | None]:
    return {blocker.pid for blocker in found}


def test_a_forgotten_transaction_is_named(site: Site) -> None:
    """psql was left open over lunch: who it is, since when, what it ran, which lock, and the SQL that ends it."""
    lunch = idler(site, application_name="psql")
    assert lunch.run("SELECT fastpath FROM pg_locks WHERE relation = 'users'::regclass") == [(True,)]
    lunch.run("SELECT * FROM users")
    until(lambda: site.holders()[0].transaction_seconds > 0.2)  # type: ignore[operator]
    [blocker] = site.holders()
    assert blocker[:6] == (lunch.pid, "client", "postgres", "psql", "127.0.0.1", "idle in transaction")
    assert blocker.transaction_seconds > blocker.state_seconds > 0  # type: ignore[operator]
    assert blocker.statement == "SELECT * FROM users"
    assert blocker.locks == ("AccessShareLock on public.users",)
    assert blocker.end == f"SELECT pg_terminate_backend({lunch.pid})"
    assert not blocker.hidden
    assert "psql" in str(blocker) and "AccessShareLock on public.users" in str(blocker)

    assert site.holders(Mode.EXCLUSIVE) == []
    assert site.holders(Mode.ACCESS_EXCLUSIVE, lunch.pid) == []
    site.own.run(str(blocker.end))
    until(lambda: not site.holders())


def test_fields_are_plain_and_without_noise(site: Site) -> None:
    """What goes into an event has no None in it, and is JSON."""
    idler(site, application_name="")
    [blocker] = site.holders()
    fields = blocker.as_fields()
    assert json.loads(json.dumps(fields)) == fields
    assert set(fields) == {
        *"pid kind user client state transaction_seconds state_seconds statement locks end".split()
    }  # fmt: skip


def test_the_conflict_matrix_is_the_servers(site: Site) -> None:
    """For each mode held and each mode wanted, a holder is named exactly where LOCK TABLE … NOWAIT fails."""
    other, poller = site.session(), site.session()
    for held, wanted in product(Mode, Mode):
        other.run(f"BEGIN; LOCK TABLE users IN {held.sql} MODE")
        try:
            poller.run(f"BEGIN; LOCK TABLE users IN {wanted.sql} MODE NOWAIT")
            refused = False
        except LockNotAvailable:
            refused = True
        poller.run("ROLLBACK")
        found = site.holders(wanted)
        assert [blocker.locks for blocker in found] == [(f"{held.pg_locks} on public.users",)] * refused, (held, wanted)
        other.run("ROLLBACK")


def test_several_tables_and_odd_names(site: Site) -> None:
    """A foreign key needs two tables: one holder of both is named once, names are quoted as SQL needs them."""
    other = idler(site, 'SELECT * FROM users, "Odd ""name"')
    other.run('LOCK TABLE "Odd ""name" IN ROW EXCLUSIVE MODE')
    wanted = [(site.oid(), Mode.SHARE), (site.oid('Odd "name'), Mode.ACCESS_EXCLUSIVE)]
    [blocker] = holders(site.own.connection, wanted, [])
    assert blocker.locks == ('AccessShareLock on public."Odd ""name"', 'RowExclusiveLock on public."Odd ""name"')
    assert holders(site.own.connection, [], []) == []


def test_who_asked_first_is_ahead(site: Site) -> None:
    """A session that itself waits for a strong lock is in the way of a poll; one that queues behind ours is not."""
    reader = idler(site)
    first = site.session()
    first.start("ALTER TABLE users ADD COLUMN first int")
    site.waits(first)
    [ahead] = site.holders(Mode.ROW_EXCLUSIVE)
    assert (ahead.pid, ahead.locks) == (first.pid, ("AccessExclusiveLock on public.users (waiting)",))

    ours, late = site.session(), site.session()
    ours.start("ALTER TABLE users ADD COLUMN second int")
    site.waits(ours)
    late.start("ALTER TABLE users ADD COLUMN third int")
    site.waits(ours, late)
    assert pids(site.holders(Mode.ACCESS_EXCLUSIVE, ours.pid)) == {reader.pid, first.pid}
    assert pids(blocking(site.own.connection, ours.pid, [ours.pid])) == {reader.pid, first.pid}


@pytest.mark.parametrize("restart", [False, True], ids=["", "after a restart"])
def test_a_prepared_transaction_has_no_pid(site: Site, restart: bool) -> None:
    """A coordinator died between the two phases: the transaction is found with its name, and the SQL given ends it."""
    gid = "it's 10 % \\ done"
    coordinator = idler(site, "INSERT INTO users VALUES (1); SAVEPOINT a; INSERT INTO users VALUES (2)")
    idler(site, "INSERT INTO users VALUES (3)").run("PREPARE TRANSACTION 'another'")
    for unrelated in ("users", '"Odd ""name"'):
        idler(site, f"SELECT * FROM {unrelated}").run(f"PREPARE TRANSACTION '{unrelated}'")
    with coordinator.connection.cursor() as cursor:
        cursor.execute("PREPARE TRANSACTION %s", (gid,))
    if restart:
        site.database.server.stop()
        site.database.server.start()
        site.own = site.session()
    found = site.holders(Mode.SHARE)
    assert {blocker.gid for blocker in found} == {gid, "another"}
    [blocker] = [blocker for blocker in found if blocker.gid == gid]
    assert (blocker.pid, blocker.kind, blocker.user) == (None, "prepared transaction", "postgres")
    assert blocker.locks == ("RowExclusiveLock on public.users",)
    assert blocker.transaction_seconds is not None and not blocker.hidden

    waiter = site.session()
    locked = waiter.start("BEGIN; LOCK TABLE users IN SHARE MODE")
    site.waits(waiter)
    assert {found.gid for found in blocking(site.own.connection, waiter.pid, [])} == {gid, "another"}
    site.own.run(str(blocker.end))
    assert {found.gid for found in site.holders(Mode.SHARE, waiter.pid)} == {"another"}
    site.own.run("ROLLBACK PREPARED 'another'")
    locked.result(30)


def vacuumed(site: Site) -> Blocker:
    [blocker] = until(lambda: site.holders(Mode.SHARE_UPDATE_EXCLUSIVE, site.own.pid), what="an autovacuum")
    return blocker


def test_an_autovacuum_is_told_from_a_person(site: Site, stranger: Session) -> None:
    """A slow autovacuum holds the table: it may be cancelled, also for a role that may not see what it is."""
    site.own.run(f"ALTER TABLE users SET ({EAGER}, {SLOW}); INSERT INTO users SELECT generate_series(1, 20000)")
    site.own.run("DELETE FROM users")
    blocker = vacuumed(site)
    assert (blocker.kind, blocker.user) == ("autovacuum", None)
    assert blocker.statement == "autovacuum: VACUUM ANALYZE public.users"
    assert blocker.locks == ("ShareUpdateExclusiveLock on public.users",)

    [seen] = holders(stranger.connection, [(site.oid(), Mode.SHARE)], [])
    assert (seen.pid, seen.kind, seen.hidden, seen.statement) == (blocker.pid, "autovacuum", True, None)
    assert seen.end == blocker.end == f"SELECT pg_cancel_backend({blocker.pid})"
    assert terminate_idle(site.own.connection, [blocker], 0) == ([], [])

    site.own.run("ALTER TABLE users SET (autovacuum_enabled = off)")
    site.own.run(str(blocker.end))
    until(lambda: not site.holders(Mode.SHARE_UPDATE_EXCLUSIVE))


@pytest.mark.thorough
def test_a_vacuum_against_wraparound_must_be_waited_for(site: Site) -> None:
    """Ending it is of no use: it starts again. So no SQL is offered, but a word."""
    site.own.run(f"INSERT INTO users SELECT generate_series(1, 20000); ALTER TABLE users SET ({SLOW})")
    site.own.run("ALTER TABLE users SET (autovacuum_freeze_max_age = 100000, autovacuum_enabled = off)")
    site.own.run(
        "CREATE PROCEDURE burn() LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..100100 LOOP"
        " PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
    )
    site.own.run("CALL burn()")
    blocker = vacuumed(site)
    assert blocker.kind == "autovacuum to prevent wraparound"
    assert blocker.end is None
    assert "wait" in str(blocker.hint)


def test_another_migration_is_known_by_its_fence(site: Site) -> None:
    """Another service's migration works on the table: it is called that, and never ended for idling."""
    worker = idler(site)
    worker.run(f"SELECT pg_advisory_lock_shared({locks.FENCE_CLASS}, 42)")
    [blocker] = site.holders()
    assert (blocker.pid, blocker.kind) == (worker.pid, "migration")
    assert "another migration" in str(blocker.hint)
    assert terminate_idle(site.own.connection, [blocker], 0) == ([], [])
    assert terminate_idle(site.own.connection, [blocker._replace(kind="client")], 0) == ([], [])
    assert worker.run("SELECT 1") == [(1,)]


def test_hidden_details_are_said_to_be_hidden(site: Site, stranger: Session) -> None:
    """A role without pg_read_all_stats gets pid and lock, and the GRANT that shows the rest; after it, all is shown."""
    other = idler(site)
    [blocker] = holders(stranger.connection, [(site.oid(), Mode.ACCESS_EXCLUSIVE)], [])
    assert (blocker.pid, blocker.kind, blocker.hidden) == (other.pid, "client", True)
    assert blocker.locks == ("AccessShareLock on public.users",)
    assert (blocker.state, blocker.statement, blocker.transaction_seconds) == (None, None, None)
    assert blocker.as_fields()["hidden"] is True
    assert terminate_idle(site.own.connection, [blocker], 0) == ([], [])

    statement = str(blocker.hint)[str(blocker.hint).index("GRANT") :]
    assert statement == 'GRANT pg_read_all_stats TO "nosy parker"'
    site.own.run(statement)
    [blocker] = holders(stranger.connection, [(site.oid(), Mode.ACCESS_EXCLUSIVE)], [])
    assert (blocker.state, blocker.hidden, blocker.hint) == ("idle in transaction", False, None)


def test_statements_are_short_or_not_told(site: Site) -> None:
    """A statement is one line of at most 500 characters; where its text is switched off, there is none."""
    long = "SELECT *\n   FROM users WHERE id IN (" + ", ".join(map(str, range(300))) + ")"
    idler(site, long)
    [blocker] = site.holders()
    assert str(blocker.statement).startswith("SELECT * FROM users WHERE id IN (0, 1,")
    assert len(str(blocker.statement)) == blockers.LONGEST_STATEMENT == 500
    ours, waiter = site.session(), site.session()
    ours.run('BEGIN; LOCK TABLE "Odd ""name"')
    waiter.start('SELECT *\nFROM "Odd ""name"')
    site.waits(waiter)
    assert [found.statement for found in behind(site.own.connection, [ours.pid])] == ['SELECT * FROM "Odd ""name"']

    assert [found.statement for found in behind(site.own.connection, [ours.pid], statements=False)] == [None]
    assert [found.statement for found in blocking(site.own.connection, waiter.pid, [], statements=False)] == [None]
    [blocker] = site.holders(statements=False)
    assert "statement" not in blocker.as_fields()


def test_concurrently_waits_for_a_transaction(site: Site) -> None:
    """CREATE INDEX CONCURRENTLY waits for a writer's transaction, and then for an old snapshot elsewhere."""
    writer = idler(site, "INSERT INTO users VALUES (1)")
    old = site.session()
    old.run('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM "Odd ""name"')
    builder = site.session()
    built = builder.start("CREATE INDEX CONCURRENTLY slow ON users (id)")
    for blocker_session in (writer, old):
        [blocker] = until(
            lambda session=blocker_session: [  # type: ignore[misc]
                b for b in blocking(site.own.connection, builder.pid, [builder.pid]) if b.pid == session.pid
            ]
        )
        [lock] = blocker.locks
        assert lock.startswith("ExclusiveLock on virtual transaction ")
        blocker_session.run("COMMIT")
    built.result(30)
    assert blocking(site.own.connection, builder.pid, []) == []


def test_concurrently_waits_for_a_prepared_transaction(site: Site) -> None:
    """No pid and no table in what it waits for, and still it is named."""
    idler(site, "INSERT INTO users VALUES (1)").run("PREPARE TRANSACTION 'two'")
    builder = site.session()
    built = builder.start("CREATE INDEX CONCURRENTLY slow ON users (id)")
    site.waits(builder)
    [blocker] = blocking(site.own.connection, builder.pid, [builder.pid])
    assert (blocker.gid, blocker.end) == ("two", "ROLLBACK PREPARED 'two'")
    [lock] = blocker.locks
    assert lock.startswith("ExclusiveLock on transaction ")
    site.own.run(str(blocker.end))
    built.result(30)


def test_a_row_is_waited_for(site: Site) -> None:
    """An UPDATE of the migration waits for a row that somebody else has changed."""
    site.own.run("INSERT INTO users VALUES (1)")
    other = idler(site, "UPDATE users SET id = 2")
    ours = site.session()
    ours.start("UPDATE users SET id = 3")
    site.waits(ours)
    [blocker] = blocking(site.own.connection, ours.pid, [ours.pid])
    assert (blocker.pid, blocker.statement) == (other.pid, "UPDATE users SET id = 2")
    assert blocking(site.own.connection, ours.pid, [ours.pid, other.pid]) == []


def test_a_parallel_query_is_one_blocker(site: Site) -> None:
    """The workers of a parallel query hold locks too; named is the session that they work for."""
    site.own.run("INSERT INTO users SELECT generate_series(1, 3000)")
    for name in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
        (reader := site.sessions[-1] if name != "parallel_setup_cost" else site.session()).run(f"SET {name} = 0")
    reader.start("SELECT count(pg_sleep(0.01)) FROM users")
    until(lambda: len(site.own.run(f"SELECT DISTINCT pid FROM pg_locks WHERE relation = {site.oid()}")) > 1)
    [blocker] = site.holders()
    assert (blocker.pid, blocker.kind) == (reader.pid, "client")
    assert site.holders(Mode.ACCESS_EXCLUSIVE, reader.pid) == []


def test_nobody_waits_behind_us(site: Site) -> None:
    """Without waiters, or with waiters of somebody else's, there is nobody behind us."""
    ours, other, waiter = idler(site), site.session(), site.session()
    assert behind(site.own.connection, [ours.pid]) == []
    other.run('BEGIN; LOCK TABLE "Odd ""name"')
    waiter.start('SELECT * FROM "Odd ""name"')
    site.waits(waiter)
    assert behind(site.own.connection, [ours.pid]) == []
    assert [found.pid for found in behind(site.own.connection, [other.pid])] == [waiter.pid]


def test_who_waits_behind_us_directly_and_through_others(site: Site) -> None:
    """An ALTER waits behind ours and a SELECT behind that ALTER, on another table; each with the time behind *us*."""
    middle, last, ours = (site.session(application_name=name) for name in ("middle", "last", "ours"))
    middle.run('BEGIN; LOCK TABLE "Odd ""name"')
    last.start('SELECT * FROM "Odd ""name"')
    site.waits(last)
    until(lambda: behind(site.own.connection, [middle.pid])[0].waited_seconds > 0.5)
    ours.run("BEGIN; LOCK TABLE users")
    assert behind(site.own.connection, [ours.pid]) == []

    began = time.monotonic()
    middle.start("ALTER TABLE users ADD COLUMN x int")
    site.waits(middle, last)
    first, second = behind(site.own.connection, [ours.pid])
    assert {first.application_name, second.application_name} == {"middle", "last"}
    assert first.user == "postgres"
    assert max(first.waited_seconds, second.waited_seconds) < time.monotonic() - began, "the time before it counted too"
    assert {waiter.statement for waiter in (first, second)} == {
        "ALTER TABLE users ADD COLUMN x int",
        'SELECT * FROM "Odd ""name"',
    }
    until(lambda: min(w.waited_seconds for w in behind(site.own.connection, [ours.pid])) > 0.5)
    assert [found.application_name for found in behind(site.own.connection, [ours.pid, middle.pid])] == ["last"]


def test_a_deadlock_behind_us_is_counted_once(site: Site) -> None:
    """Two sessions wait for each other, and one of them for a third, who waits for us: no reason to run in circles."""
    first, second, third, ours = (site.session() for _ in range(4))
    site.own.run("CREATE TABLE other (id int)")
    ours.run("BEGIN; LOCK TABLE other")
    for session, table in ((first, "users"), (second, '"Odd ""name"'), (third, '"Odd ""name"')):
        session.run(f"SET deadlock_timeout = '1min'; BEGIN; LOCK TABLE {table} IN SHARE MODE")
    first.start('LOCK TABLE "Odd ""name" IN ACCESS EXCLUSIVE MODE')
    second.start("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    third.start("SELECT * FROM other")
    site.waits(first, second, third)
    site.own.run("SET statement_timeout = '5s'")
    assert {found.pid for found in behind(site.own.connection, [ours.pid])} == {first.pid, second.pid, third.pid}


def test_idle_transactions_are_ended_and_nothing_else(site: Site) -> None:
    """Ended is who idles in a transaction, failed or not; not who works, and not who has idled for a moment only."""
    idle, failed, working = idler(site), idler(site), site.session()
    with pytest.raises(psycopg2.errors.DivisionByZero):
        failed.run("LOCK TABLE users IN SHARE MODE; SAVEPOINT a; SELECT 1 / 0")
    working.start("SELECT pg_sleep(60) FROM (SELECT count(*) FROM users) a")
    until(lambda: len(site.holders()) == 3)
    found = site.holders()
    assert {blocker.state for blocker in found} == {"active", "idle in transaction", "idle in transaction (aborted)"}
    assert terminate_idle(site.own.connection, found, 60) == ([], [])
    assert pids(site.holders()) == {idle.pid, failed.pid, working.pid}

    ended, refused = terminate_idle(site.own.connection, found, 0)
    assert (pids(ended), refused) == ({idle.pid, failed.pid}, [])
    assert pids(site.holders()) == {working.pid}


def test_who_went_on_meanwhile_is_left_alone(site: Site) -> None:
    """Between the look and the end, the session worked on, became another one, or committed."""
    other = idler(site)
    [blocker] = site.holders()
    assert (
        terminate_idle(site.own.connection, [blocker._replace(backend_start="2020-01-01 00:00:00+00")], 0).ended == []
    )
    assert terminate_idle(site.own.connection, [blocker._replace(state_seconds=1000.0)], 60).ended == []
    sleeping = other.start("SELECT pg_sleep(60)")
    until(lambda: site.holders()[0].state == "active")
    assert terminate_idle(site.own.connection, [blocker], 0).ended == []
    site.own.run(f"SELECT pg_cancel_backend({other.pid})")
    with pytest.raises(psycopg2.errors.QueryCanceled):
        sleeping.result(30)
    other.run("ROLLBACK")
    assert terminate_idle(site.own.connection, [blocker], 0).ended == []
    other.run("BEGIN; SELECT 1")
    assert pids(terminate_idle(site.own.connection, [blocker], 0).ended) == {other.pid}


def test_a_missing_privilege_is_no_error(site: Site, stranger: Session) -> None:
    """A role that may look but not end a superuser's session is refused, and says so; the superuser lives."""
    site.own.run('GRANT pg_read_all_stats, pg_signal_backend TO "nosy parker"')
    other = idler(site)
    found = holders(stranger.connection, [(site.oid(), Mode.ACCESS_EXCLUSIVE)], [])
    assert terminate_idle(stranger.connection, found, 0) == ([], found)
    assert other.run("SELECT 1") == [(1,)]
