"""The library beneath the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

import alembic_job
from alembic_job import JobError, Settings
from tests.conftest import Database
from tests.projectkit import make_project, sql


def test_migrate_and_rollback_return_reports(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A program migrates with one call, and nothing is printed that its own logging does not print."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)"), sql("CREATE TABLE b (id int)")])
    monkeypatch.chdir(project)
    monkeypatch.setenv("DATABASE_URL", database.url)
    events: list[str] = []

    class Log:
        def __getattr__(self, level: str) -> object:
            return lambda event, **fields: events.append(event)

    settings = Settings(database_url=database.url)
    report = alembic_job.migrate(settings, log=Log())
    assert (report.outcome, report.applied, report.target) == ("done", ("r1", "r2"), ("r2",))
    assert alembic_job.rollback(settings, log=Log()).reverted == ("r2",)
    assert events.count("revision.applied") == 2
    assert capfd.readouterr().out == ""


def test_a_failure_is_an_exception_with_the_report(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was applied before the failure is known to the program."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)"), sql("SELECT 1/0")])
    monkeypatch.chdir(project)
    monkeypatch.setenv("DATABASE_URL", database.url)
    with pytest.raises(JobError, match="division by zero") as raised:
        alembic_job.migrate(Settings(database_url=database.url))
    assert raised.value.exit_code == 23
    assert raised.value.report.applied == ("r1",)
