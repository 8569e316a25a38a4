"""What happens when a run is ended from outside: signals, deadlines, kill -9, a lost lock connection."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alembic_job.gateways.locks import LOCK_CLASS
from tests.conftest import Database, finish, run_job, start_job
from tests.projectkit import ENV, add_revision, make_project, sql
from tests.waiting import until

SLEEP = sql("SELECT pg_sleep(60)")
SWALLOWING = """
op.execute("CREATE TABLE half (id int)")
for _ in range(50):
    try:
        op.get_bind().exec_driver_sql("SELECT pg_sleep(60)")
    except BaseException:
        pass
"""


def sleeping(database: Database) -> list[int]:
    """The backends that execute the migration's pg_sleep: not by its text, which the history writes, too."""
    rows = database.query(
        "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        " AND pid <> pg_backend_pid() AND datname = current_database()"
    )
    return [pid for [pid] in rows]


def our_locks(database: Database) -> int:
    [[count]] = database.query(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return int(count)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.thorough)])
def test_a_signal_cancels_the_statement_at_once(database: Database, tmp_path: Path, number: int) -> None:
    """SIGTERM in a long statement: exit 14 within a second, that revision undone, the one before kept, lock free."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)"), sql("CREATE TABLE b (id int)") + "\n" + SLEEP])
    job = start_job("migrate", cwd=project, url=database.url)
    until(lambda: sleeping(database))
    sent = time.monotonic()
    job.send_signal(number)
    result = finish(job)
    took = time.monotonic() - sent
    assert (result.code, result.finished["outcome"]) == (14, "interrupted")
    assert result.finished["applied"] == ["r1"]
    assert signal.Signals(number).name in result.finished["error"] and result.finished["hint"]
    assert took <= 1.0, took
    assert database.query("SELECT to_regclass('a') IS NOT NULL, to_regclass('b') IS NULL") == [(True, True)]
    assert not sleeping(database) and our_locks(database) == 0


def test_a_migration_that_swallows_the_cancellation_is_ended_too(database: Database, tmp_path: Path) -> None:
    """`except BaseException: pass` in a loop does not keep the run alive: its backend is terminated, exit 14."""
    project = make_project(tmp_path, [SWALLOWING])
    job = start_job("migrate", cwd=project, url=database.url)
    until(lambda: sleeping(database))
    sent = time.monotonic()
    job.terminate()
    result = finish(job)
    assert result.code == 14 and result.finished["applied"] == []
    assert time.monotonic() - sent <= 1.0
    until(lambda: not sleeping(database), 5)
    until(lambda: our_locks(database) == 0, 5)
    assert database.query("SELECT to_regclass('half') IS NULL") == [(True,)]


def test_a_migration_that_sleeps_in_python_is_interrupted(database: Database, tmp_path: Path) -> None:
    """Not only SQL takes long: time.sleep(60) in a migration ends at once as well."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)") + "\nprint('asleep')\ntime.sleep(60)"])
    job = start_job("migrate", cwd=project, url=database.url)
    assert job.stdout is not None
    assert any("asleep" in line for line in job.stdout)
    sent = time.monotonic()
    job.terminate()
    result = finish(job)
    assert result.code == 14
    assert time.monotonic() - sent <= 1.0
    assert database.query("SELECT to_regclass('a') IS NULL") == [(True,)]


def test_a_signal_while_waiting_for_the_database(tmp_path: Path) -> None:
    """Nothing runs yet: SIGTERM while the database is awaited ends with 14, not with the timeout."""
    project = make_project(tmp_path, [])
    job = start_job("migrate", cwd=project, url="postgresql://u:p@127.0.0.1:9/x")
    assert job.stdout is not None
    assert any("wait.retry" in line for line in job.stdout)
    job.terminate()
    result = finish(job, 5)
    assert result.code == 14 and result.finished["outcome"] == "interrupted"


def test_a_second_signal_exits_at_once(database: Database, tmp_path: Path) -> None:
    """Two signals in a row: the process is gone, and the last line is still job.finished."""
    project = make_project(tmp_path, [SWALLOWING])
    job = start_job("migrate", cwd=project, url=database.url)
    until(lambda: sleeping(database))
    sent = time.monotonic()
    job.terminate()
    job.terminate()
    until(lambda: job.send_signal(signal.SIGTERM) or job.poll() is not None, 3)
    result = finish(job)
    assert result.code == 14 and result.finished["exit_code"] == 14
    assert time.monotonic() - sent <= 1.0


def test_the_deadline_ends_a_run_like_a_signal(database: Database, tmp_path: Path) -> None:
    """MIGRATE_DEADLINE in the middle of a statement: exit 16, nothing of that revision kept."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)") + "\n" + SLEEP])
    result = run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_DEADLINE": "3s"}, timeout=20)
    assert (result.code, result.finished["outcome"]) == (16, "deadline")
    assert result.finished["hint"]
    assert database.query("SELECT to_regclass('a') IS NULL") == [(True,)]
    assert not sleeping(database)


def test_the_deadline_also_bounds_the_wait(tmp_path: Path) -> None:
    """Waiting for a database that never comes ends at the deadline."""
    project = make_project(tmp_path, [])
    env = {"MIGRATE_DEADLINE": "1s", "MIGRATE_WAIT_TIMEOUT": "60s"}
    result = run_job("migrate", cwd=project, url="postgresql://u:p@127.0.0.1:9/x", env=env, timeout=20)
    assert result.code == 16


def test_after_kill_9_the_next_run_ends_the_orphan_and_goes_on(database: Database, tmp_path: Path) -> None:
    """SIGKILL leaves a backend working without an owner; the next run ends it first, and then completes, in 5 s."""
    database.execute(f"ALTER DATABASE {database.name} SET client_connection_check_interval = 0")
    project = make_project(
        tmp_path,
        [
            """
            import os
            op.execute("CREATE TABLE a (id int)")
            if os.environ.get("SLOW"):
                op.execute("SET client_connection_check_interval = 0")
                op.execute("SELECT pg_sleep(60)")
        """
        ],
    )
    job = start_job("migrate", cwd=project, url=database.url, env={"SLOW": "1"})
    [orphan] = until(lambda: sleeping(database))
    job.kill()
    job.wait()
    assert sleeping(database) == [orphan], "the server should still execute the dead run's statement"
    begun = time.monotonic()
    result = run_job("migrate", cwd=project, url=database.url)
    assert time.monotonic() - begun <= 5
    assert result.code == 0 and result.finished["applied"] == ["r1"]
    assert [event["pid"] for event in result.events("orphan.ended")] == [orphan]
    assert not sleeping(database)


def test_an_orphan_of_another_role_is_waited_for_and_named(database: Database, tmp_path: Path, pg18: object) -> None:
    """A role that may not end the dead run's backend waits for it, says for what, and gives up with 11."""
    database.execute("DROP ROLE IF EXISTS other_runner")
    database.execute("CREATE ROLE other_runner LOGIN PASSWORD 'secret-other'")
    database.execute("GRANT ALL ON SCHEMA public TO other_runner")
    database.execute(f"GRANT ALL ON DATABASE {database.name} TO other_runner")
    project = make_project(
        tmp_path, ["op.execute('SET client_connection_check_interval = 0')\nop.execute('SELECT pg_sleep(60)')"]
    )
    job = start_job("migrate", cwd=project, url=database.url)
    [orphan] = until(lambda: sleeping(database))
    job.kill()
    finish(job)
    other = database.url.replace(f"postgres:{database.server.password}@", "other_runner:secret-other@")
    result = run_job("migrate", cwd=project, url=other, env={"MIGRATE_RUN_LOCK_TIMEOUT": "1s"})
    assert result.code == 11
    assert result.events("orphan.waiting")[0]["pids"] == [orphan]
    assert f"pg_terminate_backend({orphan})" in result.finished["hint"]
    database.query("SELECT pg_terminate_backend(%s)", orphan)


@pytest.mark.thorough
def test_a_losing_runner_names_the_owner(database: Database, tmp_path: Path) -> None:
    """Exit 11 says who holds the lock: run, host, image, since when."""
    project = make_project(tmp_path, [SLEEP])
    owner = start_job("migrate", cwd=project, url=database.url, env={"MIGRATE_IMAGE": "shop/migrations:1.4 */ x"})
    until(lambda: sleeping(database))
    result = run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_RUN_LOCK_TIMEOUT": "1s"})
    owner.terminate()
    first = finish(owner)
    waiting = result.events("lock.waiting")[0]
    assert result.code == 11 and "image shop/migrations:1.4" in result.finished["error"]
    assert waiting["owner_image"] == "shop/migrations:1.4/x" and waiting["owner_since"]
    assert first.events()[0]["run_id"] in waiting["owner"] and first.code == 14


def test_a_killed_job_still_has_a_last_line(database: Database, tmp_path: Path) -> None:
    """SIGKILL cannot be caught, but the writer of our lines notices and says it in the job's place."""
    project = make_project(tmp_path, [SLEEP])
    job = start_job("migrate", cwd=project, url=database.url)
    until(lambda: sleeping(database))
    job.kill()
    result = finish(job)
    assert result.finished["outcome"] == "killed" and result.finished["hint"]


def lock_holder(database: Database) -> list[tuple[int, int]]:
    """Pid and key of the session that holds the version table's lock."""
    return database.query(
        "SELECT pid, objid::int8 FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND granted", LOCK_CLASS
    )


def test_losing_the_lock_connection_regains_the_lock(database: Database, tmp_path: Path) -> None:
    """A migration that ends all other sessions ends ours as well; if nobody came between the run goes on."""
    body = """
        op.execute("CREATE TABLE a (id int)")
        op.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                   " WHERE datname = current_database() AND pid <> pg_backend_pid()")
        for _ in range(1000):
            found = op.get_bind().exec_driver_sql(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1634365260").scalar()
            if found:
                break
            time.sleep(0.02)
        assert found == 1
    """
    result = run_job("migrate", cwd=make_project(tmp_path, [body]), url=database.url)
    assert result.code == 0 and result.finished["applied"] == ["r1"], result.finished
    assert result.events("lock.regained")


def test_losing_the_lock_to_somebody_else_ends_the_run(database: Database, tmp_path: Path) -> None:
    """The lock connection dies and another session has the lock at once: the run stops itself with 13."""
    project = make_project(tmp_path, [SLEEP])
    job = start_job("migrate", cwd=project, url=database.url)
    until(lambda: sleeping(database))
    [(pid, key)] = lock_holder(database)
    rival = database.connect()
    waiting = threading.Thread(
        target=lambda: rival.cursor().execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, key)), daemon=True
    )
    waiting.start()
    until(lambda: database.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
    database.query("SELECT pg_terminate_backend(%s)", pid)
    result = finish(job, 10)
    assert result.code == 13 and "lock" in result.finished["error"]
    assert not sleeping(database)
    waiting.join()
    rival.close()


def test_losing_the_migrations_connection_is_13(database: Database, tmp_path: Path) -> None:
    """An administrator ends the migration's backend: connection lost, which is worth another try."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)"), SLEEP])
    job = start_job("migrate", cwd=project, url=database.url)
    [pid] = until(lambda: sleeping(database))
    database.query("SELECT pg_terminate_backend(%s)", pid)
    result = finish(job, 10)
    assert result.code == 13 and result.finished["applied"] == ["r1"]


def test_the_before_command_is_ended_by_sigterm(database: Database, tmp_path: Path) -> None:
    """A hook of the user's must not outlive the run."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)")])
    job = start_job("migrate", cwd=project, url=database.url, env={"MIGRATE_BEFORE": "sh -c 'echo pid=$$; sleep 60'"})
    assert job.stdout is not None
    line = ""
    while '"message": "pid=' not in line:
        line = job.stdout.readline()
    pid = int(line.partition('"pid=')[2].split('"')[0])
    sent = time.monotonic()
    job.terminate()
    result = finish(job, 10)
    assert result.code == 14 and time.monotonic() - sent <= 1.2
    until(lambda: is_gone(pid), 5)


def is_gone(pid: int) -> bool:
    """True if there is no such process, or only what is left of it until its parent looks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_twenty_at_once_apply_each_revision_once(new_database: Callable[[], Database], tmp_path: Path) -> None:
    """Twenty runs on an empty database: all exit 0, and the table that counts has one row a revision."""
    database = new_database()
    count = "op.execute('CREATE TABLE IF NOT EXISTS counted (n int)')\nop.execute('INSERT INTO counted VALUES ({n})')"
    project = make_project(tmp_path, [count.format(n=n) for n in range(1, 6)])
    jobs = [start_job("migrate", cwd=project, url=database.url) for _ in range(20)]
    results = [finish(job, 120) for job in jobs]
    assert [result.code for result in results] == [0] * 20
    assert database.query("SELECT n FROM counted ORDER BY n") == [(n,) for n in range(1, 6)]
    applied = [revision for result in results for revision in result.finished["applied"]]
    assert sorted(applied) == ["r1", "r2", "r3", "r4", "r5"]
    assert [result.err for result in results] == [""] * 20


@pytest.mark.thorough
def test_an_exit_function_that_hangs(database: Database, tmp_path: Path) -> None:
    """Telemetry that flushes for ever: SIGTERM ends the process, with the outcome the run had."""
    body = "import atexit\natexit.register(lambda: (print('flushing'), time.sleep(60)))"
    job = start_job("migrate", cwd=make_project(tmp_path, [body]), url=database.url)
    assert job.stdout is not None
    line = ""
    while '"message": "flushing"' not in line:
        line = job.stdout.readline()
    job.terminate()
    result = finish(job, 5)
    assert (result.code, result.finished["outcome"]) == (0, "done")


@pytest.mark.thorough
def test_a_run_killed_while_the_next_one_loads(database: Database, tmp_path: Path) -> None:
    """The owner dies between the two locks of the next run: its backend is still ended before anything else."""
    env = "import os, time\nif os.environ.get('SECOND'):\n    print('loading')\n    time.sleep(2)\n" + ENV
    body = """
        import os
        if not os.environ.get('SECOND'):
            op.execute('SET client_connection_check_interval = 0')
            op.execute('SELECT pg_sleep(60)')
    """
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)")], env=env)
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    add_revision(project, 2, body)
    first = start_job("migrate", cwd=project, url=database.url)
    [orphan] = until(lambda: sleeping(database))
    second = start_job("migrate", cwd=project, url=database.url, env={"SECOND": "1"})
    assert second.stdout is not None
    line = ""
    while '"message": "loading"' not in line:
        line = second.stdout.readline()
    first.kill()
    result = finish(second)
    assert result.code == 0 and [event["pid"] for event in result.events("orphan.ended")] == [orphan]
    finish(first)
