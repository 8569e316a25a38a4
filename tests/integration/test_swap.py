"""`restore --swap`: the restored database takes the old one's place, and nothing is lost on the way, whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import pytest

from alembic_job.gateways.embedded import Server
from alembic_job.gateways.locks import DATABASE_KEY, LOCK_CLASS
from tests.conftest import Database, finish
from tests.restorekit import ROWS, SLOW, Home, asleep, expect, properties, rows
from tests.waiting import until


def test_swap(full: Home) -> None:
    """The restored one has the name, the old one keeps its data under a dated one, and can be read."""
    name = full.name
    full.database.execute(f"ALTER DATABASE {name} SET work_mem = '7MB'; ALTER DATABASE {name} CONNECTION LIMIT 9")
    before = properties(full.database)
    full.back_up()
    full.database.execute("INSERT INTO base VALUES (4711)")
    with closing(full.database.connect()) as idle:
        result = full.run("restore", "--yes", "--swap")
        assert result.code == 0, result.out
        with pytest.raises(psycopg2.OperationalError), idle.cursor() as cursor:
            cursor.execute("SELECT 1")
    [event] = result.events("restore.swapped")
    [old] = full.others()
    assert (event["database"], event["before"]) == (name, old) and old.startswith(f"{name}_before_restore_2")
    assert isinstance(event["downtime_seconds"], float) and event["downtime_seconds"] > 0
    assert rows(full.database) == ROWS and properties(full.database) == before
    assert rows(Database(full.database.server, old))["base"] == 4, "what came after the backup"
    assert properties(Database(full.database.server, old)) == before, "it can be connected to as before"
    [finished] = result.events("restore.finished")
    assert finished["database"] == name == result.finished["database"] and result.finished["before"] == old


# Applications that come back.


@dataclass
class Client:
    """An application's thread that asks all the time, and connects again at once when it has to."""

    database: Database
    keeps: bool  # its connection, as a pool does; else each question has one of its own
    seen: int | None = None
    longest: float = 0.0  # seconds between two answers
    errors: set[str] = field(default_factory=set)

    def run(self, stop: threading.Event) -> None:
        last = time.monotonic()
        while not stop.is_set():
            try:
                with closing(self.database.connect()) as connection, connection.cursor() as cursor:
                    for _ in range(1_000_000 if self.keeps else 1):
                        cursor.execute("SELECT count(*) FROM base")
                        [self.seen] = cursor.fetchone() or [None]
                        now = time.monotonic()
                        self.longest, last = max(self.longest, now - last), now
                        if stop.wait(0.001):
                            return
            except psycopg2.Error as error:
                self.errors.add(str(error).strip().splitlines()[0])


@contextmanager
def clients(database: Database, keeping: int, connecting: int) -> Iterator[list[Client]]:
    """So many of each kind, which are at work when this begins."""
    stop = threading.Event()
    made = [Client(database, number < keeping) for number in range(keeping + connecting)]
    threads = [threading.Thread(target=client.run, args=(stop,), daemon=True) for client in made]
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(client.seen is not None for client in made))
        yield made
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_swap_under_clients_that_come_back(full: Home) -> None:
    """Ten applications that connect again at once do not keep it from its swap, and miss it for less than a second."""
    full.back_up()
    full.database.execute("INSERT INTO base VALUES (4711)")
    with clients(full.database, 8, 2) as applications:
        until(lambda: {client.seen for client in applications} == {4})
        for client in applications:
            client.longest = 0.0
        result = full.run("restore", "--yes", "--swap")
        assert result.code == 0, result.out
        until(lambda: {client.seen for client in applications} == {3}, 10, "the restored rows")
    longest = max(client.longest for client in applications)
    said = result.events("restore.swapped")[0]["downtime_seconds"]
    print(f"longest time without an answer: {longest:.3f} s; the job says {said} s")
    # The first is the machine's load as well.
    assert longest < 3 and said < 1, [client.longest for client in applications]
    assert len(full.others()) == 1


# Who is in the way.


@pytest.mark.thorough
def test_no_swap_under_a_run(full: Home) -> None:
    """While a run holds the job's lock: 11, and nothing is made."""
    full.back_up()
    with closing(full.database.connect()) as run, run.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, DATABASE_KEY))
        expect(full.run("restore", "--yes", "--swap"), 11, full.name)
        assert full.others() == []


@pytest.mark.thorough
def test_a_run_that_comes_during_the_restore(home: Home) -> None:
    """It has the lock when the swap is due: the old one stays, everybody can connect, the new one stays as well."""
    home.database.execute(SLOW.replace("pg_sleep(60)", "pg_sleep(3)"))
    home.back_up()
    job = home.start("restore", "--yes", "--swap")
    until(lambda: asleep(home))
    with closing(home.database.connect()) as run, run.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, DATABASE_KEY))
        result = finish(job)
        [made] = home.others()
        expect(result, 11, f"{home.name} stays as it is", made)
        cursor.execute("SELECT 1")
    assert result.finished["database"] == made
    assert home.database.query("SELECT 1") == [(1,)]


@pytest.mark.thorough
def test_a_swap_that_may_not_end_sessions(full: Home) -> None:
    """The owner may not end a superuser's session: nobody's is ended, and what was restored stays."""
    name, password = full.name, "secret-word"
    full.database.execute(f"CREATE ROLE {name}_owner LOGIN CREATEDB PASSWORD '{password}'")
    full.database.execute("DROP SCHEMA public CASCADE")
    full.database.execute('DROP SCHEMA "odd ""name%" CASCADE')
    full.database.execute(f"ALTER DATABASE {name} OWNER TO {name}_owner")
    url = full.database.url.replace(f"postgres:{full.database.server.password}", f"{name}_owner:{password}")
    with closing(psycopg2.connect(url)) as owner, owner.cursor() as cursor:
        cursor.execute("CREATE SCHEMA own; CREATE TABLE own.a AS SELECT 1 AS n")
        owner.commit()
    full.run("backup", url=url)
    with closing(psycopg2.connect(url)) as own, closing(full.database.connect()) as superuser:
        result = full.run("restore", "--yes", "--swap", url=url)
        for each in (own, superuser):
            with each.cursor() as cursor:
                cursor.execute("SELECT 1")
    [made] = full.others()
    expect(result, 21, f"{name} stays as it is", made, "pg_signal_backend")
    assert full.database.query("SELECT n FROM own.a") == [(1,)]
    full.clean()  # within the same second it would get the same name
    result = full.run("restore", "--yes", "--swap", url=url)
    assert result.code == 0, result.out


@pytest.fixture(scope="module")
def preparing() -> Iterator[Server]:
    """A server with prepared transactions, which nobody can end from outside."""
    with Server(18, {"max_prepared_transactions": "5"}) as server:
        yield server


@pytest.mark.thorough
@pytest.mark.parametrize("stopped", [True, pytest.param(False, marks=pytest.mark.thorough)])
def test_a_prepared_transaction(preparing: Server, tmp_path: Path, stopped: bool) -> None:
    """It is named after ten seconds, or SIGTERM comes before: nobody was ended for a swap that cannot be."""
    database = Database(preparing, f"prepared_{int(stopped)}")
    Database(preparing, "postgres").execute(f"CREATE DATABASE {database.name}")
    database.execute("CREATE TABLE a AS SELECT 1 AS n")
    home = Home(database, tmp_path / "backups", preparing.bin)
    home.back_up()
    database.execute("BEGIN; UPDATE a SET n = 2; PREPARE TRANSACTION 'stuck'")
    with closing(database.connect()) as application, application.cursor() as cursor:
        job = home.start("restore", "--yes", "--swap")
        if stopped:
            looked = "SELECT 1 FROM pg_stat_activity WHERE starts_with(query, 'SELECT gid FROM pg_prepared_xacts')"
            until(lambda: home.beside.query(looked))
            job.terminate()
        result = finish(job)
        cursor.execute("SELECT 1")
    [made] = home.others()
    expect(result, 14 if stopped else 12, *(() if stopped else (made, "stuck", "pg_prepared_xacts")))
    assert result.finished["database"] == made
    assert database.query("SELECT n FROM a") == Database(preparing, made).query("SELECT n FROM a") == [(1,)]
    database.execute("ROLLBACK PREPARED 'stuck'")


@pytest.mark.thorough
def test_a_lock_on_the_database(full: Home) -> None:
    """Somebody alters it in an open transaction: everybody can connect again and again meanwhile; then it is done."""
    full.back_up()
    with closing(full.beside.connect()) as beside, beside.cursor() as altering:
        altering.execute(f"BEGIN; COMMENT ON DATABASE {full.name} IS 'being altered'")
        job = full.start("restore", "--yes", "--swap")
        until(lambda: renaming(full))
        until(lambda: not renaming(full))  # it does not queue for long
        assert rows(full.database) == ROWS
        altering.execute("ROLLBACK")
    result = finish(job)
    assert result.code == 0, result.out
    assert len(full.others()) == 1 and "_before_restore_" in full.others()[0]


# Sessions that do not end, jobs that do.


def renaming(home: Home) -> bool:
    """True while the server is at the renames, also if who asked for them is gone."""
    return bool(
        home.beside.query(
            "SELECT 1 FROM pg_stat_activity WHERE starts_with(query, 'ALTER DATABASE') AND state = 'active'"
            " AND strpos(query, %s) > 0",
            home.name,
        )
    )


@pytest.mark.thorough
@contextmanager
def undying(database: Database) -> Iterator[int]:
    """A session that cannot end, because its process is stopped; until this is left."""
    with closing(database.connect()) as connection:
        pid = connection.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_killed_while_it_waits_for_a_session(full: Home) -> None:
    """SIGKILL in the midst of the swap: the old state, and everybody can connect as soon as the server notices."""
    full.back_up()
    with undying(full.database):
        job = full.start("restore", "--yes", "--swap")
        until(lambda: renaming(full))
        job.kill()
        job.communicate()
        began = time.monotonic()
        until(lambda: not renaming(full))
        print(f"the server noticed after {time.monotonic() - began:.3f} s")
    [made] = full.others()
    assert "_restored_" in made
    assert rows(full.database) == rows(Database(full.database.server, made)) == ROWS


@pytest.mark.thorough
def test_a_session_that_does_not_end(full: Home) -> None:
    """Everybody else is let in again after two seconds; when it has ended, another attempt succeeds."""
    full.back_up()
    with undying(full.database):
        job = full.start("restore", "--yes", "--swap")
        until(lambda: renaming(full))
        until(lambda: not renaming(full), 4)
        assert rows(full.database) == ROWS
    result = finish(job)
    assert result.code == 0, result.out
    assert result.events("restore.swapped")[0]["downtime_seconds"] > 2


@pytest.mark.thorough
def test_the_connection_that_renames_is_lost(full: Home) -> None:
    """13; the old state."""
    full.back_up()
    with undying(full.database):
        job = full.start("restore", "--yes", "--swap")
        until(lambda: renaming(full))
        full.beside.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE starts_with(query, 'ALTER DATABASE')"
        )
        result = finish(job)
    [made] = full.others()
    expect(result, 13, f"{full.name} stays as it is", made)
    assert rows(full.database) == ROWS


SWAPPING = """
import sys, time
from alembic_job import dsn
from alembic_job.gateways import databases, postgres, swapping
url, original, new, before = sys.argv[1:]
def beside():
    return databases.beside(dsn.parse(url), original, "swapping")
connection = postgres.attach(databases.at(dsn.parse(url), "postgres"), "swapping", 10)
print("ready", flush=True)
swapping.swap(connection, swapping.Names(original, new, before), lambda: None, databases.Rescue(beside, lambda: None))
print("done", flush=True)
time.sleep(60)
"""


@pytest.mark.thorough
def test_killed_at_every_moment(home: Home, new_database: Callable[[], Database]) -> None:
    """Killed after 0, 5, 10, … ms: each time both are there, under the old names or the new ones, and serve."""
    new, outcomes = new_database().name, []
    for number, name in enumerate((home.name, new)):
        Database(home.database.server, name).execute(f"CREATE TABLE base AS SELECT generate_series(0, {number})")
    with clients(home.database, 3, 1) as applications:
        for number, delay in enumerate([*range(0, 150, 5), 500, 2000]):
            before, serves = f"{home.name}_{number}", home.database.query("SELECT count(*) FROM base")
            argv = [sys.executable, "-c", SWAPPING, home.database.url, home.name, new, before]
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
            assert process.stdout and process.stdout.readline() == "ready\n"
            time.sleep(delay / 1000)
            process.kill()
            process.communicate()
            until(lambda: not renaming(home))
            outcomes.append(before in home.others())
            new = before if outcomes[-1] else new
            assert (home.database.query("SELECT count(*) FROM base") != serves) is outcomes[-1]
            assert Database(home.database.server, new).query("SELECT 1") == [(1,)]
    longest = max(client.longest for client in applications)
    print(f"swapped {sum(outcomes)} of {len(outcomes)}; longest time without an answer {longest:.3f} s")
    assert True in outcomes and False in outcomes, "moments on both sides of the swap"
    assert longest < 3
