"""The library beneath the command line."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest

import alembic_job
from alembic_job import JobError, Settings
from tests.conftest import Database
from tests.projectkit import make_project, sql


def test_migrate_and_rollback_return_reports(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A program migrates with one call; nothing is printed but by its own logging, its collector is as before."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)"), sql("CREATE TABLE b (id int)")])
    monkeypatch.chdir(project)
    monkeypatch.setenv("DATABASE_URL", database.url)
    events: list[str] = []

    class Log:
        def __getattr__(self, level: str) -> object:
            return lambda event, **fields: events.append(event)

    settings = Settings(database_url=database.url)
    collector = gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()
    report = alembic_job.migrate(settings, log=Log())
    assert (gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()) == collector
    assert (report.outcome, report.applied, report.target) == ("done", ("r1", "r2"), ("r2",))
    assert alembic_job.rollback(settings, no_backup=True, empty_downgrade=True, log=Log()).reverted == ("r2",)
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


def test_two_databases_one_after_the_other(
    new_database: Callable[[], Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program migrates a list of databases: each call reaches the one it names, and no descriptor stays open."""
    monkeypatch.chdir(make_project(tmp_path, [sql("CREATE TABLE a (id int)")]))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    databases = [new_database() for _ in range(3)]
    opened = []
    for database in databases:
        assert alembic_job.migrate(Settings(database_url=database.url)).applied == ("r1",)
        assert database.query("SELECT to_regclass('a') IS NOT NULL") == [(True,)]
        opened.append(len(list(Path("/proc/self/fd").iterdir())))
    assert opened[1] == opened[2]


def test_a_url_that_the_project_ignores(
    new_database: Callable[[], Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program names one database, the environment another: an error instead of the wrong database migrated."""
    monkeypatch.chdir(make_project(tmp_path, [sql("CREATE TABLE a (id int)")]))
    named, other = new_database(), new_database()
    monkeypatch.setenv("DATABASE_URL", other.url)
    with pytest.raises(JobError) as raised:
        alembic_job.migrate(Settings(database_url=named.url))
    assert raised.value.exit_code == 20
    assert other.query("SELECT to_regclass('a') IS NULL") == [(True,)]
