"""Both ends of the ranges in pyproject.toml, each in an environment of its own with psycopg2 and asyncpg alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.projects.project import Project, Tree
from tests.projects.rows import TREES
from tests.projects.test_trees import assert_same, succeeded
from tests.projects.venvs import interpreter, venv

pytestmark = pytest.mark.venvs

BY_NAME = {tree.name: tree for tree in TREES}
PLAIN = Tree("placeholder", bare_url="@PSYCOPG2@")  # what bare Alembic migrates beside `ini_url`: the same revisions

# Without psycopg 3, bare Alembic must be told psycopg2 or asyncpg where the job finds out.
OLDEST = [
    Tree("placeholder", url="@PSYCOPG2@"),
    Tree("async", url="@ASYNCPG@"),
    Tree("async_plain_url", folder="async_ini_driver", on=("_env", "_versions", "async"), url="@URL@", down=None),
    BY_NAME["merged"],
    BY_NAME["keyword_arguments"],
    BY_NAME["operations"],
    BY_NAME["noisy"],
    BY_NAME["creator"],
    BY_NAME["concurrently"],
]
NEWEST = [
    PLAIN,
    Tree("ini_url", url=None),
    Tree("environ_url", bare_url="@PSYCOPG2@"),
    Tree("heroku_url_in_project", folder="environ_engine", url="@POSTGRES@", bare_url="@PSYCOPG2@", down=None),
    Tree("async_plain_url", folder="async_ini_driver", on=("_env", "_versions", "async"), url="@URL@", down=None),
    Tree("pyproject_and_ini", bare_url="@PSYCOPG2@"),
    BY_NAME["absent_key"],
]


@pytest.fixture(scope="session")
def oldest() -> Path:
    return venv("oldest", interpreter("3.12") or sys.executable)


@pytest.fixture(scope="session")
def newest() -> Path:
    return venv("newest", interpreter("3.13") or sys.executable)


@pytest.mark.parametrize("tree", OLDEST, ids=str)
def test_oldest(tree: Tree, tmp_path: Path, new_database: Callable[[], Database], oldest: Path) -> None:
    """Alembic 1.13 with SQLAlchemy 1.4.54, and the oldest of everything else."""
    same_in(oldest, tree, tmp_path, new_database)


@pytest.mark.parametrize("tree", NEWEST, ids=str)
def test_newest(tree: Tree, tmp_path: Path, new_database: Callable[[], Database], newest: Path) -> None:
    """SQLAlchemy 2.1 takes `postgresql://` for psycopg 3; where that is absent, psycopg2 is meant."""
    same_in(newest, tree, tmp_path, new_database)


def same_in(bin: Path, tree: Tree, tmp_path: Path, new_database: Callable[[], Database]) -> None:
    bare = Project(PLAIN if tree.name == "ini_url" else tree, tmp_path / "bare", new_database, bin)
    ours = Project(tree, tmp_path / "ours", new_database, bin)
    bare.bare_upgrade()
    assert succeeded(ours, ours.migrate()).finished["applied"] == list(tree.applied)
    assert_same(ours, bare)
    assert succeeded(ours, ours.migrate()).finished["applied"] == []
    if tree.down:
        bare.bare_downgrade(tree.down)
        succeeded(ours, ours.rollback(tree.down))
        assert_same(ours, bare)
