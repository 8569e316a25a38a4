"""The history in the database: what was applied, by whom, from which script, and how to go back."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Database, run_job, start_job
from tests.projectkit import add_revision, make_project, sql
from tests.waiting import until

UPS = ["CREATE TABLE a (id int PRIMARY KEY, n text DEFAULT '100%')", "ALTER TABLE a ADD COLUMN b text"]
DOWNS = ["op.drop_table('a')", "op.drop_column('a', 'b')"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = make_project(tmp_path / "project", [])
    for number, (up, down) in enumerate(zip(UPS, DOWNS, strict=True), 1):
        add_revision(made, number, sql(up), down)
    return made


def recorded(database: Database) -> dict[str, tuple[Any, ...]]:
    """By revision: the archived downgrade, why there is none, whether it was adopted."""
    rows = database.query("SELECT revision, downgrade, not_rendered, adopted FROM alembic_job.scripts")
    return {revision: (json.loads(down) if down else None, why, adopted) for revision, down, why, adopted in rows}


def test_what_is_recorded_of_a_run(database: Database, project: Path) -> None:
    """The run, each revision with its statements and times, each script with its way back."""
    env = {"MIGRATE_IMAGE": "shop:1.4.2"}
    result = run_job("migrate", cwd=project, url=database.url, env=env)
    assert result.code == 0, result.finished
    [run] = database.query(
        "SELECT run_id, version_table, command, image, login, outcome, exit_code, heads_before, heads_after, planned,"
        " finished_at > started_at FROM alembic_job.runs"
    )
    who = (result.finished["run_id"], "public.alembic_version", "migrate", "shop:1.4.2", "postgres")
    assert run == (*who, "done", 0, [], ["r2"], ["r1", "r2"], True)
    steps = database.query(
        "SELECT revision, down, statements, seconds > 0 AND seconds < 60 FROM alembic_job.steps ORDER BY 1"
    )
    assert [(revision, down, plausible) for revision, down, _, plausible in steps] == [
        ("r1", False, True),
        ("r2", False, True),
    ]
    assert [[text for text, _ in json.loads(statements)] for _, _, statements, _ in steps] == [[UPS[0]], [UPS[1]]]
    assert recorded(database) == {
        "r1": ([["DROP TABLE a", False]], None, False),
        "r2": ([["ALTER TABLE a DROP COLUMN b", False]], None, False),
    }


@pytest.mark.thorough
def test_history_tells_it(database: Database, project: Path) -> None:
    """`history --applied`, for people and as JSON; a rollback is a part of it."""
    run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_IMAGE": "shop:1.4.2"})
    run_job("rollback", "--no-backup", cwd=project, url=database.url)
    told = run_job("history", "--applied", cwd=project, url=database.url)
    assert told.code == 0 and "shop:1.4.2" in told.out
    assert [line.split()[2:4] for line in told.out.splitlines()[1:]] == [
        ["applied", "r1"],
        ["applied", "r2"],
        ["reverted", "r2"],
    ]
    [(label, rows)] = json.loads(run_job("history", "--applied", "--json", cwd=project, url=database.url).out).items()
    assert label == "public.alembic_version"
    assert [(row["revision"], row["down"], row["statements"][0][0]) for row in rows] == [
        ("r1", False, UPS[0]),
        ("r2", False, UPS[1]),
        ("r2", True, "ALTER TABLE a DROP COLUMN b"),
    ]


@pytest.mark.thorough
def test_before_there_is_one(database: Database, project: Path) -> None:
    """An answer, no error."""
    told = run_job("history", "--applied", cwd=project, url=database.url)
    assert told.code == 0 and "no history" in told.out
    assert run_job("history", "--applied", "--json", cwd=project, url=database.url).out.strip() == "{}"


def test_a_project_that_bare_alembic_migrated_is_adopted(database: Database, project: Path) -> None:
    """Its scripts are recorded by the first run, though that has nothing to do; no run is made up for them."""
    run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_HISTORY": "off"})
    assert database.query("SELECT to_regclass('alembic_job.scripts')") == [(None,)]
    result = run_job("migrate", cwd=project, url=database.url)
    assert result.events("history.adopted")[0]["revisions"] == 2
    assert {revision: (down is not None, adopted) for revision, (down, _, adopted) in recorded(database).items()} == {
        "r1": (True, True),
        "r2": (True, True),
    }
    assert database.query("SELECT count(*) FROM alembic_job.runs") == [(0,)]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("downgrade", "reason"),
    [
        ("raise NotImplementedError('one way')", "one way"),
        ("if not op.get_bind().execute(sa.text('SELECT 1')):\n    op.drop_table('b')", "it asks the database"),
        ("op.execute(sa.text('DELETE FROM b WHERE id = :id').bindparams())\nop.get_bind().scalar(1)", ""),
        ("sa.inspect(op.get_bind()).get_table_names()", "NoInspectionAvailable"),
        ("op.execute(\"ALTER ROLE x PASSWORD 'hidden-word'\")", "password"),
        ("import os\nos._exit(3)", "ended the process"),
        ("time.sleep(100)", "did not end in time"),
    ],
)
def test_a_downgrade_that_cannot_be_rendered_is_named(
    database: Database, project: Path, downgrade: str, reason: str
) -> None:
    """When it is applied; the migration itself is not hindered, and its neighbours are recorded."""
    add_revision(project, 3, sql("CREATE TABLE b (id int)"), downgrade)
    add_revision(project, 4, sql("CREATE TABLE c (id int)"), "op.drop_table('c')")
    result = run_job("migrate", cwd=project, url=database.url)
    assert result.code == 0, result.finished
    [event] = result.events("revision.one_way")
    assert event["revision"] == "r3" and reason in event["reason"]
    found = recorded(database)
    assert found["r3"][0] is None and reason in found["r3"][1]
    assert found["r2"][0] is not None and found["r4"][0] == [["DROP TABLE c", False]]
    assert "hidden-word" not in str(database.query("SELECT downgrade, not_rendered FROM alembic_job.scripts"))


@pytest.mark.parametrize(
    "acts",
    [
        "engine = sa.create_engine(os.environ['DATABASE_URL'])\n"
        "with engine.begin() as c:\n    c.exec_driver_sql('DROP TABLE a')",
        pytest.param(
            "import psycopg2\nc = psycopg2.connect(os.environ['DATABASE_URL'])\n"
            "c.autocommit = True\nc.cursor().execute('DROP TABLE a')",
            marks=pytest.mark.thorough,
        ),
        "subprocess.run([sys.executable, 'drop.py'], check=True)",
        pytest.param(
            "from alembic import context\ncontext.get_context().connection.exec_driver_sql('DROP TABLE a')",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            "from alembic import context\nraw = context.get_context().connection.connection.dbapi_connection\n"
            "raw.cursor().execute('DROP TABLE a')\nraw.commit()",
            marks=pytest.mark.thorough,
        ),
        "open('marker', 'w').write('was here')\nos.remove('alembic.ini')",
    ],
)
def test_rendering_never_acts(database: Database, project: Path, acts: str) -> None:
    """A downgrade that has its own way to the database, or to files, finds none while it is rendered."""
    (project / "drop.py").write_text(
        "import os, psycopg2\nc = psycopg2.connect(os.environ['DATABASE_URL'])\nc.autocommit = True\n"
        "c.cursor().execute('DROP TABLE a')\n"
    )
    add_revision(project, 3, sql("CREATE TABLE b (id int)"), "import os, subprocess, sys\n" + acts)
    result = run_job("migrate", cwd=project, url=database.url)
    assert result.code == 0, result.finished
    assert [event["revision"] for event in result.events("revision.one_way")] == ["r3"]
    assert database.query("SELECT to_regclass('a') IS NOT NULL, to_regclass('b') IS NOT NULL") == [(True, True)]
    assert (project / "alembic.ini").exists() and not (project / "marker").exists()


@pytest.mark.thorough
def test_what_is_printed_while_rendering_is_not_seen(database: Database, project: Path) -> None:
    """Nobody has run that downgrade, as far as readers of the log can tell."""
    add_revision(project, 3, sql("CREATE TABLE b (id int)"), "print('DOWNGRADING NOW')\nop.drop_table('b')")
    result = run_job("migrate", cwd=project, url=database.url)
    assert "DOWNGRADING" not in result.out + result.err and recorded(database)["r3"][0] == [["DROP TABLE b", False]]


@pytest.mark.thorough
def test_autocommit_blocks_keep_their_place(database: Database, project: Path) -> None:
    """Statements outside of a transaction are recorded as such."""
    down = (
        "op.execute('SELECT 1')\nwith op.get_context().autocommit_block():\n    op.execute('DROP INDEX CONCURRENTLY i')"
    )
    add_revision(project, 3, sql("CREATE INDEX i ON a (n)"), down + "\nop.drop_column('a', 'n')")
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    expected = [["SELECT 1", False], ["DROP INDEX CONCURRENTLY i", True], ["ALTER TABLE a DROP COLUMN n", False]]
    assert recorded(database)["r3"][0] == expected


@pytest.mark.thorough
def test_killed_between_two_revisions(database: Database, project: Path) -> None:
    """The way back of what was applied is there, whenever the run is killed; the next run completes the rest."""
    add_revision(project, 3, sql("CREATE TABLE b (id int)"), "op.drop_table('b')")
    add_revision(project, 4, "op.execute('CREATE TABLE c (id int)')\ntime.sleep(60)", "op.drop_table('c')")
    job = start_job("migrate", cwd=project, url=database.url)
    until(lambda: database.query("SELECT to_regclass('b') IS NOT NULL") == [(True,)])
    until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE TABLE c%'"))
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert set(recorded(database)) >= {"r1", "r2", "r3"}
    assert database.query("SELECT outcome FROM alembic_job.runs") == [(None,)]
    add_revision(project, 4, sql("CREATE TABLE c (id int)"), "op.drop_table('c')")
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    assert {revision: why for revision, (_, why, _) in recorded(database).items()} == dict.fromkeys(
        ("r1", "r2", "r3", "r4")
    )


def edit(project: Path, number: int, old: str, new: str) -> None:
    file = project / "migrations" / "versions" / f"r{number}_.py"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("policy", "code", "warned"),
    [
        pytest.param("warn", 0, True, marks=pytest.mark.thorough),
        ("fail", 27, True),
        pytest.param("ignore", 0, False, marks=pytest.mark.thorough),
        pytest.param(None, 0, True, marks=pytest.mark.thorough),
    ],
)
def test_an_edited_script(database: Database, project: Path, policy: str | None, code: int, warned: bool) -> None:
    """It is found when it was applied before: a warning with the difference, or 27."""
    run_job("migrate", cwd=project, url=database.url)
    edit(project, 1, "n text", "n varchar(9)")
    add_revision(project, 3, sql("CREATE TABLE b (id int)"), "op.drop_table('b')")
    env = {"MIGRATE_WHEN_EDITED": policy} if policy else {}
    result = run_job("migrate", cwd=project, url=database.url, env=env)
    assert result.code == code, result.finished
    events = result.events("script.edited")
    assert bool(events) is warned
    if events:
        assert events[0]["revision"] == "r1" and "r1_.py" in events[0]["file"]
        assert '-    op.execute("CREATE TABLE a (id int PRIMARY KEY, n text' in events[0]["diff"]
        assert "n varchar(9)" in events[0]["diff"]
    if code:
        assert "r1" in result.finished["error"] and "MIGRATE_WHEN_EDITED" in result.finished["hint"]
        assert database.query("SELECT to_regclass('b')") == [(None,)]


@pytest.mark.thorough
def test_comments_and_white_space_do_not_count(database: Database, project: Path) -> None:
    """Nor do docstrings and the way a statement is broken into lines."""
    run_job("migrate", cwd=project, url=database.url)
    edit(project, 1, '"""step 1"""', '"""Another text."""\n# a comment\n')
    edit(project, 1, "op.execute(", "op.execute(  # said\n\n        ")
    result = run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_WHEN_EDITED": "fail"})
    assert result.code == 0 and not result.events("script.edited"), result.finished


@pytest.mark.thorough
def test_archive_off_keeps_no_sql(database: Database, project: Path) -> None:
    """Neither the script's text nor the way back; edits are found all the same."""
    off = {"MIGRATE_ARCHIVE": "off"}
    assert run_job("migrate", cwd=project, url=database.url, env=off).code == 0
    assert database.query("SELECT DISTINCT source, downgrade FROM alembic_job.scripts") == [(None, None)]
    edit(project, 1, "n text", "n varchar(9)")
    result = run_job("migrate", cwd=project, url=database.url, env={**off, "MIGRATE_WHEN_EDITED": "fail"})
    assert result.code == 27


def test_a_role_that_may_not_make_the_schema(database: Database, project: Path) -> None:
    """auto: a warning, and the migration is done; required: 21 before the first change."""
    database.execute("CREATE ROLE lowly LOGIN PASSWORD 'x'")
    try:
        database.execute("GRANT ALL ON SCHEMA public TO lowly")
        url = database.url.replace(database.url.split("//")[1].split("@")[0], "lowly:x")
        required = run_job("migrate", cwd=project, url=url, env={"MIGRATE_HISTORY": "required"})
        assert required.code == 21 and "MIGRATE_HISTORY" in required.finished["error"]
        assert database.query("SELECT to_regclass('a')") == [(None,)]
        result = run_job("migrate", cwd=project, url=url)
        assert result.code == 0 and result.events("history.unavailable"), result.finished
    finally:
        database.execute("DROP OWNED BY lowly")
        database.execute("DROP ROLE lowly")


@pytest.mark.thorough
def test_the_schema_of_an_earlier_version_is_completed(database: Database, project: Path) -> None:
    """And one of a later version is worked with as it is."""
    run_job("migrate", cwd=project, url=database.url)
    database.execute("DROP TABLE alembic_job.runs, alembic_job.steps, alembic_job.scripts, alembic_job.consents")
    database.execute("DELETE FROM alembic_job.version WHERE version > 1")
    add_revision(project, 3, sql("CREATE TABLE b (id int)"), "op.drop_table('b')")
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    assert set(recorded(database)) == {"r1", "r2", "r3"}
    database.execute("INSERT INTO alembic_job.version VALUES (99)")
    database.execute("ALTER TABLE alembic_job.runs ADD COLUMN later text")
    add_revision(project, 4, sql("CREATE TABLE c (id int)"), "op.drop_table('c')")
    assert run_job("migrate", cwd=project, url=database.url).code == 0
