"""A revision that commits in its middle and dies: what it did is known, and the next run goes on from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Database, Result, run_job, start_job
from tests.integration.test_lock_policy import ASYNC_ENV
from tests.projectkit import ENV, add_revision, make_project, sql
from tests.waiting import until

BUILD = "CREATE INDEX CONCURRENTLY late ON a (slow(n))"
MIXED = f"""
op.execute("CREATE TABLE b (id int)")
op.bulk_insert(sa.table("b", sa.column("id")), [{{"id": 1}}, {{"id": 2}}])
with op.get_context().autocommit_block():
    op.execute("ALTER TYPE mood ADD VALUE 'meh'")
    op.execute({BUILD!r})
op.execute("ALTER TABLE b ADD COLUMN y int")
"""


DRIVERS = ("psycopg2", "psycopg", "asyncpg")


def env_of(driver: str) -> str:
    """An env.py with that driver."""
    if driver == "asyncpg":
        return ASYNC_ENV
    scheme = f"postgresql+{driver}://"
    return ENV.replace('os.environ["DATABASE_URL"]', f'os.environ["DATABASE_URL"].replace("postgresql://", "{scheme}")')


@pytest.fixture
def slow(database: Database) -> Database:
    """A table, 40 rows of which take two seconds to index."""
    database.execute("CREATE TABLE a (n int)")
    database.execute("INSERT INTO a SELECT generate_series(1, 40)")
    database.execute("CREATE TYPE mood AS ENUM ('ok')")
    database.execute(
        "CREATE FUNCTION slow(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
        " $$ BEGIN PERFORM pg_sleep(0.05); RETURN n; END $$"
    )
    return database


def building(database: Database) -> bool:
    return bool(database.query("SELECT 1 FROM pg_index WHERE indrelid = 'a'::regclass AND NOT indisvalid"))


def killed(database: Database, project: Path, when: Callable[[], object], **env: str) -> None:
    """Starts the job and kills it as soon as that is so."""
    job = start_job("migrate", cwd=project, url=database.url, env=env)
    until(when)
    job.kill()
    job.communicate()


def is_valid(database: Database, index: str = "late") -> bool:
    return database.query("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", index) == [(True,)]


def assert_whole(database: Database) -> None:
    assert is_valid(database)
    assert database.query("SELECT id, y FROM b ORDER BY id") == [(1, None), (2, None)]
    assert database.query("SELECT unnest(enum_range(NULL::mood))::text") == [("ok",), ("meh",)]
    assert database.query("SELECT version_num FROM alembic_version") == [("r2",)]


def test_a_killed_build_is_found_dropped_and_built_again(slow: Database, tmp_path: Path) -> None:
    """Tables made, rows inserted and a type extended before stay as they are; the INVALID index is replaced."""
    project = make_project(tmp_path, ["pass", MIXED])
    killed(slow, project, lambda: building(slow))
    result = run_job("migrate", cwd=project, url=slow.url)
    assert result.code == 0, result.finished
    [resumed] = result.events("revision.resumed")
    assert resumed["revision"] == "r2" and resumed["committed"][0] == "CREATE TABLE b (id int)"
    [rebuilt] = result.events("index.rebuilt")
    assert rebuilt["index"] == "public.late" and rebuilt["on"] == "public.a"
    assert_whole(slow)
    assert run_job("migrate", cwd=project, url=slow.url).events("nothing.pending") is not None


@pytest.mark.thorough
def test_if_not_exists_does_not_accept_the_ruin(slow: Database, tmp_path: Path) -> None:
    """IF NOT EXISTS would take an INVALID index for the one that is wanted."""
    project = make_project(tmp_path, ["pass", MIXED.replace("CONCURRENTLY late", "CONCURRENTLY IF NOT EXISTS late")])
    killed(slow, project, lambda: building(slow))
    assert run_job("migrate", cwd=project, url=slow.url).code == 0
    assert_whole(slow)


@pytest.mark.parametrize("how", ["autocommit block", pytest.param("COMMIT", marks=pytest.mark.thorough)])
def test_killed_after_the_last_part_was_committed(slow: Database, tmp_path: Path, how: str) -> None:
    """Also where the revision commits by an old trick; what follows is done by the next run."""
    if how == "COMMIT":
        upgrade = (
            sql("CREATE TABLE b (id int)") + "\n" + sql("COMMIT") + "\n" + sql(BUILD.replace("slow(n)", "n"))
            + "\n" + sql("BEGIN")
        )  # fmt: skip
    else:
        upgrade = MIXED.replace("slow(n)", "n").rpartition("op.execute")[0]
    env = ENV.replace('os.environ["DATABASE_URL"]', 'os.environ["DATABASE_URL"].replace("ql:", "ql+psycopg2:")')
    project = make_project(tmp_path, ["pass", upgrade + "\ntime.sleep(30)\n" + sql("CREATE TABLE c (id int)")], env=env)
    killed(slow, project, lambda: is_valid(slow))
    add_revision(project, 2, upgrade + "\n" + sql("CREATE TABLE c (id int)"))
    result = run_job("migrate", cwd=project, url=slow.url)
    assert result.code == 0, result.finished
    assert slow.query("SELECT to_regclass('b') IS NOT NULL, to_regclass('c') IS NOT NULL") == [(True, True)]
    assert not result.events("index.rebuilt") and is_valid(slow)


ROWS = """
with op.get_context().autocommit_block():
    op.execute("INSERT INTO a VALUES (77)")
    op.execute("UPDATE a SET n = n + 1000 WHERE n = 1")
"""


@pytest.mark.parametrize("driver", ["psycopg2", *(pytest.param(d, marks=pytest.mark.thorough) for d in DRIVERS[1:])])
def test_rows_in_an_autocommit_block_are_changed_once(slow: Database, tmp_path: Path, driver: str) -> None:
    """Killed in the instant after their commit, before anything else could be noted: the next run knows."""
    project = make_project(tmp_path, ["pass"], env=env_of(driver))
    assert run_job("migrate", cwd=project, url=slow.url).code == 0
    slow.execute(
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN new; END $$"
    )
    slow.execute("CREATE TRIGGER late BEFORE UPDATE ON alembic_job.unfinished FOR EACH ROW EXECUTE FUNCTION late()")
    add_revision(project, 2, ROWS + "\nimport time; time.sleep(60)")
    noting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    killed(slow, project, lambda: slow.query(f"SELECT 1 FROM a WHERE n = 1001 UNION ALL {noting}"))
    slow.execute("DROP TRIGGER late ON alembic_job.unfinished")
    add_revision(project, 2, ROWS)
    result = run_job("migrate", cwd=project, url=slow.url)
    assert result.code == 0, result.finished
    assert [event["statement"] for event in result.events("statement.skipped")] == [
        "INSERT INTO a VALUES (77)",
        "UPDATE a SET n = n + 1000 WHERE n = 1",
    ]
    assert slow.query("SELECT n, count(*) FROM a WHERE n > 40 GROUP BY n ORDER BY n") == [(77, 1), (1001, 1)]


def fails_in_the_middle(database: Database, folder: Path, **env: str) -> tuple[Path, Result]:
    broken = MIXED.replace("slow(n)", "(1 / (n - 1))")
    project = make_project(folder, ["pass", broken])
    return project, run_job("migrate", cwd=project, url=database.url, env=env)


def test_what_was_committed_before_a_failure_is_said(slow: Database, tmp_path: Path) -> None:
    """Exit 23 names those statements; the failed index is gone; the corrected revision goes on behind them."""
    project, result = fails_in_the_middle(slow, tmp_path)
    finished = result.finished
    assert result.code == 23 and "division by zero" in finished["error"]
    assert (
        finished["committed_statements"][0] == "CREATE TABLE b (id int)" and len(finished["committed_statements"]) == 3
    )
    assert "not executed again" in finished["hint"] and finished["applied"] == ["r1"]
    assert slow.query("SELECT to_regclass('late') IS NULL") == [(True,)]
    add_revision(project, 2, MIXED.replace("slow(n)", "n"))
    again = run_job("migrate", cwd=project, url=slow.url)
    assert again.code == 0, again.finished
    assert_whole(slow)


@pytest.mark.thorough
def test_without_history_the_way_to_go_on_is_another(slow: Database, tmp_path: Path) -> None:
    """MIGRATE_HISTORY=off: nothing is recorded, and the hint says what that means."""
    _, result = fails_in_the_middle(slow, tmp_path, MIGRATE_HISTORY="off")
    assert result.code == 23 and "IF NOT EXISTS" in result.finished["hint"]
    assert len(result.finished["committed_statements"]) == 3
    assert slow.query("SELECT to_regnamespace('alembic_job') IS NULL") == [(True,)]


def test_somebody_elses_ruin_is_left_alone(slow: Database, tmp_path: Path) -> None:
    """An INVALID index of the same name that no run of ours began: nothing is dropped."""
    slow.execute("CREATE TABLE twice (n int)")
    slow.execute("INSERT INTO twice VALUES (1), (1)")
    with pytest.raises(Exception, match="duplicated"):
        slow.execute("CREATE UNIQUE INDEX CONCURRENTLY late ON twice (n)")
    build = "with op.get_context().autocommit_block():\n    " + sql("CREATE INDEX CONCURRENTLY late ON twice (n)")
    project = make_project(tmp_path, [build])
    result = run_job("migrate", cwd=project, url=slow.url)
    assert result.code == 23 and "already exists" in result.finished["error"]
    assert slow.query("SELECT indisvalid FROM pg_index WHERE indexrelid = 'late'::regclass") == [(False,)]


@pytest.mark.thorough
def test_a_revision_that_was_finished_is_executed_anew_after_a_rollback(slow: Database, tmp_path: Path) -> None:
    """What was recorded of its parts is void once it is done: up, down, up executes everything each time."""
    project = make_project(tmp_path, ["pass"])
    upgrade = "with op.get_context().autocommit_block():\n    " + sql("CREATE TABLE b (id int)")
    add_revision(project, 2, upgrade, sql("DROP TABLE b"))
    for command in (["migrate"], ["rollback", "--steps", "1", "--no-backup"], ["migrate"]):
        result = run_job(*command, cwd=project, url=slow.url)
        assert result.code == 0, result.finished
        assert not result.events("statement.skipped")
    assert slow.query("SELECT to_regclass('b') IS NOT NULL") == [(True,)]


@pytest.mark.thorough
def test_somebody_else_went_on_in_between(slow: Database, tmp_path: Path) -> None:
    """The revision was finished and undone with other tools: what is noted of its parts must not be believed."""
    project = make_project(tmp_path, ["pass", MIXED.replace("ALTER TYPE mood ADD VALUE 'meh'", "SELECT 1")])
    killed(slow, project, lambda: building(slow))
    until(
        lambda: not slow.query("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%%' AND state = 'active'")
    )
    slow.execute("UPDATE alembic_version SET version_num = 'r2'")
    slow.execute("DROP INDEX late; DROP TABLE b; UPDATE alembic_version SET version_num = 'r1'")
    result = run_job("migrate", cwd=project, url=slow.url)
    assert result.code == 0, result.finished
    assert not result.events("statement.skipped")
    assert is_valid(slow) and slow.query("SELECT id FROM b ORDER BY id") == [(1,), (2,)]


@pytest.mark.thorough
def test_passwords_of_statements_are_not_told(slow: Database, tmp_path: Path) -> None:
    """Neither in the log nor in the record."""
    secret = "CREATE ROLE told_by_nobody PASSWORD 'it''s s3cr3t'"
    build = sql(secret) + "\nwith op.get_context().autocommit_block():\n    " + sql(secret.replace("told", "also"))
    project = make_project(tmp_path, [build + "\n" + sql("SELECT 1 / 0")])
    try:
        first = run_job("migrate", cwd=project, url=slow.url)
        again = run_job("migrate", cwd=project, url=slow.url)
        assert (first.code, again.code) == (23, 23) and again.events("statement.skipped")
        assert first.finished["committed_statements"][0] == "CREATE ROLE told_by_nobody PASSWORD '***'"
        assert "s3cr3t" not in first.out + again.out
        assert not slow.query("SELECT 1 FROM alembic_job.unfinished u WHERE u::text LIKE '%%s3cr3t%%'")
    finally:
        slow.execute("DROP ROLE IF EXISTS told_by_nobody, also_by_nobody")


@pytest.mark.thorough
def test_a_partition_that_was_being_detached(slow: Database, tmp_path: Path) -> None:
    """DETACH … CONCURRENTLY that was killed half-way is finalized."""
    slow.execute("CREATE TABLE parent (n int) PARTITION BY LIST (n)")
    slow.execute("CREATE TABLE child PARTITION OF parent FOR VALUES IN (1)")
    detach = "ALTER TABLE parent DETACH PARTITION child CONCURRENTLY"
    project = make_project(tmp_path, ["with op.get_context().autocommit_block():\n    " + sql(detach)])
    reader = slow.connect()
    reader.autocommit = False
    with reader.cursor() as cursor:
        cursor.execute("SELECT FROM parent")
        killed(slow, project, lambda: slow.query("SELECT 1 FROM pg_inherits WHERE inhdetachpending"))
    reader.close()
    result = run_job("migrate", cwd=project, url=slow.url)
    assert result.code == 0, result.finished
    assert slow.query("SELECT count(*) FROM pg_inherits WHERE inhparent = 'parent'::regclass") == [(0,)]


@pytest.mark.thorough
@pytest.mark.parametrize("driver", DRIVERS)
def test_with_every_driver(slow: Database, tmp_path: Path, driver: str) -> None:
    """The same kill, whichever driver the project has."""
    project = make_project(tmp_path, ["pass", MIXED], env=env_of(driver))
    killed(slow, project, lambda: building(slow))
    result = run_job("migrate", cwd=project, url=slow.url)
    assert result.code == 0, result.finished
    assert_whole(slow)


DIE = "import os; os.kill(os.getpid(), 9)"
BLOCK = "with op.get_context().autocommit_block():\n    "


def cut_and_go_on(
    database: Database, folder: Path, before: str, after: str, between: str = "", env: str = ENV
) -> Result:
    """A revision dies between the two; somebody executes `between`; then it is whole, and runs again."""
    project = make_project(folder, ["pass", before + "\n" + DIE], env=env)
    assert run_job("migrate", cwd=project, url=database.url).code == -9
    if between:
        database.execute(between)
    add_revision(project, 2, before + "\n" + after)
    return run_job("migrate", cwd=project, url=database.url)


@pytest.mark.thorough
def test_a_loop_that_asks_how_many_rows(slow: Database, tmp_path: Path) -> None:
    """Batches until none is left: what was passed over still says how many rows it changed."""
    slow.execute("ALTER TABLE a ADD done bool")
    update = "UPDATE a SET done = true WHERE n IN (SELECT n FROM a WHERE done IS NULL LIMIT 10)"
    batch = f"op.get_bind().exec_driver_sql('{update}')"
    loop = (
        BLOCK
        + f"for number in range(9):\n        if {batch}.rowcount < 10: break\n        if number == 1 and DIE: {DIE}"
    )
    project = make_project(tmp_path, ["pass", "DIE = True\n" + loop])
    assert run_job("migrate", cwd=project, url=slow.url).code == -9
    add_revision(project, 2, "DIE = False\n" + loop)
    result = run_job("migrate", cwd=project, url=slow.url)
    assert result.code == 0 and len(result.events("statement.skipped")) == 2
    assert slow.query("SELECT count(*) FROM a WHERE done") == [(40,)]


@pytest.mark.thorough
def test_a_second_connection_commits_for_itself(slow: Database, tmp_path: Path) -> None:
    """What is open on the first one is not committed with it."""
    before = (
        sql("CREATE TABLE b (id int)")
        + "\nwith op.get_bind().engine.begin() as other:\n    other.exec_driver_sql('INSERT INTO a VALUES (99)')"
    )
    result = cut_and_go_on(slow, tmp_path, before, "pass")
    assert result.code == 0, result.finished
    assert slow.query("SELECT to_regclass('b') IS NOT NULL, count(*) FROM a WHERE n = 99") == [(True, 1)]


@pytest.mark.thorough
def test_what_a_savepoint_undid_was_not_done(slow: Database, tmp_path: Path) -> None:
    """A guarded attempt that failed is tried again by the next run."""
    attempt = """
try:
    with op.get_bind().begin_nested():
        op.execute('ALTER TABLE a ADD COLUMN x int')
        op.execute('ALTER TABLE a ADD UNIQUE (n)')
except sa.exc.IntegrityError:
    pass
"""
    slow.execute("INSERT INTO a VALUES (1)")
    before = attempt + BLOCK + sql("SELECT 1") + "\n" + sql("CREATE TABLE b (id int)") + "\n" + BLOCK + sql("SELECT 1")
    result = cut_and_go_on(slow, tmp_path, before, "pass", "DELETE FROM a WHERE ctid = (SELECT max(ctid) FROM a)")
    assert result.code == 0, result.finished
    assert slow.query("SELECT count(*) FROM pg_attribute WHERE attrelid = 'a'::regclass AND attname = 'x'") == [(1,)]


@pytest.mark.thorough
def test_somebody_removed_what_was_half_done(slow: Database, tmp_path: Path) -> None:
    """A table that was dropped by hand is made again, with its rows: nothing that was noted is believed."""
    before = sql("CREATE TABLE b (id int)") + "\n" + sql("INSERT INTO b VALUES (1)") + "\n" + BLOCK + sql("SELECT 1")
    result = cut_and_go_on(slow, tmp_path, before, "pass", "DROP TABLE b")
    assert result.code == 0, result.finished
    assert result.events("revision.not_resumed") and slow.query("SELECT id FROM b") == [(1,)]


@pytest.mark.thorough
def test_rows_with_other_values_are_not_inserted_twice(slow: Database, tmp_path: Path) -> None:
    """A time or a random value as a parameter: whether that row is there already is not known, so it says so."""
    insert = "op.bulk_insert(sa.table('a', sa.column('n')), [{'n': time.time_ns() % 1000000}])"
    result = cut_and_go_on(slow, tmp_path, insert + "\n" + BLOCK + sql("SELECT 1"), "pass")
    assert result.code == 23 and "other values" in result.finished["error"]
    assert slow.query("SELECT count(*) FROM a") == [(41,)]


@pytest.mark.thorough
def test_the_same_lines_in_another_order(slow: Database, tmp_path: Path) -> None:
    """A corrected revision may have them anywhere; a setting before an insert does not hide it."""
    lines = [
        sql("INSERT INTO a VALUES (77)"),
        sql("SET work_mem = '5MB'; INSERT INTO a VALUES (78)"),
        sql("COMMENT ON TABLE a IS 'x'"),
    ]
    project = make_project(tmp_path, ["pass", "\n".join(lines) + "\n" + BLOCK + sql("SELECT 1") + "\n" + DIE])
    assert run_job("migrate", cwd=project, url=slow.url).code == -9
    add_revision(project, 2, "\n".join(reversed(lines)))
    result = run_job("migrate", cwd=project, url=slow.url)
    assert result.code == 0 and len(result.events("statement.skipped")) == 3, result.finished
    assert slow.query("SELECT count(*) FROM a WHERE n > 70") == [(2,)]


@pytest.mark.thorough
def test_a_name_that_is_taken_stays_an_error(slow: Database, tmp_path: Path) -> None:
    """The index of that name on another table is not taken for the one that is wanted, however often it is tried."""
    slow.execute("CREATE TABLE other (n int); CREATE INDEX late ON other (n)")
    project = make_project(tmp_path, [BLOCK + sql("CREATE INDEX CONCURRENTLY late ON a (n)")])
    for _ in range(2):
        result = run_job("migrate", cwd=project, url=slow.url)
        assert result.code == 23 and "already exists" in result.finished["error"]


@pytest.mark.thorough
def test_all_revisions_in_one_transaction(slow: Database, tmp_path: Path) -> None:
    """MIGRATE_TRANSACTION=all: a block in the second revision commits the first; the second is gone on with."""
    middle = sql("CREATE TABLE b (id int)") + "\n" + BLOCK + sql("CREATE TABLE c (id int)")
    project = make_project(tmp_path, [sql("CREATE TABLE d (id int)"), middle + "\n" + DIE])
    env = {"MIGRATE_TRANSACTION": "all"}
    assert run_job("migrate", cwd=project, url=slow.url, env=env).code == -9
    add_revision(project, 2, middle)
    result = run_job("migrate", cwd=project, url=slow.url, env=env)
    assert result.code == 0, result.finished
    assert slow.query("SELECT version_num FROM alembic_version") == [("r2",)]
