"""`alembic-job verify`: by hand, from CI or a CronJob."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Database, run_job
from tests.integration.test_exit_codes import expect
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


@pytest.mark.thorough
def test_an_invalid_index(project: Path, database: Database) -> None:
    """24 with the statement that clears it away, whoever left it; a constraint that is NOT VALID is a warning."""
    database.execute("ALTER TABLE a ADD CONSTRAINT small CHECK (id < 9) NOT VALID")
    assert run_job("verify", cwd=project, url=database.url).events("constraint.not_validated")
    with pytest.raises(Exception, match="could not create unique index"):
        database.execute('CREATE UNIQUE INDEX CONCURRENTLY "we ird" ON a (id)')
    result = run_job("verify", cwd=project, url=database.url)
    assert result.code == 24 and 'DROP INDEX CONCURRENTLY public."we ird"' in result.finished["hint"], result.finished


@pytest.mark.thorough
def test_a_database_that_is_ahead(project: Path, database: Database) -> None:
    """28, or by MIGRATE_WHEN_AHEAD=tolerate a warning, where the history proves that it is."""
    newer = add_revision(project, 2, sql("CREATE TABLE b (id int)"))
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    newer.unlink()
    assert run_job("verify", cwd=project, url=database.url).code == 28
    tolerate = {"MIGRATE_WHEN_AHEAD": "tolerate"}
    result = run_job("verify", cwd=project, url=database.url, env=tolerate)
    assert result.code == 0 and result.events("database.ahead")[0]["unknown"] == ["r2"]
    database.execute("DELETE FROM alembic_job.scripts WHERE revision = 'r2'")
    [untold] = run_job("verify", cwd=project, url=database.url, env=tolerate).events("database.ahead")
    assert "history does not tell" in untold["hint"] and "deploy the newer image again" in untold["hint"]
    database.execute(
        "UPDATE alembic_version SET version_num = 'other'; UPDATE alembic_job.scripts SET revision = 'other' WHERE"
        " revision = 'r1'"
    )
    expect(run_job("verify", cwd=project, url=database.url, env=tolerate), 28, "'other'", "history does not tell")


@pytest.mark.thorough
def test_a_history_that_may_not_be_read(project: Path, database: Database) -> None:
    """It tells nothing, and the GRANT is named; with that one, it does."""
    newer = add_revision(project, 2, sql("CREATE TABLE b (id int)"))
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    newer.unlink()
    database.execute("CREATE ROLE looker LOGIN PASSWORD 'x'; GRANT SELECT ON alembic_version TO looker")
    try:
        url = database.url.replace(f"postgres:{database.server.password}@", "looker:x@")
        tolerate = {"MIGRATE_WHEN_AHEAD": "tolerate"}
        [hidden] = run_job("verify", cwd=project, url=url, env=tolerate).events("database.ahead")
        assert "looker may not read the history" in hidden["hint"]
        database.execute(hidden["hint"].partition("as the owner: ")[2])
        [known] = run_job("verify", cwd=project, url=url, env=tolerate).events("database.ahead")
        assert "hint" not in known
    finally:
        database.execute("DROP OWNED BY looker; DROP ROLE looker")


@pytest.mark.thorough
def test_another_branch(project: Path, database: Database) -> None:
    """Beyond a part of what these scripts have: 24 for the rest."""
    other = add_revision(project, 3, sql("SELECT 1"), down="r1")
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    other.unlink()
    add_revision(project, 2, sql("SELECT 1"))
    result = run_job("verify", cwd=project, url=database.url, env={"MIGRATE_WHEN_AHEAD": "tolerate"})
    expect(result, 24, "at r3", "r2", "another branch")
