"""Situations that need more than one run beside bare Alembic's: heads, shared databases, output, options."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Database, run_job
from tests.projects.project import STOCK, Project, Tree
from tests.projects.rows import TREES
from tests.projects.test_trees import assert_same, succeeded

NewDatabase = Callable[[], Database]
BY_NAME = {tree.name: tree for tree in TREES}


def test_several_heads_are_an_error_that_says_how_to_mean_them(tmp_path: Path, new_database: NewDatabase) -> None:
    """Two bases and nothing said: exit 22, both heads named, the hint says `heads`, nothing is changed."""
    project = Project(replace(BY_NAME["two_bases"], target="head"), tmp_path / "p", new_database)
    before = project.schema()
    result = project.migrate()
    assert (result.code, result.finished["exit_code"]) == (22, 22)
    assert "a100000000s2" in result.finished["error"] + result.finished["hint"]
    assert "b100000000b2" in result.finished["error"] + result.finished["hint"]
    assert "heads" in result.finished["hint"]
    assert project.schema() == before


@pytest.mark.thorough
def test_branch_after_branch_by_label(tmp_path: Path, new_database: NewDatabase) -> None:
    """One label first, then the other: `label@head` brings what the branch depends on, and no more."""
    project = Project(BY_NAME["two_bases"], tmp_path / "p", new_database)
    shop = succeeded(project, project.job("migrate", "--to", "shop@head")).finished
    assert shop["applied"] == ["a100000000s1", "a100000000s2"]
    billing = succeeded(project, project.job("upgrade", "billing@head")).finished
    assert billing["applied"] == ["b100000000b1", "b100000000b2"]
    assert succeeded(project, project.job("migrate", "--to", "heads")).finished["applied"] == []


@pytest.mark.thorough
def test_two_services_share_a_database(tmp_path: Path, new_database: NewDatabase) -> None:
    """Each service's version table is its own, though both have a revision 0001; neither hides the other's work."""
    database = new_database()
    front, back = (
        Project(Tree(f"two_services_{name}", on=()), tmp_path / name, lambda: database) for name in ("front", "back")
    )
    assert succeeded(front, front.migrate()).finished["applied"] == ["0001"]
    assert succeeded(back, back.migrate()).finished["applied"] == ["0001", "0002"]
    assert succeeded(front, front.migrate()).finished["applied"] == []
    succeeded(back, back.rollback("-1"))
    assert succeeded(front, front.migrate()).finished["applied"] == []
    assert succeeded(back, back.migrate()).finished["applied"] == ["0002"]
    assert project_rows(front, "public.alembic_version_front") == ["(0001)"]
    assert project_rows(front, "public.alembic_version_back") == ["(0002)"]


@pytest.mark.thorough
def test_two_sections_share_a_database(tmp_path: Path, new_database: NewDatabase) -> None:
    """Two sections of one ini, chosen with -n, after the command or by MIGRATE_SECTION."""
    tree = replace(BY_NAME["section"], options=())
    project = Project(tree, tmp_path / "p", new_database)
    assert succeeded(project, project.job("migrate", "-n", "shop")).finished["applied"] == ["shop_1", "shop_2"]
    by_variable = replace(tree, env={"MIGRATE_SECTION": "billing"})
    billing = Project(by_variable, tmp_path / "p2", lambda: project.databases[0])
    assert succeeded(billing, billing.migrate()).finished["applied"] == ["billing_1", "billing_2"]
    assert succeeded(project, project.job("migrate", "-n", "shop")).finished["applied"] == []
    assert succeeded(billing, billing.migrate()).finished["applied"] == []


def test_arguments_may_follow_the_command(tmp_path: Path, new_database: NewDatabase) -> None:
    """-x and --tag reach env.py from behind the command as from before it."""
    tree = BY_NAME["x_and_tag"]
    project = Project(replace(tree, options=()), tmp_path / "p", new_database)
    assert succeeded(project, project.job("migrate", *tree.options)).finished["applied"] == list(STOCK)


@pytest.mark.thorough
def test_run_as_a_module_beside_a_folder_alembic(tmp_path: Path, new_database: NewDatabase) -> None:
    """`python -m` puts the project's root first on sys.path, where a package alembic/ hides the library."""
    project = Project(BY_NAME["shadow"], tmp_path / "p", new_database)
    result = succeeded(project, run_job("migrate", cwd=project.folder, url=project.databases[0].url))
    assert result.finished["applied"] == list(STOCK)
    again = succeeded(project, run_job("migrate", cwd=project.folder, url=project.databases[0].url))
    assert again.finished["applied"] == []


@pytest.mark.parametrize(
    ("name", "transaction"),
    [
        ("placeholder", "all"),
        *(
            pytest.param(name, transaction, marks=pytest.mark.thorough)
            for name, transaction in (
                ("async_asyncpg", "project"),
                ("owns_transaction", "all"),
                ("sql_before", "project"),
            )
        ),
        pytest.param("concurrently", "project", marks=pytest.mark.thorough),
    ],
)
def test_other_transactions(name: str, transaction: str, tmp_path: Path, new_database: NewDatabase) -> None:
    """One transaction for all, or as the project has it: the same result."""
    tree = replace(BY_NAME[name], down=None)
    bare = Project(tree, tmp_path / "bare", new_database)
    ours = Project(replace(tree, env={"MIGRATE_TRANSACTION": transaction}), tmp_path / "ours", new_database)
    bare.bare_upgrade()
    assert succeeded(ours, ours.migrate()).finished["applied"] == list(tree.applied)
    assert_same(ours, bare)


@pytest.mark.thorough
def test_a_downgrade_that_raises(tmp_path: Path, new_database: NewDatabase) -> None:
    """Each way a downgrade can refuse ends in 23, with what stands in the database unchanged."""
    project = Project(BY_NAME["downgrade_raises"], tmp_path / "p", new_database)
    succeeded(project, project.migrate())
    before = project.schema(), project.contents()
    result = project.rollback("-1")
    assert result.code == 23, result.out
    assert result.finished["hint"]
    assert (project.schema(), project.contents()) == before

    for revision in ("d2", "d1"):
        project.databases[0].execute(f"UPDATE alembic_version SET version_num = '{revision}'")
        result = project.rollback("-1")
        assert result.code in (22, 23), result.out
        assert revision in result.finished["error"]
        assert "alembic_job" not in result.finished["error"], "the project's file is to be corrected, not ours"
        assert project.contents()[0]["public.alembic_version"] == [f"({revision})"]


def test_output_after_the_end(tmp_path: Path, new_database: NewDatabase) -> None:
    """A thread prints for ever, atexit prints, a child lives on with our stdout: `job.finished` is last, and soon."""
    project = Project(Tree("late_output"), tmp_path / "p", new_database)
    began = time.monotonic()
    result = succeeded(project, project.migrate())
    assert result.finished["applied"] == list(STOCK)
    assert "marker-tick" in result.out
    assert time.monotonic() - began < 20  # the child sleeps for 40


def test_the_project_reads_a_url_that_sqlalchemy_cannot(tmp_path: Path, new_database: NewDatabase) -> None:
    """libpq's `host1,host2` in DATABASE_URL, and env.py gives it to SQLAlchemy: a clear error, not a traceback."""
    url = "postgresql://postgres:@PASSWORD@@@HOST@:1,@HOST@:@PORT@/@DATABASE@"
    project = Project(Tree("own", folder="environ_url", url=url), tmp_path / "p", new_database)
    result = project.migrate()
    assert result.code in (20, 22), result.out
    assert "host" in result.finished["hint"]
    assert project.tokens["PASSWORD"] not in result.out


@pytest.mark.thorough
def test_the_project_migrates_another_database(tmp_path: Path, new_database: NewDatabase) -> None:
    """DATABASE_URL names one database, a variable of the project's another: what counts is where env.py connects."""
    tree = replace(BY_NAME["own_variable"], url="@URL2@", databases=2)
    project = Project(tree, tmp_path / "p", new_database)
    assert succeeded(project, project.migrate()).finished["applied"] == list(STOCK)
    assert "public.users" in project.contents()[0]
    assert "public.users" not in project.contents()[1]
    assert succeeded(project, project.migrate()).finished["applied"] == []
    project.databases[0].execute("DROP TABLE alembic_version, orders, users; DROP TYPE order_status")
    assert succeeded(project, project.migrate()).finished["applied"] == list(STOCK)


@pytest.mark.parametrize(
    "name",
    [
        "two_bases",
        *(
            pytest.param(name, marks=pytest.mark.thorough)
            for name in ("version_table_computed", "flask_app", "flask_wsgi", "async_asyncpg")
        ),
    ],
)
def test_questions_answer_as_bare_alembic(name: str, tmp_path: Path, new_database: NewDatabase) -> None:
    """`current` and `heads` name the revisions that bare Alembic names; stdout is the answer alone."""
    ours = Project(BY_NAME[name], tmp_path / "ours", new_database)
    bare = Project(BY_NAME[name], tmp_path / "bare", lambda: ours.databases[0])
    assert answer(ours, "current") == set()
    bare.bare_upgrade()
    for command in ("current", "heads"):
        found = answer(ours, command)
        assert found
        assert found == revisions_in(ours, bare.bare(command).out)


def answer(project: Project, command: str) -> set[str]:
    result = project.job(command)
    assert result.code == 0, result.out + result.err
    return revisions_in(project, result.out)


def revisions_in(project: Project, text: str) -> set[str]:
    return {revision for revision in project.tree.applied if revision in text}


def project_rows(project: Project, table: str) -> list[str]:
    return project.contents()[0][table]
