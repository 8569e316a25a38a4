"""`reset` and the production policy: what is dropped, what stays, and who must say so twice."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import Database, Result, finish, run_job, start_job
from tests.integration.test_authoring import ENV_WITH_MODELS, TEMPLATE, USERS
from tests.integration.test_exit_codes import expect
from tests.projectkit import ENV, add_revision, make_project, sql

TABLE = sql("CREATE TABLE things (id int)")
EVERYTHING = """
CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE DOMAIN word AS text; CREATE TYPE pair AS (a int, b mood);
CREATE TYPE span AS RANGE (subtype = int);
CREATE SEQUENCE numbers;
CREATE TABLE "Odd, ""name"" of it" (id int PRIMARY KEY DEFAULT nextval('numbers'), m mood, w word);
CREATE TABLE parts (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE child () INHERITS (things); ALTER TABLE things ADD odd int REFERENCES "Odd, ""name"" of it";
CREATE VIEW seen AS SELECT * FROM things; CREATE MATERIALIZED VIEW kept AS SELECT * FROM seen;
CREATE VIEW twice AS SELECT * FROM kept;
CREATE FUNCTION one(mood) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE two() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE all_of (int) (sfunc = int4pl, stype = int);
INSERT INTO parts VALUES (1, '2026-02-02')
"""


def reset(database: Database, project: Path, *words: str, **env: str) -> Result:
    return run_job("reset", *words, cwd=project, url=database.url, env={"MIGRATE_BACKUP": "off", **env})


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Path:
    made = make_project(tmp_path / "project", [])
    add_revision(made, 1, TABLE, sql("DROP TABLE things"))
    assert run_job("migrate", cwd=made, url=database.url).code == 0
    database.execute("INSERT INTO things VALUES (1), (2)")
    return made


def test_production_must_be_told_twice(database: Database, project: Path) -> None:
    """Neither `reset --force` nor `downgrade base --yes` suffices; the database's own name does, beside it."""
    words = ("downgrade", "base", "--yes", "--no-backup", "--allow-data-loss")
    base = run_job(*words, cwd=project, url=database.url, env={"MIGRATE_DEVELOPMENT_HOSTS": "elsewhere"})
    expect(base, 26, "looks like production", "127.0.0.1", f"--yes --production {database.name}")
    expect(reset(database, project, "-f", ENVIRONMENT="production"), 26, "ENVIRONMENT is production", "--force")
    assert database.query("SELECT count(*) FROM things") == [(2,)]
    named = ("--production", database.name)
    done = reset(database, project, "-f", *named, "--no-backup", MIGRATE_PRODUCTION="yes")
    assert done.code == 0 and done.events("production.confirmed"), done.out
    assert (done.finished["from"], done.finished["to"], done.finished["applied"]) == ("r1", "r1", ["r1"])
    assert database.query("SELECT count(*) FROM things") == [(0,)]
    told = run_job("history", "--applied", cwd=project, url=database.url).out
    assert re.search(r"applied +r1 (?s:.*)reset +r1 -> r1 (?s:.*)applied +r1 ", told), told


@pytest.mark.thorough
def test_other_answers(database: Database, project: Path) -> None:
    """No consent without a terminal, another name, no backup of production: 26, and nothing is changed."""
    expect(reset(database, project), 26, "public.things (2 rows)", "--force")
    expect(reset(database, project, "-f", "--production", "other"), 26, f"the database is {database.name}")
    told = ("-f", "--production", database.name)
    expect(reset(database, project, *told, MIGRATE_PRODUCTION="yes", MIGRATE_BACKUP="auto"), 26, "--no-backup")
    database.execute("UPDATE alembic_job.runs SET image = 'shop:4.2'")
    expect(reset(database, project, "-f"), 26, "shop:4.2 has migrated it")
    assert database.query("SELECT count(*) FROM things") == [(2,)]
    words = ("rollback", "--to", "base", "-f", "--no-backup", "--allow-data-loss", "--production", database.name)
    assert run_job(*words, cwd=project, url=database.url).finished["reverted"] == ["r1"]


def test_nobody_waits_behind_it(database: Database, project: Path) -> None:
    """A reader holds the table: tried for, never queued for; 12 names who was in the way, and all is as it was."""
    holder = database.connect()
    with holder.cursor() as cursor:
        cursor.execute("BEGIN; SELECT * FROM things")
        env = {"MIGRATE_TABLE_LOCK_TIMEOUT": "500ms"}
        job = start_job("reset", "-f", cwd=project, url=database.url, env=env)
        while job.poll() is None:
            cursor.execute("SELECT mode FROM pg_locks WHERE relation = 'things'::regclass AND NOT granted")
            assert cursor.fetchall() == []
        blocked = finish(job)
        expect(blocked, 12, "public.things", f"client {holder.info.backend_pid}", "MIGRATE_TABLE_LOCK_TIMEOUT")
        cursor.execute("COMMIT")
    holder.close()
    assert database.query("SELECT count(*) FROM things") == [(2,)]


@pytest.mark.thorough
def test_all_that_is_there_goes_and_the_rest_stays(database: Database, project: Path) -> None:
    """Every kind of object; but neither what an extension owns, nor other schemas, nor the history."""
    clean = database.schema()
    database.execute(EVERYTHING)
    database.execute("CREATE TABLE member (id int); ALTER EXTENSION plpgsql ADD TABLE member")
    database.execute("CREATE SCHEMA other; CREATE TABLE other.t (id int)")
    done = reset(database, project, "-f")
    assert done.code == 0 and not done.events("reset.left"), done.out
    [planned] = done.events("reset.planned")
    assert {"table": "public.parts_1", "rows": 1} in planned["tables"] and planned["stays"] == ["schema other"]
    assert database.query("SELECT count(to_regclass(name)) FROM unnest('{member,other.t}'::text[]) name") == [(2,)]
    assert len(database.query("SELECT 1 FROM alembic_job.runs")) == 2
    database.execute("ALTER EXTENSION plpgsql DROP TABLE member; DROP TABLE member")
    again = reset(database, project, "-f", "--schema", "other")
    assert again.code == 0 and again.finished["applied"] == ["r1"], again.out
    database.execute("DROP SCHEMA other")  # it is empty
    assert database.schema() == clean


@pytest.mark.thorough
def test_what_others_have_is_not_dropped(database: Database, project: Path) -> None:
    """A view of another schema depends on a table, or another project shares the schema: 26, all is as it was."""
    before = database.schema()
    database.execute("CREATE SCHEMA other; CREATE VIEW other.v AS SELECT * FROM things")
    expect(reset(database, project, "-f"), 26, "view other.v", "--schema")
    database.execute("DROP VIEW other.v; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    database.execute("CREATE TABLE other.t (id int, m int DEFAULT f())")
    expect(reset(database, project, "-f"), 26, "default value for column m of table other.t")
    database.execute("DROP SCHEMA other CASCADE; DROP FUNCTION f")
    database.execute("CREATE TABLE billing_version (version_num text)")
    expect(reset(database, project, "-f"), 26, "public.billing_version", "rollback --to base")
    database.execute("DROP TABLE billing_version")
    assert database.schema() == before and database.query("SELECT count(*) FROM things") == [(2,)]


@pytest.mark.thorough
def test_what_had_been_begun_is_forgotten(database: Database, tmp_path: Path) -> None:
    """A revision that had died in its middle is executed from its beginning again."""
    first = "with op.get_context().autocommit_block():\n    op.execute('CREATE TABLE a (id int)')\n"
    project = make_project(tmp_path, [first + sql("SELECT 1/0")])
    assert run_job("migrate", cwd=project, url=database.url).code == 23
    file = project / "migrations" / "versions" / "r1_.py"
    file.write_text(file.read_text().replace("1/0", "1"))
    done = reset(database, project, "-f")
    assert done.code == 0 and not done.events("revision.resumed"), done.out
    assert database.query("SELECT to_regclass('a') IS NOT NULL") == [(True,)]


@pytest.mark.thorough
def test_many_revisions_become_one(database: Database, tmp_path: Path) -> None:
    """As the how-to says: the one file has the old head's id, so databases at that head have nothing to do."""
    project = make_project(tmp_path / "project", [], env=ENV_WITH_MODELS)
    shutil.copy(TEMPLATE, project / "migrations" / "script.py.mako")
    (project / "models.py").write_text(USERS)
    add_revision(project, 1, sql("CREATE TABLE users (id serial PRIMARY KEY, name varchar(20))"))
    add_revision(project, 2, sql("ALTER TABLE users ALTER name SET NOT NULL"))
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    live = database.schema()
    scratch = Database(database.server, f"{database.name}_scratch")
    Database(database.server, "postgres").execute(f"CREATE DATABASE {scratch.name}")
    versions = project / "migrations" / "versions"
    versions.rename(project / "migrations" / "archive")
    versions.mkdir()
    words = ("revision", "--autogenerate", "-m", "Reset migrations", "--rev-id", "r2", "--json")
    made = json.loads(run_job(*words, cwd=project, url=scratch.url).out)
    assert made["revisions"][0]["follows"] == [] and made["differences"] == ["create table users"]
    assert run_job("migrate", cwd=project, url=scratch.url).finished["applied"] == ["r2"]
    assert scratch.schema() == live
    assert run_job("repair", "--yes", cwd=project, url=database.url).code == 0
    there = run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_WHEN_EDITED": "fail"})
    assert there.code == 0 and there.finished["applied"] == [], there.out
    assert run_job("check", cwd=project, url=database.url).code == 0
    Database(database.server, "postgres").execute(f"DROP DATABASE {scratch.name}")


@pytest.mark.thorough
def test_only_env_py_knows_the_address(database: Database, tmp_path: Path) -> None:
    """And its engine keeps its connections, and the environment is not what it was when it was loaded first."""
    env = ENV.replace('os.environ["DATABASE_URL"]', 'os.environ.pop("SHOP_URL")').replace(
        ", poolclass=pool.NullPool", ""
    )
    kept = "import sys\nsys.modules.setdefault('kept', type(sys)('kept'))\nimport kept\n"
    env = env.replace("engine = ", "engine = kept.engine = vars(kept).get('engine') or ")
    project = make_project(tmp_path, [TABLE], env=kept + env)
    for words in (("migrate",), ("reset", "-f")):
        done = run_job(*words, cwd=project, env={"SHOP_URL": database.url, "MIGRATE_BACKUP": "off"})
        assert done.code == 0 and done.finished["applied"] == ["r1"], done.out
