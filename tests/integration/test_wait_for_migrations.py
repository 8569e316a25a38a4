"""An application's pod waits until the database is at what its image needs: ready, behind, beyond, or never."""

from __future__ import annotations

import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from alembic_job.gateways.embedded import Server
from alembic_job.gateways.locks import LOCK_CLASS
from tests.conftest import Database, Result, finish, roomy_memory, run_job, start_job
from tests.integration.test_exit_codes import expect
from tests.integration.test_pooler import Bouncer, bouncer
from tests.marks import thorough
from tests.projectkit import ENV, add_revision, make_project, sql
from tests.waiting import until

__all__ = ["bouncer"]
TABLE = sql("CREATE TABLE a (id int)")
LOUD = ENV + "\nprint('env.py was loaded')\n"
WAIT = "wait-for-migrations"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two revisions, and an env.py that says when it was loaded."""
    return make_project(tmp_path / "project", [TABLE, sql("CREATE TABLE b (id int)")], env=LOUD)


@pytest.fixture
def migrated(database: Database, project: Path) -> Database:
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    return database


def wait(project: Path, database: Database, *args: str, **env: str) -> Result:
    """A wait that is not long in the tests; without the short cut, unless a test is about that."""
    given = {"MIGRATE_MIGRATIONS_TIMEOUT": "1s", "MIGRATE_HISTORY": "off", **env}
    return run_job(WAIT, *args, cwd=project, url=database.url, env=given)


def start_wait(project: Path, url: str, *args: str, **env: str) -> subprocess.Popen[str]:
    return start_job(WAIT, *args, cwd=project, url=url, env={"MIGRATE_MIGRATIONS_TIMEOUT": "60s", **env})


def read_until(job: subprocess.Popen[str], text: str) -> str:
    """Reads the job's lines until one has this text; gives them all."""
    assert job.stdout is not None
    lines = ""
    while text not in lines:
        line = job.stdout.readline()
        assert line, f"it ended without {text}: {lines}"
        lines += line
    return lines


def was_loaded(result: Result) -> bool:
    return any(event["message"] == "env.py was loaded" for event in result.events("output"))


def sessions(database: Database) -> list[tuple[int, str]]:
    """The sessions of others in this database."""
    return database.query(
        "SELECT pid, query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


# Ready, or not yet.


def test_a_pod_that_starts_before_the_migration(database: Database, project: Path) -> None:
    """Nothing is applied yet: it waits, the Job migrates meanwhile, it is ready."""
    job = start_wait(project, database.url)
    read_until(job, "migrations.waiting")
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    result = finish(job)
    finished = result.finished
    assert (result.code, finished["from"], finished["to"], finished["applied"]) == (0, None, "r2", [])
    [ready] = result.events("migrations.ready")
    assert (ready["current"], ready["needed"], ready["ahead"]) == (["r2"], ["r2"], False)


def test_at_what_is_needed(migrated: Database, project: Path) -> None:
    """Ready at the first look."""
    result = wait(project, migrated)
    assert (result.code, result.finished["from"], result.finished["to"]) == (0, "r2", "r2")
    assert not result.events("migrations.waiting")


@pytest.mark.thorough
def test_one_revision_behind_while_another_image_migrates(migrated: Database, project: Path) -> None:
    """What is current, needed and pending is said, and again when it changes."""
    add_revision(project, 3, sql("SELECT 1"))
    add_revision(project, 4, sql("SELECT 1"))
    job = start_wait(project, migrated.url)
    first = read_until(job, "migrations.waiting")
    assert '"current": ["r2"], "needed": ["r4"], "pending": 2' in first
    migrated.execute("UPDATE alembic_version SET version_num = 'r3'")
    assert '"pending": 1' in read_until(job, "migrations.waiting")
    migrated.execute("UPDATE alembic_version SET version_num = 'r4'")
    assert finish(job).finished["to"] == "r4"


@pytest.mark.parametrize(
    ("args", "env", "code"),
    [
        ((), {}, 0),
        thorough((), {"MIGRATE_WHEN_AHEAD": "tolerate"}, 0),
        ((), {"MIGRATE_WHEN_AHEAD": "fail"}, 28),
        thorough(("--when-ahead", "fail"), {}, 28),
        thorough(("--when-ahead", "tolerate"), {"MIGRATE_WHEN_AHEAD": "fail"}, 0),
    ],
)
def test_beyond(migrated: Database, project: Path, args: tuple[str, ...], env: dict[str, str], code: int) -> None:
    """A newer image migrated it: this older one is let through, unless the policy says otherwise; then at once."""
    older_image(project)
    begun = time.monotonic()
    result = wait(project, migrated, *args, **{"MIGRATE_MIGRATIONS_TIMEOUT": "60s", **env})
    assert time.monotonic() - begun < 30
    if code:
        expect(result, 28, "'r2'", "MIGRATE_WHEN_AHEAD=tolerate")
    else:
        assert result.code == 0, result.finished
        assert result.events("migrations.ready")[0]["ahead"] is True


def older_image(project: Path) -> None:
    """The project as it was before its second revision."""
    (project / "migrations" / "versions" / "r2_.py").unlink()


@pytest.mark.parametrize(
    ("spoil", "env"),
    [
        ("UPDATE alembic_version SET version_num = 'from_elsewhere'", {}),
        thorough("UPDATE alembic_version SET version_num = 'from_elsewhere'", {"MIGRATE_WHEN_AHEAD": "tolerate"}),
        thorough("DELETE FROM alembic_job.scripts WHERE revision = 'r2'", {}),
        thorough("DROP SCHEMA alembic_job CASCADE", {}),
    ],
)
def test_beyond_without_proof(migrated: Database, project: Path, spoil: str, env: dict[str, str]) -> None:
    """Nobody knows what the database's revision is built upon: a pod that restarts is not kept out by that."""
    older_image(project)
    migrated.execute(spoil)
    result = wait(project, migrated, **env)
    assert result.code == 0, result.finished
    [ready] = result.events("migrations.ready")
    assert ready["level"] == "warning" and ready["ahead"] is True
    assert "history does not tell" in ready["hint"] and "MIGRATE_HISTORY_SCHEMA" in ready["hint"]


@pytest.mark.parametrize("env", [{}, thorough({"MIGRATE_WHEN_AHEAD": "tolerate"})])
def test_the_database_of_another_project(migrated: Database, project: Path, env: dict[str, str]) -> None:
    """By the history nothing of it is built upon these scripts: 28, at once."""
    migrated.execute(
        "UPDATE alembic_version SET version_num = 'other_2'; INSERT INTO alembic_job.scripts SELECT version_table,"
        " name, down, '{}', '{}', '', NULL, '', NULL, NULL, false, run_id FROM alembic_job.scripts,"
        " (VALUES ('other_1', '{}'::text[]), ('other_2', '{other_1}')) other (name, down) WHERE revision = 'r1'"
    )
    begun = time.monotonic()
    result = wait(project, migrated, **{"MIGRATE_MIGRATIONS_TIMEOUT": "60s", **env})
    expect(result, 28, "'other_2'", "history does not tell", "MIGRATE_HISTORY_SCHEMA")
    assert time.monotonic() - begun < 30


@pytest.mark.thorough
def test_beyond_for_a_role_that_may_not_read_the_history(migrated: Database, project: Path, reader: str) -> None:
    """It is let through with a warning that names the GRANT; with that one it is known."""
    older_image(project)
    migrated.execute("GRANT SELECT ON alembic_version TO reader")
    [taken] = run_job(WAIT, cwd=project, url=reader).events("migrations.ready")
    assert "reader may not read the history" in taken["hint"] and "is taken to have" in taken["message"]
    migrated.execute(taken["hint"].partition("as the owner: ")[2])
    [known] = run_job(WAIT, cwd=project, url=reader).events("migrations.ready")
    assert known["ahead"] is True and "by its history" in known["message"]


def test_beyond_on_another_branch(migrated: Database, project: Path, tmp_path: Path) -> None:
    """By the history what this image needs is not part of it: it waits, and says so."""
    other = make_project(tmp_path / "other", [TABLE])
    add_revision(other, 3, sql("SELECT 1"), down="r1")
    migrated.execute("UPDATE alembic_version SET version_num = 'r1'")
    assert run_job("migrate", cwd=other, url=migrated.url).finished["to"] == "r3"
    expect(wait(project, migrated), 16, "at r3", "need r2", "1 pending")


@pytest.mark.thorough
def test_the_jobs_own_policy_stays_fail(migrated: Database, project: Path) -> None:
    """Only waiting tolerates by default."""
    migrated.execute("UPDATE alembic_version SET version_num = 'of_a_newer_image'")
    assert run_job("migrate", cwd=project, url=migrated.url).code == 28


@pytest.mark.thorough
def test_to(migrated: Database, project: Path) -> None:
    """Beyond what was asked for, at a revision that is known: ready. Not there yet: not."""
    assert wait(project, migrated, "--to", "r1").events("migrations.ready")[0]["needed"] == ["r1"]
    assert wait(project, migrated, MIGRATE_TO="r1").code == 0
    migrated.execute("UPDATE alembic_version SET version_num = 'r1'")
    assert wait(project, migrated, "--to", "r1", MIGRATE_WHEN_AHEAD="fail").code == 0
    assert wait(project, migrated, "--to", "base").code == 0
    assert wait(project, migrated, "--to", "r2").code == 16
    expect(wait(project, migrated, "--to", "nowhere", MIGRATE_MIGRATIONS_TIMEOUT="60s"), 22, "nowhere")
    expect(wait(project, migrated, "--to", "+1", MIGRATE_MIGRATIONS_TIMEOUT="60s"), 20, "relative")


@pytest.mark.thorough
def test_two_heads(database: Database, tmp_path: Path) -> None:
    """All heads are needed; `--to` chooses; `head` means one, and is an error as it is for the Job."""
    project = make_project(tmp_path, [TABLE])
    for number in (2, 3):
        add_revision(project, number, sql("SELECT 1"), down="r1")
    run_job("migrate", "--to", "r2", cwd=project, url=database.url)
    late = wait(project, database)
    assert late.code == 16 and late.finished["needed"] == ["r2", "r3"] and late.finished["pending"] == 1
    assert wait(project, database, "--to", "r2").code == 0
    expect(wait(project, database, "--to", "head"), 22, "Multiple head revisions")
    run_job("migrate", "--to", "heads", cwd=project, url=database.url)
    assert wait(project, database).finished["to"] == ["r2", "r3"]


@pytest.mark.thorough
def test_scripts_without_revisions(database: Database, tmp_path: Path) -> None:
    """Nothing is needed: ready, also in an empty database."""
    assert wait(make_project(tmp_path, []), database).code == 0


TWO_TABLES = ENV.replace(
    "    context.configure(connection=connection)\n    with context.begin_transaction():\n"
    "        context.run_migrations()\n",
    "    for name in ('one_version', 'two_version'):\n"
    "        context.configure(connection=connection, version_table=name)\n"
    "        with context.begin_transaction():\n            context.run_migrations()\n",
)


@pytest.mark.thorough
def test_several_version_tables(database: Database, tmp_path: Path) -> None:
    """Each of them must be there; what is behind is named."""
    project = make_project(tmp_path, [sql("SELECT 1")], env=TWO_TABLES)
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    assert wait(project, database).code == 0
    database.execute("DELETE FROM two_version")
    expect(wait(project, database), 16, "1 pending in public.two_version")
    database.execute("DROP TABLE one_version")
    expect(wait(project, database), 16, "2 pending in public.one_version, public.two_version")


# Time is up.


def test_nobody_migrates(database: Database, project: Path) -> None:
    """An empty database and no Job: 16, which says where it is, what is needed, and to look for the Job."""
    result = wait(project, database, "--timeout", "1s", MIGRATE_MIGRATIONS_TIMEOUT="10m")
    expect(
        result, 16, "no revision", "need r2", "2 pending", "nobody is migrating", "did the migration Job run or fail"
    )
    assert result.finished["running"] is None
    assert database.query("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(0,)]


@pytest.mark.thorough
def test_somebody_migrates_for_too_long(database: Database, tmp_path: Path) -> None:
    """The run that holds the lock is named, with its pod and since when."""
    project = make_project(tmp_path, [sql("SELECT pg_sleep(60)")])
    run = start_job("migrate", cwd=project, url=database.url, env={"HOSTNAME": "migrate-pod-x7k2p"})
    until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"))
    result = wait(project, database)
    run.terminate()
    assert finish(run).code == 14
    expect(result, 16, "a run holds the lock", "migrate-pod-x7k2p", "since 20", "alembic-job status")
    assert "migrate-pod-x7k2p" in result.finished["running"]["owner"]
    assert "migrate-pod-x7k2p" in result.events("migrations.waiting")[0]["running"]["owner"]


def settled(folder: Path, **values: float) -> str:
    """A folder for PYTHONPATH that sets these constants of the wait."""
    lines = [f"    waiting.{name} = {value}\n" for name, value in values.items()]
    (folder / "sitecustomize.py").write_text(
        f"import sys\nif '{WAIT}' in sys.argv:\n    import alembic_job.pipeline.waiting as waiting\n{''.join(lines)}"
    )
    return str(folder)


@pytest.mark.thorough
def test_the_deadline_bounds_it_too(database: Database, project: Path, tmp_path: Path) -> None:
    """MIGRATE_DEADLINE is nearer: the same words, while there is time for them."""
    bounds = {"MIGRATE_DEADLINE": "30s", "MIGRATE_MIGRATIONS_TIMEOUT": "10m"}
    result = wait(project, database, **bounds, PYTHONPATH=settled(tmp_path, _RESERVE=28))
    expect(result, 16, "need r2", "nobody is migrating")
    assert result.finished["duration_seconds"] < 30


@pytest.mark.thorough
def test_a_bound_of_nothing_looks_once(database: Database, project: Path) -> None:
    """--timeout 0s asks whether it is ready now."""
    expect(wait(project, database, "--timeout", "0s"), 16, "need r2", "nobody is migrating")


@pytest.mark.thorough
def test_one_spelling_of_the_timeout(database: Database, project: Path) -> None:
    """--timeout and --migrations-timeout at once is a mistake; a wrong value is named."""
    expect(wait(project, database, "--timeout", "1s", "--migrations-timeout", "2s"), 2, "--migrations-timeout")
    expect(wait(project, database, "--timeout", "soon"), 20, "soon")


@pytest.mark.thorough
def test_behind_for_a_while_and_nobody_migrates(database: Database, project: Path, tmp_path: Path) -> None:
    """A warning, once."""
    path = settled(tmp_path, _REPORT_EVERY=0.1, _UNATTENDED=0.1)
    job = start_wait(project, database.url, PYTHONPATH=path)
    said = read_until(job, "migrations.unattended")
    assert "nobody is migrating" in said.splitlines()[-1]
    more = read_until(job, "migrations.waiting") + read_until(job, "migrations.waiting")
    assert "migrations.unattended" not in more
    job.terminate()
    assert finish(job).code == 14


def test_sigterm(database: Database, project: Path) -> None:
    """The pod is deleted while it waits: 14, at once."""
    job = start_wait(project, database.url)
    read_until(job, "migrations.waiting")
    sent = time.monotonic()
    job.terminate()
    result = finish(job)
    assert (result.code, result.finished["outcome"]) == (14, "interrupted")
    assert time.monotonic() - sent <= 1.0


@pytest.mark.thorough
def test_sigterm_while_env_py_is_loaded(database: Database, tmp_path: Path) -> None:
    """env.py hangs: 14 all the same, and the process that loads it is gone."""
    env = "import os, time\nprint('loading', os.getpid())\ntime.sleep(60)\n"
    job = start_wait(make_project(tmp_path, [TABLE], env=env), database.url)
    [pid] = re.findall(r"loading (\d+)", read_until(job, "loading"))
    sent = time.monotonic()
    job.terminate()
    assert finish(job).code == 14
    assert time.monotonic() - sent <= 1.0
    until(lambda: not Path(f"/proc/{pid}").exists(), 5)


@pytest.mark.thorough
def test_a_skipped_run(tmp_path: Path) -> None:
    """MIGRATE_SKIP touches nothing here either."""
    result = run_job(WAIT, cwd=tmp_path, env={"MIGRATE_SKIP": "no database in this environment"})
    assert (result.code, result.finished["outcome"]) == (0, "skipped")


# The database that is not there, or not for us.


@pytest.mark.thorough
def test_a_database_that_comes_later(project: Path) -> None:
    """The server is started while the pod waits, and migrated then."""
    with Server(18, folder=roomy_memory()) as server:
        server.stop()
        job = start_wait(project, server.url())
        read_until(job, '"reason": "refused"')
        server.start()
        read_until(job, "migrations.waiting")
        assert run_job("migrate", cwd=project, url=server.url()).code == 0
        assert finish(job).code == 0


def test_a_database_that_never_comes(project: Path) -> None:
    """10, as for the Job: trying again may help; and the variable that bounds it here."""
    result = run_job(WAIT, "--timeout", "1s", cwd=project, url="postgresql://u:hush@127.0.0.1:9/x")
    expect(result, 10, "127.0.0.1", "MIGRATE_MIGRATIONS_TIMEOUT")
    assert "hush" not in result.out


@pytest.mark.thorough
def test_a_server_that_is_full(migrated: Database, project: Path) -> None:
    """Too many connections: it waits until there is room."""
    migrated.execute("DROP ROLE IF EXISTS crowded")
    migrated.execute("CREATE ROLE crowded LOGIN PASSWORD 'crowded-word' CONNECTION LIMIT 1")
    migrated.execute("GRANT SELECT ON alembic_version TO crowded")
    url = migrated.url.replace(f"postgres:{migrated.server.password}@", "crowded:crowded-word@")
    only = psycopg2.connect(url)
    job = start_wait(project, url)
    assert '"reason": "too many connections"' in read_until(job, "wait.retry")
    only.close()
    assert finish(job).code == 0


def test_a_refused_login(database: Database, project: Path) -> None:
    """A short grace, then 21; not ten minutes."""
    url = database.url.replace(database.server.password, "wrong-word")
    env = {"MIGRATE_LOGIN_GRACE": "500ms"}
    result = run_job(WAIT, cwd=project, url=url, env=env)
    expect(result, 21, "password authentication failed", "DATABASE_URL")
    assert "wrong-word" not in result.out


@pytest.fixture
def reader(migrated: Database) -> Iterator[str]:
    """The URL of a role that may log in and no more."""
    migrated.execute("DROP ROLE IF EXISTS reader")
    migrated.execute("CREATE ROLE reader LOGIN PASSWORD 'reader-word'")
    yield migrated.url.replace(f"postgres:{migrated.server.password}@", "reader:reader-word@")
    migrated.execute("DROP OWNED BY reader; DROP ROLE reader")


@pytest.mark.thorough
def test_no_privilege_on_the_version_table(migrated: Database, project: Path, reader: str) -> None:
    """21, with the GRANT that is missing; and with that one grant it is ready."""
    env = {"MIGRATE_LOGIN_GRACE": "500ms"}
    result = run_job(WAIT, cwd=project, url=reader, env=env)
    expect(result, 21, "reader may not read public.alembic_version", "GRANT SELECT ON public.alembic_version TO reader")
    migrated.execute("GRANT SELECT ON alembic_version TO reader")
    assert run_job(WAIT, cwd=project, url=reader, env=env).code == 0


@pytest.mark.thorough
def test_a_grant_that_a_running_migration_makes(migrated: Database, project: Path, reader: str) -> None:
    """While a run holds the lock, a missing privilege is waited for."""
    holder = migrated.connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, 12345)", (LOCK_CLASS,))
    job = start_wait(project, reader, MIGRATE_LOGIN_GRACE="0s")
    assert '"reason": "no privilege"' in read_until(job, "wait.retry")
    migrated.execute("GRANT SELECT ON alembic_version TO reader")
    assert finish(job).code == 0
    holder.close()


@pytest.mark.thorough
def test_a_replica(project: Path) -> None:
    """The application's URL leads to a replica: its version table says as much."""
    with Server(16, folder=roomy_memory()) as server:
        assert run_job("migrate", cwd=project, url=server.url()).code == 0
        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        assert wait(project, Database(server, "postgres")).code == 0
        assert wait(project, Database(server, "postgres"), MIGRATE_HISTORY="auto").events("migrations.ready")[0][
            "proven"
        ]
        add_revision(project, 3, sql("SELECT 1"))
        expect(wait(project, Database(server, "postgres")), 16, "cannot be seen from a replica")


@pytest.mark.thorough
def test_through_a_pooler(migrated: Database, project: Path, bouncer: Bouncer) -> None:
    """PgBouncer in transaction mode: no state of a session is needed, and nothing that it would not pass on."""
    with bouncer("transaction") as url:
        assert run_job(WAIT, "--timeout", "60s", cwd=project, url=url).code == 0
        add_revision(project, 3, sql("SELECT 1"))
        job = start_wait(project, url)
        read_until(job, "migrations.waiting")
        assert run_job("migrate", cwd=project, url=migrated.url).code == 0
        assert finish(job).code == 0


# env.py.


@pytest.mark.thorough
def test_env_py_that_needs_a_table_which_a_migration_makes(database: Database, tmp_path: Path) -> None:
    """It fails before the migration: tried again, then ready; in vain: 22 with the cause."""
    needy = ENV.replace(
        "    context.configure(",
        "    connection.exec_driver_sql('SELECT * FROM tenants')\n    connection.rollback()\n    context.configure(",
    )
    project = make_project(tmp_path, [TABLE], env=needy)
    expect(wait(project, database), 22, "tenants", "migration Job")
    job = start_wait(project, database.url)
    assert "tenants" in read_until(job, "wait.retry")
    database.execute("CREATE TABLE tenants (id int)")
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    assert finish(job).code == 0


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("env", "part"),
    [
        ("import nowhere", "install nowhere"),
        ("1 / 0", "ZeroDivisionError"),
        ("def", "env.py, line 1"),
        ("pass", "run_migrations"),
    ],
)
def test_env_py_that_no_waiting_helps(database: Database, tmp_path: Path, env: str, part: str) -> None:
    """A missing module, a mistake: 22 at once. Where env.py just does nothing, when time is up."""
    project = make_project(tmp_path, [TABLE], env=env)
    bound = "1s" if env == "pass" else "60s"
    begun = time.monotonic()
    expect(wait(project, database, MIGRATE_MIGRATIONS_TIMEOUT=bound), 22, part)
    assert time.monotonic() - begun < 30


@pytest.mark.thorough
def test_heads_that_cannot_be_told(database: Database, project: Path) -> None:
    """A revision file that does not parse: 22 at once."""
    (project / "migrations" / "versions" / "r3_.py").write_text("def")
    expect(wait(project, database, MIGRATE_MIGRATIONS_TIMEOUT="60s"), 22, "r3_.py:1")


GREEDY = """\
import os
from alembic import context
from sqlalchemy import create_engine

engine = create_engine(os.environ["DATABASE_URL"])
kept = engine.connect()
with engine.connect() as connection:
    connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS app")
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(42)")
    connection.commit()
    context.configure(connection=connection, version_table_schema="app")
    with context.begin_transaction():
        context.run_migrations()
"""


def test_it_changes_nothing_locks_nothing_and_keeps_no_connection(database: Database, tmp_path: Path) -> None:
    """env.py makes its schema, takes a lock that somebody holds, and keeps connections: none of it happens."""
    project = make_project(tmp_path, [TABLE], env=GREEDY)
    holder = database.connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(42)")
    job = start_wait(project, database.url)
    said = read_until(job, "migrations.waiting")
    assert "wait.retry" not in said
    others = [pid for pid, _ in sessions(database) if pid != holder.info.backend_pid]
    until(lambda: not {pid for pid, _ in sessions(database)} & set(others), 5, "its connections to be closed")
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid <> %s"
    assert database.query(locks, holder.info.backend_pid) == [(0,)]
    assert database.query("SELECT to_regnamespace('app') IS NULL, to_regnamespace('alembic_job') IS NULL") == [
        (True,) * 2
    ]
    holder.close()
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    assert finish(job).code == 0
    assert database.query("SELECT to_regclass('app.alembic_version') IS NOT NULL") == [(True,)]


@pytest.mark.thorough
def test_a_version_table_that_comes_where_it_was_not_expected(database: Database, project: Path) -> None:
    """The search path's first schema does not exist yet; once it does, the version table is made there."""
    database.execute(f"ALTER DATABASE {database.name} SET search_path = app, public")
    job = start_wait(project, database.url)
    read_until(job, "migrations.waiting")
    database.execute("CREATE SCHEMA app")
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    result = finish(job)
    assert result.code == 0, result.finished
    assert database.query("SELECT to_regclass('app.alembic_version') IS NOT NULL") == [(True,)]


@pytest.mark.thorough
def test_another_projects_version_table(database: Database, project: Path) -> None:
    """A table of the same name in another schema is not taken for ours."""
    database.execute("CREATE SCHEMA other; CREATE TABLE other.alembic_version AS SELECT 'r2'::text AS version_num")
    expect(wait(project, database), 16, "no revision", "public.alembic_version")


@pytest.mark.thorough
def test_the_projects_own_way(migrated: Database, project: Path) -> None:
    """No DATABASE_URL: it looks where env.py connects to."""
    env = project / "migrations" / "env.py"
    env.write_text(env.read_text().replace('os.environ["DATABASE_URL"]', 'os.environ["APP_DB"]'))
    result = run_job(WAIT, "--timeout", "1s", cwd=project, env={"APP_DB": migrated.url})
    assert result.code == 0, result.finished
    assert migrated.server.password not in result.out


# The short cut.


def quick(project: Path, database: Database, *args: str, **env: str) -> Result:
    return run_job(WAIT, *args, cwd=project, url=database.url, env=env)


def is_proven(result: Result) -> bool:
    assert result.code == 0, result.finished
    proven = any(event.get("proven") for event in result.events("migrations.ready"))
    assert was_loaded(result) is not proven, "either the record decides, or env.py is loaded"
    return proven


def test_a_pod_that_restarts_does_not_load_env_py(migrated: Database, project: Path) -> None:
    """What the Job recorded decides, whatever its bounds and policies were, and those of the pod are."""
    for args, env in (
        ((), {}),
        (("--timeout", "5m"), {}),
        (("--to", "heads"), {"MIGRATE_WHEN_AHEAD": "fail"}),
        ((), {"MIGRATE_MIGRATIONS_TIMEOUT": "5m", "MIGRATE_DEADLINE": "9m", "HOSTNAME": "pod-2"}),
    ):
        result = quick(project, migrated, *args, **env)
        assert is_proven(result)
        assert (result.finished["command"], result.finished["to"], result.finished["applied"]) == (WAIT, "r2", [])
        assert result.events("migrations.ready")[0]["needed"] == ["r2"]


STALE: dict[str, Callable[[Path, Database], dict[str, str]]] = {
    "env.py": lambda project, _: edited(project / "migrations" / "env.py"),
    "a revision": lambda project, _: edited(project / "migrations" / "versions" / "r1_.py"),
    "the ini file": lambda project, _: edited(project / "alembic.ini"),
    "the target": lambda project, _: {"MIGRATE_TO": "r1"},
    "the target's word": lambda project, _: {"MIGRATE_TO": "head"},
    "an argument for env.py": lambda project, _: {"MIGRATE_X": "tenant=a"},
    "the record is off": lambda project, _: {"MIGRATE_HISTORY": "off"},
}


def edited(file: Path) -> dict[str, str]:
    file.write_text(file.read_text() + "\n# changed\n")
    return {}


@pytest.mark.thorough
@pytest.mark.parametrize("name", STALE)
def test_what_makes_the_record_stale(migrated: Database, project: Path, name: str) -> None:
    """Anything that may change what is needed: env.py is loaded."""
    env = STALE[name](project, migrated)
    assert not is_proven(quick(project, migrated, **env))


@pytest.mark.thorough
def test_a_new_revision_and_other_rows(migrated: Database, project: Path) -> None:
    """A newer image's pod waits though the older's Job has recorded; so does one whose database was rolled back."""
    migrated.execute("UPDATE alembic_version SET version_num = 'r1'")
    assert quick(project, migrated, "--timeout", "1s").code == 16
    migrated.execute("UPDATE alembic_version SET version_num = 'r2'")
    assert is_proven(quick(project, migrated))
    add_revision(project, 3, sql("SELECT 1"))
    assert quick(project, migrated, "--timeout", "1s").code == 16


@pytest.mark.thorough
def test_a_record_for_a_target(database: Database, project: Path) -> None:
    """MIGRATE_TO=r1 of the Job proves r1 to the pods, not the heads."""
    assert run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_TO": "r1"}).code == 0
    assert is_proven(quick(project, database, MIGRATE_TO="r1"))
    assert is_proven(quick(project, database, "--to", "r1"))
    assert quick(project, database, "--timeout", "1s").code == 16


@pytest.mark.thorough
def test_a_wait_writes_no_record(migrated: Database, project: Path) -> None:
    """The Job's record is all there is; a wait only reads."""
    before = migrated.query("SELECT key, digest, xmin FROM alembic_job.nothing_pending ORDER BY key")
    edited(project / "migrations" / "env.py")
    assert not is_proven(quick(project, migrated))
    assert migrated.query("SELECT key, digest, xmin FROM alembic_job.nothing_pending ORDER BY key") == before


# A thousand pods.


@pytest.mark.thorough
def test_a_poll_is_one_short_connection_and_one_query(project: Path) -> None:
    """As the server's own log tells it: env.py's connection, then one connection with one query a look, never two."""
    conf = {"log_statement": "all", "log_connections": "on", "log_disconnections": "on", "log_line_prefix": "%p|%a|"}
    with Server(18, conf=conf, folder=roomy_memory()) as server:
        job = start_wait(project, server.url(), MIGRATE_HISTORY="off")
        read_until(job, "migrations.waiting")
        log = server.root / "log"
        until(lambda: log.read_text().count("|LOG:  statement: SET LOCAL") >= 6, 60)
        job.terminate()
        assert finish(job).code == 14
        lines = [line.split("|", 2) for line in log.read_text().splitlines() if line.count("|") >= 2]
    statements: dict[str, list[str]] = defaultdict(list)
    connected = most = 0
    for pid, name, text in lines:
        if "statement: " in text and name.startswith("alembic-job"):
            statements[pid].append(text)
        connected += ("connection authorized" in text) - ("disconnection" in text)
        most = max(most, connected)
    first, *rest = [len(found) for found in statements.values()]
    assert first == 4, "the first look asks who migrates, too"
    assert rest and set(rest) == {1}, statements
    assert most == 1
    assert not [text for _, _, text in lines if "ERROR" in text], "a table that is not there is no error in the log"


@pytest.mark.thorough
def test_a_look_at_a_locked_version_table_is_bounded(migrated: Database, project: Path) -> None:
    """Somebody holds the version table: no connection waits in that queue for long, and it is ready afterwards."""
    holder = migrated.connect()
    with holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
    job = start_wait(project, migrated.url)
    assert '"reason": "version table locked"' in read_until(job, "wait.retry")
    with holder.cursor() as cursor:
        cursor.execute("COMMIT")
    assert finish(job).code == 0
    holder.close()


# What a review found.

TENANTS = """\
import os
from alembic import context
from sqlalchemy import create_engine, inspect, text

with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    names = []
    if inspect(connection).has_table("tenants", schema="public"):
        names = [row[0] for row in connection.execute(text("SELECT name FROM public.tenants ORDER BY name"))]
    connection.rollback()
    for schema in ["public", *names]:
        context.configure(connection=connection, version_table_schema=schema)
        with context.begin_transaction():
            context.run_migrations()
"""


@pytest.mark.thorough
def test_tenants_that_appear_while_it_waits(database: Database, tmp_path: Path) -> None:
    """The first table being ready is not all: env.py is asked once more which version tables there are."""
    project = make_project(tmp_path, [sql("SELECT 1")], env=TENANTS)
    job = start_wait(project, database.url, MIGRATE_HISTORY="off")
    read_until(job, "migrations.waiting")
    database.execute(
        "CREATE SCHEMA ta; CREATE TABLE tenants AS SELECT 'ta' AS name;"
        "CREATE TABLE alembic_version AS SELECT 'r1'::varchar AS version_num"
    )
    assert '"tables": ["ta.alembic_version"]' in read_until(job, "migrations.waiting")
    database.execute("CREATE TABLE ta.alembic_version AS SELECT 'r1'::varchar AS version_num")
    assert finish(job).code == 0


@pytest.mark.parametrize("question", [False, True])
def test_a_secret_that_env_py_tells(database: Database, tmp_path: Path, question: bool) -> None:
    """env.py's error holds the password that only env.py knew: neither output nor termination message shows it."""
    password = "known to env.py alone"
    database.execute(f"CREATE ROLE teller LOGIN PASSWORD '{password}'")
    place = f"127.0.0.1:{database.server.port}/{database.name}"
    env = f"""
from sqlalchemy import create_engine
with create_engine("postgresql://teller:{password.replace(" ", "%20")}@{place}").connect() as connection:
    raise RuntimeError("no luck with " + connection.connection.dbapi_connection.info.password)
"""
    project = make_project(tmp_path / "project", [TABLE], env=env)
    message = tmp_path / "message"
    if question:
        result = run_job("status", cwd=project, url=f"postgresql://teller:{password.replace(' ', '%20')}@{place}")
    else:
        result = wait(project, database, MIGRATE_TERMINATION_LOG=str(message))
        assert "no luck" in message.read_text()
    assert result.code == 22, result.err
    assert password not in result.out + result.err + (message.read_text() if message.exists() else "")
    database.execute("DROP OWNED BY teller; DROP ROLE teller")


@pytest.mark.thorough
@pytest.mark.parametrize("statement", ["SET lock_timeout = '5s'; CREATE SCHEMA IF NOT EXISTS s", "SELECT 1"])
def test_several_statements_at_once(database: Database, tmp_path: Path, statement: str) -> None:
    """An env.py that makes its schema in a statement among others is understood, and nothing is made."""
    env = ENV.replace(
        "    context.configure", f"    connection.exec_driver_sql({statement!r})\n    context.configure", 1
    )
    assert env != ENV
    project = make_project(tmp_path, [TABLE], env=env)
    result = wait(project, database)
    assert result.code == 16, result.finished
    assert database.query("SELECT to_regnamespace('s') IS NULL") == [(True,)]


@pytest.mark.thorough
def test_a_change_that_cannot_be_kept_back(database: Database, tmp_path: Path) -> None:
    """env.py calls a function that writes: that is an error of the project (22), which no retry mends."""
    database.execute("CREATE TABLE t (); CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'CREATE TABLE x ()'")
    env = ENV.replace("    context.configure", "    connection.exec_driver_sql('SELECT f()')\n    context.configure", 1)
    result = wait(make_project(tmp_path, [TABLE], env=env), database)
    expect(result, 22, "env.py changes the database", "without letting it change anything")


@pytest.mark.thorough
def test_who_migrates_may_not_be_asked(migrated: Database, project: Path, new_database: Callable[[], Database]) -> None:
    """A role that may not see the locks: the wait goes on without knowing who migrates."""
    migrated.execute("CREATE ROLE blind LOGIN PASSWORD 'blind'; GRANT SELECT ON alembic_version TO blind")
    migrated.execute("REVOKE SELECT ON pg_locks FROM PUBLIC")
    try:
        url = migrated.url.replace("postgres:" + migrated.server.password, "blind:blind")
        result = run_job(WAIT, cwd=project, url=url, env={"MIGRATE_HISTORY": "off", "MIGRATE_MIGRATIONS_TIMEOUT": "1s"})
        assert result.code == 0, result.finished
    finally:
        migrated.execute("GRANT SELECT ON pg_locks TO PUBLIC; DROP OWNED BY blind; DROP ROLE blind")
