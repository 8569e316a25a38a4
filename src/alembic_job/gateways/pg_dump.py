"""A dump in PostgreSQL's custom format that counts only when it was read back to its last byte."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import BackupNotProven, BackupNotWritten, JobError, LoginFailed, SettingsError
from alembic_job.gateways import postgres, programs
from alembic_job.logs.events import Log

# What pg_dump must have written: tables of every kind that holds or routes rows, but those of extensions.
_TABLES = """
    SELECT c.oid::int8, n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')"""


class Dump(NamedTuple):
    """A proven dump."""

    path: Path
    size: int
    sha256: str
    tables: int


def dump(dsn: Dsn, url: str, bindir: str | None, run_id: str, log: Log) -> Dump:
    """Dumps the database into the folder of `url` and proves it.

    Written under a temporary name, checked by exit status, a full read back and its list of tables against the
    catalog, then renamed. Raises `SettingsError` (20: no usable program or place), `BackupNotWritten` (15),
    `BackupNotProven` (25) or `LoginFailed` (21); then nothing of it stays.
    """
    begun = time.monotonic()
    folder = _folder(url)
    connection = postgres.connect(dsn, "alembic-job backup")
    try:
        state = postgres.server_state(connection)
        found = programs.find_programs(bindir, state.version // 10_000)
        [[database]] = postgres.query(connection, "SELECT current_database()")
        path = folder / _name(database, run_id)
        log.info("backup.started", path=str(path), server_major=state.version // 10_000, client_major=found.major)
        with _temporary(path) as partial:
            before = _tables(connection)
            _write(found, dsn, partial)
            after = _tables(connection)
            _prove(found, partial, {oid: name for oid, name in before.items() if oid in after})
            result = Dump(path, partial.stat().st_size, _sha256(partial), len(after))
            _keep(partial, path)
    finally:
        connection.close()
    seconds = round(time.monotonic() - begun, 3)
    fields = {"bytes": result.size, "sha256": result.sha256, "tables": result.tables}
    log.info("backup.finished", path=str(path), **fields, duration_seconds=seconds)
    return result


def _folder(url: str) -> Path:
    """The folder that a plain path or file:// URL names, made if it is not there."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme != "file":
        raise SettingsError(
            f"MIGRATE_BACKUP_URL: {scheme}:// is not supported, only a folder", hint="give a path, or file:///path"
        )
    folder = Path(rest if separator else url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BackupNotWritten(f"the backup folder {folder} cannot be made: {error.strerror}") from error
    return folder


def _name(database: str, run_id: str) -> str:
    safe = "".join(char if char.isalnum() or char in "-_" else "_" for char in database)[:80]
    return f"{safe}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{run_id}.dump"


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A private file beside the final one; it is gone afterwards whatever happens."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise BackupNotWritten(f"the backup cannot be written to {path.parent}: {error.strerror}") from error
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _write(found: programs.Programs, dsn: Dsn, partial: Path) -> None:
    argv = [found.path("pg_dump"), "--format=custom", "--no-password", f"--file={partial}"]
    done = programs.run(argv, postgres.with_password(dsn))
    if done.returncode != 0:
        raise _dump_error(done.stderr)


def _dump_error(stderr: str) -> JobError:
    said = " ".join(stderr.split())[-2000:]
    if "permission denied for" in said:
        return LoginFailed(
            f"pg_dump may not read everything: {said}",
            hint="grant the role pg_read_all_data, or back up with the owner's role",
        )
    return BackupNotWritten(f"pg_dump failed: {said}")


def _prove(found: programs.Programs, partial: Path, tables: dict[int, str]) -> None:
    """Reads the whole archive back; `--list` alone accepts one that was cut or damaged."""
    read = programs.run([found.path("pg_restore"), "--file=/dev/null", str(partial)])
    if read.returncode != 0:
        raise BackupNotProven(f"pg_restore cannot read the dump back: {' '.join(read.stderr.split())[-2000:]}")
    listed = programs.run([found.path("pg_restore"), "--list", str(partial)])
    missing = sorted(name for oid, name in tables.items() if oid not in _listed_tables(listed.stdout))
    if listed.returncode != 0 or missing:
        raise BackupNotProven(
            f"the dump lacks tables that the database has: {', '.join(missing[:20]) or listed.stderr.strip()}"
        )


def _listed_tables(listing: str) -> set[int]:
    """The oids of tables in `pg_restore --list`: lines such as `217; 1259 16388 TABLE public users postgres`."""
    found = set()
    for line in listing.splitlines():
        parts = line.split(maxsplit=4)
        if len(parts) == 5 and parts[0].endswith(";") and parts[1] == "1259" and parts[3] in ("TABLE", "FOREIGN"):
            found.add(int(parts[2]))
    return found


def _tables(connection: Connection) -> dict[int, str]:
    return dict(postgres.query(connection, _TABLES))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(partial: Path, path: Path) -> None:
    """Gives the proven dump its name, so that it survives a power cut."""
    try:
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise BackupNotWritten(f"the backup cannot be kept as {path}: {error.strerror}") from error
