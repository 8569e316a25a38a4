"""How a run ended, where Kubernetes looks for it: in every way that a run can end."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from alembic_job import termination
from tests.conftest import Database, finish, run_job, start_job
from tests.integration.test_interruption import SWALLOWING, sleeping
from tests.projectkit import make_project, sql
from tests.waiting import until

TABLE = sql("CREATE TABLE a (id int)")


@pytest.fixture
def message(tmp_path: Path) -> Path:
    """Where the job is told to write."""
    return tmp_path / "termination-log"


def to(message: Path) -> dict[str, str]:
    return {"MIGRATE_TERMINATION_LOG": str(message)}


def test_a_run_that_went_well(database: Database, tmp_path: Path, message: Path) -> None:
    """From where to where, and what was applied."""
    project = make_project(tmp_path / "p", [TABLE, sql("SELECT 1")])
    result = run_job("migrate", cwd=project, url=database.url, env=to(message))
    assert message.read_text().splitlines() == [
        "migrate: done, exit code 0",
        "from nothing → r2",
        "applied (2): r1, r2",
        f"run_id {result.finished['run_id']}",
    ]
    assert run_job("rollback", "--no-backup", cwd=project, url=database.url, env=to(message)).code == 0
    assert message.read_text().splitlines()[:3] == [
        "rollback: done, exit code 0",
        "from r2 → r1",
        "reverted (1): r2",
    ]


def test_a_failure_says_what_to_do(database: Database, tmp_path: Path, message: Path) -> None:
    """Error, hint and how far it came, as in the last line of the log."""
    project = make_project(tmp_path / "p", [TABLE, sql("SELECT 1/0")])
    result = run_job("migrate", cwd=project, url=database.url, env=to(message))
    last = result.finished
    assert message.read_text().splitlines() == [
        "migrate: failed, exit code 23",
        f"error: {last['error']}",
        f"hint: {last['hint']}",
        "from nothing → r1",
        "applied (1): r1",
        f"run_id {last['run_id']}",
    ]
    assert "division by zero" in last["error"]


def test_a_long_error_is_cut_and_the_hint_is_not(database: Database, tmp_path: Path, message: Path) -> None:
    """4096 bytes, no half character, the error's beginning, the whole hint."""
    project = make_project(tmp_path / "p", ["raise ValueError('" + "ü–🔑" * 3000 + "')"])
    result = run_job("migrate", cwd=project, url=database.url, env=to(message))
    data = message.read_bytes()
    assert 4000 < len(data) <= 4096
    lines = data.decode().splitlines()
    assert lines[1].startswith("error: revision r1 failed: ValueError: ü–🔑ü–🔑") and lines[1].endswith("…")
    assert lines[2] == f"hint: {result.finished['hint']}"
    assert lines[-1] == f"run_id {result.finished['run_id']}"


@pytest.mark.thorough
@pytest.mark.parametrize("length", range(3000, 3012))
def test_no_character_is_split(length: int) -> None:
    """Wherever the cut falls; also where hint, heads and revisions are far too long."""
    many = [f"revision-{number}" for number in range(500)]
    fields = {"command": "migrate", "outcome": "failed", "exit_code": 23, "from": many, "to": many, "applied": many}
    text = termination.text({**fields, "error": "x" + "ü🔑" * length, "hint": "y" * (length % 3) + "–" * 3000}, "id")
    assert len(text) <= 4096
    lines = text.decode().splitlines()
    assert len(lines) == 6 and "applied (500): revision-0, " in lines[4] and len(lines[1].encode()) > 500
    only = termination.text({**fields, "from": "a", "to": "b"}, "id")
    assert 4000 < len(only) <= 4096


def test_no_secret(database: Database, tmp_path: Path, message: Path) -> None:
    """Masked as in the log, before anything is cut."""
    project = make_project(tmp_path / "p", [f"raise ValueError({database.url!r} + 'x' * 5000)"])
    result = run_job("migrate", cwd=project, url=database.url, env=to(message))
    assert "ValueError: postgresql://postgres:***@127.0.0.1" in message.read_text()
    assert database.server.password not in message.read_text() + result.out


def test_nothing_pending_by_the_short_cut(database: Database, tmp_path: Path, message: Path) -> None:
    """Also where the project is not even loaded."""
    project = make_project(tmp_path / "p", [TABLE])
    env = to(message)
    age = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) > 10.5"
    until(lambda: database.query(age) == [(True,)], 15)
    assert run_job("migrate", cwd=project, url=database.url, env=env).code == 0
    message.unlink()
    result = run_job("migrate", cwd=project, url=database.url, env=env)
    assert result.events("nothing.pending")[0]["proven"]
    assert message.read_text().splitlines() == [
        "migrate: done, exit code 0",
        "from r1 → r1",
        f"run_id {result.finished['run_id']}",
    ]


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("words", [["migrate", "--no-such"], ["rollback", "--steps", "1", "--to", "r1"], ["migrat"]])
def test_a_wrong_command_line(tmp_path: Path, message: Path, log_format: str, words: list[str]) -> None:
    """2, whatever the format of the log, and where no command was understood at all."""
    result = run_job(*words, cwd=tmp_path, env={**to(message), "MIGRATE_LOG_FORMAT": log_format})
    assert result.code == 2
    lines = message.read_text().splitlines()
    assert lines[0].endswith(": usage, exit code 2") and lines[1].startswith("error: ")
    assert any(line.startswith("hint: see alembic-job") for line in lines)


def test_a_wrong_setting(tmp_path: Path, message: Path) -> None:
    """Before any setting is known."""
    result = run_job("migrate", cwd=tmp_path, env={**to(message), "MIGRATE_WAIT_TIMEOUT": "soon"})
    assert result.code == 20
    assert message.read_text().startswith("migrate: misconfigured, exit code 20\nerror: MIGRATE_WAIT_TIMEOUT='soon'")


def test_the_flag(tmp_path: Path, message: Path) -> None:
    """Over the environment."""
    result = run_job("migrate", "--termination-log", str(message), cwd=tmp_path, env=to(tmp_path / "other"))
    assert result.code == 20 and message.read_text().startswith("migrate: misconfigured")
    assert not (tmp_path / "other").exists()


def test_sigterm(database: Database, tmp_path: Path, message: Path) -> None:
    """An interrupted run says so, with what was committed."""
    project = make_project(tmp_path / "p", [TABLE, sql("SELECT pg_sleep(60)")])
    job = start_job("migrate", cwd=project, url=database.url, env=to(message))
    until(lambda: sleeping(database))
    job.terminate()
    assert finish(job).code == 14
    text = message.read_text()
    assert text.startswith("migrate: interrupted, exit code 14\nerror: interrupted by SIGTERM\nhint: ")
    assert "applied (1): r1\n" in text


@pytest.mark.thorough
def test_the_forced_way_out(database: Database, tmp_path: Path, message: Path) -> None:
    """The migration swallows whatever is raised and sleeps on: the watching thread writes it."""
    body = (
        SWALLOWING
        + "\nimport time\nwhile True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        pass"
    )
    project = make_project(tmp_path / "p", [TABLE, body])
    job = start_job("migrate", cwd=project, url=database.url, env=to(message))
    until(lambda: sleeping(database))
    sent = time.monotonic()
    job.terminate()
    assert finish(job).code == 14
    assert time.monotonic() - sent <= 1.5
    assert message.read_text().startswith("migrate: interrupted, exit code 14\n")
    assert "applied (1): r1\n" in message.read_text()


@pytest.mark.thorough
def test_a_project_that_goes_elsewhere(database: Database, tmp_path: Path) -> None:
    """A relative path is where the job was started."""
    project = make_project(tmp_path / "p", [TABLE + "\nimport os\nos.chdir('/')"])
    env = {"MIGRATE_TERMINATION_LOG": "message"}
    assert run_job("migrate", cwd=project, url=database.url, env=env).code == 0
    assert (project / "message").exists()


@pytest.mark.thorough
def test_a_place_that_cannot_be_written(database: Database, tmp_path: Path) -> None:
    """A folder, a missing folder, a pipe that nobody reads: the run ends as it would have; a debug event says it."""
    project = make_project(tmp_path / "p", [TABLE])
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path, tmp_path / "missing" / "file", tmp_path / "pipe"):
        env = {**to(place), "MIGRATE_LOG_LEVEL": "debug", "MIGRATE_HISTORY": "off"}
        result = run_job("migrate", cwd=project, url=database.url, env=env)
        assert result.code == 0
        [event] = result.events("termination_log.failed")
        assert event["path"] == str(place) and event["reason"]


@pytest.mark.thorough
def test_questions_leave_it_alone(database: Database, tmp_path: Path, message: Path) -> None:
    """Also where they fail, or are asked in a wrong way."""
    project = make_project(tmp_path / "p", [TABLE])
    for words in (["status"], ["config"], ["show", "r9"], ["status", "--no-such"]):
        run_job(*words, cwd=project, url=database.url, env=to(message))
    assert not message.exists()


def test_the_default_is_never_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pod the file is there and is written; elsewhere nothing appears, and nothing is said about it."""
    default = tmp_path / "default"
    monkeypatch.delenv("MIGRATE_TERMINATION_LOG", raising=False)
    monkeypatch.setattr(termination, "DEFAULT", str(default))
    assert termination.path() == str(default)
    assert termination.write(termination.path(), b"text") is None
    assert not default.exists()
    default.write_text("what an earlier container of the pod may have left, which is longer")
    assert termination.write(termination.path(), b"text") is None
    assert default.read_bytes() == b"text"
