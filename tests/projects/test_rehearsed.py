"""Trees of the table, rehearsed: all of each is pending, goes up, down and up, and the databases stay empty."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.projects.project import Project, Tree
from tests.projects.rows import TREES

# How the URL gets in, drivers, what env.py does by itself, whom a migration disturbs, roles of a server of its own.
CHOSEN = {
    "app_creates_tables": {},
    "async_asyncpg": {},
    "async_thread": {},
    "creator": {},
    "flask_app": {},
    "libpq_environment": {"MIGRATE_REHEARSAL_URL": "embedded"},
    "poor_role": {"MIGRATE_REHEARSAL_URL": "embedded"},
    "serializable": {},
    "tenants": {},
    "terminates_others": {},
}
SCRATCH = "SELECT datname FROM pg_database WHERE datname LIKE 'alembic_job_rehearsal_%%'"


def run(tree: Tree, folder: Path, new_database: Callable[[], Database]) -> tuple[int, str, str]:
    """`plan --rehearse` on a tree whose databases must stay as they are: exit code, stdout, stderr."""
    tree = replace(tree, env={**tree.env, **CHOSEN.get(tree.name, {})})
    project = Project(tree, folder / "project ü", new_database)
    bin = project.databases[0].server.bin
    project.tree = replace(tree, env={**tree.env, "MIGRATE_PG_BINDIR": str(bin)})
    before = project.contents(), project.schema()
    result = project.job("plan", "--rehearse", "--json")
    assert (project.contents(), project.schema()) == before
    assert Database(project.databases[0].server, "postgres").query(SCRATCH) == []
    assert project.tokens["PASSWORD"] not in result.out + result.err
    return result.code, result.out, result.err


@pytest.mark.thorough
@pytest.mark.parametrize("tree", [pytest.param(tree, id=tree.name) for tree in TREES if tree.name in CHOSEN])
def test_a_tree_is_rehearsed(
    tree: Tree, tmp_path: Path, new_database: Callable[[], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same schema after up, down and up, without a finding."""
    monkeypatch.setenv("TMPDIR", "/tmp")  # embedded servers of root's run as another user, who must get through
    code, out, err = run(tree, tmp_path, new_database)
    assert code == 0, err
    found = json.loads(out)
    pending = [each["revision"] for table in found["tables"] for each in table["pending"]]
    assert set(pending) == set(tree.applied)
    assert (found["up_down_up"], found["findings"]) == ("same", [])


@pytest.mark.thorough
def test_two_databases_are_refused(tmp_path: Path, new_database: Callable[[], Database]) -> None:
    """A rehearsal is of one database: the project's second one is not connected to."""
    [tree] = [tree for tree in TREES if tree.name == "multidb"]
    code, out, err = run(tree, tmp_path, new_database)
    assert (code, out) == (26, "") and "which is not the database that is rehearsed" in err
