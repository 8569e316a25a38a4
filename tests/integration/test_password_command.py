"""MIGRATE_PASSWORD_COMMAND: whatever the command says is the password, on every connection, and nobody sees it."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql as quoting

import alembic_job
from alembic_job import JobError, Settings
from alembic_job.gateways import password
from alembic_job.gateways.embedded import Server, _free_port
from alembic_job.gateways.locks import LOCK_CLASS
from tests.conftest import Database, Result, finish, run_job, start_job
from tests.integration.test_connections import PLACEHOLDER, STOCK_ENV
from tests.integration.test_interruption import sleeping
from tests.projectkit import ENV, INI, make_project, sql
from tests.waiting import until

TABLE = sql("CREATE TABLE a (id int)")
SECRET = "s3cret-of-the-cloud"
ASYNC_ENV = """\
import asyncio, os
from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine


def work(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(work)
    await engine.dispose()


asyncio.run(main())
"""
_numbers = itertools.count(1)


@dataclass
class Login:
    """A role of its own, whose password is in the database and, for the command, in a file."""

    database: Database
    folder: Path
    role: str

    @property
    def file(self) -> Path:
        return self.folder / "password"

    @property
    def runs(self) -> int:
        """How often the command was run."""
        return len((self.folder / "runs").read_text()) if (self.folder / "runs").exists() else 0

    def url(self, driver: str = "", password: str = "") -> str:
        server = self.database.server
        login = f"{self.role}:{password}" if password else self.role
        return f"postgresql{driver}://{login}@127.0.0.1:{server.port}/{self.database.name}"

    def rotate(self, new: str, *, known: bool = True) -> None:
        """The server has a new password from now on; the command says it if it is `known` there."""
        statement = quoting.SQL("ALTER ROLE {} PASSWORD {}")
        connection = self.database.connect()
        with connection.cursor() as cursor:
            cursor.execute(statement.format(quoting.Identifier(self.role), quoting.Literal(new)))
        connection.close()
        if known:
            self.tell(new + "\n")

    def tell(self, output: str) -> None:
        self.file.write_text(output, encoding="utf-8")

    def command(self, before: str = "", after: str = "") -> str:
        """A command that says what is in the file, and counts its runs."""
        script = f"printf x >>{self.folder}/runs; {before} cat {self.file}; {after}"
        return shlex.join(["sh", "-c", script])

    def run(self, name: str, project: Path, *, url: str | None = None, command: str = "", **env: str) -> Result:
        env = {"MIGRATE_PASSWORD_COMMAND": command or self.command(), **env}
        return run_job(name, cwd=project, url=self.url() if url is None else url, env=env)

    def start(self, project: Path, *, command: str = "", **env: str) -> subprocess.Popen[str]:
        env = {"MIGRATE_PASSWORD_COMMAND": command or self.command(), **env}
        return start_job("migrate", cwd=project, url=self.url(), env=env)


@pytest.fixture
def login(database: Database, tmp_path: Path) -> Iterator[Login]:
    role = f"token_user_{os.getpid()}_{next(_numbers)}"
    database.execute(f"CREATE ROLE {role} SUPERUSER LOGIN")
    (tmp_path / "vault").mkdir()
    made = Login(database, tmp_path / "vault", role)
    made.rotate(SECRET)
    yield made
    database.execute(f"DROP OWNED BY {role}")
    database.execute(f"DROP ROLE {role}")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", [TABLE])


def until_event(job: subprocess.Popen[str], name: str) -> dict[str, Any]:
    """Reads the job's lines up to the first of this event."""
    assert job.stdout is not None
    for line in job.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == name:
            return event
    raise AssertionError(f"the job ended without {name}")


def secretive(result: Result, secret: str = SECRET) -> bool:
    """True if the secret is nowhere in the output, not even as JSON spells it."""
    return not any(spelled in result.out + result.err for spelled in (secret, json.dumps(secret)[1:-1]))


HOSTILE = {
    "quotes": 'it\'s "quoted" \\ twice',
    "percent": "100%25 %(here)s %s",
    "spaces": " leads and ends with blanks ",
    "a URL's signs": "a:b@c/d?e=f#g&h",
    "unicode": "pässwörd–🔑",
    "a token": "db.example.com:5432/?Action=connect&DBUser=app&X-Amz-Signature=" + "0123456789abcdef" * 60,
    "a newline at its end": "ends with a newline\n",
}


@pytest.mark.parametrize(
    "name",
    [each if each in ("quotes", "a token") else pytest.param(each, marks=pytest.mark.thorough) for each in HOSTILE],
)
def test_any_password(login: Login, tmp_path: Path, name: str) -> None:
    """Whatever is in it: own connections and the project's take it as it is, and no line shows it."""
    secret = HOSTILE[name]
    login.rotate(secret)
    body = f"{TABLE}\nimport pathlib\nprint(pathlib.Path({str(login.file)!r}).read_text(encoding='utf-8'))"
    project = make_project(tmp_path / "p", [body])
    result = login.run("migrate", project)
    assert result.finished["applied"] == ["r1"], result.finished
    assert secretive(result, secret) and secretive(result, secret.strip())


@pytest.mark.thorough
def test_no_newline_or_that_of_another_system(login: Login, project: Path) -> None:
    """`printf` writes none, an editor on Windows another."""
    for output in (SECRET, SECRET + "\r\n"):
        login.tell(output)
        assert login.run("migrate", project).code == 0


@pytest.mark.thorough
@pytest.mark.parametrize("driver", ["", "+psycopg2", "+psycopg"])
def test_it_goes_over_the_password_in_the_url(login: Login, project: Path, driver: str) -> None:
    """The URL has an old one: the command wins, for our connections and for the project's."""
    result = login.run("migrate", project, url=login.url(driver, "an-old-password"))
    assert result.finished["applied"] == ["r1"], result.finished
    assert secretive(result) and "an-old-password" not in result.out


@pytest.mark.thorough
@pytest.mark.parametrize("driver", ["+asyncpg", "+psycopg"])
def test_an_async_project(login: Login, tmp_path: Path, driver: str) -> None:
    """Async engines too, and without the command they would be refused."""
    project = make_project(tmp_path / "p", [TABLE], env=ASYNC_ENV)
    assert run_job("migrate", cwd=project, url=login.url(driver), env={"MIGRATE_LOGIN_GRACE": "0s"}).code == 21
    result = login.run("migrate", project, url=login.url(driver))
    assert result.finished["applied"] == ["r1"], result.finished


@pytest.mark.thorough
def test_libpq_variables(login: Login, tmp_path: Path) -> None:
    """No URL at all; and a project that spells the place in another way."""
    server = login.database.server
    place = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": login.role, "PGDATABASE": login.database.name}
    project = make_project(tmp_path / "a", [TABLE], env=STOCK_ENV, ini=PLACEHOLDER)
    result = login.run("migrate", project, url="", **place)
    assert result.finished["applied"] == ["r1"], result.finished
    env = ENV.replace('os.environ["DATABASE_URL"]', f'"postgresql://localhost:{server.port}"')
    other = make_project(tmp_path / "b", [TABLE], env=env)
    assert login.run("migrate", other, url="", **place).finished["applied"] == []


@pytest.mark.thorough
def test_the_projects_own_way(login: Login, tmp_path: Path) -> None:
    """Only env.py knows the address, without a password; wait-for-db takes it from the ini."""
    env = ENV.replace('os.environ["DATABASE_URL"]', 'os.environ["APP_DB"]')
    project = make_project(tmp_path / "p", [TABLE], env=env, ini=INI + f"sqlalchemy.url = {login.url()}\n")
    result = login.run("migrate", project, url="", APP_DB=login.url())
    assert result.finished["applied"] == ["r1"], result.finished
    assert login.run("wait-for-db", project, url="").code == 0


@pytest.mark.thorough
def test_another_login_of_the_project_keeps_its_own_password(login: Login, tmp_path: Path) -> None:
    """A second engine, as another user: a token must not be sent there, and would be refused."""
    own = f"second = create_engine('{login.database.url}')\nsecond.connect().close()\n"
    project = make_project(tmp_path / "p", [TABLE], env=ENV.replace("engine =", own + "engine =", 1))
    assert login.run("migrate", project).finished["applied"] == ["r1"]


@pytest.mark.thorough
def test_the_direct_way(login: Login, project: Path) -> None:
    """DATABASE_URL leads to a pooler, which is not even up: all go the direct way, with the password."""
    url = login.url().replace(str(login.database.server.port), str(_free_port()))
    result = login.run("migrate", project, url=url, DATABASE_DIRECT_URL=login.url())
    assert result.finished["applied"] == ["r1"], result.finished


@pytest.mark.thorough
def test_one_run_of_the_command_for_many_connections(login: Login, tmp_path: Path) -> None:
    """A run opens half a dozen connections within a second: a token service is asked once."""
    many = "for _ in range(5):\n    engine.connect().close()\nwith engine.connect()"
    project = make_project(tmp_path / "p", [TABLE], env=ENV.replace("with engine.connect()", many))
    assert login.run("migrate", project).code == 0
    assert login.runs == 1


def test_a_password_rotated_between_a_refused_login_and_the_retry(login: Login, project: Path) -> None:
    """The first login is refused; by the next one within the grace the command says the new password."""
    login.rotate("the-second-one", known=False)
    job = login.start(project, MIGRATE_LOGIN_GRACE="60s")
    assert until_event(job, "wait.retry")["reason"] == "login refused"
    login.tell("the-second-one")
    result = finish(job)
    assert result.finished["applied"] == ["r1"]
    assert secretive(result) and secretive(result, "the-second-one")


def test_a_password_that_stays_wrong_is_21(login: Login, project: Path) -> None:
    """Within the login grace only."""
    login.tell("wrong-for-ever")
    result = login.run("migrate", project, MIGRATE_LOGIN_GRACE="1s")
    assert result.code == 21 and "password authentication failed" in result.finished["error"]
    assert len(result.events("wait.retry")) >= 1 and secretive(result, "wrong-for-ever")


@pytest.mark.thorough
@pytest.mark.parametrize("driver", ["", "+psycopg", "+asyncpg"])
def test_a_password_rotated_before_the_project_connects(login: Login, tmp_path: Path, driver: str) -> None:
    """The remembered one is refused: a new one is asked for at once, and env.py notices nothing."""
    rotation = (
        f"import psycopg2\nwith psycopg2.connect('{login.database.url}') as admin:\n"
        f"    admin.cursor().execute(\"ALTER ROLE {login.role} PASSWORD 'the-second-one'\")\n"
        f"open('{login.file}', 'w').write('the-second-one')\n"
    )
    env = ASYNC_ENV if driver == "+asyncpg" else ENV
    project = make_project(tmp_path / "p", [TABLE], env=rotation + env)
    result = login.run("migrate", project, url=login.url(driver))
    assert result.finished["applied"] == ["r1"], result.finished
    assert secretive(result, "the-second-one")


@pytest.mark.thorough
def test_a_password_rotated_while_a_migration_runs(login: Login, tmp_path: Path) -> None:
    """Then the lock's connection breaks: it is made anew with the new password, and the run ends well."""
    project = make_project(tmp_path / "p", [sql("SELECT pg_sleep(4)"), TABLE])
    job = login.start(project)
    until(lambda: sleeping(login.database))
    login.rotate("the-second-one")
    owner = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s"
    assert login.database.query(owner, LOCK_CLASS) == [(True,)]
    result = finish(job)
    assert result.finished["applied"] == ["r1", "r2"], result.finished
    assert len(result.events("lock.regained")) == 1
    assert secretive(result) and secretive(result, "the-second-one")


@pytest.mark.thorough
def test_a_signal_needs_no_new_password(login: Login, tmp_path: Path) -> None:
    """The remembered password has expired and the command hangs: SIGTERM still cancels the statement at once."""
    project = make_project(tmp_path / "p", [TABLE + "\n" + sql("SELECT pg_sleep(60)")])
    once = f"if [ -e {login.folder}/asked ]; then sleep 60; fi; touch {login.folder}/asked;"
    job = login.start(project, command=login.command(once))
    until(lambda: sleeping(login.database))
    login.rotate("the-second-one")
    sent = time.monotonic()
    job.terminate()
    result = finish(job)
    assert result.code == 14 and time.monotonic() - sent <= 1.0
    until(lambda: not sleeping(login.database), 1)


@pytest.mark.parametrize("history", ["auto", "off"])
def test_a_signal_while_the_command_runs(login: Login, project: Path, history: str) -> None:
    """14 at once, and nothing of the command stays: in the short cut (auto) as in the ordinary way."""
    hanging = f"sh -c 'echo $$ >{login.folder}/pid; exec sleep 60';"
    job = login.start(project, command=login.command(hanging), MIGRATE_HISTORY=history)
    until(lambda: (login.folder / "pid").exists() and (login.folder / "pid").read_text().strip())
    if history == "off":
        until_event(job, "job.started")
    sent = time.monotonic()
    job.terminate()
    result = finish(job)
    assert (result.code, result.finished["outcome"]) == (14, "interrupted")
    assert time.monotonic() - sent <= 1.5
    for pid in (login.folder / "pid").read_text().split():
        until(lambda pid=pid: not is_alive(int(pid)), 5)


def is_alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@pytest.mark.thorough
def test_a_program_that_is_not_there_is_20(login: Login, project: Path) -> None:
    """Said at once, with the setting's name; so is a file that cannot be executed."""
    (login.folder / "script").write_text("no program")
    for command in ("no-such-program --now", f"{login.folder}/script", str(login.folder)):
        begun = time.monotonic()
        result = login.run("migrate", project, command=command)
        assert result.code == 20 and "MIGRATE_PASSWORD_COMMAND" in result.finished["error"], result.finished
        assert time.monotonic() - begun < 5


@pytest.mark.thorough
def test_a_command_that_fails_is_tried_again_then_10(login: Login, project: Path) -> None:
    """A metadata service that is away: with the exit status and what was said last; secrets in it are masked."""
    command = login.command("echo first >&2; echo the service is away >&2; exit 7;")
    result = login.run("migrate", project, command=command, MIGRATE_WAIT_TIMEOUT="1s")
    assert result.code == 10, result.finished
    assert "ended with 7: the service is away" in result.finished["error"]
    assert "password_command.output" in result.finished["hint"]
    assert {event["reason"] for event in result.events("wait.retry")} == {"password command"}
    said = [event["message"] for event in result.events("password_command.output")]
    assert said[:2] == ["first", "the service is away"]


@pytest.mark.thorough
def test_a_command_that_recovers(login: Login, project: Path) -> None:
    """The service is back within MIGRATE_WAIT_TIMEOUT: the run goes on."""
    job = login.start(project, command=login.command(f"[ -e {login.folder}/up ] || exit 1;"))
    until_event(job, "wait.retry")
    (login.folder / "up").touch()
    assert finish(job).finished["applied"] == ["r1"]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("", "nothing"),
        pytest.param("\n", "nothing", marks=pytest.mark.thorough),
        ("a\0b", "cannot be a password"),
        pytest.param("x" * 70_000, "cannot be a password", marks=pytest.mark.thorough),
        ("WARNING: an old version\ns3cret-of-the-cloud", "2 lines"),
    ],
)
def test_output_that_is_no_password_is_21(login: Login, project: Path, output: str, words: str) -> None:
    """Clear words instead of a refused login; a file that is filled late has the login grace."""
    login.tell(output)
    result = login.run("migrate", project, MIGRATE_LOGIN_GRACE="500ms")
    assert result.code == 21 and words in result.finished["error"], result.finished
    assert "MIGRATE_PASSWORD_COMMAND" in result.finished["error"]


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """With all that it started, even where that does not listen to SIGTERM."""
    script = f"trap '' TERM; sleep 60 & echo $! >{tmp_path}/pid; sleep 60"
    source = password._Source(("sh", "-c", script))
    with pytest.raises(password.NoPassword, match=r"longer than 0\.3 s") as raised:
        source.take(60, 0.3)
    assert raised.value.exit_code == 10
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not is_alive(pid), 5)


@pytest.mark.thorough
def test_a_command_that_floods_stderr_is_ended() -> None:
    """It must not fill the memory."""
    with pytest.raises(password.NoPassword, match="without end"):
        password._Source(("sh", "-c", "exec yes >&2")).take(60, 30)


@pytest.mark.thorough
def test_a_password_after_a_line_of_warning(login: Login, project: Path) -> None:
    """No line of what was written is seen, even where the whole is no password and stderr repeats it."""
    login.tell(f"WARNING: an old version\n{SECRET}")
    command = login.command("", f"echo debug: {SECRET} >&2;")
    result = login.run("migrate", project, command=command, MIGRATE_LOGIN_GRACE="0s")
    assert result.code == 21 and result.events("password_command.output")
    assert SECRET not in result.out


@pytest.mark.thorough
def test_a_command_that_leaves_something_behind(tmp_path: Path) -> None:
    """A helper that a tool keeps running holds the pipe open: its end is not waited for."""
    begun = time.monotonic()
    assert password._Source(("sh", "-c", f"sleep 5 & echo {SECRET}")).take(60, 30) == (SECRET, False)
    assert time.monotonic() - begun < 2


def test_what_it_says_on_stderr(login: Login, project: Path) -> None:
    """Events, in which the password is masked; also on the way of the short cut."""
    command = login.command("echo a warning >&2;", f"cat {login.file} >&2;")
    old_enough(login.database)
    for proven in (False, True):
        result = login.run("migrate", project, command=command)
        assert [event["message"] for event in result.events("password_command.output")] == ["a warning", "***"]
        assert is_proven(result) is proven and secretive(result)


@pytest.mark.thorough
def test_the_short_cut(login: Login, project: Path) -> None:
    """A run with nothing to do is decided with the command's password, and a rotated one changes nothing.

    The command is no doubt about what the project depends on, though it is run in the midst of it.
    """
    old_enough(login.database)
    fails_once = f"[ -e {login.folder}/up ] || {{ touch {login.folder}/up; exit 1; }};"
    command = login.command(fails_once)
    assert login.run("migrate", project, command=command).code == 0
    login.rotate("the-second-one")
    assert is_proven(login.run("migrate", project, command=command))
    assert login.runs == 3
    login.tell("wrong")
    assert login.run("migrate", project, command=command, MIGRATE_LOGIN_GRACE="0s").code == 21


def old_enough(database: Database) -> None:
    """The short cut does not believe a server that is younger than ten seconds."""
    age = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) > 10.5"
    until(lambda: database.query(age) == [(True,)], 15)


def is_proven(result: Result) -> bool:
    assert result.code == 0, result.finished
    return any(event.get("proven") for event in result.events("nothing.pending"))


@pytest.mark.thorough
def test_a_backup(login: Login, project: Path, tmp_path: Path) -> None:
    """pg_dump has the password in its environment, and `ps` shows none, of nobody."""
    programs = login.database.server.bin
    (tmp_path / "bin").mkdir()
    for name in ("pg_dump", "pg_restore"):
        wrapper = tmp_path / "bin" / name
        wrapper.write_text(
            f'#!/bin/sh\ncat /proc/[0-9]*/cmdline >>{tmp_path}/ps 2>/dev/null\nexec {programs / name} "$@"\n'
        )
        wrapper.chmod(0o755)
    env = {"MIGRATE_BACKUP_URL": str(tmp_path / "dumps"), "MIGRATE_PG_BINDIR": str(tmp_path / "bin")}
    result = login.run("migrate", project, **env)
    assert result.finished["applied"] == ["r1"] and result.events("backup.finished"), result.finished
    seen = (tmp_path / "ps").read_bytes()
    assert b"--format=custom" in seen and b"alembic_job" in seen
    assert SECRET.encode() not in seen


@pytest.mark.thorough
def test_hooks_ask_by_themselves(login: Login, tmp_path: Path) -> None:
    """MIGRATE_BEFORE has the job's environment, not the password: by the time it is used it may be another."""
    project = make_project(tmp_path / "p", [TABLE])
    before = shlex.join(["sh", "-c", f"env >{tmp_path}/env"])
    assert login.run("migrate", project, MIGRATE_BEFORE=before).code == 0
    seen = (tmp_path / "env").read_text()
    assert "MIGRATE_PASSWORD_COMMAND=" in seen and "PGPASSWORD" not in seen and SECRET not in seen


@pytest.mark.thorough
@pytest.mark.parametrize("driver", ["", "+asyncpg"])
def test_questions(login: Login, tmp_path: Path, driver: str) -> None:
    """status, current and history ask the database with the command's password; the flag works there too."""
    project = make_project(tmp_path / "p", [TABLE], env=ASYNC_ENV if driver else ENV)
    url = login.url(driver)
    assert login.run("migrate", project, url=url).code == 0
    for question in ("status", "current"):
        result = login.run(question, project, url=url)
        assert result.code == 0 and "r1" in result.out and secretive(result), result.err
    flagged = run_job("current", "--password-command", login.command(), cwd=project, url=url)
    assert flagged.code == 0 and "r1" in flagged.out
    history = run_job("history", "-i", "--password-command", login.command(), cwd=project, url=url)
    assert "(current)" in history.out or "(head) (current)" in history.out
    failing = login.run("status", project, url=url, command="sh -c 'echo no token >&2; exit 3'")
    assert failing.code == 10 and "ended with 3: no token" in failing.err, failing.err


@pytest.mark.thorough
def test_waiting_for_migrations(login: Login, project: Path) -> None:
    """The application's pod asks with a token of its own, in the ordinary way and by the short cut."""
    old_enough(login.database)
    assert login.run("migrate", project).code == 0
    for _ in range(2):
        result = login.run("wait-for-migrations", project, command=login.command("true;"))
        assert result.code == 0 and secretive(result), result.finished
    assert login.run("wait-for-migrations", project, MIGRATE_HISTORY="off").code == 0


@pytest.mark.thorough
def test_config_shows_the_command(login: Login, project: Path) -> None:
    """As it does MIGRATE_BEFORE."""
    result = login.run("config", project, command="aws rds generate-db-auth-token")
    assert "aws rds generate-db-auth-token" in result.out


@pytest.mark.thorough
def test_the_library(login: Login, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for programs; what goes wrong is an exception."""
    monkeypatch.chdir(project)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    words = tuple(shlex.split(login.command()))
    assert alembic_job.migrate(Settings(database_url=login.url(), password_command=words)).applied == ("r1",)
    settings = Settings(database_url=login.url(), password_command=words)
    assert alembic_job.rollback(settings, no_backup=True, empty_downgrade=True).reverted == ("r1",)
    with pytest.raises(JobError) as raised:
        alembic_job.migrate(Settings(database_url=login.url(), password_command=("false",), wait_timeout=0.3))
    assert raised.value.exit_code == 10 and "false" in str(raised.value)


@pytest.mark.thorough
def test_libpqs_password_file_where_no_command_is_set(login: Login, project: Path) -> None:
    """PGPASSFILE goes on working."""
    server = login.database.server
    passfile = login.folder / "pgpass"
    passfile.write_text(f"127.0.0.1:{server.port}:*:{login.role}:{SECRET}\n")
    passfile.chmod(0o600)
    result = run_job("migrate", cwd=project, url=login.url(), env={"PGPASSFILE": str(passfile)})
    assert result.finished["applied"] == ["r1"], result.finished


@pytest.mark.thorough
def test_a_wrong_password_really_fails(login: Login, pg18: Server) -> None:
    """What all of this rests on: the server looks at passwords."""
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(login.url(password="wrong"))
    assert pg18.port == login.database.server.port
