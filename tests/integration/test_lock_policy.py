"""No statement of a migration stands in a queue that the application would stand behind."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

from tests.conftest import Database, Result, finish, run_job, start_job
from tests.projectkit import ENV, make_project, sql
from tests.waiting import until

ADD = sql("ALTER TABLE orders ADD COLUMN note text")
BOTH = sql("ALTER TABLE users ADD COLUMN note text") + "\n" + ADD
ASYNC_ENV = """\
import asyncio
import os
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

URL = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")

def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    async with create_async_engine(URL).connect() as connection:
        await connection.run_sync(run)

asyncio.run(main())
"""
OWN_TRANSACTION = ENV.replace("with engine.connect() as connection:", "with engine.begin() as connection:")


@pytest.fixture
def tables(database: Database) -> Database:
    database.execute("CREATE TABLE orders (id int PRIMARY KEY, n int)")
    database.execute("CREATE TABLE users (id int PRIMARY KEY, n int)")
    database.execute("INSERT INTO orders SELECT i, i FROM generate_series(1, 20) i")
    database.execute("CREATE VIEW totals AS SELECT sum(n) AS total FROM orders")
    return database


@contextmanager
def transaction(database: Database, statement: str) -> Iterator[psycopg2.extensions.connection]:
    """A session idle in a transaction in which it executed this."""
    connection = psycopg2.connect(database.url, application_name="forgetful")
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
        yield connection
    finally:
        connection.close()


def columns(database: Database, table: str = "orders") -> int:
    [[count]] = database.query(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped", table
    )
    return int(count)


def waiting_requests(database: Database) -> int:
    """How many lock requests on tables stand in a queue."""
    [[count]] = database.query("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'")
    return int(count)


def app_gets_through(database: Database, statement: str, seconds: float) -> int:
    """Executes a statement of the application's for so long; each must get its lock at once. Returns how many did."""
    connection = database.connect()
    count, end = 0, time.monotonic() + seconds
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '400ms'")
        while time.monotonic() < end:
            cursor.execute(statement)
            count += 1
            time.sleep(0.002)
    connection.close()
    return count


def run_behind(
    database: Database, project: Path, blocker: str, app: str = "SELECT count(*) FROM orders", **env: str
) -> Result:
    """Runs the job while a session idles in a transaction until the job has said twice that it is blocked."""
    with transaction(database, blocker) as session:
        job = start_job("migrate", cwd=project, url=database.url, env={"MIGRATE_HEARTBEAT": "500ms", **env})
        assert job.stdout is not None
        lines = []
        for line in job.stdout:
            lines.append(line)
            if "lock.blocked" in line or '"job.finished"' in line:
                break
        assert job.poll() is None, lines
        assert app_gets_through(database, app, 1.0) > 20
        session.rollback()
        result = finish(job)
    return Result(result.code, "".join(lines) + result.out, result.err)


def test_the_application_never_waits_behind_a_migration_that_waits(tables: Database, tmp_path: Path) -> None:
    """A forgotten transaction holds the table: queries go on, the log names it, and the migration follows at once."""
    project = make_project(tmp_path, [ADD])
    result = run_behind(tables, project, "SELECT count(*) FROM orders")
    assert result.code == 0, result.finished
    blocked = result.events("lock.blocked")[0]
    assert blocked["waiting_for"] == ["public.orders"] and blocked["waited_seconds"] >= 1
    [blocker] = blocked["blockers"]
    assert blocker["application_name"] == "forgetful" and blocker["state"] == "idle in transaction"
    assert blocker["statement"] == "SELECT count(*) FROM orders"
    assert blocker["end"] == f"SELECT pg_terminate_backend({blocker['pid']})"
    [won] = result.events("table.locked")
    assert won["tables"] == ["public.orders"] and won["tries"] > 2
    assert columns(tables) == 3


@pytest.mark.thorough
def test_statements_of_others_can_be_kept_out_of_the_log(tables: Database, tmp_path: Path) -> None:
    """MIGRATE_LOG_QUERIES=off."""
    project = make_project(tmp_path, [ADD])
    result = run_behind(tables, project, "SELECT 'secret', count(*) FROM orders", MIGRATE_LOG_QUERIES="off")
    assert result.code == 0 and "secret" not in result.out


@pytest.mark.parametrize(
    ("upgrade", "blocker", "env"),
    [
        pytest.param(BOTH, "SELECT FROM orders", ENV, id="two tables", marks=pytest.mark.thorough),
        pytest.param(BOTH, "SELECT FROM orders", ASYNC_ENV, id="two tables, async", marks=pytest.mark.thorough),
        pytest.param(BOTH, "SELECT FROM orders", OWN_TRANSACTION, id="two tables, transaction of env.py's"),
        pytest.param(
            sql("UPDATE users SET n = 1") + "\n" + ADD,
            "SELECT FROM orders",
            ENV,
            id="rows changed before",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            sql("ALTER TABLE users ADD FOREIGN KEY (n) REFERENCES orders"),
            "INSERT INTO orders VALUES (99)",
            ENV,
            id="foreign key",
        ),
        pytest.param(
            sql("CREATE INDEX ON orders (n)"), "UPDATE orders SET n = 0", ENV, id="index", marks=pytest.mark.thorough
        ),
        pytest.param(
            sql("CREATE OR REPLACE VIEW totals AS SELECT sum(n) + 1 AS total FROM orders"),
            "SELECT FROM totals",
            ENV,
            id="view",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            f"with op.get_context().autocommit_block():\n    {ADD}", "SELECT FROM orders", ENV, id="autocommit block"
        ),
    ],
)
def test_what_else_takes_locks(tables: Database, tmp_path: Path, upgrade: str, blocker: str, env: str) -> None:
    """Several tables, other drivers, projects with their own transaction: nobody waits, and the work is done once."""
    project = make_project(tmp_path, ["pass", upgrade], env=env)
    app = "SELECT count(*) FROM orders; SELECT count(*) FROM users; SELECT * FROM totals"
    result = run_behind(tables, project, blocker, app)
    assert result.code == 0, result.finished
    assert result.finished["applied"] == ["r1", "r2"]
    bare = "UPDATE" in upgrade or "users ADD COLUMN" in upgrade
    assert bool(result.events("revision.restarted")) == bare


def test_the_lock_is_not_won_in_time(tables: Database, tmp_path: Path) -> None:
    """Exit 12 names who was in the way and how to end it; what was done before stays, the revision is undone."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)"), sql("CREATE TABLE b (id int)") + "\n" + ADD])
    with transaction(tables, "SELECT FROM orders"):
        env = {"MIGRATE_TABLE_LOCK_TIMEOUT": "1s"}
        result = run_job("migrate", cwd=project, url=tables.url, env=env)
    finished = result.finished
    assert (result.code, finished["outcome"]) == (12, "locked")
    assert "public.orders" in finished["error"] and "forgetful" in finished["error"]
    assert f"pg_terminate_backend({finished['blockers'][0]['pid']})" in finished["hint"]
    assert finished["applied"] == ["r1"]
    assert tables.query("SELECT to_regclass('b') IS NULL") == [(True,)] and columns(tables) == 2


@pytest.mark.parametrize(
    "blocker", ["INSERT INTO orders VALUES (77)", pytest.param("SELECT FROM orders", marks=pytest.mark.thorough)]
)
def test_concurrently_gives_up_too(tables: Database, tmp_path: Path, blocker: str) -> None:
    """CREATE INDEX CONCURRENTLY would wait for ever behind a forgotten transaction: exit 12; the next run works."""
    build = "with op.get_context().autocommit_block():\n    " + sql("CREATE INDEX CONCURRENTLY late ON orders (n)")
    project = make_project(tmp_path, [build])
    with transaction(tables, "BEGIN ISOLATION LEVEL REPEATABLE READ; " + blocker):
        env = {"MIGRATE_TABLE_LOCK_TIMEOUT": "1s", "MIGRATE_HEARTBEAT": "300ms"}
        result = run_job("migrate", cwd=project, url=tables.url, env=env)
        assert result.code == 12, result.finished
        assert "forgetful" in result.finished["error"]
    again = run_job("migrate", cwd=project, url=tables.url)
    assert again.code == 0, again.finished
    assert tables.query("SELECT indisvalid FROM pg_index WHERE indexrelid = 'late'::regclass") == [(True,)]


@pytest.mark.parametrize("code", ["40P01", pytest.param("55P03", marks=pytest.mark.thorough)])
def test_a_lost_race_is_run_again(tables: Database, tmp_path: Path, code: str) -> None:
    """A deadlock's victim, or a lock_timeout of the project's own: the revision starts again, by itself."""
    tables.execute("CREATE SEQUENCE tries")
    tables.execute(
        "CREATE FUNCTION unlucky() RETURNS void LANGUAGE plpgsql AS $$ BEGIN IF nextval('tries') < 3 THEN"
        f" RAISE EXCEPTION 'bad luck' USING ERRCODE = '{code}'; END IF; END $$"
    )
    project = make_project(tmp_path, [sql("CREATE TABLE once (id int)") + "\n" + sql("SELECT unlucky()")])
    result = run_job("migrate", cwd=project, url=tables.url)
    assert result.code == 0, result.finished
    assert len(result.events("revision.restarted")) == 2
    assert tables.query("SELECT last_value FROM tries") == [(3,)]


BEHIND = (
    "SELECT coalesce(extract(epoch FROM max(clock_timestamp() - waitstart)), 0) FROM pg_locks WHERE NOT granted"
    " AND mode = 'AccessShareLock'"
)
REWRITE = sql("ALTER TABLE orders ALTER COLUMN n TYPE bigint USING slow(n)")


@pytest.fixture
def slow(tables: Database) -> Database:
    """A function that takes 0.2 s a row: a rewrite of the 20 rows takes four seconds."""
    tables.execute("DROP VIEW totals")
    tables.execute(
        "CREATE FUNCTION slow(n int) RETURNS bigint LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.2); RETURN n; END $$"
    )
    return tables


def wait_behind(database: Database, job_works: str) -> tuple[threading.Thread, list[float]]:
    """Starts a client that reads the table as soon as the job works on it; how long it waited is in the list."""
    until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s", job_works))
    waited: list[float] = []

    def read() -> None:
        begun = time.monotonic()
        database.query("SELECT count(*) FROM orders")
        waited.append(time.monotonic() - begun)

    thread = threading.Thread(target=read)
    thread.start()
    return thread, waited


def test_a_lock_is_given_back_when_others_have_waited_for_too_long(slow: Database, tmp_path: Path) -> None:
    """MIGRATE_MAX_LOCK_HOLD: the rewrite is cancelled, exit 26 with the way to do it online, nothing changed."""
    project = make_project(tmp_path, [REWRITE])
    job = start_job("migrate", cwd=project, url=slow.url, env={"MIGRATE_MAX_LOCK_HOLD": "1s"})
    client, waited = wait_behind(slow, "ALTER TABLE orders ALTER%")
    result = finish(job)
    client.join()
    assert (result.code, result.finished["outcome"]) == (26, "refused"), result.finished
    assert "waited behind" in result.finished["error"] and "online" in result.finished["hint"]
    assert waited[0] < 2.5
    assert slow.query("SELECT pg_typeof(n)::text FROM orders LIMIT 1") == [("integer",)]


@pytest.mark.parametrize(
    "how", ["comment", *(pytest.param(how, marks=pytest.mark.thorough) for how in ("setting", "nobody waits"))]
)
def test_a_long_lock_can_be_allowed(slow: Database, tmp_path: Path, how: str) -> None:
    """By a comment in the revision or a setting; and where nobody waits it is nobody's business."""
    project = make_project(tmp_path, ["# alembic-job: max-lock-hold=off\n" * (how == "comment") + REWRITE])
    env = {"MIGRATE_MAX_LOCK_HOLD": "off" if how == "setting" else "1s"}
    job = start_job("migrate", cwd=project, url=slow.url, env=env)
    if how != "nobody waits":
        client, _ = wait_behind(slow, "ALTER TABLE orders ALTER%")
    assert finish(job).code == 0
    if how != "nobody waits":
        client.join()


@pytest.mark.thorough
def test_a_lock_that_python_sits_on_is_given_back(tables: Database, tmp_path: Path) -> None:
    """The revision holds a lock and executes nothing: there is nothing to cancel, its session is ended."""
    project = make_project(tmp_path, [ADD + "\ntime.sleep(5)\n" + sql("SELECT 1")])
    job = start_job("migrate", cwd=project, url=tables.url, env={"MIGRATE_MAX_LOCK_HOLD": "1s"})
    held = "SELECT 1 FROM pg_locks WHERE relation = 'orders'::regclass AND mode = 'AccessExclusiveLock' AND granted"
    until(lambda: tables.query(held))
    begun = time.monotonic()
    assert tables.query("SELECT count(*) FROM orders") == [(20,)]
    assert time.monotonic() - begun < 3.5
    result = finish(job)
    assert result.code == 26 and columns(tables) == 2, result.finished


@pytest.mark.thorough
def test_blockers_are_ended_only_where_that_was_asked_for(tables: Database, tmp_path: Path) -> None:
    """MIGRATE_TERMINATE_BLOCKERS ends a transaction that idled for longer; a working session is left alone."""
    project = make_project(tmp_path, [ADD])
    env = {"MIGRATE_TERMINATE_BLOCKERS": "idle-in-transaction>1s", "MIGRATE_TABLE_LOCK_TIMEOUT": "4s"}
    with transaction(tables, "SELECT FROM orders"):
        result = run_job("migrate", cwd=project, url=tables.url, env=env)
    assert result.code == 0, result.finished
    [ended] = result.events("blocker.ended")
    assert ended["application_name"] == "forgetful" and ended["level"] == "warning"


@pytest.mark.thorough
def test_a_working_session_is_never_ended(tables: Database, tmp_path: Path) -> None:
    """The same setting, but the session in the way executes something."""
    project = make_project(tmp_path, [ADD])
    env = {"MIGRATE_TERMINATE_BLOCKERS": "idle-in-transaction>1s", "MIGRATE_TABLE_LOCK_TIMEOUT": "2s"}
    worker = subprocess.Popen(
        [tables.server.bin / "psql", tables.url, "-c", "SELECT count(pg_sleep(9)) FROM orders"],
        stdout=subprocess.DEVNULL,
    )
    until(lambda: tables.query("SELECT 1 FROM pg_locks WHERE relation = 'orders'::regclass AND granted"))
    result = run_job("migrate", cwd=project, url=tables.url, env=env)
    worker.kill()
    worker.wait()
    assert result.code == 12 and not result.events("blocker.ended")


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("setting", marks=pytest.mark.thorough),
        pytest.param("comment in the file", marks=pytest.mark.thorough),
        "comment in the statement",
    ],
)
def test_the_policy_can_be_switched_off(tables: Database, tmp_path: Path, how: str) -> None:
    """Then the statement waits as PostgreSQL has it: in the queue."""
    statement = "ALTER TABLE orders ADD COLUMN note text"
    upgrade = {
        "setting": sql(statement),
        "comment in the file": "# alembic-job: lock-policy=off\n" + sql(statement),
        "comment in the statement": sql(f"/* alembic-job: lock-policy=off */ {statement}"),
    }[how]
    project = make_project(tmp_path, ["# alembic-job: max-lock-hold=off\n" + upgrade])
    env = {"MIGRATE_LOCK_POLICY": "off"} if how == "setting" else {}
    with transaction(tables, "SELECT FROM orders") as session:
        job = start_job("migrate", cwd=project, url=tables.url, env=env)
        until(lambda: waiting_requests(tables))
        reader = threading.Thread(target=tables.query, args=("SELECT count(*) FROM orders",))
        reader.start()
        until(lambda: tables.query(BEHIND)[0][0] > 1)
        session.rollback()
    reader.join()
    result = finish(job)
    assert result.code == 0 and not result.events("revision.restarted")


@pytest.mark.parametrize(
    "comment",
    [
        "max-lock-hold=soon",
        *(pytest.param(c, marks=pytest.mark.thorough) for c in ("lock-policy=maybe", "lock_policy=off")),
    ],
)
def test_a_comment_that_is_not_understood(tables: Database, tmp_path: Path, comment: str) -> None:
    """Exit 22, before the revision runs; the file and the comment are named."""
    project = make_project(tmp_path, [f"# alembic-job: {comment}\n" + ADD])
    result = run_job("migrate", cwd=project, url=tables.url)
    assert result.code == 22, result.finished
    assert comment in result.finished["error"] and "r1_.py" in result.finished["error"]
    assert columns(tables) == 2


@pytest.mark.thorough
def test_work_past_sqlalchemy_survives_polling(tables: Database, tmp_path: Path) -> None:
    """Rows that a raw cursor inserted are in the transaction that a failed poll must not roll back."""
    raw = "op.get_bind().connection.cursor().execute('INSERT INTO users SELECT i FROM generate_series(1, 9) i')"
    result = run_behind(tables, make_project(tmp_path, ["pass", raw + "\n" + ADD]), "SELECT FROM orders")
    assert result.code == 0, result.finished
    assert tables.query("SELECT count(*) FROM users") == [(9,)]


@pytest.mark.thorough
def test_tenants_each_get_their_own_guard(tables: Database, tmp_path: Path) -> None:
    """env.py migrates three schemas in turn; the second one's table is blocked, and its revision starts again."""
    env = """
import os
from alembic import context
from sqlalchemy import create_engine, pool
engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
for tenant in ("t1", "t2", "t3"):
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SET search_path TO {tenant}")
        connection.commit()
        connection.dialect.default_schema_name = tenant
        context.configure(connection=connection, version_table_schema=tenant)
        with context.begin_transaction():
            context.run_migrations()
"""
    for tenant in ("t1", "t2", "t3"):
        tables.execute(
            f"CREATE SCHEMA {tenant}; CREATE TABLE {tenant}.orders (n int); CREATE TABLE {tenant}.users (n int)"
        )
    project = make_project(tmp_path, ["pass", BOTH], env=env)
    result = run_behind(tables, project, "SELECT FROM t2.orders")
    assert result.code == 0, result.finished
    assert len(result.events("revision.restarted")) == 1
    assert [columns(tables, f"{tenant}.orders") for tenant in ("t1", "t2", "t3")] == [2, 2, 2]


@pytest.mark.thorough
def test_a_block_that_commits_in_its_middle_runs_once(tables: Database, tmp_path: Path) -> None:
    """DO and CALL in autocommit mode may have committed when they lose a race: they are not tried again."""
    loop = (
        "FOR i IN 1..3 LOOP INSERT INTO users VALUES (i); COMMIT; UPDATE orders SET n = n + 1 WHERE id = 1; COMMIT;"
        " END LOOP"
    )
    block = sql(f"DO $$ BEGIN {loop}; END $$")
    project = make_project(tmp_path, ["with op.get_context().autocommit_block():\n    " + block])
    with transaction(tables, "UPDATE orders SET n = 0 WHERE id = 1") as session:
        job = start_job("migrate", cwd=project, url=tables.url)
        until(lambda: tables.query("SELECT 1 FROM pg_locks WHERE NOT granted"))
        session.rollback()
    result = finish(job)
    assert result.code == 0, result.finished
    assert tables.query("SELECT count(*), (SELECT n FROM orders WHERE id = 1) FROM users") == [(3, 4)]


def test_an_aborted_transaction_is_still_said_to_be_one(tables: Database, tmp_path: Path) -> None:
    """A swallowed error in a transaction: what comes next fails with PostgreSQL's own words, not with ours."""
    upgrade = "try:\n    op.execute('SELECT 1 / 0')\nexcept sa.exc.DBAPIError:\n    pass\n" + ADD
    with transaction(tables, "SELECT FROM users"):  # not alone
        result = run_job("migrate", cwd=make_project(tmp_path, ["pass", upgrade]), url=tables.url)
    assert result.code == 23 and "current transaction is aborted" in result.finished["error"]


@pytest.mark.thorough
def test_no_lock_timeout_is_left_behind(tables: Database, tmp_path: Path) -> None:
    """After a swallowed error in autocommit mode, and after all that the gate tried, later statements may wait."""
    upgrade = """
with op.get_context().autocommit_block():
    try:
        op.execute("REFRESH MATERIALIZED VIEW broken")
    except sa.exc.DBAPIError:
        pass
    print("TIMEOUT", op.get_bind().exec_driver_sql("SHOW lock_timeout").scalar())
op.execute("CREATE OR REPLACE VIEW totals AS SELECT 1::bigint AS total")
print("TIMEOUT", op.get_bind().exec_driver_sql("SHOW lock_timeout").scalar())
"""
    tables.execute("CREATE FUNCTION fail() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$")
    tables.execute("CREATE MATERIALIZED VIEW broken AS SELECT fail() WITH NO DATA")
    result = run_job("migrate", cwd=make_project(tmp_path, [upgrade]), url=tables.url)
    said = [line["message"] for line in result.events() if "TIMEOUT" in str(line.get("message"))]
    assert result.code == 0 and said == ["TIMEOUT 0", "TIMEOUT 0"], result.out


@pytest.mark.thorough
def test_clients_that_give_up_are_waiting_too(slow: Database, tmp_path: Path) -> None:
    """None of them waits for long, but always one does: the lock is given back all the same."""
    project = make_project(tmp_path, [REWRITE])
    job = start_job("migrate", cwd=project, url=slow.url, env={"MIGRATE_MAX_LOCK_HOLD": "1500ms"})
    until(
        lambda: slow.query(
            "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'ALTER TABLE orders ALTER%'"
        )
    )
    client = slow.connect()
    with client.cursor() as cursor:
        cursor.execute("SET statement_timeout = '400ms'")
        while job.poll() is None:
            try:
                cursor.execute("SELECT count(*) FROM orders")
            except psycopg2.errors.QueryCanceled:
                continue
            break
    client.close()
    assert finish(job).code == 26


@pytest.mark.thorough
def test_anybodys_analyze_is_no_reason_to_give_up(slow: Database, tmp_path: Path) -> None:
    """Only the application counts: ANALYZE may wait behind a build that keeps nobody else waiting."""
    build = "with op.get_context().autocommit_block():\n    " + sql(
        "CREATE INDEX CONCURRENTLY late ON orders (wait(n))"
    )
    slow.execute(
        "CREATE FUNCTION wait(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.1); RETURN n; END $$"
    )
    job = start_job(
        "migrate", cwd=make_project(tmp_path, [build]), url=slow.url, env={"MIGRATE_MAX_LOCK_HOLD": "500ms"}
    )
    until(
        lambda: slow.query("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'CREATE INDEX CON%'")
    )
    slow.execute("ANALYZE orders")
    assert finish(job).code == 0


@pytest.mark.thorough
def test_a_setting_made_before_the_migration_survives_polling(tables: Database, tmp_path: Path) -> None:
    """env.py's `SET search_path` in the migration's transaction is not lost to a poll that failed."""
    before = "    connection.exec_driver_sql('SET search_path TO tenant, public')\n"
    env = OWN_TRANSACTION.replace("    context.configure(", before + "    context.configure(")
    tables.execute("CREATE SCHEMA tenant")
    tables.execute("CREATE TABLE tenant.orders (id int)")
    project = make_project(tmp_path, [ADD], env=env)
    result = run_behind(tables, project, "SELECT FROM tenant.orders")
    assert result.code == 0, result.finished
    assert (columns(tables, "tenant.orders"), columns(tables, "public.orders")) == (2, 2)
