"""Every tree of the table: what the job leaves is what bare Alembic leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Database, Result
from tests.projects.project import Project, Tree
from tests.projects.rows import TREES


@pytest.mark.parametrize("tree", [pytest.param(t, id=t.name, marks=[pytest.mark.thorough] * t.thorough) for t in TREES])
def test_the_job_leaves_what_bare_alembic_leaves(
    tree: Tree, tmp_path: Path, new_database: Callable[[], Database]
) -> None:
    """Up, up again, one step down: the same schema, rows and version tables as the `alembic` command beside it."""
    bare = Project(tree, tmp_path / "bare ü", new_database)
    ours = Project(tree, tmp_path / "ours ü", new_database)

    bare.bare_upgrade()
    first = succeeded(ours, ours.migrate())
    assert first.finished["applied"] == list(tree.applied)
    assert_same(ours, bare)
    for word in tree.says:
        assert word in first.out

    if tree.repeatable:
        again = succeeded(ours, ours.migrate())
        assert again.finished["applied"] == []
        assert again.finished["to"] == first.finished["to"]
        assert ours.contents() == bare.contents()

    if tree.down:
        bare.bare_downgrade(tree.down)
        succeeded(ours, ours.rollback(tree.down))
        assert_same(ours, bare)


def succeeded(project: Project, result: Result) -> Result:
    """Exit 0, every line one JSON object with `job.finished` last, nothing on stderr, the password nowhere."""
    assert result.code == 0, result.out[-4000:] + result.err[-4000:]
    assert result.finished["exit_code"] == 0
    assert result.err == ""
    assert project.tokens["PASSWORD"] not in result.out
    return result


def assert_same(ours: Project, bare: Project) -> None:
    assert ours.contents() == bare.contents()
    assert ours.schema() == bare.schema()
