"""`alembic-job verify`: by hand, from CI or a CronJob."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Database, run_job
from tests.projectkit import add_revision, make_project, sql


@pytest.fixture
def project(tmp_path: Path, database: Database) -> Path:
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int); INSERT INTO a VALUES (1), (1)")])
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    return project


def test_all_is_well(project: Path, database: Database) -> None:
    """0, and nothing was written: not even the record of a run."""
    database.execute("DROP SCHEMA alembic_job CASCADE")
    result = run_job("verify", cwd=project, url=database.url)
    assert (result.code, result.finished["from"], result.finished["applied"]) == (0, "r1", [])
    assert result.events("verify.passed")[0]["tables"]
    assert database.query("SELECT to_regnamespace('alembic_job') IS NULL") == [(True,)]


def test_something_is_pending(project: Path, database: Database) -> None:
    """24, naming it; nothing is applied."""
    add_revision(project, 2, sql("CREATE TABLE b (id int)"))
    result = run_job("verify", cwd=project, url=database.url)
    assert result.code == 24 and "r2" in result.finished["error"] and "migrate" in result.finished["hint"]
    assert database.query("SELECT to_regclass('b') IS NULL") == [(True,)]


def test_an_invalid_index(project: Path, database: Database) -> None:
    """24 with the statement that clears it away, whoever left it; a constraint that is NOT VALID is a warning."""
    database.execute("ALTER TABLE a ADD CONSTRAINT small CHECK (id < 9) NOT VALID")
    assert run_job("verify", cwd=project, url=database.url).events("constraint.not_validated")
    with pytest.raises(Exception, match="could not create unique index"):
        database.execute('CREATE UNIQUE INDEX CONCURRENTLY "we ird" ON a (id)')
    result = run_job("verify", cwd=project, url=database.url)
    assert result.code == 24 and 'DROP INDEX CONCURRENTLY public."we ird"' in result.finished["hint"], result.finished


def test_a_database_that_is_ahead(project: Path, database: Database) -> None:
    """28, or by MIGRATE_WHEN_AHEAD=tolerate a warning."""
    database.execute("UPDATE alembic_version SET version_num = 'newer'")
    assert run_job("verify", cwd=project, url=database.url).code == 28
    result = run_job("verify", cwd=project, url=database.url, env={"MIGRATE_WHEN_AHEAD": "tolerate"})
    assert result.code == 0 and result.events("database.ahead")[0]["unknown"] == ["newer"]
