"""Nothing was pending, twice; then one thing changes outside the revision files, and the next run must see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.projects.project import STOCK, Project, Tree
from tests.projects.rows import TREES
from tests.projects.test_trees import succeeded

NewDatabase = Callable[[], Database]
_NO_LONGER_YOUNG = """
    SELECT pg_sleep(greatest(0, 10.5 - extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())))
"""
BY_NAME = {tree.name: tree for tree in TREES}

pytestmark = pytest.mark.thorough


def settled(tree: Tree, folder: Path, new_database: NewDatabase) -> Project:
    """A project of which three runs have proven that nothing is pending, on a server that is no longer young.

    A server younger than ten seconds may be the temporary one of an image's first start: no short cut there.
    """
    project = Project(tree, folder, new_database)
    project.databases[0].query(_NO_LONGER_YOUNG)
    assert succeeded(project, project.migrate()).finished["applied"] == list(tree.applied)
    for _ in range(2):
        assert succeeded(project, project.migrate()).finished["applied"] == []
    return project


@pytest.mark.parametrize("name", ["creator", "tenants", "multidb", "chdir", "flask_wsgi", "async_thread", "pyproject"])
def test_somebody_else_goes_back(name: str, tmp_path: Path, new_database: NewDatabase) -> None:
    """Bare Alembic takes the last revision back; the next run brings it again, wherever the version table is."""
    tree = BY_NAME[name]
    project = settled(tree, tmp_path / "p", new_database)
    before = project.contents()
    project.bare_downgrade("-1")
    assert project.contents() != before
    assert succeeded(project, project.migrate()).finished["applied"] == [tree.applied[-1]]
    assert project.contents() == before


def test_one_database_of_two_goes_back(tmp_path: Path, new_database: NewDatabase) -> None:
    """Only the second database of a multidb project lacks the last revision."""
    project = settled(BY_NAME["multidb"], tmp_path / "p", new_database)
    project.databases[1].execute("DROP TABLE warehouse_2; UPDATE alembic_version SET version_num = 'm1'")
    assert succeeded(project, project.migrate()).finished["applied"] == ["m2"]
    assert "public.warehouse_2" in project.contents()[1]


def test_a_tenant_more(tmp_path: Path, new_database: NewDatabase) -> None:
    """The list of schemas is a table: a new row there is new work, with no file changed."""
    project = settled(BY_NAME["tenants"], tmp_path / "p", new_database)
    project.databases[0].execute("INSERT INTO tenants VALUES ('initech')")
    assert succeeded(project, project.migrate()).finished["applied"] == ["tenant_1", "tenant_2"]
    assert "initech.table_2" in project.contents()[0]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("dotenv", ".env"),
        ("app_config", "config/production.json"),
        ("other_key", "alembic.ini"),
        ("ini_url", "alembic.ini"),
    ],
)
def test_a_file_names_another_database(name: str, file: str, tmp_path: Path, new_database: NewDatabase) -> None:
    """The URL stands in a file that is no Python module; it changes, and the other database is migrated."""
    project = settled(BY_NAME[name], tmp_path / "p", new_database)
    other = new_database()
    path = project.folder / file
    path.write_text(path.read_text().replace(f"/{project.databases[0].name}", f"/{other.name}"))
    assert succeeded(project, project.migrate()).finished["applied"] == list(STOCK)
    assert other.query("SELECT version_num FROM alembic_version") == [(STOCK[-1],)]


def test_a_variable_names_another_database(tmp_path: Path, new_database: NewDatabase) -> None:
    """The project's own variable changes, DATABASE_URL is not even set."""
    tree = BY_NAME["pydantic_settings"]
    project = settled(tree, tmp_path / "p", new_database)
    other = new_database()
    project.tree = replace(tree, env={**tree.env, "SHOP_POSTGRES_DB": other.name})
    assert succeeded(project, project.migrate()).finished["applied"] == list(STOCK)
    assert other.query("SELECT version_num FROM alembic_version") == [(STOCK[-1],)]


@pytest.mark.parametrize(
    ("name", "file", "down"),
    [
        ("recursive_locations", "migrations/versions/2025/01/r4.py", "r3"),
        ("pyproject", "db/late/p3.py", "p2"),
        ("package_location", "src/shop/migrations/versions/k3.py", "k2"),
        ("config_folder", "db/migrations/versions/c3.py", "c2"),
    ],
)
def test_a_new_revision(name: str, file: str, down: str, tmp_path: Path, new_database: NewDatabase) -> None:
    """A revision more in one of the odd places that a project keeps them."""
    project = settled(BY_NAME[name], tmp_path / "p", new_database)
    path = project.folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'revision = "more"\ndown_revision = "{down}"\n\n\ndef upgrade():\n    pass\n')
    assert succeeded(project, project.migrate()).finished["applied"] == ["more"]
