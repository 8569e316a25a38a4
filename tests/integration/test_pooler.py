"""A real PgBouncer in front of the database."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg2
import pytest

from alembic_job.gateways.embedded import _free_port
from tests.conftest import Database, finish, run_job, start_job
from tests.projectkit import make_project, sql
from tests.waiting import until

Bouncer = Callable[[str], AbstractContextManager[str]]


@pytest.fixture
def bouncer(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Bouncer:
    """Starts a PgBouncer with a pool mode in front of the database; gives its URL."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("PgBouncer is missing: apt-get install pgbouncer")
        pytest.skip("needs PgBouncer: apt-get install pgbouncer")

    @contextmanager
    def start(mode: str) -> Iterator[str]:
        folder = tmp_path_factory.mktemp("bouncer")
        port = _free_port()
        password = database.server.password
        (folder / "users").write_text(f'"postgres" "{password}"\n')
        (folder / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={database.server.port}\n[pgbouncer]\npool_mode = {mode}\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = scram-sha-256\nauth_file = {folder}/users\n"
            "unix_socket_dir =\ndefault_pool_size = 5\nadmin_users = postgres\n"
        )
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        for path in (folder, *folder.parents):
            if str(path).startswith("/tmp/"):
                path.chmod(0o755)
        process = subprocess.Popen([program, "-q", *user, str(folder / "ini")], stderr=subprocess.DEVNULL)
        url = f"postgresql://postgres:{password}@127.0.0.1:{port}/{database.name}"
        try:
            until(lambda: answers(url), what="pgbouncer")
            yield url
        finally:
            process.kill()
            process.wait()

    return start


def answers(url: str) -> bool:
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_loses_sessions_is_refused(
    database: Database, tmp_path: Path, bouncer: Bouncer, mode: str
) -> None:
    """Before anything is done, with the setting that helps."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)")])
    with bouncer(mode) as url:
        result = run_job("migrate", cwd=project, url=url)
        assert result.code == 20 and "DATABASE_DIRECT_URL" in result.finished["hint"]
        assert database.query("SELECT to_regclass('a') IS NULL") == [(True,)]


def test_the_way_around_it(database: Database, tmp_path: Path, bouncer: Bouncer) -> None:
    """DATABASE_DIRECT_URL: our connections and the project's own go to the server itself."""
    body = """
        seen = op.get_bind().exec_driver_sql("SELECT inet_server_port()").scalar()
        op.execute(f"CREATE TABLE port_{op.get_bind().connection.dbapi_connection.info.port} (id int)")
    """
    project = make_project(tmp_path, [body])
    with bouncer("transaction") as url:
        direct = f"postgresql://127.0.0.1:{database.server.port}"
        result = run_job("migrate", cwd=project, url=url, env={"DATABASE_DIRECT_URL": direct})
        assert result.code == 0, result.finished
        assert database.query("SELECT to_regclass(%s) IS NOT NULL", f"port_{database.server.port}") == [(True,)]


def test_session_mode_is_no_false_alarm(database: Database, tmp_path: Path, bouncer: Bouncer) -> None:
    """In session mode a session is a session."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)")])
    with bouncer("session") as url:
        result = run_job("migrate", cwd=project, url=url)
        assert result.code == 0, result.finished
        assert result.events("pooler.session_mode")


@contextmanager
def paused(url: str) -> Iterator[None]:
    """While it is open PgBouncer lets clients log in and answers no query."""
    admin = psycopg2.connect(url.rpartition("/")[0] + "/pgbouncer")
    admin.autocommit = True
    try:
        with admin.cursor() as cursor:
            cursor.execute("PAUSE")
            yield
            cursor.execute("RESUME")
    finally:
        admin.close()


@pytest.mark.thorough
def test_the_doctor_sees_it(database: Database, tmp_path: Path, bouncer: Bouncer) -> None:
    """As a run would: 20 and the way around it, or all is well."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)")])
    with bouncer("transaction") as url:
        examined = run_job("doctor", cwd=project, url=url)
        assert examined.code == 20 and "-> set DATABASE_DIRECT_URL" in examined.out
        around = run_job("doctor", cwd=project, url=url, env={"DATABASE_DIRECT_URL": database.url})
        assert around.code == 0 and "none: this is the server itself" in around.out
    with bouncer("session") as url:
        assert "one in session mode" in run_job("doctor", cwd=project, url=url).out


@pytest.mark.thorough
def test_a_stall_after_the_login_does_not_hold_the_short_cut(
    database: Database, tmp_path: Path, bouncer: Bouncer
) -> None:
    """The short cut gives up by itself, and the ordinary way ends in time."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)")])
    with bouncer("session") as url:
        assert run_job("migrate", cwd=project, url=url).code == 0
        with paused(url):
            short = {"MIGRATE_MIGRATIONS_TIMEOUT": "2s", "MIGRATE_DEADLINE": "8s"}
            waited = run_job("wait-for-migrations", cwd=project, url=url, env=short, timeout=60)
            assert waited.code in (10, 16), waited.finished
            assert "applied" not in waited.finished["hint"]
        assert run_job("wait-for-migrations", cwd=project, url=url).code == 0


def test_a_signal_during_a_stall_of_the_short_cut(database: Database, tmp_path: Path, bouncer: Bouncer) -> None:
    """SIGTERM is held back until the job can answer it; that must not take for ever."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)")])
    with bouncer("session") as url:
        assert run_job("migrate", cwd=project, url=url).code == 0
        with paused(url):
            job = start_job("migrate", cwd=project, url=url)
            until(lambda: is_waiting(url), what="the job's query to wait in PgBouncer")
            job.terminate()
            assert finish(job, timeout=20).code == 14


def is_waiting(url: str) -> bool:
    """Whether a client waits for an answer."""
    admin = psycopg2.connect(url.rpartition("/")[0] + "/pgbouncer")
    admin.autocommit = True
    try:
        with admin.cursor() as cursor:
            cursor.execute("SHOW POOLS")
            names = [column.name for column in cursor.description or ()]
            return any(dict(zip(names, row, strict=True))["cl_waiting"] for row in cursor.fetchall())
    finally:
        admin.close()
