"""Projects of other kinds are looked at as they are: several databases, tenants, an env.py that ends the process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.projects.project import Project, Tree
from tests.projects.rows import TREES

_NAMES = ("multidb", "tenants", "exits", "flask_app", "merged", "chdir")


@pytest.mark.thorough
@pytest.mark.parametrize("tree", [tree for tree in TREES if str(tree) in _NAMES], ids=str)
def test_other_kinds_of_projects(tree: Tree, tmp_path: Path, new_database: Callable[[], Database]) -> None:
    """What is pending is rendered, and no error is found where there is none."""
    project = Project(tree, tmp_path, new_database)
    ended = project.job("lint", "--pending", "--json")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert told["revisions"] == len(tree.applied) and told["remarks"] == []
    assert {finding["rule"] for finding in told["findings"] if "squawk/" not in finding["rule"]} <= {"data-and-schema"}
