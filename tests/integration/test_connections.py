"""The ways to a database, and the states in which it may be found."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from alembic_job.gateways.embedded import Server, _free_port
from alembic_job.gateways.postgres import is_connection_lost
from tests.conftest import Database, finish, run_job, start_job
from tests.integration.test_lock_policy import ASYNC_ENV
from tests.projectkit import ENV, INI, make_project, sql
from tests.waiting import until

STOCK_ENV = """\
from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config
section = config.get_section(config.config_ini_section, {})
connectable = engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
with connectable.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
PLACEHOLDER = INI + "sqlalchemy.url = driver://user:pass@localhost/dbname\n"
TABLE = sql("CREATE TABLE a (id int)")


@pytest.fixture
def stock(tmp_path: Path) -> Path:
    """The project that `alembic init` makes, placeholder URL included."""
    return make_project(tmp_path / "stock", [TABLE], env=STOCK_ENV, ini=PLACEHOLDER)


@pytest.mark.parametrize(
    "driver", ["", *(pytest.param(each, marks=pytest.mark.thorough) for each in ("+psycopg2", "+psycopg"))]
)
def test_database_url_goes_over_the_placeholder(database: Database, stock: Path, driver: str) -> None:
    """DATABASE_URL is all that `alembic init`'s project needs, whatever driver it names."""
    result = run_job("migrate", cwd=stock, url=database.url.replace("postgresql:", f"postgresql{driver}:"))
    assert result.finished["applied"] == ["r1"]


@pytest.mark.thorough
def test_libpq_variables_alone(database: Database, stock: Path) -> None:
    """PGHOST and the rest, without any URL."""
    server = database.server
    env = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "postgres", "PGPASSWORD": server.password}
    result = run_job("migrate", cwd=stock, env={**env, "PGDATABASE": database.name})
    assert result.finished["applied"] == ["r1"], result.finished
    assert server.password not in result.out


@pytest.mark.thorough
def test_a_socket(database: Database, stock: Path) -> None:
    """A directory instead of a host."""
    server = database.server
    url = f"postgresql://postgres:{server.password}@/{database.name}?host={server.root}&port={server.port}"
    assert run_job("migrate", cwd=stock, url=url).finished["applied"] == ["r1"]


def test_several_hosts(database: Database, stock: Path) -> None:
    """The first host is dead, the second is the primary; the project's URL is translated for SQLAlchemy."""
    server = database.server
    url = f"postgresql://postgres:{server.password}@127.0.0.1:{_free_port()},127.0.0.1:{server.port}/{database.name}"
    result = run_job("migrate", cwd=stock, url=f"{url}?target_session_attrs=read-write")
    assert result.finished["applied"] == ["r1"], result.finished


@pytest.mark.thorough
def test_several_hosts_in_a_url_that_the_project_reads_itself(database: Database, tmp_path: Path) -> None:
    """SQLAlchemy cannot read libpq's spelling: a clear error with the spelling it can."""
    project = make_project(tmp_path, [TABLE])
    server = database.server
    place = f"127.0.0.1:{_free_port()},127.0.0.1:{server.port}"
    url = f"postgresql://postgres:{server.password}@{place}/{database.name}"
    result = run_job("migrate", cwd=project, url=url)
    assert result.code == 22 and "?host=a:5432&host=b:5432" in result.finished["hint"], result.finished


@pytest.mark.thorough
def test_ipv6(tmp_path: Path, stock: Path) -> None:
    """An address in brackets."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with Server(18, listen="::1") as server:
        url = server.url().replace("127.0.0.1", "[::1]")
        assert run_job("migrate", cwd=stock, url=url).finished["applied"] == ["r1"]


@pytest.mark.parametrize(
    "mode", ["sslmode=require", "sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "sslmode=maybe"]
)
def test_tls_that_cannot_be_had_is_a_setting(database: Database, stock: Path, mode: str) -> None:
    """The parameters reach libpq; waiting does not make a server speak TLS."""
    result = run_job("migrate", cwd=stock, url=f"{database.url}?{mode}")
    assert result.code == 20 and "ssl" in result.finished["error"].lower(), result.finished


@pytest.mark.thorough
def test_an_option_that_the_projects_driver_does_not_know(database: Database, tmp_path: Path) -> None:
    """libpq's sslmode in a URL that goes to asyncpg: the setting is named, and how that driver spells it."""
    project = make_project(tmp_path, [TABLE], env=ASYNC_ENV)
    result = run_job("migrate", cwd=project, url=f"{database.url}?sslmode=prefer")
    assert result.code == 20 and "does not know the option sslmode" in result.finished["error"], result.finished
    assert "?ssl=require" in result.finished["hint"]


def test_the_url_from_a_file_reaches_the_project(database: Database, tmp_path: Path) -> None:
    """DATABASE_URL_FILE: a project that reads DATABASE_URL finds it, and no line shows it."""
    project = make_project(tmp_path / "p", [TABLE])
    (tmp_path / "secret").write_text(database.url + "\n")
    result = run_job("migrate", cwd=project, env={"DATABASE_URL_FILE": str(tmp_path / "secret")})
    assert result.finished["applied"] == ["r1"]
    assert database.server.password not in result.out


@pytest.mark.thorough
def test_a_flag_that_the_project_ignores_is_not_ignored(database: Database, tmp_path: Path, pg16: Server) -> None:
    """--database-url names one database, env.py reads another from the environment: refused, nothing is migrated."""
    project = make_project(tmp_path, [TABLE])
    result = run_job("migrate", "--database-url", pg16.url(), cwd=project, url=database.url)
    assert result.code == 20 and database.name in result.finished["error"], result.finished
    assert database.query("SELECT to_regclass('a') IS NULL") == [(True,)]


def test_the_projects_own_way_is_followed(database: Database, tmp_path: Path) -> None:
    """No DATABASE_URL: the database is found when the project connects, and is locked before it does anything."""
    env = ENV.replace('os.environ["DATABASE_URL"]', 'os.environ["APP_DB"]')
    locked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1634365260"
    body = f"op.execute('CREATE TABLE locks AS {locked}')".replace("'advisory'", "\\'advisory\\'")
    project = make_project(tmp_path, [body], env=env)
    result = run_job("migrate", cwd=project, env={"APP_DB": database.url})
    assert result.finished["applied"] == ["r1"], result.finished
    assert database.query("SELECT count FROM locks") == [(1,)]


def test_a_replica_is_waited_for_then_10(stock: Path) -> None:
    """In recovery: it may be promoted, so it is tried again; then 10."""
    with Server(16) as server:
        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        result = run_job("migrate", cwd=stock, url=server.url(), env={"MIGRATE_WAIT_TIMEOUT": "1s"})
        assert result.code == 10 and "in recovery" in result.finished["error"], result.finished
        assert result.events("wait.retry")[0]["reason"] == "in recovery"


@pytest.fixture
def late_server() -> Iterator[Server]:
    """A server that is initialized, but not up."""
    with Server(18) as server:
        server.stop()
        yield server


def test_a_server_that_comes_late_and_goes_away_once(stock: Path, late_server: Server) -> None:
    """The Postgres image's init phase: a temporary server answers, goes away, the real one comes."""
    job = start_job("migrate", cwd=stock, url=late_server.url())
    assert job.stdout is not None
    seen = ""
    while "wait.retry" not in seen:
        seen = job.stdout.readline()
    late_server.start()
    late_server.stop()
    late_server.start()
    result = finish(job)
    assert result.code == 0, result.out


def test_wait_for_db(database: Database, tmp_path: Path) -> None:
    """Needs no project: only the database."""
    result = run_job("wait-for-db", cwd=tmp_path, url=database.url)
    assert (result.code, result.finished["command"]) == (0, "wait-for-db")
    result = run_job(
        "wait-for-db", cwd=tmp_path, url="postgresql://127.0.0.1:9/x", env={"MIGRATE_WAIT_TIMEOUT": "300ms"}
    )
    assert result.code == 10


@pytest.mark.thorough
def test_status_shows_a_run_while_it_runs(database: Database, tmp_path: Path) -> None:
    """Who, from where, since when, and what it executes right now."""
    project = make_project(tmp_path, [TABLE, sql("SELECT pg_sleep(60)")])
    job = start_job("migrate", cwd=project, url=database.url, env={"HOSTNAME": "migrate-pod-x7k2p"})
    until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"))
    found = json.loads(run_job("status", "--json", cwd=project, url=database.url).out)
    [running] = found["running"]
    assert "migrate-pod-x7k2p" in running["owner"] and running["since"]
    assert "SELECT pg_sleep(60)" in [work["statement"] for work in running["work"]]
    assert (found["tables"][0]["current"], found["tables"][0]["pending"]) == (["r1"], ["r2"])
    text = run_job("status", cwd=project, url=database.url).out
    assert "migrate-pod-x7k2p" in text and "pg_sleep(60)" in text
    job.terminate()
    assert finish(job).code == 14
    assert json.loads(run_job("status", "--json", cwd=project, url=database.url).out)["running"] == []


@pytest.mark.thorough
def test_a_question_changes_nothing(database: Database, tmp_path: Path) -> None:
    """status, current and history on an empty database leave it empty."""
    project = make_project(tmp_path, [TABLE])
    for question in ("status", "current", "history", "heads", "config"):
        assert run_job(question, cwd=project, url=database.url).code == 0, question
    tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert database.query(tables) == [(0,)]


def test_a_question_about_a_database_that_is_not_there(stock: Path) -> None:
    """Fails soon, with the reason and a hint on stderr."""
    begun = time.monotonic()
    result = run_job("status", cwd=stock, url="postgresql://u:hush@127.0.0.1:9/x")
    assert result.code == 10 and "hint:" in result.err and "hush" not in result.err
    assert time.monotonic() - begun < 10


def test_a_loss_that_another_thread_has_noticed_is_one(database: Database) -> None:
    """A cursor whose connection broke under another one says "cursor already closed": that is 13, no defect (1)."""
    connection = database.connect()
    cursor = connection.cursor()
    database.execute(f"SELECT pg_terminate_backend({connection.info.backend_pid}) FROM pg_sleep(0)")
    with pytest.raises(psycopg2.Error), connection.cursor() as other:
        other.execute("SELECT 1")
    with pytest.raises(psycopg2.InterfaceError) as raised:
        cursor.execute("SELECT 1")
    assert is_connection_lost(raised.value)
