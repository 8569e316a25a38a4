"""`restore`: what comes back, what is refused, and what is left when it fails."""

from __future__ import annotations

import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest

from alembic_job.gateways import databases, pg_restore
from alembic_job.gateways.embedded import Server
from tests.conftest import Database, finish
from tests.restorekit import CONTENT, ODD, ROWS, SLOW, Home, asleep, expect, properties, rows
from tests.waiting import until

# What comes back.


def test_everything_comes_back(full: Home) -> None:
    """Rows, sequences, schema; and what an archive does not carry: owner, privileges, settings, comment, limit."""
    database, name = full.database, full.name
    database.execute(
        f"""
        CREATE ROLE "{name} own""er"; CREATE ROLE {name}_reader; CREATE ROLE {name}_admin;
        ALTER TABLE parts OWNER TO "{name} own""er"; GRANT SELECT ON base TO {name}_reader;
        ALTER DATABASE {name} OWNER TO "{name} own""er";
        REVOKE CONNECT ON DATABASE {name} FROM PUBLIC;
        GRANT CONNECT ON DATABASE {name} TO {name}_reader;
        GRANT ALL ON DATABASE {name} TO {name}_admin WITH GRANT OPTION;
        ALTER DATABASE {name} SET search_path = "$user", "odd ""name%", public;
        ALTER DATABASE {name} SET temp_tablespaces = '';
        ALTER DATABASE {name} SET work_mem = '5MB';
        ALTER DATABASE {name} SET app.tenant = 'it''s 5% \\ "of", all';
        ALTER ROLE {name}_reader IN DATABASE {name} SET statement_timeout = '3s';
        ALTER ROLE {name}_reader IN DATABASE {name} SET search_path = '';
        COMMENT ON DATABASE {name} IS 'it''s 100% \\ ours';
        ALTER DATABASE {name} CONNECTION LIMIT 77;
        """
    )
    backup = full.back_up()
    result = full.run("restore", "--yes")
    assert result.code == 0, result.out
    [made] = full.others()
    restored = Database(database.server, made)
    assert made.startswith(f"{name}_restored_2") and not result.events("restore.setting_skipped"), result.out
    assert rows(restored) == rows(database) == ROWS
    assert restored.query("SELECT last_value, is_called FROM counter") == [(4711, True)]
    assert restored.query(f"INSERT INTO {ODD} DEFAULT VALUES RETURNING id") == [(501,)]
    assert restored.schema() == database.schema()
    assert properties(restored) == properties(database)
    assert restored.query("SELECT current_setting('app.tenant')") == [('it\'s 5% \\ "of", all',)]
    [planned], [verified], [done] = (result.events(f"restore.{word}") for word in ("planned", "verified", "finished"))
    assert (planned["backup"], planned["into"], planned["revision"]) == (backup, made, "r7") and not planned["swap"]
    assert verified["rows"] == 500 + 1000 + 1 + 2 + 1 and verified["tables"] == 7, "all but the one that only routes"
    assert (done["database"], done["rows"]) == (made, verified["rows"]) and done["bytes"] > 0
    assert result.finished["database"] == made
    assert restored.query("SELECT relname FROM pg_class WHERE relname = 'parts_high' AND reltuples = 900"), "analyzed"


@pytest.mark.thorough
def test_default_privileges_stay_the_default_ones(full: Home) -> None:
    """Nobody granted anything on the database: neither does the restore."""
    full.back_up()
    restored = full.restored()
    assert properties(restored) == properties(full.database)
    assert full.beside.query("SELECT datacl IS NULL FROM pg_database WHERE datname = %s", restored.name) == [(True,)]


@pytest.mark.thorough
def test_several_jobs_from_a_folder(full: Home) -> None:
    """The directory format, by two connections at once."""
    name = full.back_up(MIGRATE_BACKUP_JOBS="2")
    assert (full.folder / name).is_dir()
    assert rows(full.restored("--jobs", "2", "--into", f"{full.name}_'Mine'")) == ROWS


@pytest.mark.thorough
def test_the_newest_or_the_named_one(full: Home) -> None:
    """Without a name the newest of this database; a beginning will do for a name, if there is only one."""
    first = full.back_up()
    full.database.execute("DELETE FROM base")
    time.sleep(1.1)  # names have seconds
    second = full.back_up()
    other = full.back_up()
    full.manifest(other, database="somebody_elses", taken_at="2999-01-01T00:00:00.000000Z")
    assert rows(full.restored("--into", f"{full.name}_2"))["base"] == 0
    assert rows(full.restored(first[:-6], "--into", f"{full.name}_1"))["base"] == 3
    expect(full.run("restore", full.name, "--yes"), 20, "3 backups", second)


@pytest.mark.thorough
def test_the_database_is_gone(full: Home) -> None:
    """Somebody has dropped it: it comes back under its own name."""
    full.back_up()
    schema = full.database.schema()
    full.beside.execute(f"DROP DATABASE {full.name}")
    assert full.restored("--into", full.name).name == full.name
    assert rows(full.database) == ROWS and full.database.schema() == schema


@pytest.mark.thorough
@pytest.mark.parametrize(
    "locale",
    [
        "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'",
        pytest.param("LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' LC_COLLATE 'C' LC_CTYPE 'C'", marks=pytest.mark.thorough),
        pytest.param("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'", marks=pytest.mark.thorough),
    ],
)
def test_encoding_and_locale(home: Home, locale: str) -> None:
    """Which decide in what order text sorts: as they were."""
    source = Database(home.database.server, f"{home.name}_localized")
    try:
        home.beside.execute(f"CREATE DATABASE {source.name} TEMPLATE template0 {locale}")
    except psycopg2.errors.FeatureNotSupported:
        pytest.skip("this server is built without that")
    source.execute("CREATE TABLE a AS SELECT 'ä' AS x")
    there = Home(source, home.folder, home.bin)
    there.back_up()
    restored = there.restored()
    assert properties(restored) == properties(source)
    assert restored.query("SELECT x FROM a") == [("ä",)]


@pytest.mark.thorough
def test_a_backup_of_16_into_18(
    full: Home, new_database: Callable[[Server], Database], pg16: Server, tmp_path: Path
) -> None:
    """The way to a new major, by name: the backup is of another server's database."""
    old = new_database(pg16)
    old.execute(CONTENT)
    name = Home(old, full.folder, full.bin).back_up()
    assert rows(full.restored(name)) == ROWS


@pytest.mark.thorough
def test_clients_of_18_and_a_server_of_16(
    new_database: Callable[[Server], Database], pg16: Server, pg18: Server, tmp_path: Path
) -> None:
    """pg_restore 18 sets a timeout that 16 does not know: that alone is forgiven."""
    database = new_database(pg16)
    database.execute(CONTENT)
    home = Home(database, tmp_path / "backups", pg18.bin)
    try:
        home.back_up()
        restored = home.restored()
        assert rows(restored) == ROWS and restored.schema() == database.schema()
        database.execute(f"CREATE ROLE {home.name}_gone; ALTER TABLE base OWNER TO {home.name}_gone")
        home.back_up()
        database.execute(f"ALTER TABLE base OWNER TO postgres; DROP ROLE {home.name}_gone")
        expect(home.run("restore", "--yes", "--into", f"{home.name}_x"), 21, f'CREATE ROLE "{home.name}_gone"')
        assert home.others() == [restored.name]
    finally:
        home.clean()


# What is refused, and what is left.


def test_nothing_without_consent(full: Home) -> None:
    """It says what it would do, and does nothing."""
    name = full.back_up()
    result = full.run("restore", "--swap")
    expect(result, 26, name, "add --yes", f"place of {full.name}")
    assert result.events("restore.planned")[0]["swap"] is True
    assert full.others() == []


@pytest.mark.thorough
def test_a_target_that_is_there(full: Home) -> None:
    """Never restored into what somebody may need."""
    full.back_up()
    expect(full.run("restore", "--yes", "--into", full.name), 26, f"database {full.name} already", "--into")
    assert rows(full.database) == ROWS


def test_an_archive_that_changed(full: Home) -> None:
    """One byte differs from what was backed up: not even begun."""
    name = full.back_up()
    archive = full.folder / name
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    result = full.run("restore", "--yes")
    expect(result, 25, "sha256", "nothing was touched")
    assert full.others() == [] and not result.events("restore.started")


@pytest.mark.thorough
def test_an_archive_that_cannot_be_restored(full: Home) -> None:
    """It is cut off, and its manifest agrees: pg_restore fails, and the new database is dropped."""
    name = full.back_up()
    archive = full.folder / name
    archive.write_bytes(archive.read_bytes()[:-2000])
    full.manifest(name, sha256=subprocess.check_output(["sha256sum", archive], text=True).split()[0])
    result = full.run("restore", "--yes")
    expect(result, 25, "pg_restore failed", "dropped again")
    assert full.others() == [] and result.events("restore.started")


def test_rows_that_differ(full: Home) -> None:
    """What was restored is not what the manifest says: named, and dropped."""
    name = full.back_up()
    tables = [[table, rows and rows + 1] for table, rows in full.manifest(name)["tables"]]
    full.manifest(name, tables=[*tables, ["public.missing", 3]])
    result = full.run("restore", "--yes")
    expect(result, 25, "public.parts_high: 900 rows instead of 901", "public.missing: it is missing", ODD)
    assert full.others() == [] and not result.events("restore.verified")


@pytest.mark.thorough
def test_which_backup(full: Home) -> None:
    """No folder, none of this database, an unknown name, an archive that is gone: each says what is there."""
    assert full.run("restore", MIGRATE_BACKUP_URL="").code == 20
    expect(full.run("restore"), 20, str(full.folder))
    full.folder.mkdir()
    expect(full.run("restore"), 20, str(full.folder), full.name)
    name = full.back_up()
    expect(full.run("restore", "unknown"), 20, "unknown", str(full.folder), name)
    (full.folder / name).unlink()
    expect(full.run("restore", "--yes"), 20, str(full.folder / name), "is gone")
    assert full.others() == []


@pytest.mark.thorough
def test_programs_that_are_too_old(full: Home) -> None:
    """An archive of a newer pg_dump may not be readable."""
    full.manifest(full.back_up(), client_major=99)
    expect(full.run("restore", "--yes"), 20, "pg_dump 99", "MIGRATE_PG_BINDIR")
    assert full.others() == []


@pytest.mark.thorough
def test_a_locale_that_the_server_lacks(full: Home) -> None:
    """Said with the locale's name; and a provider of collations that an older server does not have."""
    name = full.back_up()
    locale = full.manifest(name)["locale"]
    full.manifest(name, locale={**locale, "collate": "xx_YY.utf8", "ctype": "xx_YY.utf8"})
    expect(full.run("restore", "--yes"), 20, "xx_YY.utf8", "install that locale")
    assert full.others() == []


@pytest.mark.thorough
def test_a_role_that_is_gone(full: Home) -> None:
    """Roles are no part of a backup: the hint has the statement."""
    full.database.execute(f"CREATE ROLE {full.name}_gone; ALTER TABLE base OWNER TO {full.name}_gone")
    full.back_up()
    full.database.execute(f"ALTER TABLE base OWNER TO postgres; DROP ROLE {full.name}_gone")
    expect(full.run("restore", "--yes"), 21, f'CREATE ROLE "{full.name}_gone"')
    assert full.others() == []


@pytest.mark.thorough
def test_a_role_that_may_not(full: Home) -> None:
    """No CREATEDB: said so. With it, and owning only the tables: what it may not give is a warning."""
    name, password = full.name, "secret-word-of-theirs"
    full.database.execute(
        f"CREATE ROLE {name}_other LOGIN PASSWORD '{password}'; GRANT pg_read_all_data TO {name}_other;"
        f" COMMENT ON DATABASE {name} IS 'ours'; ALTER DATABASE {name} SET log_statement = 'all';"
        f" DROP OWNED BY {name}_other; CREATE SCHEMA own AUTHORIZATION {name}_other"
    )
    url = full.database.url.replace(f"postgres:{full.database.server.password}", f"{name}_other:{password}")
    for table in ("alembic_version", "parts", "parts_low", "parts_high", "child", "base", "empty", "counter", "seen"):
        kind = {"counter": "SEQUENCE", "seen": "VIEW"}.get(table, "TABLE")
        full.database.execute(f"ALTER {kind} {table} OWNER TO {name}_other")
    full.database.execute(f'DROP SCHEMA "odd ""name%" CASCADE; GRANT CREATE ON SCHEMA public TO {name}_other')
    full.back_up()
    expect(full.run("restore", "--yes", url=url), 21, "CREATEDB")
    full.database.execute(f"ALTER ROLE {name}_other CREATEDB")
    expect(full.run("restore", "--yes", "--swap", url=url), 21, "own it", "superuser")
    result = full.run("restore", "--yes", "--into", f"{name}_theirs", url=url)
    assert result.code == 0, result.out
    skipped = [event["setting"] for event in result.events("restore.setting_skipped")]
    assert skipped == ["owner", "log_statement"]
    assert full.others() == [f"{name}_theirs"]
    assert password not in result.out


def test_the_command_line(home: Home) -> None:
    """The new database of a swap gets the old one's name; PostgreSQL would cut a longer name off."""
    expect(home.run("restore", "--swap", "--into", "x"), 2, "--swap and --into")
    expect(home.run("restore", "--into", "x" * 64), 2, "63 bytes")


def test_the_command_line_has_no_secret(full: Home, tmp_path: Path) -> None:
    """pg_restore has the password in its environment."""
    full.back_up()
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in ("pg_dump", "pg_restore"):
        wrapper = programs / program
        wrapper.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/seen\nexec {full.bin / program} "$@"\n')
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    full.restored(MIGRATE_PG_BINDIR=str(programs))
    seen = (tmp_path / "seen").read_text()
    assert "--no-password" in seen and full.name in seen and full.database.server.password not in seen


# Interrupted.


def test_sigterm_while_pg_restore_works(home: Home) -> None:
    """14, and the new database is dropped with whoever is in it."""
    home.database.execute(SLOW)
    home.back_up()
    job = home.start("restore", "--yes")
    until(lambda: asleep(home))
    assert home.others() != []
    sent = time.monotonic()
    job.terminate()
    result = finish(job)
    expect(result, 14)
    assert home.others() == [] and time.monotonic() - sent < 10
    assert not result.events("restore.not_removed")


@pytest.mark.thorough
def test_sigterm_while_rows_are_counted(full: Home) -> None:
    """The statement on our own connection is cancelled, and the database dropped."""
    full.database.execute("CREATE VIEW lazy AS SELECT pg_sleep(60)::text AS nap")
    name = full.back_up()
    full.manifest(name, tables=[["public.lazy", 1]])
    job = full.start("restore", "--yes")
    until(lambda: asleep(full))
    job.terminate()
    expect(finish(job), 14)
    assert full.others() == []


@pytest.mark.thorough
def test_the_deadline(home: Home) -> None:
    """MIGRATE_DEADLINE ends it in the same way."""
    home.database.execute(SLOW)
    home.back_up()
    expect(home.run("restore", "--yes", MIGRATE_DEADLINE="4s"), 16)
    assert home.others() == []


# Parts of it.


@pytest.mark.parametrize(
    ("stderr", "forgiven"),
    [
        ("", False),
        ("{unknown}pg_restore: warning: errors ignored on restore: 1\n", True),
        ("{unknown}", False),  # killed before its end
        ("{unknown}{other}pg_restore: warning: errors ignored on restore: 2\n", False),
        ("{unknown}pg_restore: warning: errors ignored on restore: 2\n", False),
        ("{function}pg_restore: warning: errors ignored on restore: 1\n", False),
    ],
)
def test_what_is_forgiven(stderr: str, forgiven: bool) -> None:
    """A SET of what the server does not know, and nothing else."""
    start = (
        'pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter "{}"\nCommand was: '
    )
    texts = {
        "unknown": start.format("transaction_timeout") + "SET transaction_timeout = 0;\n",
        "function": start.format("x") + "CREATE FUNCTION f() RETURNS int SET x = 1;\n",
        "other": 'pg_restore: error: could not execute query: ERROR:  relation "a" does not exist\n',
    }
    assert pg_restore.only_unknown_settings(stderr.format(**texts)) is forgiven


def test_a_long_name_is_cut() -> None:
    """At 63 bytes, between two characters."""
    assert databases.with_suffix("app", "_x") == "app_x"
    cut = databases.with_suffix("ä" * 40, "_restored_1")
    assert cut == "ä" * 26 + "_restored_1" and len(cut.encode()) == 63
