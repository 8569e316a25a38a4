"""A dump that counts only when it was read back to its last byte."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import BackupNotProven, BackupNotWritten, JobError, LoginFailed, SettingsError
from alembic_job.gateways import backups, postgres, programs
from alembic_job.gateways.backups import Manifest, Table
from alembic_job.gateways.copied_rows import CopiedRows
from alembic_job.logs.events import Log
from alembic_job.logs.lines import timestamp

# What pg_dump must have written: tables of every kind that holds or routes rows, but those of extensions.
_TABLES = """
    SELECT c.oid::int8, quote_ident(n.nspname) || '.' || quote_ident(c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')
    ORDER BY 2"""
# Alembic's version tables, whatever they are called: the one column gives them away.
_VERSION_TABLES = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, 'SELECT')
    AND (SELECT array_agg(a.attname::text) FROM pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) = ARRAY['version_num']
    ORDER BY 1, 2"""
# The columns differ from PostgreSQL 14 to 18, so the row is fetched as JSON.
_LOCALE = """
    SELECT pg_encoding_to_char(encoding), to_jsonb(d) FROM pg_database d WHERE datname = current_database()"""
_WITH_METHODS = 16  # the first pg_dump that takes a method of compression


class DumpOptions(NamedTuple):
    """How to dump: `jobs` above 1 make it a folder; `compress` as pg_dump takes it; `verify` is read or list.

    `image` and `run_id` are for the manifest; every `heartbeat` seconds an event says how far it is.
    """

    bindir: str | None
    run_id: str
    jobs: int = 1
    compress: str | None = None
    verify: str = "read"
    image: str | None = None
    heartbeat: float = 5.0


def dump(dsn: Dsn, folder: Path, options: DumpOptions, log: Log) -> Manifest:
    """Dumps the database into the folder and proves it.

    Written under a temporary name, checked by exit status, its list of tables against the catalog and, with
    `verify=read`, a full read back; then renamed. Raises `SettingsError` (20: no usable program),
    `BackupNotWritten` (15), `BackupNotProven` (25) or `LoginFailed` (21); then nothing of it stays.
    """
    for name in backups.clear_drafts(folder):
        log.info("backup.draft_removed", path=str(folder / name))
    with closing(postgres.connect(dsn, "alembic-job backup")) as connection:
        postgres.unbound(connection)
        major = postgres.server_state(connection).version // 10_000
        found = programs.find_programs(options.bindir, major)
        _check_compress(options.compress, found.major)
        return _dump(connection, dsn, folder, found, options, log)


def _dump(
    connection: Connection, dsn: Dsn, folder: Path, found: programs.Programs, options: DumpOptions, log: Log
) -> Manifest:
    begun, taken_at = time.monotonic(), timestamp()
    with _Snapshot(connection) as seen:
        name = _name(seen.database, options.run_id, options.jobs)
        path = folder / name
        log.info("backup.started", path=str(path), server_major=seen.version // 10_000, client_major=found.major)
        with backups.draft(folder, name, directory=options.jobs > 1) as partial:
            _write(found, dsn, partial, seen.snapshot, options, log)
            rows = _prove(found, partial, seen.tables, options.verify)
            manifest = Manifest(
                name=name,
                database=seen.database,
                identity=seen.identity,
                taken_at=taken_at,
                run_id=options.run_id,
                revisions=seen.revisions,
                server_version=seen.version,
                client_major=found.major,
                format="directory" if options.jobs > 1 else "custom",
                snapshot=seen.snapshot,
                size=backups.size_of(partial),
                sha256=backups.sha256_of(partial),
                duration_seconds=round(time.monotonic() - begun, 3),
                verified=options.verify,
                locale=seen.locale,
                tables=tuple(Table(table, rows.get(table)) for table in seen.tables.values()),
                image=options.image,
            )
            backups.keep(folder, manifest, partial)
    log.info(
        "backup.finished",
        path=str(path),
        **backups.as_fields(manifest),
        duration_seconds=round(time.monotonic() - begun, 3),
    )
    return manifest


class _Snapshot:
    """What the database holds at one moment, which the dump then shows too. Open it as long as pg_dump runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> _Snapshot:
        ask = self._connection
        self.identity = postgres.identity(ask)
        postgres.query(ask, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        [[self.snapshot]] = postgres.query(ask, "SELECT pg_export_snapshot()")
        [[self.database, self.version]] = postgres.query(
            ask, "SELECT current_database(), current_setting('server_version_num')::int"
        )
        self.tables: dict[int, str] = dict(postgres.query(ask, _TABLES))
        self.revisions = {f"{schema}.{name}": self._heads(schema, name) for schema, name in self._version_tables()}
        [[encoding, row]] = postgres.query(ask, _LOCALE)
        self.locale: dict[str, str | None] = {
            "encoding": encoding,
            "provider": row.get("datlocprovider"),
            "collate": row["datcollate"],
            "ctype": row["datctype"],
            "locale": row.get("datlocale", row.get("daticulocale")),
        }
        return self

    def __exit__(self, *_: object) -> None:
        if not self._connection.closed:
            postgres.query(self._connection, "ROLLBACK")

    def _version_tables(self) -> list[tuple[str, str]]:
        return [(schema, name) for schema, name in postgres.query(self._connection, _VERSION_TABLES)]

    def _heads(self, schema: str, name: str) -> list[str]:
        statement = sql.SQL("SELECT version_num::text FROM {} ORDER BY 1").format(sql.Identifier(schema, name))
        return [head for [head] in postgres.query(self._connection, statement.as_string(self._connection))]


def _name(database: str, run_id: str, jobs: int) -> str:
    safe = "".join(char if char.isalnum() or char in "-_" else "_" for char in database)
    safe = safe.encode()[:80].decode(errors="ignore")
    return f"{safe}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{run_id}.{'dir' if jobs > 1 else 'dump'}"


def _check_compress(compress: str | None, client_major: int) -> None:
    if compress and client_major < _WITH_METHODS and not compress.isdigit():
        raise SettingsError(
            f"MIGRATE_BACKUP_COMPRESS={compress}: pg_dump {client_major} takes a level from 0 to 9 only",
            hint=f"give a level, or use client programs of major {_WITH_METHODS} or newer (MIGRATE_PG_BINDIR)",
        )


def _write(found: programs.Programs, dsn: Dsn, partial: Path, snapshot: str, options: DumpOptions, log: Log) -> None:
    begun = time.monotonic()

    def tell() -> None:
        size, seconds = backups.size_of(partial), time.monotonic() - begun
        log.info("backup.progress", bytes=size, bytes_per_second=int(size / seconds), seconds=round(seconds, 1))

    argv = [found.path("pg_dump"), "--no-password", f"--file={partial}", f"--snapshot={snapshot}"]
    argv += ["--format=directory", f"--jobs={options.jobs}"] if options.jobs > 1 else ["--format=custom"]
    if options.compress:
        argv.append(f"--compress={options.compress}")
    done = programs.run(argv, postgres.with_password(dsn), tell, options.heartbeat)
    if done.returncode != 0:
        raise _dump_error(done.stderr, options)


def _dump_error(stderr: str, options: DumpOptions) -> JobError:
    said = " ".join(stderr.split())[-2000:]
    if "permission denied for" in said:
        return LoginFailed(
            f"pg_dump may not read everything: {said}",
            hint="grant the role pg_read_all_data, or back up with the owner's role",
        )
    if options.compress and re.search(r"compress", said):
        return SettingsError(
            f"MIGRATE_BACKUP_COMPRESS={options.compress}: {said}", hint="such as 6, gzip:6, lz4, zstd:3 or none"
        )
    return BackupNotWritten(f"pg_dump failed: {said}")


def _prove(found: programs.Programs, archive: Path, tables: dict[int, str], verify: str) -> dict[str, int]:
    """The archive's own list against the catalog's tables, then a full read: `--list` alone accepts a damaged one.

    Returns the rows of each table in the archive, as far as they were read. Raises `BackupNotProven`.
    """
    listed = programs.run([found.path("pg_restore"), "--list", str(archive)])
    if listed.returncode != 0:
        raise BackupNotProven(f"pg_restore cannot read the dump back: {' '.join(listed.stderr.split())[-2000:]}")
    there = _listed_tables(listed.stdout)
    missing = sorted(name for oid, name in tables.items() if oid not in there)
    if missing:
        raise BackupNotProven(f"the dump lacks tables that the database has: {', '.join(missing[:20])}")
    return read_back(found, archive) if verify == "read" else {}


def read_back(found: programs.Programs, archive: Path) -> dict[str, int]:
    """Reads an archive to its last byte; returns the rows of each table. Raises `BackupNotProven`."""
    counted = CopiedRows()
    read = programs.read_out([found.path("pg_restore"), "--data-only", "--file=-", str(archive)], counted.feed)
    if read.returncode != 0:
        raise BackupNotProven(f"pg_restore cannot read the dump back: {' '.join(read.stderr.split())[-2000:]}")
    return counted.rows


def differences(expected: Sequence[Table], rows: dict[str, int]) -> list[str]:
    """What tables hold against what a manifest says: `public.users: 3 rows, not 4`."""
    return [
        f"{table.name}: {rows.get(table.name, 0)} rows, not {table.rows}"
        for table in expected
        if table.rows is not None and rows.get(table.name, 0) != table.rows
    ]


def _listed_tables(listing: str) -> set[int]:
    """The oids of tables in `pg_restore --list`: lines such as `217; 1259 16388 TABLE public users postgres`."""
    found = set()
    for line in listing.splitlines():
        parts = line.split(maxsplit=4)
        if len(parts) == 5 and parts[0].endswith(";") and parts[1] == "1259" and parts[3] in ("TABLE", "FOREIGN"):
            found.add(int(parts[2]))
    return found
