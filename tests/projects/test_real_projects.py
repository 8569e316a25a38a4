"""Real migrations, as their authors ship them: mlflow's, optuna's; and a thousand revisions."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.projects.generated import write_project
from tests.projects.project import Project, Tree
from tests.projects.test_trees import assert_same, succeeded
from tests.projects.venvs import venv

MLFLOW_BEFORE = """
import os
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import create_engine
Base.metadata.create_all(create_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg2:")))
print("base tables made")
"""


@pytest.fixture(scope="session")
def real() -> Path:
    return venv("real")


def revisions(versions: Path) -> int:
    return sum(bool(re.search(r"^revision\b.*=", file.read_text(), re.M)) for file in versions.glob("*.py"))


@pytest.mark.venvs
def test_mlflow(real: Path, tmp_path: Path, new_database: Callable[[], Database]) -> None:
    """mlflow's 67 revisions need its base tables first; `MIGRATE_BEFORE` makes them, once, under the lock."""
    package = next((real.parent / "lib").glob("python*/site-packages/mlflow"))
    before = shlex.join([str(real / "python"), "-c", MLFLOW_BEFORE])
    tree = Tree(
        "mlflow",
        on=(),
        env={"MIGRATE_BEFORE": before},
        options=("-c", "mlflow/store/db_migrations/alembic.ini"),
        bare_url="@PSYCOPG2@",
    )
    bare, ours = (installed(tree, package, tmp_path / name, new_database, real) for name in ("bare", "ours"))

    bare.run("python", "-c", MLFLOW_BEFORE, url="@PSYCOPG2@")
    bare.bare_upgrade()
    first = succeeded(ours, ours.migrate())
    assert len(first.finished["applied"]) == revisions(package / "store/db_migrations/versions")
    assert "base tables made" in first.out
    assert_same(ours, bare)
    one_way = {event["revision"] for event in first.events("revision.one_way")}
    assert one_way == {"1b5f0d9ad7c1", "75868b020152"}  # their downgrades ask which tables and indexes there are
    rows = ours.databases[0].query("SELECT revision, downgrade IS NULL FROM alembic_job.scripts")
    assert len(rows) == 67 and {revision for revision, missing in rows if missing} == one_way

    again = succeeded(ours, ours.migrate())
    assert again.finished["applied"] == []
    assert "base tables made" not in again.out

    bare.bare_downgrade("-1")
    succeeded(ours, ours.rollback("-1"))
    assert_same(ours, bare)


@pytest.mark.venvs
def test_optuna(real: Path, tmp_path: Path, new_database: Callable[[], Database]) -> None:
    """optuna keeps its ini inside the package, and calls fileConfig only where nobody set up logging."""
    package = next((real.parent / "lib").glob("python*/site-packages/optuna"))
    tree = Tree("optuna", on=(), cwd="optuna/storages/_rdb", bare_url="@PSYCOPG2@")
    bare, ours = (installed(tree, package, tmp_path / name, new_database, real) for name in ("bare", "ours"))

    bare.bare_upgrade()
    first = succeeded(ours, ours.migrate())
    assert len(first.finished["applied"]) == revisions(package / "storages/_rdb/alembic/versions")
    assert_same(ours, bare)
    assert succeeded(ours, ours.migrate()).finished["applied"] == []


@pytest.mark.thorough
def test_a_thousand_revisions(tmp_path: Path, new_database: Callable[[], Database]) -> None:
    """A thousand revisions: each applied once, in order, to the same schema as bare Alembic's; then one back."""
    tree = Tree("thousand", on=())
    bare, ours = (Project(tree, tmp_path / name, new_database) for name in ("bare", "ours"))
    for project in (bare, ours):
        ids = write_project(project.folder, 1000)

    bare.bare_upgrade()
    assert succeeded(ours, ours.migrate()).finished["applied"] == ids
    assert_same(ours, bare)
    assert succeeded(ours, ours.migrate()).finished["applied"] == []

    bare.bare_downgrade("-3")
    succeeded(ours, ours.rollback("-3"))
    assert_same(ours, bare)


def installed(tree: Tree, package: Path, folder: Path, new_database: Callable[[], Database], bin: Path) -> Project:
    """The package's migrations copied out of its environment (its code stays there), with a database of their own."""
    for ini in package.rglob("alembic.ini"):
        home = folder / package.name / ini.parent.relative_to(package)
        shutil.copytree(ini.parent, home, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return Project(tree, folder, new_database, bin)
