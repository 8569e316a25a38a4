"""Rollbacks by an image that is older than the database: by the SQL that the history holds."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Database, Result, run_job, start_job
from tests.marks import thorough
from tests.projectkit import ENV, add_revision, make_project, sql
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
UPS = {
    1: ("CREATE TABLE a (id int PRIMARY KEY, n text DEFAULT '100%')", "op.drop_table('a')"),
    2: ("ALTER TABLE a ADD COLUMN b varchar(40)", "op.drop_column('a', 'b')"),
    3: ("CREATE TABLE c (id int REFERENCES a)", "op.drop_table('c')"),
    4: (
        "CREATE INDEX i ON a (n)",
        "with op.get_context().autocommit_block():\n    op.execute('DROP INDEX CONCURRENTLY i')",
    ),
}


def image(folder: Path, revisions: int, env: str = ENV) -> Path:
    """The project of a release that has so many revisions."""
    made = make_project(folder / f"image{revisions}", [], env=env)
    for number in range(1, revisions + 1):
        up, down = UPS[number]
        add_revision(made, number, sql(up), down)
    return made


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    return image(tmp_path, 4)


@pytest.fixture
def older(tmp_path: Path) -> Path:
    return image(tmp_path, 2)


def back(project: Path, database: Database, *args: str, to: str = "r2", env: dict[str, str] | None = None) -> Result:
    return run_job("rollback", "--to", to, "--no-backup", *args, cwd=project, url=database.url, env=env)


def at(database: Database) -> list[str]:
    return [revision for [revision] in database.query("SELECT version_num FROM alembic_version ORDER BY 1")]


def test_back_to_what_it_knows(
    new_database: Callable[[], Database], database: Database, newer: Path, older: Path
) -> None:
    """Schema and version table are, byte for byte, what the older image itself makes; and forward again."""
    own = new_database()
    assert run_job("migrate", cwd=older, url=own.url).code == 0
    assert run_job("migrate", cwd=newer, url=database.url).code == 0
    result = back(older, database)
    assert result.code == 0, result.finished
    assert result.finished["reverted"] == ["r4", "r3"] and result.finished["to"] == "r2"
    assert result.events("revisions.from_history")[0]["revisions"] == ["r3", "r4"]
    assert database.schema() == own.schema() and at(database) == ["r2"]
    assert run_job("migrate", cwd=older, url=database.url).finished["applied"] == []
    assert run_job("migrate", cwd=newer, url=database.url).finished["applied"] == ["r3", "r4"]


@pytest.mark.thorough
def test_further_than_it_lacks(database: Database, newer: Path, older: Path) -> None:
    """Revisions of the history and of its own, in one go; one step; and only a part of what it lacks."""
    run_job("migrate", cwd=newer, url=database.url)
    assert back(older, database, to="r1").finished["reverted"] == ["r4", "r3", "r2"]
    run_job("migrate", cwd=newer, url=database.url)
    one = run_job("rollback", "--no-backup", cwd=older, url=database.url)
    assert one.finished["reverted"] == ["r4"] and at(database) == ["r3"]
    run_job("migrate", cwd=newer, url=database.url)
    assert back(older, database, to="r3").finished["reverted"] == ["r4"]


@pytest.mark.thorough
def test_the_sample_application_two_releases_back(
    new_database: Callable[[], Database], database: Database, tmp_path: Path
) -> None:
    """With data in it; what the downgrades lose is told with its figures first."""
    releases = {}
    for name, left_out in (("newest", 0), ("older", 7)):
        folder = tmp_path / name
        shutil.copytree(ROOT / "alembic", folder / "alembic", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "app", folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "alembic.ini", folder)
        files = sorted((folder / "alembic" / "versions").glob("2*.py"))
        for file in files[len(files) - left_out :]:
            file.unlink()
        releases[name] = folder
    own = new_database()
    assert run_job("migrate", cwd=releases["older"], url=own.url).code == 0
    target = at(own)[0]
    assert run_job("migrate", cwd=releases["newest"], url=database.url).code == 0
    database.execute("INSERT INTO users (email, name) SELECT n || '@example.org', 'n' FROM generate_series(1, 7) n")
    database.execute("INSERT INTO products (sku, name, price) SELECT 's' || n, 'p', 3 FROM generate_series(1, 3) n")
    database.execute(
        "INSERT INTO orders (user_id, product_id, quantity, unit_price) SELECT 1, 1, 1, 3 FROM generate_series(1, 5)"
    )
    refused = back(releases["older"], database, to=target)
    assert refused.code == 26 and at(database) != [target], refused.finished
    lost = {(each["what"], each["count"]) for each in refused.finished["evidence"] if each["kind"] == "lost"}
    assert ("column public.orders.unit_price", 5) in lost
    result = back(releases["older"], database, "--allow-data-loss", to=target)
    assert result.code == 0 and len(result.finished["reverted"]) == 7, result.finished
    assert sorted(database.schema().splitlines()) == sorted(own.schema().splitlines())  # phone was added anew: last
    assert at(database) == [target]
    assert run_job("migrate", cwd=releases["newest"], url=database.url).code == 0


@pytest.mark.thorough
def test_what_would_be_lost_is_not_lost_unasked(database: Database, newer: Path, older: Path) -> None:
    """26 with the figures, in a run and recorded; --allow-data-loss, or consent given beforehand and used once."""
    run_job("migrate", cwd=newer, url=database.url)
    database.execute("INSERT INTO a SELECT n FROM generate_series(1, 10) n")
    database.execute("INSERT INTO c SELECT n FROM generate_series(1, 4) n")
    before = database.schema()
    refused = back(older, database)
    assert refused.code == 26 and "4 rows of table public.c would be lost" in refused.finished["error"]
    assert "--allow-data-loss" in refused.finished["hint"] and "consent r3" in refused.finished["hint"]
    assert database.schema() == before and at(database) == ["r4"]
    assert run_job("consent", "r3", cwd=older, url=database.url).code == 0
    result = back(older, database)
    assert result.code == 0, result.finished
    assert result.events("rollback.evidence")[0]["count"] == 4
    [(evidence,)] = database.query("SELECT evidence FROM alembic_job.runs WHERE command = 'rollback'")
    assert '"count": 4' in evidence
    run_job("migrate", cwd=newer, url=database.url)
    database.execute("INSERT INTO c SELECT n FROM generate_series(1, 2) n")
    assert back(older, database).code == 26
    assert back(older, database, "--allow-data-loss").code == 0


@pytest.mark.thorough
def test_consent_is_for_what_is_known(database: Database, newer: Path, older: Path) -> None:
    """An unknown revision is 22; consent can be withdrawn."""
    run_job("migrate", cwd=newer, url=database.url)
    assert run_job("consent", "nonsense", cwd=older, url=database.url).code == 22
    assert run_job("consent", "r3", cwd=older, url=database.url).code == 0
    assert run_job("consent", "r3", "--withdraw", cwd=older, url=database.url).code == 0
    assert database.query("SELECT * FROM alembic_job.consents") == []


@pytest.mark.thorough
def test_dry_run_changes_nothing(database: Database, newer: Path, older: Path) -> None:
    """It tells SQL and figures, and needs neither backup nor consent."""
    run_job("migrate", cwd=newer, url=database.url)
    database.execute("INSERT INTO a VALUES (1); INSERT INTO c VALUES (1)")
    before, runs = database.schema(), database.query("SELECT count(*) FROM alembic_job.runs")
    result = run_job("rollback", "--to", "r2", "--dry-run", cwd=older, url=database.url)
    assert result.code == 0 and "reverted" not in result.finished, result.finished
    assert [event["statements"] for event in result.events("rollback.planned")] == [
        ["DROP INDEX CONCURRENTLY i"],
        ["DROP TABLE c"],
    ]
    assert result.events("rollback.evidence")[0]["message"] == "1 row of table public.c would be lost"
    assert (database.schema(), at(database)) == (before, ["r4"])
    assert database.query("SELECT count(*) FROM alembic_job.runs") == runs


@pytest.mark.thorough
def test_plain_migrate_rolls_back_where_that_is_wanted(database: Database, newer: Path, older: Path) -> None:
    """MIGRATE_WHEN_AHEAD=rollback: what `helm rollback` runs. Data is lost there neither."""
    run_job("migrate", cwd=newer, url=database.url)
    env = {"MIGRATE_WHEN_AHEAD": "rollback"}
    assert run_job("migrate", cwd=older, url=database.url, env=env).code == 26  # no backup
    env["MIGRATE_BACKUP"] = "off"
    database.execute("INSERT INTO a VALUES (1); INSERT INTO c VALUES (1)")
    refused = run_job("migrate", cwd=older, url=database.url, env=env)
    assert refused.code == 26 and at(database) == ["r4"] and refused.finished["command"] == "migrate"
    database.execute("DELETE FROM c")
    result = run_job("migrate", cwd=older, url=database.url, env=env)
    assert result.code == 0 and at(database) == ["r2"], result.finished
    assert result.finished["reverted"] == ["r4", "r3"] and result.finished["from"] == "r4"
    assert run_job("migrate", cwd=older, url=database.url, env=env).finished["applied"] == []


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        ("DELETE FROM alembic_job.scripts WHERE revision = 'r4'", 28, "backup list"),
        thorough("DELETE FROM alembic_job.scripts WHERE revision = 'r3'", 28, "r3"),
        thorough("DROP SCHEMA alembic_job CASCADE", 28, "backup list"),
        (
            'UPDATE alembic_job.scripts SET downgrade = NULL, not_rendered = \'["it asks the database", "asks"]\''
            " WHERE revision = 'r3'",
            28,
            "r3: it asks the database",
        ),
        ("CREATE ROLE other; GRANT UPDATE ON alembic_job.scripts TO other", 26, "update on the table scripts: other"),
        thorough(
            "CREATE ROLE other; ALTER TABLE alembic_job.scripts OWNER TO other", 26, "owner of the table scripts: other"
        ),
        thorough("CREATE ROLE other; ALTER SCHEMA alembic_job OWNER TO other", 26, "owner of the schema: other"),
        thorough("GRANT INSERT ON alembic_job.scripts TO PUBLIC", 26, "everybody"),
    ],
)
def test_no_way_back(database: Database, newer: Path, older: Path, spoil: str, code: int, says: str) -> None:
    """Where the history does not hold it, or others may have written what it holds, nothing is executed."""
    run_job("migrate", cwd=newer, url=database.url)
    before = database.schema()
    try:
        database.execute(spoil)
        result = back(older, database)
        assert result.code == code, result.finished
        assert says in result.finished["error"] + result.finished["hint"]
        assert database.schema() == before and at(database) == ["r4"]
    finally:
        if "ROLE other" in spoil:
            database.execute("REASSIGN OWNED BY other TO CURRENT_USER; DROP OWNED BY other; DROP ROLE other")


@pytest.mark.thorough
def test_a_branch_and_a_merge(database: Database, tmp_path: Path) -> None:
    """Two revisions on one, and a third that joins them: all three are unknown to the older image."""
    older, newer = (make_project(tmp_path / name, []) for name in ("older", "newer"))
    for project in (older, newer):
        add_revision(project, 1, sql("CREATE TABLE a (id int)"), "op.drop_table('a')")
    for number, parents in ((2, "r1"), (3, "r1")):
        add_revision(
            newer, number, sql(f"CREATE TABLE t{number} (id int)"), f"op.drop_table('t{number}')", down=parents
        )
    merge = add_revision(newer, 4, "pass", "pass", down="PARENTS")
    merge.write_text(merge.read_text().replace("'PARENTS'", "('r2', 'r3')"))
    assert run_job("migrate", cwd=newer, url=database.url).code == 0
    result = back(older, database, to="r1")
    assert result.code == 0, result.finished
    assert at(database) == ["r1"] and set(result.finished["reverted"]) == {"r2", "r3", "r4"}
    assert database.query("SELECT to_regclass('t2'), to_regclass('t3')") == [(None, None)]


@pytest.mark.thorough
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_other_drivers(database: Database, tmp_path: Path, driver: str) -> None:
    """What the history holds is executed on the project's own connection, whatever that is; `%` stays `%`."""
    url = 'os.environ["DATABASE_URL"]'
    env = ASYNC if driver == "asyncpg" else ENV.replace(url, f'{url}.replace(":", "+{driver}:", 1)')
    newer, older = image(tmp_path, 4, env), image(tmp_path, 2, env)
    default = "op.execute(\"ALTER TABLE a ALTER n SET DEFAULT '100%'\")"
    add_revision(newer, 5, sql("ALTER TABLE a ALTER n DROP DEFAULT"), default)
    assert run_job("migrate", cwd=newer, url=database.url).code == 0
    result = back(older, database)
    assert result.code == 0, result.finished
    assert database.query("SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'a'::regclass") == [
        ("'100%'::text",)
    ]


ASYNC = """\
import asyncio, os
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"].replace(":", "+asyncpg:", 1))
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()

asyncio.run(main())
"""


def test_killed_in_the_middle(database: Database, tmp_path: Path, older: Path) -> None:
    """Between a part that committed by itself and the rest: the next run goes on there, and stamps last."""
    down = (
        "op.execute('DROP INDEX i')\nwith op.get_context().autocommit_block():\n    op.execute('DROP TABLE c')\n"
        "op.execute(\"SELECT pg_sleep(60) WHERE EXISTS (SELECT FROM a WHERE id = 7)\")\nop.drop_column('a', 'n')"
    )
    newer = image(tmp_path, 3)
    add_revision(newer, 4, sql("CREATE INDEX i ON a (n)"), down)
    add_revision(newer, 3, sql("CREATE TABLE c (id int)"), "op.execute('CREATE TABLE gone (id int)')")
    assert run_job("migrate", cwd=newer, url=database.url).code == 0
    database.execute("INSERT INTO a VALUES (7, NULL)")
    arguments = ("rollback", "--to", "r2", "--no-backup", "--allow-data-loss")
    job = start_job(*arguments, cwd=older, url=database.url)
    until(lambda: database.query("SELECT to_regclass('c')") == [(None,)])
    until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'"))
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert at(database) == ["r4"]
    database.execute("DELETE FROM a")
    result = run_job(*arguments, cwd=older, url=database.url)
    assert result.code == 0, result.finished
    assert [event["statement"] for event in result.events("statement.skipped")] == ["DROP INDEX i", "DROP TABLE c"]
    assert at(database) == ["r2"]
    assert database.query("SELECT to_regclass('gone') IS NOT NULL, to_regclass('i')") == [(True, None)]
