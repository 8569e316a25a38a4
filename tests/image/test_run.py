"""`docker run IMAGE …` on a real PostgreSQL."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.image.builds import ROOT
from tests.image.conftest import PASSWORD, Database, Job, Postgres, await_condition, is_running, new_database, new_name
from tests.image.engine import Engine
from tests.image.projects import write_project
from tests.image.test_clients import RESTORE

_HEAD = max(ROOT.glob("alembic/versions/*.py")).name.split("_")[1]
_TMP = ("--tmpfs", "/tmp")


def test_no_command_means_migrate(job: Job) -> None:
    """`docker run IMAGE` brings an empty database to head; a second run finds nothing to do."""
    first = job.run()
    assert first.code == 0, first.out + first.err
    assert first.finished["outcome"] == "done"
    assert first.finished["applied"][-1] == _HEAD
    assert first.err == ""
    assert job.database.revision == _HEAD
    second = job.run()
    assert second.finished["applied"] == []


def test_commands_as_at_the_desk(job: Job) -> None:
    """`IMAGE status`, `IMAGE db status`, `IMAGE alembic-job status` and the program `db` give the same answer."""
    assert job.run("migrate").code == 0
    answers = [job.run(*words, "status", "--json") for words in ((), ("db",), ("alembic-job",))]
    answers.append(job.run("status", "--json", options=("--entrypoint", "db")))
    assert [answer.code for answer in answers] == [0, 0, 0, 0]
    assert len({answer.out for answer in answers}) == 1
    assert json.loads(answers[0].out)["up_to_date"] is True


def test_rolls_back_by_hand(job: Job) -> None:
    """The manual one-shot: `docker run IMAGE rollback --steps 1`."""
    assert job.run("migrate").code == 0
    undone = job.run("rollback", "--steps", "1", "--no-backup")
    assert undone.code == 0, undone.out + undone.err
    assert job.database.revision != _HEAD


@pytest.mark.parametrize("tmp", [(), _TMP], ids=["nothing writable", "tmp writable"])
def test_any_user_on_a_read_only_file_system(job: Job, tmp: tuple[str, ...]) -> None:
    """An arbitrary UID that no passwd file knows, no capabilities, a root file system nobody can write."""
    hardened = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", *tmp)
    done = job.run(options=("--user", "1234567:0", *hardened))
    assert done.code == 0, done.out + done.err
    assert job.database.revision == _HEAD
    other_group = job.run(options=("--user", "1234567:7654321", *hardened))
    assert other_group.finished["applied"] == []


def test_stop_ends_a_running_migration(engine: Engine, job: Job, open_folder: Path) -> None:
    """`docker stop` in the middle of a minute's statement: exit code 14 in two seconds, nothing changed."""
    project = write_project(open_folder, "CREATE TABLE t1 (id int)", "CREATE TABLE t2 AS SELECT pg_sleep(60)::text")
    container = job.start(options=_mounted(project))
    working = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE TABLE t2%' AND datname = current_catalog"
    await_condition(
        lambda: job.database.psql(working) == "1",
        give_up=lambda: not is_running(engine, container),
        said=lambda: engine.run("logs", container).stdout,
    )
    begun = time.monotonic()
    engine.run("stop", container)
    seconds = time.monotonic() - begun
    finished = json.loads(engine.run("logs", container).stdout.splitlines()[-1])
    assert (finished["event"], finished["exit_code"]) == ("job.finished", 14)
    assert engine.run("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip() == "14"
    assert seconds <= 2
    assert job.database.revision == "r1"
    assert job.database.psql(working) == "0"
    assert job.database.psql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"


def test_stop_right_after_the_start(engine: Engine, job: Job) -> None:
    """A signal to process 1 is lost until there is a handler for it: even the earliest one must end the job with 14."""
    for _ in range(5):
        container = job.start(options=("--env", "DATABASE_URL=postgresql://nobody@192.0.2.1/nowhere"))
        begun = time.monotonic()
        engine.run("stop", container)
        assert time.monotonic() - begun <= 2
        assert json.loads(engine.run("logs", container).stdout.splitlines()[-1])["exit_code"] == 14


def test_secret_is_nowhere(engine: Engine, job: Job, database: Database, open_folder: Path) -> None:
    """With the URL in a file, no password in the image, the container's configuration or a log of any level."""
    secret = open_folder / "database_url"
    secret.write_text(database.url + "\n")
    secret.chmod(0o444)
    inside = "/run/secrets/database_url"
    mount = ("--volume", f"{secret}:{inside}:ro", "--env", f"DATABASE_URL_FILE={inside}")
    said: list[str] = []
    for words in (["migrate", "--log-level", "debug"], ["config"], ["migrate", "--to", "nonsense"]):
        name = new_name()
        run = ("run", "--name", name, "--network", database.server.network, *mount, job.image, *words)
        engine.run(*run, check=False)
        logs = engine.run("logs", name)
        said += [logs.stdout, logs.stderr, engine.run("inspect", name).stdout]
    assert database.revision == _HEAD
    said += [engine.run("history", "--no-trunc", job.image).stdout, engine.run("inspect", job.image).stdout]
    for form in (PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), json.dumps(PASSWORD)[1:-1]):
        assert not [text for text in said if form in text]


def test_failures_tell_no_password(job: Job) -> None:
    """A wrong password ends with 21, its text nowhere in the log; nor is that of a URL that cannot be read."""
    wrong = PASSWORD + "wrong"
    url = job.database.url.replace(quote(PASSWORD, safe=""), quote(wrong, safe=""))
    refused = job.run("--login-grace", "1s", options=("--env", f"DATABASE_URL={url}"))
    assert refused.finished["exit_code"] == 21
    unreadable = job.run(options=("--env", f"DATABASE_URL=postgresql://u:{PASSWORD}@[::1/x"))
    assert unreadable.finished["exit_code"] == 20
    for output in (refused.out + refused.err, unreadable.out + unreadable.err):
        assert PASSWORD[:8] not in output
        assert quote(PASSWORD, safe="")[:12] not in output


def test_backup_before_the_change(engine: Engine, job: Job, postgres: Postgres, open_folder: Path) -> None:
    """MIGRATE_BACKUP=required leaves a dump in the mounted folder that restores the state before the run."""
    open_folder.chmod(0o777)
    folder = ("--volume", f"{open_folder}:/backup", "--env", "MIGRATE_BACKUP_URL=/backup")
    required = (*folder, "--env", "MIGRATE_BACKUP=required", "--read-only", "--user", "1234567:0")
    assert job.run("migrate", "--to", "+1").code == 0
    job.database.psql("INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.org')")
    before = job.database.revision
    done = job.run(options=required)
    assert done.code == 0, done.out + done.err
    assert len(done.events("backup.finished")) == 1
    [dump] = open_folder.glob("*.dump")
    copy = new_database(postgres)
    variables = ("--env", f"TARGET_URL={copy.url}", "--network", postgres.network)
    where = ("--rm", "--user", "0", "--volume", f"{dump}:/tmp/backup.dump", "--workdir", "/tmp", *variables)
    engine.run("run", *where, "--entrypoint", "/bin/sh", job.image, "-ec", RESTORE)
    assert copy.revision == before
    assert copy.psql("SELECT name FROM users") == "Ada"
    assert job.run(options=required).finished["applied"] == []
    assert [dump] == list(open_folder.glob("*.dump"))


def test_backup_that_cannot_be_written_changes_nothing(job: Job, open_folder: Path) -> None:
    """A folder that the user may not write: the run ends with 15 before the first change."""
    options = ("--volume", f"{open_folder}:/backup", "--env", "MIGRATE_BACKUP_URL=/backup")
    done = job.run(options=options)
    assert done.finished["exit_code"] == 15
    assert job.database.psql("SELECT count(*) FROM information_schema.tables WHERE table_name = 'users'") == "0"


def _mounted(project: Path) -> tuple[str, ...]:
    return ("--volume", f"{project}:/migrations:ro", "--env", "ALEMBIC_CONFIG=/migrations/alembic.ini")
