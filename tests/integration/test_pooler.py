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
from tests.conftest import Database, run_job
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
            "unix_socket_dir =\ndefault_pool_size = 5\n"
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
