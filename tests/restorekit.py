"""A database, its backups and what is restored from them, for the tests of `restore` and its swap."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import Database, Result, run_job, start_job

ODD = '"odd ""name%"."Tab ""le"'
CONTENT = f"""
    CREATE SCHEMA "odd ""name%";
    CREATE TABLE {ODD} (id serial PRIMARY KEY, "x%y" text UNIQUE);
    INSERT INTO {ODD} ("x%y") SELECT 'text ' || n FROM generate_series(1, 500) n;
    CREATE TABLE parts (n int) PARTITION BY RANGE (n);
    CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (100);
    CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (100) TO (1000);
    INSERT INTO parts SELECT generate_series(0, 999);
    CREATE TABLE base (n int);
    CREATE TABLE child (m int) INHERITS (base);
    INSERT INTO base VALUES (1); INSERT INTO child VALUES (2, 3), (4, 5);
    CREATE TABLE empty ();
    CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('r7');
    CREATE VIEW seen AS SELECT count(*) AS n FROM {ODD};
    CREATE SEQUENCE counter; SELECT setval('counter', 4711);
"""
ROWS = {ODD: 500, "parts_low": 100, "parts_high": 900, "base": 3, "empty": 0, "alembic_version": 1}
PROPERTIES = """
    SELECT pg_get_userbyid(datdba), datconnlimit, datallowconn, shobj_description(oid, 'pg_database'), encoding,
    datlocprovider, datcollate, datctype, datlocale,
    (SELECT array_agg(concat_ws(' ', nullif(grantee, 0)::regrole, privilege_type, is_grantable)
                      ORDER BY grantee, privilege_type) FROM aclexplode(datacl)),
    (SELECT array_agg(concat_ws(' ', nullif(setrole, 0)::regrole, setconfig) ORDER BY setrole)
     FROM pg_db_role_setting WHERE setdatabase = d.oid)
    FROM pg_database d WHERE datname = %s"""
# Sleeps where it is restored, as an index is built by it; at home it takes no time.
SLOW = """
    CREATE FUNCTION slow(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
        BEGIN IF current_database() LIKE '%%restored%%' THEN PERFORM pg_catalog.pg_sleep(60); END IF; RETURN n; END $$;
    CREATE TABLE lazy AS SELECT 1 AS n;
    CREATE INDEX ON lazy (slow(n));
""".replace("%%", "%")


@dataclass
class Home:
    """A database, a folder for its backups, and the job run on both."""

    database: Database
    folder: Path
    bin: Path

    def run(self, *args: str, url: str | None = None, **env: str) -> Result:
        return run_job(*args, cwd=self.folder.parent, url=url or self.database.url, env=self.env(**env))

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        return start_job(*args, cwd=self.folder.parent, url=self.database.url, env=self.env(**env))

    def env(self, **more: str) -> dict[str, str]:
        return {"MIGRATE_BACKUP_URL": str(self.folder), "MIGRATE_PG_BINDIR": str(self.bin), **more}

    def back_up(self, **env: str) -> str:
        """Takes a backup and returns its name."""
        result = self.run("backup", **env)
        assert result.code == 0, result.finished
        [event] = result.events("backup.finished")
        return str(event["backup"])

    def restored(self, *args: str, **env: str) -> Database:
        """Restores and returns the new database."""
        result = self.run("restore", "--yes", *args, **env)
        assert result.code == 0, result.out
        return Database(self.database.server, result.events("restore.finished")[0]["database"])

    def others(self) -> list[str]:
        """Databases that were made from this one."""
        rows = self.beside.query("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", f"{self.name}_")
        return [name for [name] in rows]

    def manifest(self, name: str, **changes: Any) -> dict[str, Any]:
        """The manifest of a backup, changed."""
        file = self.folder / f"{name}.json"
        data: dict[str, Any] = {**json.loads(file.read_text()), **changes}
        file.write_text(json.dumps(data))
        return data

    @property
    def name(self) -> str:
        return self.database.name

    @property
    def beside(self) -> Database:
        return Database(self.database.server, "postgres")

    def clean(self) -> None:
        for name in self.others():
            self.beside.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def rows(database: Database) -> dict[str, int]:
    return {table: database.query(f"SELECT count(*) FROM {table}")[0][0] for table in ROWS}


def properties(database: Database) -> tuple[Any, ...]:
    return Database(database.server, "postgres").query(PROPERTIES, database.name)[0]


def expect(result: Result, code: int, *texts: str) -> None:
    """The exit code, with these texts in error or hint."""
    finished = result.finished
    assert result.code == code == finished["exit_code"], result.out
    assert result.err == "" and finished["hint"]
    for text in texts:
        assert text in f"{finished['error']} {finished['hint']}", finished


def asleep(home: Home) -> list[Any]:
    """Sessions of a restore that sleep in the new database."""
    return home.beside.query(
        "SELECT pid FROM pg_stat_activity WHERE starts_with(datname, %s) AND wait_event = 'PgSleep'", f"{home.name}_"
    )
