"""`MIGRATE_NOTIFY`: who is told what, and that nobody who does not listen delays or fails a run."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from alembic_job.cli.output import secrets_of_services
from alembic_job.fingerprint import request_key, waiting_key
from alembic_job.gateways.locks import FENCE_CLASS, LOCK_CLASS
from alembic_job.settings import values
from tests.conftest import Database, Result, finish, run_job, start_job
from tests.waiting import until

TOKEN = "T0kEN4slack9secret"
ENV_PY = """
from alembic import context
from sqlalchemy import create_engine
import os
engine = create_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg2:"))
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """
revision, down_revision = {revision!r}, {down!r}
from alembic import op
def upgrade():
    op.execute({up!r})
def downgrade():
    op.execute("SELECT 1")
"""


@dataclass
class Service:
    """Somebody who is told, over HTTP: what came in, and how it answers."""

    server: ThreadingHTTPServer
    told: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    held: threading.Event = field(default_factory=threading.Event)  # answers wait until it is set

    @property
    def port(self) -> int:
        return self.server.server_port

    @property
    def url(self) -> str:
        return f"json://someone:pass-w0rd@127.0.0.1:{self.port}/hooks/{TOKEN}"

    def titles(self) -> list[str]:
        return [message["title"] for message in self.told]


@contextmanager
def service() -> Iterator[Service]:
    class Listens(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            made.held.wait(30)
            made.told.append(json.loads(data))
            self.send_response(made.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listens)
    made = Service(server)
    made.held.set()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.held.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def listener() -> Iterator[Service]:
    with service() as made:
        yield made


@dataclass
class Project:
    folder: Path
    database: Database

    def revision(self, name: str, up: str = "SELECT 1", down: str | None = None) -> None:
        text = REVISION.format(revision=name, down=down, up=up)
        (self.folder / "migrations/versions" / f"{name}.py").write_text(text)

    def run(self, *args: str, **env: str) -> Result:
        return run_job(*args, cwd=self.folder, url=self.database.url, env=env)

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        return start_job(*args, cwd=self.folder, url=self.database.url, env=env)


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Project:
    """Two revisions."""
    (tmp_path / "migrations/versions").mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    (tmp_path / "migrations/env.py").write_text(ENV_PY)
    made = Project(tmp_path, database)
    made.revision("r1", "CREATE TABLE a (n int)")
    made.revision("r2", "CREATE TABLE b (n int)", "r1")
    return made


def failures(result: Result) -> list[tuple[str, str]]:
    """Who was not told, and why; the URL's secrets are nowhere."""
    for secret in (TOKEN, "pass-w0rd"):
        assert secret not in result.out + result.err
    return [(event["service"], event["reason"]) for event in result.events("notify.failed")]


def test_a_life(project: Project, listener: Service, tmp_path: Path) -> None:
    """Started and finished where something is pending, nothing where not; a failure, a rollback."""
    (tmp_path / "urls").write_text(listener.url + "\n")
    env = {"MIGRATE_NOTIFY_FILE": str(tmp_path / "urls"), "MIGRATE_IMAGE": "shop/migrations:1.4"}
    every = {**env, "MIGRATE_NOTIFY_ON": "started, finished, failed, rolled-back"}
    name, password = project.database.name, project.database.server.password

    result = project.run("migrate", **every)
    assert result.code == 0, result.out
    assert sorted(listener.titles()) == [
        f"alembic-job: migrate finished on {name}",
        f"alembic-job: migrate started on {name}",
    ]
    [started, finished] = sorted(listener.told, key=lambda message: message["title"], reverse=True)
    assert (started["type"], finished["type"]) == ("info", "success")
    assert started["message"].startswith("2 revisions: r1 … r2")
    for text in ("from → to: nothing → r2", "applied (2): r1, r2", f"/{name}", "image: shop/migrations:1.4", "took: "):
        assert text in finished["message"]
    assert failures(result) == [] and len(result.events("notify.sent")) == 2
    assert result.events()[-2]["event"] == "notify.sent", "after the run, before its last line"

    listener.told.clear()
    assert project.run("migrate", **every).code == 0
    assert listener.told == [], "nothing was pending"

    project.revision("r3", f"SELECT '{password}' FROM nowhere", "r2")
    result = project.run("migrate", **env)
    assert result.code == 23
    [failed] = listener.told
    assert failed["title"] == f"alembic-job: migrate failed (23) on {name}" and failed["type"] == "failure"
    assert "r3 failed" in failed["message"] and "hint: " in failed["message"]
    assert password not in failed["message"]

    listener.told.clear()
    (project.folder / "migrations/versions/r3.py").unlink()
    assert project.run("rollback", "--no-backup", **env).code == 0
    [back] = listener.told
    assert back["title"] == f"alembic-job: rollback rolled back on {name}" and back["type"] == "warning"
    assert "reverted (1): r2" in back["message"] and "from → to: r2 → r1" in back["message"]


@pytest.mark.thorough
def test_only_what_is_wanted(project: Project, listener: Service) -> None:
    """MIGRATE_NOTIFY_ON; and waits say nothing, whatever becomes of them."""
    env = {"MIGRATE_NOTIFY": listener.url, "MIGRATE_NOTIFY_ON": "failed"}
    assert project.run("migrate", **env).code == 0
    assert project.run("wait-for-db", MIGRATE_WAIT_TIMEOUT="0s", DATABASE_URL="postgresql://127.0.0.1:1/x", **env).code
    assert listener.told == []
    wrong = project.run("migrate", MIGRATE_NOTIFY=listener.url, MIGRATE_NOTIFY_ON="failure")
    assert wrong.code == 20 and "started, finished" in wrong.finished["error"]


@pytest.mark.thorough
def test_several_of_whom_some_do_not_listen(project: Project, listener: Service) -> None:
    """One hears; one is not there, one says no, one is of no known kind, one has no trusted certificate, one hangs."""
    with socket.create_server(("127.0.0.1", 0)) as silent, service() as refusing, socket.socket() as unused:
        refusing.status = 403
        unused.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        urls = [
            listener.url,
            f"json://127.0.0.1:{unused.getsockname()[1]}/{TOKEN}",
            refusing.url,
            f"nobody://{TOKEN}",
            f"json://127.0.0.1:{port}/{TOKEN}?rto=60",
        ]
        begun = time.monotonic()
        result = project.run("migrate", MIGRATE_NOTIFY=f"{urls[0]} , {urls[1]},{urls[2]} {urls[3]}\n{urls[4]}")
        took = time.monotonic() - begun
    assert result.code == 0 and result.finished["applied"] == ["r1", "r2"]
    assert len(listener.told) == 1 and result.events("notify.sent")[0]["services"] == ["JSON"]
    assert failures(result) == [
        ("JSON", "the connection was refused"),
        ("JSON", "it answered with the status 403"),
        ("nobody", "Apprise does not understand its URL"),
        ("json", "there was no answer within 5 s"),
    ]
    assert [event["number"] for event in result.events("notify.failed")] == [2, 3, 4, 5]
    assert took < 12 and result.finished["duration_seconds"] < 4, "the run itself waited for nobody"


@pytest.mark.thorough
def test_over_tls(project: Project, listener: Service, tmp_path: Path) -> None:
    """`jsons://`: a certificate that nobody vouches for is refused, and taken where REQUESTS_CA_BUNDLE names it."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("no openssl to make a certificate with")
    made = (
        f"-x509 -newkey rsa:2048 -nodes -days 1 -keyout {tmp_path}/key -out {tmp_path}/certificate -subj /CN=localhost"
    )
    more = ("-addext", "subjectAltName=DNS:localhost")
    subprocess.run([openssl, "req", *made.split(), *more], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    listener.server.socket = context.wrap_socket(listener.server.socket, server_side=True)
    env = {"MIGRATE_NOTIFY": f"jsons://localhost:{listener.port}/{TOKEN}"}
    result = project.run("migrate", **env)
    assert result.code == 0 and listener.told == []
    assert failures(result) == [("JSON", "its certificate is not trusted")]
    result = project.run("rollback", "--no-backup", **env, REQUESTS_CA_BUNDLE=str(tmp_path / "certificate"))
    assert failures(result) == [] and len(listener.told) == 1, result.out


def is_over(project: Project) -> bool:
    """True if the run has done its work, and nothing on the server tells another runner of it any more."""
    there = project.database.query("SELECT 1 FROM pg_tables WHERE tablename = 'b'")
    held = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid IN (%s, %s)"
    return bool(there and not project.database.query(held, LOCK_CLASS, FENCE_CLASS))


@pytest.mark.thorough
def test_the_locks_are_free_while_it_is_sent(project: Project, listener: Service) -> None:
    """A service that takes its time to answer keeps no other runner waiting, nor looks like a dead one."""
    listener.held.clear()
    job = project.start("migrate", MIGRATE_NOTIFY=listener.url)
    until(lambda: is_over(project))
    assert job.poll() is None
    listener.held.set()
    assert finish(job).code == 0


@pytest.mark.thorough
def test_interrupted(project: Project, listener: Service) -> None:
    """SIGTERM in the midst of a statement: said as well, before the process ends."""
    project.revision("r3", "SELECT pg_sleep(60)", "r2")
    job = project.start("migrate", MIGRATE_NOTIFY=listener.url)
    until(lambda: project.database.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
    job.terminate()
    result = finish(job)
    assert result.code == 14 == result.finished["exit_code"]
    assert listener.titles() == [f"alembic-job: migrate failed (14) on {project.database.name}"], result.out


@pytest.mark.thorough
def test_a_signal_while_it_is_sent(project: Project, listener: Service) -> None:
    """The run is done and its outcome stays what it is; a second SIGTERM ends the wait for a service."""
    listener.held.clear()
    job = project.start("migrate", MIGRATE_NOTIFY=listener.url)
    until(lambda: is_over(project))
    job.terminate()
    time.sleep(0.3)
    job.terminate()
    sent = time.monotonic()
    result = finish(job)
    assert result.code == 0 == result.finished["exit_code"] and time.monotonic() - sent < 2
    assert result.finished["applied"] == ["r1", "r2"]


@pytest.mark.thorough
def test_apprise_is_missing(project: Project, tmp_path: Path) -> None:
    """The run goes on, and the event says what to install."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "apprise.py").write_text("raise ImportError('not here')")
    result = project.run("migrate", MIGRATE_NOTIFY=f"slack://{TOKEN}", PYTHONPATH=str(hidden))
    assert result.code == 0
    assert failures(result) == [("slack", "Apprise is not installed: pip install 'alembic-job[notify]'")]


def test_nothing_is_imported_for_nobody(project: Project) -> None:
    """Without MIGRATE_NOTIFY neither Apprise nor our part of it is looked at."""
    code = """
import atexit, sys
from alembic_job.main import main
atexit.register(lambda: print("loaded", [name for name in sys.modules if "notif" in name or "apprise" in name]))
main(["migrate"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project.folder,
        env={"DATABASE_URL": project.database.url, "MIGRATE_HISTORY": "off", "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "loaded []" in done.stdout, done.stdout


def test_nobody_is_part_of_a_request() -> None:
    """Pods that tell nobody find what the Job proved; and no digest of a secret is kept."""
    for environ in ({"MIGRATE_NOTIFY": "slack://a"}, {"MIGRATE_NOTIFY_FILE": "/x", "MIGRATE_NOTIFY_ON": "failed"}):
        assert waiting_key(["migrate"], environ) == waiting_key(["wait-for-migrations"], {})
    one, other = (request_key(["migrate"], {"MIGRATE_NOTIFY": url}) for url in ("slack://a", "slack://b"))
    assert one == other


def test_config_shows_no_secret(project: Project, listener: Service) -> None:
    """Only of what kind each URL is."""
    result = project.run("config", MIGRATE_NOTIFY=f"{listener.url} slack://{TOKEN}/{TOKEN}")
    assert "json://*** slack://***" in result.out and TOKEN not in result.out
    assert "failed finished rolled-back" in result.out


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("slack://a/b", ("slack://a/b",)),
        ("slack://a\njson://b, tgram://c ,mailto://d", ("slack://a", "json://b", "tgram://c", "mailto://d")),
        ("mailto://u:p@h?to=a@h,b@h,json://x,", ("mailto://u:p@h?to=a@h,b@h", "json://x")),
        ("slack://a b", None),
        ("hooks.slack.com/secret", None),
        (" , ", None),
    ],
)
def test_urls(text: str, found: tuple[str, ...] | None) -> None:
    """Blanks, line breaks and commas stand between them; a comma may be part of one."""
    if found is not None:
        assert values.urls(text) == found
        return
    with pytest.raises(ValueError, match="slack://…") as refused:
        values.urls(text)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "secrets", "open_"),
    [
        (
            "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts",
            ["T1JJ3T3L2", "TIiajkdnlazkcOXrIdevi7FQ"],
            "alerts",
        ),
        ("mailto://bob:s3cret@example.com?to=ops@example.com", ["s3cret"], "example.com"),
        ("tgram://123456789:AAEhBP0av28abcdefghijk/12315544", ["AAEhBP0av28abcdefghijk", "123456789"], "tgram"),
        ("json://localhost:8080/hooks", ["json://localhost:8080/hooks"], "localhost"),
    ],
)
def test_what_is_secret_of_a_url(url: str, secrets: list[str], open_: str) -> None:
    """Tokens and passwords, not the names that a log may mention."""
    found = secrets_of_services(url)
    assert set(secrets) <= set(found) and open_ not in found
