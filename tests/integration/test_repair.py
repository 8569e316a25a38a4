"""`alembic-job repair`: the way out for a script that was edited after it had been applied, where that is meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alembic_job.gateways.locks import LOCK_CLASS
from alembic_job.identity import key_of
from tests.conftest import Database, Result, run_job
from tests.integration.test_exit_codes import expect
from tests.integration.test_history import edit
from tests.integration.test_wait_for_migrations import TWO_TABLES
from tests.projectkit import add_revision, make_project, sql

FAIL = {"MIGRATE_WHEN_EDITED": "fail"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = make_project(tmp_path / "project", [])
    add_revision(made, 1, sql("CREATE TABLE a (id int, n text)"), "op.drop_table('a')")
    add_revision(made, 2, sql("ALTER TABLE a ADD COLUMN b text"), "op.drop_column('a', 'b')")
    return made


@pytest.fixture
def migrated(database: Database, project: Path) -> Database:
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    return database


def repair(project: Path, database: Database, *args: str, **env: str) -> Result:
    return run_job("repair", *args, cwd=project, url=database.url, env=env)


def migrate(project: Path, database: Database) -> Result:
    return run_job("migrate", cwd=project, url=database.url, env=FAIL)


def rows(database: Database, columns: str = "*") -> list[tuple[Any, ...]]:
    return database.query(f"SELECT {columns} FROM alembic_job.scripts ORDER BY version_table, revision")


def test_it_is_shown_then_recorded(migrated: Database, project: Path) -> None:
    """26 with the differences; with --yes script and way back are as they are now, and the rest as it was."""
    migrated.execute("UPDATE alembic_job.scripts SET adopted = true WHERE revision = 'r2'")
    edit(project, 1, "op.drop_table('a')", "op.execute('DROP TABLE a CASCADE')")
    edit(project, 2, "b text", "b varchar(9)")
    expect(migrate(project, migrated), 27, "r1", "alembic-job repair")
    stays = "revision, run_id, recorded_at, adopted, down_revisions"
    before, applied, schema = rows(migrated), rows(migrated, stays), migrated.schema()
    shown = repair(project, migrated)
    expect(shown, 26, "r1", "r2_.py", "nothing was changed", "--yes")
    assert [event["revision"] for event in shown.events("script.edited")] == ["r1", "r2"]
    assert "+    op.execute('DROP TABLE a CASCADE')" in shown.events("script.edited")[0]["diff"]
    assert "alembic-job repair r1" in shown.events("script.edited")[0]["hint"]
    assert rows(migrated) == before
    result = repair(project, migrated, "--yes")
    assert result.code == 0 and result.finished["repaired"] == ["r1", "r2"], result.finished
    assert (result.finished["from"], result.finished["to"], result.finished["applied"]) == ("r2", "r2", [])
    events = result.events("script.repaired")
    assert [event["revision"] for event in events] == ["r1", "r2"] and "varchar(9)" in events[1]["diff"]
    [[source, downgrade], _] = rows(migrated, "source, downgrade")
    assert "CASCADE" in source and json.loads(downgrade) == [["DROP TABLE a CASCADE", False]]
    assert rows(migrated, stays) == applied and migrated.schema() == schema
    assert migrated.query("SELECT planned, outcome FROM alembic_job.runs WHERE command = 'repair'") == [
        (["r1", "r2"], "done")
    ]
    after = migrate(project, migrated)
    assert after.code == 0 and not after.events("script.edited"), after.finished
    assert repair(project, migrated).events("scripts.unchanged")[0]["tables"] == ["public.alembic_version"]


@pytest.mark.thorough
def test_those_that_are_named(migrated: Database, project: Path) -> None:
    """The others stay edited; a name that means nothing, several, or nothing applied, stops all of it."""
    add_revision(project, 3, sql("SELECT 1"))
    for number in (1, 2):
        edit(project, number, "text", "varchar(9)")
    before = rows(migrated)
    expect(repair(project, migrated, "r2", "nonsense", "--yes"), 22, "nonsense")
    expect(repair(project, migrated, "r", "--yes"), 22, "'r'")
    expect(repair(project, migrated, "r2", "r3", "--yes"), 22, "not applied", "r3", "alembic-job status")
    assert rows(migrated) == before
    result = repair(project, migrated, "r2", "--yes")
    assert result.code == 0 and result.finished["repaired"] == ["r2"], result.finished
    left = migrate(project, migrated)
    expect(left, 27, "r1")
    assert [event["revision"] for event in left.events("script.edited")] == ["r1"]


@pytest.mark.thorough
def test_a_beginning_of_an_id(database: Database, tmp_path: Path) -> None:
    """As Alembic's own commands take it."""
    project = make_project(tmp_path, [])
    file = add_revision(project, 1, sql("CREATE TABLE a (n text)"))
    file.write_text(file.read_text().replace("'r1'", "'94eb20c7d1a6'"))
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    edit(project, 1, "text", "varchar(9)")
    assert repair(project, database, "94eb", "--yes").finished["repaired"] == ["94eb20c7d1a6"]


@pytest.mark.thorough
def test_comments_are_renewed_without_a_word(migrated: Database, project: Path) -> None:
    """Only with --yes, too; then no run has to compare them any more."""
    edit(project, 1, '"""step 1"""', '"""Another text."""\n# a comment\n')
    before = rows(migrated)
    looked = repair(project, migrated)
    assert looked.code == 0 and looked.events("scripts.unchanged") and rows(migrated) == before
    result = repair(project, migrated, "--yes")
    assert result.code == 0 and result.finished["repaired"] == [], result.finished
    assert not result.events("script.edited") and not result.events("script.repaired")
    [[source, message, file_hash, downgrade], _] = rows(migrated, "source, message, file_hash, downgrade")
    assert "# a comment" in source and message == "Another text."
    assert file_hash != before[0][7] and json.loads(downgrade) == [["DROP TABLE a", False]]
    assert migrated.query("SELECT count(*) FROM alembic_job.runs WHERE command = 'repair'") == [(0,)]


@pytest.mark.thorough
def test_one_at_a_time(migrated: Database, project: Path) -> None:
    """It waits for the lock on the version table, as a migration does: 11 when that takes too long."""
    edit(project, 1, "n text", "n varchar(9)")
    before, holder = rows(migrated), migrated.connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, key_of("public.alembic_version")))
    expect(repair(project, migrated, "--yes", MIGRATE_RUN_LOCK_TIMEOUT="500ms"), 11, "public.alembic_version")
    assert rows(migrated) == before
    holder.close()
    assert repair(project, migrated, "--yes").code == 0


@pytest.mark.thorough
def test_without_a_history_or_the_right_to_write_it(migrated: Database, project: Path) -> None:
    """20 where it is off, 21 for a role that may only read it, or not even that."""
    edit(project, 1, "n text", "n varchar(9)")
    expect(repair(project, migrated, "--yes", MIGRATE_HISTORY="off"), 20, "MIGRATE_HISTORY")
    before = rows(migrated)
    migrated.execute("CREATE ROLE meek LOGIN PASSWORD 'x'; GRANT SELECT ON alembic_version TO meek")
    try:
        url = migrated.url.replace(f"postgres:{migrated.server.password}@", "meek:x@")
        expect(run_job("repair", "--yes", cwd=project, url=url), 21, "meek may not read the history")
        migrated.execute("GRANT USAGE ON SCHEMA alembic_job TO meek")
        migrated.execute("GRANT SELECT ON ALL TABLES IN SCHEMA alembic_job TO meek")
        expect(run_job("repair", "--yes", cwd=project, url=url), 21, "cannot be written", "the role that migrates")
        assert rows(migrated) == before
    finally:
        migrated.execute("DROP OWNED BY meek; DROP ROLE meek")


@pytest.mark.thorough
def test_several_version_tables(database: Database, tmp_path: Path) -> None:
    """Of each its own record; a script that is applied in one of them only is repaired there."""
    project = make_project(tmp_path, [sql("CREATE TABLE IF NOT EXISTS a (n text)")], env=TWO_TABLES)
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    edit(project, 1, "n text", "n varchar(9)")
    tables = [event["table"] for event in repair(project, database, "--yes").events("script.repaired")]
    assert tables == ["public.one_version", "public.two_version"]
    assert migrate(project, database).code == 0
    edit(project, 1, "n varchar(9)", "n varchar(8)")
    database.execute("DELETE FROM one_version")
    tables = [event["table"] for event in repair(project, database, "r1", "--yes").events("script.repaired")]
    assert tables == ["public.two_version"]


@pytest.mark.thorough
def test_where_only_hashes_are_kept(database: Database, project: Path) -> None:
    """MIGRATE_ARCHIVE=off: what was edited is not known, and neither text nor way back is kept now."""
    off = {"MIGRATE_ARCHIVE": "off"}
    assert run_job("migrate", cwd=project, url=database.url, env=off).code == 0
    edit(project, 1, "n text", "n varchar(9)")
    assert repair(project, database, "--yes", **off).events("script.repaired")[0]["diff"] is None
    assert set(rows(database, "source, downgrade")) == {(None, None)}
    assert migrate(project, database).code == 0


@pytest.mark.thorough
def test_a_way_back_that_is_gone(migrated: Database, project: Path) -> None:
    """An edited downgrade that asks the database is recorded as one that no older image can undo, and said so."""
    edit(project, 2, "op.drop_column('a', 'b')", "op.get_bind().execute(sa.text('SELECT 1'))")
    result = repair(project, migrated, "--yes")
    assert result.code == 0 and result.events("revision.one_way")[0]["revision"] == "r2", result.finished
    assert rows(migrated, "downgrade IS NULL, not_rendered LIKE '%%asks%%'")[1] == (True, True)


@pytest.mark.thorough
def test_scripts_that_are_not_the_databases(migrated: Database, project: Path) -> None:
    """An older image knows less than what is there: 28, by any policy."""
    (project / "migrations" / "versions" / "r2_.py").unlink()
    edit(project, 1, "n text", "n varchar(9)")
    expect(repair(project, migrated, "--yes", MIGRATE_WHEN_AHEAD="tolerate"), 28, "r2", "the image that migrated last")


@pytest.mark.thorough
def test_an_empty_database(database: Database, project: Path) -> None:
    """There is nothing to repair, and nothing is made: no version table, no history."""
    assert repair(project, database, "--yes", MIGRATE_BEFORE="false", MIGRATE_BEFORE_WHEN="always").code == 0
    assert database.query("SELECT to_regclass('alembic_version'), to_regnamespace('alembic_job')") == [(None, None)]
