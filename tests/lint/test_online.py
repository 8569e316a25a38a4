"""With a database: what is pending, what only the database knows, and MIGRATE_LINT at deploy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Database, run_job
from tests.lint.conftest import ROOT
from tests.lint.defects import ADD, DROP, Defect
from tests.lint.test_defects import HEAD
from tests.projectkit import add_revision, make_project, sql


def rules(out: str) -> set[tuple[str, str]]:
    """Rule and revision of each finding."""
    return {(finding["rule"], finding["revision"]) for finding in json.loads(out)["findings"]}


@pytest.mark.thorough
def test_what_only_the_database_knows(tmp_path: Path, database: Database) -> None:
    """After a deployment: scripts that were edited, models out of step; then pending revisions on a large table."""
    for name in ("alembic", "app"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    assert run_job("migrate", cwd=tmp_path, url=database.url).code == 0
    versions = tmp_path / "alembic/versions"
    for name in ("create_users", "create_products"):
        [script] = versions.glob(f"*_{name}.py")
        script.write_text(script.read_text().replace("nullable=False),\n    )", "nullable=False))"))
        script.write_text(
            script.read_text().replace("def upgrade() -> None:\n", "def upgrade() -> None:\n    op.f('')\n")
        )
    models = tmp_path / "app/models/__init__.py"
    models.write_text(
        models.read_text() + "\nBase.metadata.tables['users'].append_column(__import__('sqlalchemy').Column('x'))\n"
    )

    ended = run_job("lint", "--json", cwd=tmp_path, url=database.url)
    assert (ended.code, rules(ended.out)) == (
        3,
        {
            ("edited-after-applied", "8d2f4c1a9b70"),
            ("edited-after-applied", "b41e07c95d32"),
            ("models-out-of-step", HEAD),
        },
    ), ended.err
    assert "users.x" in ended.out and json.loads(ended.out)["revisions"] == 0

    database.execute("INSERT INTO users (email, name) SELECT n::text, repeat('x', 500) FROM generate_series(1, 500) n")
    database.execute("VACUUM users")
    heavy = (
        Defect("big-table", 'op.execute("ALTER TABLE users ALTER id TYPE numeric")  # !', DROP.format(1)),
        Defect("big-table", 'op.execute("UPDATE users SET name = email")  # !'),
        Defect("fine", ADD.format(2), DROP.format(2)),
    )
    for number, defect in enumerate(heavy):
        down = f"d{number - 1}" if number else HEAD
        (versions / f"20260101_d{number}.py").write_text(defect.script(f"d{number}", down))
    ended = run_job("lint", "--json", "--big-table", "64kB", cwd=tmp_path, url=database.url)
    large = {each for each in rules(ended.out) if each[0] == "big-table"}
    assert large == {("big-table", "d0"), ("big-table", "d1")}, ended.out
    assert json.loads(ended.out)["revisions"] == 3


def test_at_deploy(tmp_path: Path, database: Database) -> None:
    """MIGRATE_LINT=error refuses pending revisions with errors before the first change; warn says so and goes on."""
    project = make_project(tmp_path, [sql("CREATE TABLE t (id int)")])
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    add_revision(project, 2, sql("ALTER TABLE t ADD COLUMN note text"))
    before = database.schema()

    refused = run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_LINT": "error"})
    assert refused.finished["exit_code"] == 26 and refused.finished["applied"] == []
    assert "1 error in pending revisions: migrations/versions/r2_.py:14 empty-downgrade" in refused.finished["error"]
    assert "ignore[RULE]" in refused.finished["hint"]
    [finding] = [event for event in refused.events("lint.finding") if event["rule"] == "empty-downgrade"]
    assert (finding["severity"], finding["level"], finding["revision"]) == ("error", "warning", "r2")
    assert database.schema() == before

    warned = run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_LINT": "warn"})
    assert warned.finished["applied"] == ["r2"]
    assert [event["errors"] for event in warned.events("lint.finished")] == [1]
    again = run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_LINT": "error"})
    assert again.code == 0 and not again.events("lint.finding")


@pytest.mark.thorough
def test_the_database_is_not_needed(tmp_path: Path, database: Database) -> None:
    """Without a database all revisions are looked at; env.py that needs one is left out, which is said."""
    project = make_project(tmp_path, [sql("CREATE TABLE t (id int)"), sql("VACUUM t")])
    ended = run_job("lint", cwd=project)
    assert ended.code == 3 and "not-transactional" in ended.out and "env.py cannot be loaded" in ended.out
    assert run_job("lint", "--fail-on", "never", cwd=project).code == 0
    assert "2 revisions" in ended.out
    there = run_job("lint", "--offline", cwd=project, url=database.url)
    assert there.code == 3 and "Sealed: it connects to a database" in there.out
    unreachable = run_job("lint", cwd=project, url="postgresql://127.0.0.1:1/nowhere")
    assert unreachable.code == 10, unreachable.err
