"""`check --live`: what the database has that its migrations would not make, and the reverse."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Database, Result, run_job
from tests.projectkit import add_revision, make_project, sql

TABLES = sql(
    "CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL);"
    " CREATE TABLE orders (id int, user_id int, total int); CREATE INDEX by_total ON orders (total)"
)


def checked(database: Database, folder: Path, *args: str, url: str | None = None, **env: str) -> Result:
    env = {"MIGRATE_PG_BINDIR": str(database.server.bin), **env}
    return run_job("check", "--live", *args, cwd=folder, url=url or database.url, env=env)


def differences(result: Result) -> list[tuple[str, str, str, str]]:
    assert result.code in (0, 3), result.err
    found: list[dict[str, Any]] = json.loads(result.out)["differences"]
    assert result.code == (3 if found else 0)
    return [(each["how"], each["kind"], each["schema"], each["name"]) for each in found]


def migrated(database: Database, folder: Path) -> Path:
    made = make_project(folder / "project", [TABLES])
    assert run_job("migrate", cwd=made, url=database.url).code == 0
    add_revision(made, 2, sql("CREATE TABLE later ()"))  # pending: the database is not at head
    return made


def test_each_object_that_differs_is_named(database: Database, tmp_path: Path) -> None:
    """What people changed by hand is extra, missing or different, with its lines, unless it is declared
    foreign; owners, privileges, column order, the history and what is pending do not count. Nothing is left."""
    folder = migrated(database, tmp_path)
    database.execute(
        "CREATE TABLE users_old (id serial PRIMARY KEY); CREATE SCHEMA audit; CREATE TABLE audit.log (id int);"
        " CREATE FUNCTION audit.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMENT ON TABLE audit.log IS 'x';"
        " DROP INDEX by_total; ALTER TABLE users ALTER name DROP NOT NULL; GRANT SELECT ON users TO PUBLIC;"
        " ALTER TABLE orders DROP user_id; ALTER TABLE orders ADD user_id int; CREATE VIEW v AS SELECT id FROM users"
    )
    before = database.schema()
    found = differences(checked(database, folder, "--json"))
    assert ("extra", "SEQUENCE", "public", "users_old_id_seq") in found
    assert {("extra", "SCHEMA", "", "audit"), ("extra", "FUNCTION", "audit", "f(integer)")} < set(found)
    result = checked(database, folder, MIGRATE_FOREIGN="audit.*, *_old")
    told = [line.split(maxsplit=1) for line in result.out.splitlines()[2:] if not line.startswith(" ")]
    mine = [["missing", "index public.by_total"], ["different", "table public.users"], ["extra", "view public.v"]]
    assert (result.code, told) == (3, mine), result.err
    assert "-    name text NOT NULL" in result.out and "+    name text" in result.out
    assert database.schema() == before
    left = database.query("SELECT FROM pg_database WHERE datname LIKE 'alembic_job_rehearsal_%%'")
    assert left == []


WORDED = """
op.execute("CREATE TYPE mood AS ENUM ('good', 'bad')")
op.execute("CREATE TABLE cats (id int PRIMARY KEY, name varchar(9), mood mood,"
    " CONSTRAINT known CHECK (name IN ('a', 'b')), CONSTRAINT old CHECK (id > 1), CONSTRAINT last CHECK (name <> 'x'))")
op.execute("CREATE INDEX a_few ON cats (id) WHERE name IN ('a', 'c')")
op.execute("CREATE VIEW v AS SELECT id FROM cats WHERE name IN ('a', 'd')")
"""


@pytest.mark.thorough
def test_what_a_restore_words_in_another_way_is_the_same(
    database: Database, new_database: Callable[[], Database], tmp_path: Path
) -> None:
    """In a database that was restored from a dump check constraints, indexes and views have more casts: no
    difference. What says something else is one: a check constraint, the order of an enum's values."""
    folder = make_project(tmp_path / "project", [WORDED])
    done = run_job("migrate", cwd=folder, url=database.url)
    assert done.code == 0, done.out
    restored, programs = new_database(), database.server.bin
    archive = str(tmp_path / "archive")
    subprocess.run([programs / "pg_dump", "-Fc", f"--file={archive}", database.url], check=True)
    subprocess.run([programs / "pg_restore", f"--dbname={restored.url}", archive], check=True)
    assert restored.schema() != database.schema()
    assert differences(checked(restored, folder, "--json")) == []
    restored.execute(
        "ALTER TABLE cats DROP CONSTRAINT old; ALTER TABLE cats ADD CONSTRAINT old CHECK (id > 2);"
        "ALTER TYPE mood RENAME TO other; CREATE TYPE mood AS ENUM ('bad', 'good');"
        "ALTER TABLE cats ALTER mood TYPE mood USING 'bad'; DROP TYPE other"
    )
    result = checked(restored, folder, "--json")
    found = json.loads(result.out)["differences"]
    assert [(each["how"], each["name"]) for each in found] == [("different", "cats"), ("different", "mood")]
    changed = [line.strip("-+ ,") for line in found[0]["diff"][2:] if line.startswith(("-", "+"))]
    assert changed == ["CONSTRAINT old CHECK ((id > 1))", "CONSTRAINT old CHECK ((id > 2))"]


@pytest.mark.thorough
def test_an_unknown_revision_is_28(database: Database, tmp_path: Path) -> None:
    """Where the database is cannot be made anew from these scripts."""
    folder = migrated(database, tmp_path)
    database.execute("UPDATE alembic_version SET version_num = 'newer'")
    result = checked(database, folder)
    assert result.code == 28 and "newer" in result.err


@pytest.mark.thorough
def test_a_database_that_is_read_only(database: Database, tmp_path: Path) -> None:
    """As a standby: it is compared with a schema on an embedded server, also where there is nothing in it at all."""
    database.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    result = checked(database, make_project(tmp_path / "project", []), "--json")
    assert differences(result) == [] and "embedded" in json.loads(result.out)["scratch"]["server"]


@pytest.mark.thorough
def test_a_role_that_may_make_no_database(database: Database, tmp_path: Path) -> None:
    """It is compared with a schema on an embedded server, which is said; what it may not read is named (21)."""
    folder = migrated(database, tmp_path)
    name = f"reader_{database.name}"
    database.execute(
        f"CREATE ROLE {name} LOGIN PASSWORD 'pw'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name};"
        f" GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {name}"
    )
    url = database.url.replace(f"postgres:{database.server.password}@", f"{name}:pw@")
    database.execute("CREATE TABLE extra ()")
    result = checked(database, folder, url=url)
    assert result.code == 21 and "permission denied for table extra" in result.err and "MIGRATE_FOREIGN" in result.err
    assert differences(checked(database, folder, "--json", url=url, MIGRATE_FOREIGN="extra")) == []
    database.execute(f"GRANT SELECT ON extra TO {name}")
    result = checked(database, folder, "--json", url=url)
    assert differences(result) == [("extra", "TABLE", "public", "extra")]
    assert "embedded" in json.loads(result.out)["scratch"]["server"]
