"""What a rollback looks at before its first change: is there a way back, what would be lost, is there a backup."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Database, run_job
from tests.projectkit import add_revision, make_project, sql

TABLE = "CREATE TABLE a (id int, n text)"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Revision 1 makes a table; each test adds what it wants to undo."""
    made = make_project(tmp_path / "project", [])
    add_revision(made, 1, sql(TABLE), "op.drop_table('a')")
    return made


@pytest.mark.thorough
def test_a_revision_without_downgrade(database: Database, project: Path) -> None:
    """22 before the first change, also where it is not the first to be undone."""
    file = add_revision(project, 2, sql("CREATE TABLE b (id int)"))
    file.write_text(file.read_text().partition("def downgrade")[0])
    add_revision(project, 3, sql("CREATE TABLE c (id int)"), "op.drop_table('c')")
    run_job("migrate", cwd=project, url=database.url)
    result = run_job("rollback", "--to", "r1", "--no-backup", cwd=project, url=database.url)
    assert result.code == 22 and "r2" in result.finished["error"] and "downgrade()" in result.finished["hint"]
    assert database.query("SELECT to_regclass('c') IS NOT NULL, version_num FROM alembic_version") == [(True, "r3")]


def test_a_downgrade_that_refuses(database: Database, project: Path) -> None:
    """NotImplementedError ends the run before anything is undone, not in the middle."""
    add_revision(project, 2, sql("CREATE TABLE b (id int)"), "raise NotImplementedError('one way only')")
    add_revision(project, 3, sql("CREATE TABLE c (id int)"), "op.drop_table('c')")
    run_job("migrate", cwd=project, url=database.url)
    result = run_job("rollback", "--to", "r1", "--no-backup", cwd=project, url=database.url)
    assert result.code == 22 and "one way only" in result.finished["error"]
    assert database.query("SELECT to_regclass('c') IS NOT NULL, version_num FROM alembic_version") == [(True, "r3")]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("upgrade", "code"),
    [("CREATE TABLE b (id int)", 26), ("UPDATE a SET n = 'x'", 0), ("COMMENT ON TABLE a IS 'x'", 26)],
)
def test_an_empty_downgrade(database: Database, project: Path, upgrade: str, code: int) -> None:
    """Refused if its upgrade changed the schema, unless that is meant; one that changed rows only is passed over."""
    add_revision(project, 2, sql(upgrade))
    run_job("migrate", cwd=project, url=database.url)
    result = run_job("rollback", "--no-backup", cwd=project, url=database.url)
    assert result.code == code, result.finished
    if code:
        assert "--allow-empty-downgrade" in result.finished["hint"]
        allowed = run_job("rollback", "--no-backup", "--allow-empty-downgrade", cwd=project, url=database.url)
        assert allowed.code == 0 and allowed.events("revision.empty_downgrade")
    assert database.query("SELECT version_num FROM alembic_version") == [("r1",)]


@pytest.mark.thorough
def test_neither_way_does_anything(database: Database, project: Path) -> None:
    """A revision that is empty both ways, as merges are."""
    add_revision(project, 2, "pass")
    run_job("migrate", cwd=project, url=database.url)
    assert run_job("rollback", "--no-backup", cwd=project, url=database.url).code == 0


@pytest.mark.thorough
def test_what_cannot_be_told_is_not_done_unasked(database: Database, project: Path) -> None:
    """A downgrade that asks the database what to do: nobody knows what it will lose."""
    asks = "if sa.inspect(op.get_bind()).has_table('b'):\n    op.drop_table('b')"
    add_revision(project, 2, sql("CREATE TABLE b (id int)"), asks)
    run_job("migrate", cwd=project, url=database.url)
    result = run_job("rollback", "--no-backup", cwd=project, url=database.url)
    assert result.code == 26 and "cannot be told" in result.finished["error"]
    assert database.query("SELECT to_regclass('b') IS NOT NULL") == [(True,)]
    allowed = run_job("rollback", "--no-backup", "--allow-data-loss", cwd=project, url=database.url)
    assert allowed.code == 0 and database.query("SELECT to_regclass('b')") == [(None,)]


@pytest.mark.thorough
def test_rows_that_it_would_fail_on(database: Database, project: Path) -> None:
    """Said before anything is changed, and whatever was agreed to."""
    add_revision(project, 2, sql("ALTER TABLE a ALTER n DROP NOT NULL"), sql("ALTER TABLE a ALTER n SET NOT NULL"))
    run_job("migrate", cwd=project, url=database.url)
    database.execute("INSERT INTO a VALUES (1, NULL), (2, 'x'), (3, NULL)")
    result = run_job("rollback", "--no-backup", "--allow-data-loss", cwd=project, url=database.url)
    assert result.code == 26 and "fail" in result.finished["error"], result.finished
    assert [(e["count"], e["kind"]) for e in result.finished["evidence"]] == [(2, "refused")]
    database.execute("DELETE FROM a WHERE n IS NULL")
    assert run_job("rollback", "--no-backup", cwd=project, url=database.url).code == 0


@pytest.mark.thorough
def test_the_search_path_that_env_py_sets(database: Database, project: Path) -> None:
    """The figures are of the tables that its statements will find."""
    env = project / "migrations" / "env.py"
    wanted = (
        "    connection.exec_driver_sql('SET search_path TO tenant')\n    connection.commit()\n    context.configure("
    )
    env.write_text(env.read_text().replace("    context.configure(", wanted))
    database.execute("CREATE SCHEMA tenant; CREATE TABLE public.a (id int); INSERT INTO public.a VALUES (1), (2)")
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    database.execute("INSERT INTO tenant.a VALUES (1)")
    result = run_job("rollback", "--to", "base", "--yes", "--no-backup", cwd=project, url=database.url)
    assert result.code == 26, result.finished
    assert [(e["what"], e["count"]) for e in result.finished["evidence"]] == [("table tenant.a", 1)]


@pytest.mark.thorough
def test_a_backup_is_taken_first(database: Database, project: Path, tmp_path: Path) -> None:
    """Where it cannot be, nothing is undone; and what is refused for its losses needs none."""
    add_revision(project, 2, sql("CREATE TABLE b (id int)"), "op.drop_table('b')")
    run_job("migrate", cwd=project, url=database.url)
    env = {"MIGRATE_BACKUP_URL": str(tmp_path / "backups"), "MIGRATE_PG_BINDIR": str(database.server.bin)}
    database.execute("INSERT INTO b VALUES (1)")
    refused = run_job("rollback", cwd=project, url=database.url, env=env)
    assert refused.code == 26 and not refused.events("backup.started")
    (tmp_path / "backups").write_text("a file")
    failed = run_job("rollback", "--allow-data-loss", cwd=project, url=database.url, env=env)
    assert failed.code in (15, 20), failed.finished
    assert database.query("SELECT to_regclass('b') IS NOT NULL") == [(True,)]
    (tmp_path / "backups").unlink()
    result = run_job("rollback", "--allow-data-loss", cwd=project, url=database.url, env=env)
    assert result.code == 0 and result.events("backup.finished")
    order = [event["event"] for event in result.events()]
    assert order.index("rollback.evidence") < order.index("backup.finished") < order.index("revision.reverting")
