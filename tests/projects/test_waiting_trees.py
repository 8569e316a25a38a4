"""Every tree of the table: a pod that waits changes nothing, and is ready once the job is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.projects.project import Project, Tree
from tests.projects.rows import TREES
from tests.projects.test_trees import succeeded

_THOROUGH = pytest.mark.thorough


@pytest.mark.parametrize("tree", [pytest.param(tree, id=tree.name, marks=_THOROUGH) for tree in TREES])
def test_a_pod_waits_for_the_job(tree: Tree, tmp_path: Path, new_database: Callable[[], Database]) -> None:
    """Before: not ready, and the databases are as they were. After: ready, and still nothing was changed by waiting."""
    project = Project(tree, tmp_path / "ours ü", new_database)
    to = tree.applied[-1] if tree.target.startswith("+") else tree.target
    target = ("--to", to) if to not in ("head", "heads") else ()
    before = project.contents(), project.schema()
    early = project.job("wait-for-migrations", "--timeout", "0s", *target)
    assert early.finished["outcome"] in ("deadline", "misconfigured") or not tree.applied, early.out
    assert (project.contents(), project.schema()) == before

    succeeded(project, project.migrate())
    before = project.contents(), project.schema()
    ready = succeeded(project, project.job("wait-for-migrations", "--timeout", "0s", *target))
    assert ready.events("migrations.ready")
    assert (project.contents(), project.schema()) == before
