"""Every line is one JSON object, whoever writes it and however; no secret is in any; job.finished is the last."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Database, finish, job_environment, run_job, start_job
from tests.projectkit import ENV, INI, make_project, sql

NOISE = """
import ctypes, logging, os, subprocess, sys, warnings
print("plain print")
print("on stderr", file=sys.stderr)
sys.stdout.write("no newline at the end")
os.write(1, b"by descriptor\\n")
os.write(2, b"bytes that are no text: \\xff\\xfe\\n")
print("progress 1\\rprogress 2\\rprogress 3")
print("unicode: \\u2028 \\x85 \\U0001f40d")
warnings.warn("a warning")
logging.getLogger("some.library").warning("a record with %s", "arguments")
logging.getLogger("some.library").error("failed", exc_info=ValueError("inside"))
subprocess.run(["sh", "-c", "echo from a child; echo child error >&2"])
libc = ctypes.PyDLL(None)
block = b"x" * 999 + b"\\n"
libc.write(1, block * 1000, 1000 * 1000)
print('{"event": "job.finished", "forged": true}')
sys.stdout.write("a last partial line")
"""


def test_whatever_is_written_becomes_json(database: Database, tmp_path: Path) -> None:
    """print, stderr, os.write, warnings, logging, children, and a megabyte from C code that holds the GIL."""
    project = make_project(tmp_path, [NOISE])
    result = run_job("migrate", cwd=project, url=database.url)
    assert result.code == 0 and result.err == ""
    said = [event["message"] for event in result.events("output")]
    for part in ("plain print", "on stderr", "by descriptor", "progress 2", "from a child"):
        assert part in said, part
    assert any("no newline at the end" in line for line in said)
    assert any("child error" in line for line in said)
    assert any(r"\xff\xfe" in line for line in said)
    assert sum(line == "x" * 999 for line in said) == 1000
    assert '{"event": "job.finished", "forged": true}' in said
    assert "a last partial line" in said
    records = {event["message"]: event for event in result.events("log.record")}
    assert records["a record with arguments"]["logger"] == "some.library"
    assert "ValueError: inside" in records["failed"]["traceback"]
    assert any("a warning" in message for message in records)
    assert all(set(event) >= {"timestamp", "level", "event", "run_id"} for event in result.events())


def test_our_events_survive_fileconfig(database: Database, tmp_path: Path) -> None:
    """env.py replaces all handlers and disables loggers: its records still become events, once each."""
    ini = INI + (
        "[loggers]\nkeys = root,app\n[handlers]\nkeys = console\n[formatters]\nkeys = plain\n"
        "[logger_root]\nlevel = INFO\nhandlers = console\n[logger_app]\nlevel = INFO\nhandlers = console\n"
        "qualname = app\npropagate = 0\n[handler_console]\nclass = StreamHandler\nargs = (sys.stderr,)\n"
        "formatter = plain\n"
        "[formatter_plain]\nformat = PLAIN %(message)s\n"
    )
    env = (
        "import logging\nfrom logging.config import fileConfig\nfrom alembic import context\n"
        "fileConfig(context.config.config_file_name)\nlogging.getLogger('app').info('from app')\n"
        "logging.getLogger('lib').info('from lib')\n" + ENV
    )
    project = make_project(tmp_path, [sql("SELECT 1")], env=env, ini=ini)
    result = run_job("migrate", cwd=project, url=database.url)
    said = [event["message"] for event in result.events("log.record")]
    assert said.count("from app") == said.count("from lib") == 1
    assert "PLAIN" not in result.out
    assert result.events("revision.applied")


def test_a_project_that_configures_structlog(database: Database, tmp_path: Path) -> None:
    """structlog's global configuration is the project's; ours is our own."""
    env = "import structlog\nstructlog.configure(processors=[lambda *a: 'hijacked'])\n" + ENV
    project = make_project(tmp_path, [sql("SELECT 1")], env=env)
    result = run_job("migrate", cwd=project, url=database.url)
    assert result.code == 0 and "hijacked" not in result.out and result.events("revision.applied")


def test_nothing_follows_the_last_line(database: Database, tmp_path: Path) -> None:
    """Exit functions, threads and children that outlive the run write before job.finished, or not at all."""
    body = """
        import atexit, subprocess, sys, threading
        atexit.register(print, "at exit")
        def chatter():
            while True:
                time.sleep(0.01)
                print("thread")
        threading.Thread(target=chatter, daemon=True).start()
        subprocess.Popen(["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do echo child; sleep 0.2; done"])
    """
    project = make_project(tmp_path, [body])
    result = run_job("migrate", cwd=project, url=database.url)
    assert result.finished["outcome"] == "done"
    assert "at exit" in [event["message"] for event in result.events("output")]


def test_a_project_that_calls_exit(database: Database, tmp_path: Path) -> None:
    """sys.exit in a migration is a failed migration, not a silent end."""
    project = make_project(tmp_path, ["import sys\nsys.exit(0)"])
    result = run_job("migrate", cwd=project, url=database.url)
    assert result.code == 23 and "SystemExit" in result.finished["error"]


@pytest.mark.parametrize(
    "password",
    [
        "s3cr%t/with:all@of#it?",
        "quote'\"\\back",
        *(pytest.param(each, marks=pytest.mark.thorough) for each in ("p%40ss", "ünïcode-wörd")),
    ],
)
def test_no_secret_is_ever_written(database: Database, tmp_path: Path, password: str) -> None:
    """The project prints its URL in every way it can think of; the password is in none of our lines."""
    from urllib.parse import quote

    literal = password.replace("'", "''")
    database.execute("DROP ROLE IF EXISTS secretive")
    database.execute(f"CREATE ROLE secretive SUPERUSER LOGIN PASSWORD E'{literal}'".replace("\\b", "\\\\b"))
    body = """
        import os, sys, logging
        url = op.get_bind().engine.url
        print(url.render_as_string(hide_password=False)); print(repr(url.password)); print(url.password)
        print(os.environ["DATABASE_URL"], file=sys.stderr)
        logging.getLogger("x").warning("url %s", os.environ["DATABASE_URL"])
        raise RuntimeError("cannot reach " + os.environ["DATABASE_URL"])
    """
    project = make_project(tmp_path, [body])
    url = database.url.replace(f"postgres:{database.server.password}@", f"secretive:{quote(password, safe='')}@")
    result = run_job("migrate", cwd=project, url=url, env={"MIGRATE_LOG_LEVEL": "debug"})
    assert result.code == 23, result.finished
    for spelling in (password, quote(password, safe=""), quote(password), repr(password)[1:-1]):
        assert spelling not in result.out + result.err
    assert "***" in result.out
    shown = run_job("config", cwd=project, url=url)
    assert shown.code == 0 and password not in shown.out and quote(password, safe="") not in shown.out


def test_a_password_found_on_the_way(database: Database, tmp_path: Path) -> None:
    """The URL is env.py's own: nobody told us of the password before the project connected."""
    env = ENV.replace('os.environ["DATABASE_URL"]', 'os.environ["APP_DSN"]')
    body = "import os\nprint('DSN is', os.environ['APP_DSN'].split('@')[0].split(':')[-1])"
    project = make_project(tmp_path, [body], env=env)
    result = run_job("migrate", cwd=project, env={"APP_DSN": database.url})
    assert result.code == 0 and result.finished["applied"] == ["r1"]
    assert database.server.password not in result.out
    assert "DSN is ***" in result.out


def test_the_password_is_on_no_command_line(database: Database, tmp_path: Path) -> None:
    """`ps` shows arguments to everybody: pg_dump gets the password by its environment."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("pg_dump", "pg_restore"):
        script = f'#!/bin/sh\necho "$0 $@" >> {tmp_path}/seen\nexec {database.server.bin}/{name} "$@"\n'
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    project = make_project(tmp_path / "p", [sql("SELECT 1")])
    env = {"MIGRATE_BACKUP_URL": str(tmp_path / "b"), "MIGRATE_PG_BINDIR": str(programs)}
    result = run_job("migrate", cwd=project, url=database.url, env=env)
    assert result.code == 0 and len(list((tmp_path / "b").glob("*.dump"))) == 1
    assert "pg_dump" in (tmp_path / "seen").read_text()
    assert database.server.password not in (tmp_path / "seen").read_text()


def test_a_reader_that_goes_away_does_not_stop_the_migration(database: Database, tmp_path: Path) -> None:
    """`alembic-job migrate | head -1`: the run goes on and its exit code is its own."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)")])
    job = start_job("migrate", cwd=project, url=database.url)
    assert job.stdout is not None
    job.stdout.close()
    assert job.wait(30) == 0
    assert database.query("SELECT to_regclass('a') IS NOT NULL") == [(True,)]


def test_stdout_may_be_a_file(database: Database, tmp_path: Path) -> None:
    """`alembic-job migrate > log`: a file can seek, the pipe that takes its place cannot."""
    project = make_project(tmp_path / "p", [NOISE])
    with (tmp_path / "log").open("w") as file:
        command = [sys.executable, "-m", "alembic_job", "migrate"]
        done = subprocess.run(command, cwd=project, env=job_environment(database.url), stdout=file, stderr=file)
    assert done.returncode == 0
    lines = (tmp_path / "log").read_text().splitlines()
    assert json.loads(lines[-1])["event"] == "job.finished"
    assert len([json.loads(line) for line in lines]) > 1000


def test_text_at_a_terminal(database: Database, tmp_path: Path) -> None:
    """At a terminal the same events are lines for people, in colour; MIGRATE_LOG_FORMAT=json says otherwise."""
    project = make_project(tmp_path, [sql("SELECT 1")])
    text = at_a_terminal(project, database)
    assert "job.finished" in text and "\x1b[" in text and "{" not in text.splitlines()[0]
    json_text = at_a_terminal(project, database, MIGRATE_LOG_FORMAT="json")
    assert json_text.splitlines()[0].startswith("{")


def at_a_terminal(project: Path, database: Database, **env: str) -> str:
    """What `alembic-job migrate` writes to a terminal."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "alembic_job", "migrate"],
        cwd=project,
        env=job_environment(database.url, TERM="xterm", **env),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    read = b""
    while True:
        try:
            data = os.read(controller, 65536)
        except OSError:
            break
        if not data:
            break
        read += data
    os.close(controller)
    assert process.wait(30) == 0, read
    return read.decode()


@pytest.mark.thorough
def test_questions_answer_on_stdout_alone(database: Database, tmp_path: Path) -> None:
    """env.py prints; the answer is still all there is on stdout."""
    project = make_project(tmp_path, [sql("SELECT 1")], env="print('noise')\n" + ENV)
    run_job("migrate", cwd=project, url=database.url)
    current = run_job("current", cwd=project, url=database.url)
    assert current.out.strip() == "r1 (head)" and "noise" in current.err
    assert run_job("heads", cwd=project, url=database.url).out.strip() == "r1 (head)"
    assert "<base> -> r1 (head), step 1" in run_job("history", cwd=project, url=database.url).out


@pytest.mark.thorough
def test_a_project_that_replaces_stdout(database: Database, tmp_path: Path) -> None:
    """What env.py puts in the place of sys.stdout is for its own words: the answer stays what it is."""
    replaced = """
import sys
class Tee:
    def write(self, text):
        return sys.__stdout__.write("tee: " + text)
    def flush(self):
        raise OSError("not today")
sys.stdout = Tee()
"""
    project = make_project(tmp_path, [sql("SELECT 1")], env=replaced + ENV)
    told = run_job("status", "--json", cwd=project, url=database.url)
    assert told.code == 0 and json.loads(told.out)["up_to_date"] is False


def test_a_usage_error_of_a_question_goes_to_stderr(tmp_path: Path) -> None:
    """stdout stays empty for a script that reads it."""
    result = run_job("status", "--frob", cwd=tmp_path)
    assert (result.code, result.out) == (2, "") and "--frob" in result.err


def test_finish_helper_sees_a_missing_last_line() -> None:
    """The tests' own check can fail: output without job.finished is noticed."""
    process = subprocess.Popen(["echo", '{"event": "x"}'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with pytest.raises(AssertionError):
        _ = finish(process).finished


def test_long_lines_hide_no_secret_and_stay_lines(database: Database, tmp_path: Path) -> None:
    """A secret across the cut of a long line; a record longer than a pipe takes at once, beside a child that writes."""
    body = """
        import logging, os, subprocess
        secret = op.get_bind().engine.url.password
        for shift in range(0, 40, 7):
            print("x" * (32768 - shift) + secret + "y" * 40000)
        child = subprocess.Popen(["sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo child; i=$((i+1)); done"])
        for _ in range(20):
            logging.getLogger("long").warning("z" * 200_000)
        child.wait()
    """
    result = run_job("migrate", cwd=make_project(tmp_path, [body]), url=database.url)
    assert result.code == 0
    joined = "".join(event["message"] for event in result.events("output"))
    assert database.server.password not in joined and database.server.password[:12] not in joined
    assert len([event for event in result.events("log.record") if len(event["message"]) == 200_000]) == 20
    assert joined.count("child") == 3000
