"""Nothing pending, decided from what an earlier run proved: fast when nothing changed, and never wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alembic_job.gateways.embedded import Server
from tests.conftest import Database, Result, finish, job_environment, run_job, start_job
from tests.projectkit import INI, add_revision, make_project, sql
from tests.waiting import until

ENV = """\
import os
from alembic import context
from sqlalchemy import create_engine, pool
import models
from package import inner

flavour = os.environ.get("FLAVOUR", "plain")
tenant = context.get_x_argument(as_dictionary=True).get("tenant", "public")
notes = open("notes.txt").read() if os.path.exists("notes.txt") else ""
engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, version_table_schema=tenant)
    with context.begin_transaction():
        context.run_migrations()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose env.py reads modules, a file, an environment variable and an -x argument."""
    folder = make_project(tmp_path / "project", [sql("CREATE TABLE a (id int)")], env=ENV)
    (folder / "models.py").write_text("NAME = 'a'\n")
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "inner.py").write_text("VALUE = 1\n")
    (folder / "notes.txt").write_text("one")
    return folder


@pytest.fixture
def settled(database: Database, project: Path) -> Database:
    """Migrated, recorded, and on a server old enough to be believed (ten seconds)."""
    assert migrate(project, database).code == 0
    until(lambda: age(database) > 10.5, 15)
    assert is_proven(migrate(project, database)), "the second run should have been decided by the short cut"
    return database


def age(database: Database) -> float:
    [[seconds]] = database.query("SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8")
    return float(seconds)


def migrate(project: Path, database: Database, *args: str, **env: str) -> Result:
    return run_job("migrate", *args, cwd=project, url=database.url, env=env)


def is_proven(result: Result) -> bool:
    """True if the run was decided without loading the project."""
    assert result.code == 0, result.finished
    return any(event.get("proven") for event in result.events("nothing.pending"))


Change = Callable[[Path], dict[str, str]]


def edited(name: str, text: str) -> Change:
    def change(project: Path) -> dict[str, str]:
        file = project / name
        before = file.stat() if file.exists() else None
        file.write_text(text if before is None else file.read_text() + text)
        if before is not None:  # an image may clamp times: the content must decide
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        return {}

    return change


CHANGES: dict[str, Change] = {
    "a revision file": edited("migrations/versions/r1_.py", "\n# changed\n"),
    "a new file among the revisions": edited("migrations/versions/note.txt", "x"),
    "env.py": edited("migrations/env.py", "\n# changed\n"),
    "a module env.py imports": edited("models.py", "# changed\n"),
    "a module in a package": edited("package/inner.py", "# changed\n"),
    "a module that could shadow another": edited("sqlalchemy_utils_local.py", ""),
    "a file env.py opens": edited("notes.txt", "two"),
    "a .env file that was not there": edited(".env", "X=1"),
    "the ini file": edited("alembic.ini", "\n# changed\n"),
    "an environment value that env.py reads": lambda project: {"FLAVOUR": "other"},
    "a setting": lambda project: {"MIGRATE_RUN_LOCK_TIMEOUT": "9m"},
    "a libpq variable": lambda project: {"PGOPTIONS": "-c search_path=public"},
}


FEW = ("a revision file", "a module env.py imports")


@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.thorough) for name in CHANGES]
)
def test_each_input_changed_once_means_the_slow_path(settled: Database, project: Path, name: str) -> None:
    """Whatever the answer rested on: changed once → the slow path; unchanged afterwards → the short cut again."""
    env = CHANGES[name](project)
    assert not is_proven(migrate(project, settled, **env)), name
    assert is_proven(migrate(project, settled, **env)), "recorded anew"


def test_what_decides_nothing_does_not_slow_down(settled: Database, project: Path) -> None:
    """A pod's name, a variable nobody reads, byte code: still the short cut."""
    (project / "migrations" / "versions" / "__pycache__").mkdir(exist_ok=True)
    (project / "migrations" / "versions" / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert is_proven(migrate(project, settled, HOSTNAME="another-pod", UNRELATED="1"))


@pytest.mark.thorough
def test_an_argument_for_env_py(settled: Database, project: Path) -> None:
    """-x chooses another version table here: never answered from the record of the first."""
    settled.execute("CREATE SCHEMA tenant_b")
    result = migrate(project, settled, "-x", "tenant=tenant_b", MIGRATE_NEW_DATABASE="any")
    assert result.code == 23 or result.finished["applied"] == ["r1"], result.finished  # table a exists already
    assert not result.events("nothing.pending")


def test_a_new_revision_is_applied(settled: Database, project: Path) -> None:
    """The point of it all."""
    add_revision(project, 2, sql("CREATE TABLE b (id int)"))
    assert migrate(project, settled).finished["applied"] == ["r2"]
    assert is_proven(migrate(project, settled))


@pytest.mark.thorough
def test_a_relative_target_is_another_every_time(settled: Database, project: Path) -> None:
    """MIGRATE_TO=+1 twice applies two revisions."""
    for number in (2, 3):
        add_revision(project, number, sql("SELECT 1"))
    for number in (2, 3):
        assert migrate(project, settled, MIGRATE_TO="+1").finished["applied"] == [f"r{number}"]


def test_the_rows_of_the_version_table(settled: Database, project: Path) -> None:
    """Somebody rolled back or stamped by other means: the same answer as bare Alembic's."""
    settled.execute("DROP TABLE a")
    settled.execute("DELETE FROM alembic_version")
    assert migrate(project, settled).finished["applied"] == ["r1"]
    settled.execute("UPDATE alembic_version SET version_num = 'r9'")
    assert migrate(project, settled).code == 28
    settled.execute("DROP TABLE alembic_version, a")
    assert migrate(project, settled).finished["applied"] == ["r1"]


@pytest.mark.thorough
def test_another_database(settled: Database, project: Path, new_database: Callable[[], Database]) -> None:
    """A copy carries the record along, but not the identity; an empty database has none."""
    copy = Database(settled.server, f"{settled.name}_copy")
    until(
        lambda: (
            not settled.query(
                "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()", settled.name
            )
        )
    )
    Database(settled.server, "postgres").execute(f"CREATE DATABASE {copy.name} TEMPLATE {settled.name}")
    assert not is_proven(migrate(project, copy))
    assert is_proven(migrate(project, copy))
    assert migrate(project, new_database()).finished["applied"] == ["r1"]


def test_a_live_runner_is_not_overlooked(settled: Database, project: Path) -> None:
    """While another run holds a lock the answer may be about to change: wait for it instead."""
    holder = settled.connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, 12345)", (0x616A6F4C,))
    try:
        assert not is_proven(migrate(project, settled))
    finally:
        holder.close()
    assert is_proven(migrate(project, settled))


@pytest.mark.thorough
def test_off_means_no_schema_and_no_short_cut(database: Database, project: Path) -> None:
    """MIGRATE_HISTORY=off leaves the database alone."""
    for _ in range(2):
        assert not is_proven(migrate(project, database, MIGRATE_HISTORY="off"))
    assert database.query("SELECT to_regnamespace('alembic_job') IS NULL") == [(True,)]


@pytest.mark.thorough
def test_another_schema_name(settled: Database, project: Path) -> None:
    """The schema's name is a setting, quoted as it needs."""
    env = {"MIGRATE_HISTORY_SCHEMA": 'my "jobs"'}
    assert not is_proven(migrate(project, settled, **env))
    assert is_proven(migrate(project, settled, **env))


@pytest.mark.thorough
def test_a_role_that_may_not_create_a_schema(database: Database, project: Path) -> None:
    """auto does without; required says what to grant."""
    database.execute("DROP ROLE IF EXISTS plain_runner")
    database.execute("CREATE ROLE plain_runner LOGIN PASSWORD 'plain-word'")
    database.execute("GRANT ALL ON SCHEMA public TO plain_runner")
    url = database.url.replace(f"postgres:{database.server.password}@", "plain_runner:plain-word@")
    assert run_job("migrate", cwd=project, url=url).code == 0
    result = run_job("migrate", cwd=project, url=url, env={"MIGRATE_HISTORY": "required"})
    assert result.code == 21 and "CREATE SCHEMA" in result.finished["hint"]


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("SQL of its own", "with engine.connect() as c: c.exec_driver_sql('SELECT 1')"),
        pytest.param("a program", "import subprocess; subprocess.run(['true'])", marks=pytest.mark.thorough),
        pytest.param(
            "a driver's own connection",
            "import psycopg2; psycopg2.connect(os.environ['DATABASE_URL']).close()",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            "another server",
            "import socket; s = socket.socket(); s.connect_ex(('127.0.0.1', 9)); s.close()",
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_no_short_cut_where_the_answer_may_come_from_elsewhere(
    settled: Database, project: Path, what: str, line: str
) -> None:
    """env.py asks the database, a program or another server: that cannot be noted, so nothing is recorded."""
    env = project / "migrations" / "env.py"
    env.write_text(
        env.read_text().replace("with engine.connect() as connection:", f"{line}\nwith engine.connect() as connection:")
    )
    for _ in range(2):
        assert not is_proven(migrate(project, settled)), what


@pytest.mark.thorough
def test_a_project_that_reads_the_whole_environment(settled: Database, project: Path) -> None:
    """As pydantic's settings do: then every variable counts, but not the pod's name."""
    env = project / "migrations" / "env.py"
    env.write_text("import os\nseen = dict(os.environ)\n" + env.read_text())
    assert not is_proven(migrate(project, settled))
    assert is_proven(migrate(project, settled, HOSTNAME="pod-2"))
    assert not is_proven(migrate(project, settled, UNRELATED="1"))


@pytest.mark.thorough
def test_a_rotated_password_decides_nothing(settled: Database, project: Path) -> None:
    """The record holds no digest of a password, and a new one does not slow down."""
    settled.execute("DROP ROLE IF EXISTS rotating")
    settled.execute("CREATE ROLE rotating SUPERUSER LOGIN PASSWORD 'first-word'")
    url = settled.url.replace(f"postgres:{settled.server.password}@", "rotating:{}@")
    assert not is_proven(run_job("migrate", cwd=project, url=url.format("first-word")))
    settled.execute("ALTER ROLE rotating PASSWORD 'second-word'")
    assert is_proven(run_job("migrate", cwd=project, url=url.format("second-word")))


@pytest.mark.thorough
def test_the_answer_is_bare_alembics(settled: Database, project: Path) -> None:
    """Bare Alembic finds nothing to do either."""
    alembic = Path(sys.executable).with_name("alembic")
    done = subprocess.run(
        [alembic, "current"], cwd=project, env=job_environment(settled.url), capture_output=True, text=True, check=True
    )
    assert "r1 (head)" in done.stdout


@pytest.mark.thorough
def test_twenty_first_runs_at_once_record_without_an_error(database: Database, project: Path) -> None:
    """CREATE SCHEMA IF NOT EXISTS races; ours does not."""
    run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_HISTORY": "off"})
    jobs = [start_job("migrate", cwd=project, url=database.url, env={"MIGRATE_TAG": f"t{n}"}) for n in range(20)]
    results = [finish(job, 120) for job in jobs]
    assert [result.code for result in results] == [0] * 20
    assert all(not result.events("log.record") for result in results)
    # Each under two keys: its own, and that of whoever waits for it.
    assert database.query("SELECT count(*) FROM alembic_job.nothing_pending") == [(40,)]


@pytest.fixture
def other_venv(tmp_path: Path) -> Iterator[Path]:
    """A folder on PYTHONPATH with a package's metadata, whose version can change."""
    site = tmp_path / "site"
    (site / "somepackage-1.0.dist-info").mkdir(parents=True)
    yield site
    shutil.rmtree(site)


@pytest.mark.thorough
def test_a_packages_version(settled: Database, project: Path, other_venv: Path) -> None:
    """An upgraded package, whichever it is, means the slow path."""
    env = {"PYTHONPATH": str(other_venv)}
    assert not is_proven(migrate(project, settled, **env))
    assert is_proven(migrate(project, settled, **env))
    (other_venv / "somepackage-1.0.dist-info").rename(other_venv / "somepackage-1.1.dist-info")
    assert not is_proven(migrate(project, settled, **env))


@pytest.mark.thorough
def test_a_young_server_is_not_believed(project: Path) -> None:
    """A server younger than ten seconds may be initdb's temporary one: the slow path checks twice."""
    with Server(18) as server:
        database = Database(server, "postgres")
        for _ in range(2):
            assert not is_proven(migrate(project, database))
            assert time.monotonic() > 0


@pytest.mark.thorough
def test_settings_in_the_ini_of_another_section(database: Database, tmp_path: Path) -> None:
    """-n chooses what is read; the record is per section."""
    ini = (
        INI + "\n[other]\nscript_location = %(here)s/migrations\nprepend_sys_path = .\nversion_table = other_version\n"
    )
    project = make_project(tmp_path / "p", [sql("SELECT 1")], ini=ini)
    assert migrate(project, database).finished["applied"] == ["r1"]
    assert not is_proven(migrate(project, database, "-n", "other"))


@pytest.mark.thorough
def test_a_revision_added_while_a_run_works_is_not_recorded_as_applied(database: Database, project: Path) -> None:
    """The scripts were read at the start; what came since belongs to the next run."""
    add_revision(project, 2, sql("SELECT pg_sleep(1)"))
    job = start_job("migrate", cwd=project, url=database.url)
    until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(1)'"))
    add_revision(project, 3, sql("CREATE TABLE late (id int)"))
    assert finish(job).finished["applied"] == ["r1", "r2"]
    until(lambda: age(database) > 10.5, 15)
    assert migrate(project, database).finished["applied"] == ["r3"]


@pytest.mark.thorough
def test_a_driver_imported_later_is_watched_too(settled: Database, project: Path) -> None:
    """env.py asks by psycopg 3, which nobody had imported when the run began."""
    env = project / "migrations" / "env.py"
    env.write_text("import os, psycopg\npsycopg.connect(os.environ['DATABASE_URL']).close()\n" + env.read_text())
    for _ in range(2):
        assert not is_proven(migrate(project, settled))


@pytest.mark.thorough
def test_the_look_is_bounded(settled: Database, project: Path) -> None:
    """Somebody holds the version table: the short cut gives up soon, and SIGTERM ends the run that follows."""
    holder = settled.connect()
    with holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
    job = start_job("migrate", cwd=project, url=settled.url)
    assert job.stdout is not None
    assert "job.started" in job.stdout.readline()
    job.terminate()
    assert finish(job, 10).code == 14
    holder.close()


@pytest.mark.thorough
def test_who_wants_a_report_gets_one_of_every_run(settled: Database, project: Path, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    assert not is_proven(migrate(project, settled, MIGRATE_REPORT=str(page)))
    assert "exit code 0" in page.read_text()
    assert is_proven(migrate(project, settled))
    [ready] = run_job("wait-for-migrations", cwd=project, url=settled.url).events("migrations.ready")
    assert ready["proven"]
