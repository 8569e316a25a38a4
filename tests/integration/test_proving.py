"""Backups that are proven by restoring them, and those that leave something out."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pyrage
import pytest

from alembic_job.dsn import parse
from alembic_job.errors import Interrupted
from alembic_job.gateways.embedded import Server
from alembic_job.gateways.folders import FolderStore
from alembic_job.gateways.pg_dump import DumpOptions, dump
from alembic_job.gateways.proving import Trial
from alembic_job.logs.events import json_log
from alembic_job.logs.lines import Redactor
from alembic_job.watch import Stop, Watch
from tests.conftest import Database, finish, run_job
from tests.objectstore import served
from tests.projectkit import make_project, sql
from tests.restorekit import ODD, Home, expect
from tests.waiting import until

SCRATCH = "alembic_job_rehearsal_%"
PROVE = {"MIGRATE_BACKUP_VERIFY": "restore"}
# Sleeps in a scratch database, as an index is built by it; at home it takes no time.
SLOW = """
    CREATE FUNCTION slow(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
        BEGIN IF current_database() ~ 'rehearsal' THEN PERFORM pg_catalog.pg_sleep(60); END IF; RETURN n; END $$;
    CREATE TABLE lazy AS SELECT 1 AS n;
    CREATE INDEX ON lazy (slow(n));
"""
ASLEEP = "SELECT pid FROM pg_stat_activity WHERE datname LIKE %s AND query ~ 'slow' AND wait_event = 'PgSleep'"


def scratches(database: Database) -> list[str]:
    """The scratch databases on a server."""
    found = Database(database.server, "postgres").query(
        "SELECT datname FROM pg_database WHERE datname LIKE %s", SCRATCH
    )
    return [name for [name] in found]


def asleep(home: Home) -> bool:
    return bool(home.beside.query(ASLEEP, SCRATCH))


def nothing_is_left(home: Home) -> bool:
    return scratches(home.database) == [] and not (home.folder.exists() and list(home.folder.iterdir()))


def manifest_of(home: Home, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home.folder / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.thorough)])
def test_restored_and_counted_before_the_first_change(full: Home, tmp_path: Path, jobs: str) -> None:
    """In a run: the dump is restored beside the database, its rows are counted, and the run goes on."""
    project = make_project(tmp_path / "p", [sql("CREATE TABLE made (id int)")])
    full.database.execute("DROP TABLE alembic_version")
    env = full.env(**PROVE, MIGRATE_BACKUP_JOBS=jobs)
    result = run_job("migrate", cwd=project, url=full.database.url, env=env)
    assert result.code == 0, result.out
    events = [event["event"] for event in result.events()]
    assert events.index("backup.restored") < events.index("backup.finished") < events.index("revision.applied")
    [restored], [finished] = result.events("backup.restored"), result.events("backup.finished")
    manifest = manifest_of(full, finished["backup"])
    assert manifest["verified"] == finished["verified"] == "restore" and not manifest["partial"]
    counted = [rows for _, rows in manifest["tables"] if rows is not None]
    assert (restored["tables"], restored["rows"]) == (len(counted), sum(counted)) and sum(counted) == 1503
    assert scratches(full.database) == []


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing(home: Home, tmp_path: Path, number: int) -> None:
    """While it is restored: 14, the scratch database is gone when the process is, nothing was changed or kept."""
    project = make_project(tmp_path / "p", [sql("CREATE TABLE made (id int)")])
    home.database.execute(SLOW)
    process = home.start("-c", str(project / "alembic.ini"), "migrate", **PROVE)
    until(lambda: asleep(home))
    process.send_signal(number)
    result = finish(process, timeout=20)
    assert result.code == 14, result.out
    assert nothing_is_left(home)
    assert home.database.query("SELECT to_regclass('made') IS NULL") == [(True,)]


@pytest.mark.thorough
def test_a_signal_leaves_it_the_time_to_tidy_up(home: Home) -> None:
    """Where the database cannot be dropped at once: other runs are left 0.6 seconds after a signal."""
    home.database.execute(SLOW)
    process = home.start("backup", **PROVE)
    until(lambda: asleep(home))
    with closing(home.beside.connect()) as locker:
        locker.autocommit = False
        locker.cursor().execute("LOCK TABLE pg_database IN SHARE MODE")
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
    result = finish(process, timeout=20)
    assert result.code == 14, result.out
    assert nothing_is_left(home)


def test_the_run_goes_on(full: Home) -> None:
    """After the proof it can be interrupted as before: only while it tidied up nothing was raised into it."""
    lines: list[dict[str, Any]] = []
    log = json_log(lambda line: lines.append(json.loads(line)), Redactor(), "info")
    with Watch(signals=False) as watch:
        patience = watch.leave_after
        options = DumpOptions(str(full.bin), "0123456789ab", verify="restore", trial=Trial(watch))
        dump(parse(full.database.url), FolderStore(full.folder, make=True), options, log)
        assert watch.leave_after == patience
        watch.check()
        watch.stop(Interrupted())
        with pytest.raises(Stop):
            watch.check()
    assert "backup.restored" in [line["event"] for line in lines]
    assert scratches(full.database) == []


@pytest.mark.thorough
def test_what_a_killed_one_left_goes_with_the_next(home: Home) -> None:
    """SIGKILL leaves the scratch database, which has lost its mark."""
    home.database.execute(SLOW)
    process = home.start("backup", **PROVE)
    until(lambda: asleep(home))
    process.kill()
    process.communicate()
    [left] = scratches(home.database)
    [[pid]] = home.beside.query(ASLEEP, SCRATCH)
    home.beside.execute("SELECT pg_terminate_backend(%s)", pid)
    home.database.execute("DROP INDEX lazy_slow_idx")
    until(lambda: not home.beside.query("SELECT 1 FROM pg_stat_activity WHERE datname LIKE %s", SCRATCH))
    result = home.run("backup", **PROVE)
    assert result.code == 0, result.out
    assert [event["database"] for event in result.events("rehearsal.leftover_removed")] == [left]
    assert scratches(home.database) == []


@pytest.mark.thorough
def test_a_backup_that_does_not_restore(home: Home) -> None:
    """An index whose function needs another table: it reads back to its last byte, and is worth nothing. 25."""
    home.database.execute(
        "CREATE TABLE a (n int); INSERT INTO a VALUES (1); CREATE TABLE b (n int); INSERT INTO b VALUES (1);"
        "CREATE FUNCTION there(n int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN"
        " RETURN (SELECT count(*) FROM public.b) = n; END $$;"
        "ALTER TABLE a ADD CHECK (there(n))"
    )
    assert home.run("backup").code == 0
    for path in home.folder.iterdir():
        path.unlink()
    expect(home.run("backup", **PROVE), 25, "restoring it on the same server", "nothing was changed")
    assert nothing_is_left(home)


@pytest.mark.thorough
def test_rows_that_are_not_there_again(full: Home, tmp_path: Path) -> None:
    """pg_restore leaves a schema out and is content: 25, with the table and its rows."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "pg_dump").write_text(f'#!/bin/sh\nexec {full.bin}/pg_dump "$@"\n')
    (programs / "pg_restore").write_text(
        f'#!/bin/sh\ncase "$*" in *--dbname=*) set -- "$@" --exclude-schema=\'odd "name%\';; esac\n'
        f'exec {full.bin}/pg_restore "$@"\n'
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    full.database.execute("DROP VIEW seen")
    result = full.run("backup", **PROVE, MIGRATE_PG_BINDIR=str(programs))
    assert result.code == 25 and ODD in result.finished["error"] and "500 rows" in result.finished["error"], result.out
    assert nothing_is_left(full)


@pytest.fixture
def owner(full: Home) -> Iterator[str]:
    """A URL of a role that owns everything, and may not make databases."""
    role = f"owner_{full.name}"
    full.database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT pg_read_all_data TO {role}")
    parsed = psycopg2.extensions.parse_dsn(full.database.url)
    yield f"postgresql://{role}:x@{parsed['host']}:{parsed['port']}/{full.name}"
    full.database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.thorough
def test_a_role_that_may_not_make_databases(full: Home, owner: str) -> None:
    """21 before anything is dumped, with the ways out; one of them is another server."""
    result = full.run("backup", url=owner, **PROVE)
    expect(result, 21, "CREATEDB", "MIGRATE_REHEARSAL_URL", "MIGRATE_BACKUP_VERIFY=read")
    assert not result.events("backup.started") and nothing_is_left(full)
    result = full.run("backup", url=owner, **PROVE, MIGRATE_REHEARSAL_URL=full.beside.url)
    assert result.code == 0, result.out
    assert scratches(full.database) == []


@pytest.mark.thorough
def test_on_another_server(
    new_database: Callable[[Server], Database], pg16: Server, pg18: Server, tmp_path: Path
) -> None:
    """One that has none of the roles, and is newer; nothing is made on the database's own."""
    database = new_database(pg16)
    role = f"stranger_{database.name}"
    database.execute(
        f"CREATE ROLE {role}; CREATE TABLE t AS SELECT generate_series(1, 9) n; ALTER TABLE t OWNER TO {role}"
    )
    database.execute(f"GRANT SELECT ON t TO {role}; CREATE PUBLICATION p FOR ALL TABLES")
    home, other = Home(database, tmp_path / "backups", pg18.bin), Database(pg18, "postgres")
    result = home.run("backup", **PROVE, MIGRATE_REHEARSAL_URL=other.url)
    database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert result.code == 0, result.out
    assert result.events("backup.restored")[0]["rows"] == 9
    assert "server at" in result.events("backup.restoring")[0]["server"]
    assert scratches(database) == scratches(other) == []


@pytest.mark.thorough
def test_on_an_embedded_server(full: Home, owner: str) -> None:
    """Without any right to make databases; the server is gone afterwards."""
    result = full.run("backup", url=owner, **PROVE, MIGRATE_REHEARSAL_URL="embedded")
    assert result.code == 0, result.out
    assert result.events("backup.restored")[0]["rows"] == 1504
    assert "embedded" in result.events("backup.restoring")[0]["server"]


@pytest.mark.thorough
@pytest.mark.parametrize("stored", ["folder", "store"])
def test_encrypted(full: Home, stored: str) -> None:
    """What is stored is decrypted and restored; without the identity that is refused before the dump."""
    identity = pyrage.x25519.Identity.generate()
    env = PROVE | {"MIGRATE_BACKUP_ENCRYPT_TO": str(identity.to_public())}
    with served() as server:
        if stored == "store":
            env |= server.env | {"MIGRATE_BACKUP_URL": f"s3://backups/proven/{full.name}"}
        result = full.run("backup", **env)
        expect(result, 20, "MIGRATE_BACKUP_IDENTITY")
        assert not result.events("backup.started")
        result = full.run("backup", **env, MIGRATE_BACKUP_IDENTITY=str(identity))
        assert result.code == 0 and result.events("backup.restored")[0]["rows"] == 1504, result.out
    assert scratches(full.database) == []


# What is left out.


AUDIT = """
    CREATE SCHEMA audit; CREATE TABLE audit.log AS SELECT generate_series(1, 10) n;
    CREATE SCHEMA "Old"; CREATE TABLE "Old".orders (n int); CREATE TABLE public.events AS SELECT 1 AS n;
"""


@pytest.mark.thorough
def test_a_partial_backup(full: Home) -> None:
    """The manifest says so; the schemas are not missed, their rows not counted; and it takes nobody's place."""
    full.database.execute(AUDIT)
    arguments = ["--exclude-schema=AUD*", '--exclude-schema="Old"', "--exclude-table-data=events"]
    name = full.back_up(MIGRATE_BACKUP_ARGS=" ".join(f"'{each}'" for each in arguments))
    manifest = manifest_of(full, name)
    assert manifest["partial"] and manifest["arguments"] == arguments
    tables = dict(manifest["tables"])
    assert tables["public.events"] is None and "audit.log" not in tables and '"Old".orders' not in tables
    assert tables["public.alembic_version"] == 1
    expect(full.run("restore", "--swap", "--yes"), 26, "partial", "--exclude-schema=AUD*", "without --swap")
    assert full.others() == []


@pytest.mark.thorough
def test_a_partial_backup_beside_the_database(full: Home) -> None:
    """Restored as any other, proven by restoring it, and told from the others in the list."""
    full.database.execute(AUDIT)
    full.back_up(**PROVE, MIGRATE_BACKUP_ARGS="--exclude-schema=audit --exclude-table-data=events")
    restored = full.restored()
    assert restored.query("SELECT to_regnamespace('audit') IS NULL, count(*) FROM events") == [(True, 0)]
    assert "restore, partial" in full.run("backup", "list").out


@pytest.mark.thorough
def test_a_pattern_means_the_same_to_pg_dump(full: Home) -> None:
    """What we hold to be left out, and nothing else, is not in the archive."""
    schemas = ["audit", "audit2", "Audit", "aud", 'x"a*', "a*", "ab", "tmp_1"]
    for schema in schemas:
        quoted = schema.replace('"', '""')
        full.database.execute(f'CREATE SCHEMA "{quoted}"; CREATE TABLE "{quoted}".t (n int)')
    for pattern in ["AUDIT?", '"Audit"', "aud*", '"a*"', '"x""a*"']:
        name = full.back_up(MIGRATE_BACKUP_ARGS=f"'--exclude-schema={pattern}'")
        ours = {table for table, _ in manifest_of(full, name)["tables"]}
        restored = full.restored(name)
        theirs = restored.query(
            "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables"
            " WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema'"
        )
        assert ours == {table for [table] in theirs}, pattern
        full.clean()


@pytest.mark.thorough
@pytest.mark.parametrize("words", ["--exclude-table-data=a.b.c.d", "--no-comments --file=/tmp/x"])
def test_arguments_that_cannot_be(full: Home, words: str) -> None:
    """20, naming the setting."""
    expect(full.run("backup", MIGRATE_BACKUP_ARGS=words), 20, "MIGRATE_BACKUP_ARGS")
    assert nothing_is_left(full)


@pytest.mark.thorough
def test_a_rehearsal_passes_a_partial_backup_over(full: Home, tmp_path: Path) -> None:
    """It needs all of the database."""
    project = make_project(tmp_path / "p", [sql("SELECT 1"), sql("CREATE INDEX ON audit.log (n)")])
    full.database.execute(AUDIT + "UPDATE alembic_version SET version_num = 'r1'")
    full.back_up(MIGRATE_BACKUP_ARGS="--exclude-schema=audit")
    result = run_job("plan", "--rehearse", "--json", cwd=project, url=full.database.url, env=full.env())
    assert result.code == 0, result.err
    assert json.loads(result.out)["rehearsal"]["backup"] is None
