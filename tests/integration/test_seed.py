"""`seed`: the project's own rows, all of them or none, on a schema that is at head."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import Database, Result, run_job
from tests.integration.test_exit_codes import expect
from tests.projectkit import add_revision, make_project, sql

ROOT = Path(__file__).resolve().parents[2]
ROWS = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM products), (SELECT count(*) FROM orders)"
SEEDS = """\
from sqlalchemy import text

def rows(connection):
    connection.execute(text("INSERT INTO t VALUES (1)"))

def fails(session):
    rows(session)
    session.commit()
    session.execute(text("INSERT INTO nothing VALUES (1)"))

def commits(connection):
    rows(connection)
    connection.commit()

async def later(session):
    ...

def ends(connection):
    rows(connection)
    raise SystemExit(3)

not_callable = 1
"""


def test_the_sample_is_seeded_twice(database: Database) -> None:
    """The second time adds nothing; each run is remembered."""
    run_job("migrate", cwd=ROOT, url=database.url)
    first = run_job("seed", cwd=ROOT, url=database.url)
    assert first.code == 0, first.out
    assert first.events("seed.finished")[0]["result"] == "Added(users=3, products=4, orders=4)"
    assert run_job("seed", cwd=ROOT, url=database.url).code == 0
    assert database.query(ROWS) == [(3, 4, 4)]
    ended = "SELECT outcome FROM alembic_job.runs WHERE command = 'seed'"
    assert database.query(ended) == [("done",), ("done",)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = make_project(tmp_path, [sql("CREATE TABLE t (id int)")])
    (made / "seeds.py").write_text(SEEDS)
    return made


def seeded(database: Database, project: Path, seed: str) -> Result:
    return run_job("seed", cwd=project, url=database.url, env={"MIGRATE_SEED": seed} if seed else {})


@pytest.mark.thorough
def test_a_seed_that_fails_leaves_nothing(database: Database, project: Path) -> None:
    """23 with its place in the project, although the session had been committed in between."""
    run_job("migrate", cwd=project, url=database.url)
    expect(seeded(database, project, "seeds:fails"), 23, "seeds:fails", "UndefinedTable", "seeds.py:9", "nothing of it")
    assert database.query("SELECT count(*) FROM t") == [(0,)]
    assert seeded(database, project, "seeds:rows").code == 0
    assert database.query("SELECT count(*) FROM t") == [(1,)]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("seed", "code", "said"),
    [
        ("", 20, "app/seed.py"),
        ("seeds:commits", 23, "commits by itself"),
        ("seeds:ends", 23, "ended with 3"),
        ("seeds:later", 20, "async"),
        ("seeds:not_callable", 20, "no function"),
        ("nothing:seed", 20, "ModuleNotFoundError"),
        ("false", 23, "ended with 1"),
    ],
)
def test_seeds_that_cannot_be(seed: str, code: int, said: str, database: Database, project: Path) -> None:
    """It is said why, with MIGRATE_SEED as the way out, and no row stays."""
    run_job("migrate", cwd=project, url=database.url)
    expect(seeded(database, project, seed), code, said, *(["MIGRATE_SEED"] if code == 20 else []))
    assert database.query("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.thorough
def test_a_command_as_seed(database: Database, project: Path) -> None:
    """It has the job's environment, and its words are events; 26 again once something is pending."""
    run_job("migrate", cwd=project, url=database.url)
    (project / "fill.py").write_text(
        "import os, psycopg2\nconnection = psycopg2.connect(os.environ['DATABASE_URL'])\n"
        "with connection, connection.cursor() as cursor:\n    cursor.execute('INSERT INTO t VALUES (7)')\n"
        "print('filled')\n"
    )
    done = seeded(database, project, f"{sys.executable} fill.py")
    assert done.code == 0 and any("filled" in str(line) for line in done.events()), done.out
    assert database.query("SELECT * FROM t") == [(7,)]
    add_revision(project, 2, sql("SELECT 1"))
    expect(seeded(database, project, f"{sys.executable} fill.py"), 26, "1 pending", "r2", "alembic-job migrate")
