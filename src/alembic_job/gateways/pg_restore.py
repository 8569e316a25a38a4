"""pg_restore: an archive into an empty database, where nothing but complete success counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import BackupNotProven, BackupNotWritten, ConnectionLost, JobError, LoginFailed, SettingsError
from alembic_job.gateways import backups, postgres, programs
from alembic_job.gateways.backups import Manifest, Table

# pg_restore 17 and newer lift the timeouts that they know, also on a server that does not have them.
_UNKNOWN_SETTING = re.compile(
    r'could not execute query: ERROR:\s+unrecognized configuration parameter "([\w.]+)"\s+Command was: SET (\w+) = '
)
_ERROR = re.compile(r"^pg_restore: error: ", re.MULTILINE)
_IGNORED = re.compile(r"errors ignored on restore: (\d+)")
# For the rows alone: on another server there may be none of the roles and tablespaces, and nothing is to be connected.
_ROWS_ONLY = ("owner", "privileges", "tablespaces", "publications", "subscriptions", "security-labels")
_DROPPED = "the new database was dropped again, nothing else was touched"


def find(bindir: str | None, manifest: Manifest) -> programs.Programs:
    """The newest programs, at least as new as those that wrote the archive. Raises `SettingsError`."""
    try:
        return programs.find_programs(bindir, manifest.client_major)
    except SettingsError as error:
        raise SettingsError(
            f"{manifest.name} was written by pg_dump {manifest.client_major}, which an older pg_restore may not read:"
            f" there is none of that major in {bindir or 'PATH'}",
            hint=f"use an image with client programs of major {manifest.client_major} or newer, or name their folder"
            " in MIGRATE_PG_BINDIR",
        ) from error


def check(archive: Path, manifest: Manifest) -> None:
    """Compares the archive with its hash. Raises `BackupNotProven` (25), `SettingsError` (20) if it is unreadable."""
    try:
        size, found = backups.size_of(archive), backups.sha256_of(archive)
    except OSError as error:
        raise SettingsError(
            f"the archive {archive} cannot be read: {error.strerror}", hint="make it readable for this user"
        ) from error
    if found != manifest.sha256:
        raise BackupNotProven(
            f"the archive {archive} is not what was backed up: {size} bytes with the sha256 {found}, not"
            f" {manifest.size} with {manifest.sha256}",
            hint="nothing was touched; restore another backup, or bring this one again from where it is copied to",
        )


def restore(
    found: programs.Programs,
    dsn: Dsn,
    archive: Path | programs.Feed,
    jobs: int,
    server_major: int,
    tick: Callable[[], None] | None = None,
    every: float = 5.0,
    *,
    rows_only: bool = False,
) -> None:
    """Fills the empty database of `dsn` from the archive, or what feeds it (one job only).

    `tick` is called every so many seconds meanwhile. `rows_only` leaves out whose everything is and who may do what.

    Raises `LoginFailed` (21: roles or privileges are missing), `BackupNotWritten` (15: disk full), `ConnectionLost`
    (13), else `BackupNotProven` (25).
    """
    argv = [found.path("pg_restore"), "--no-password", f"--dbname={_conninfo(dsn)}", f"--jobs={jobs}"]
    if rows_only:
        argv += [f"--no-{each}" for each in _ROWS_ONLY]
    if found.major <= server_major:
        argv.append("--exit-on-error")  # else it would end at a setting that the server does not know
    feed = None
    if isinstance(archive, Path):
        argv.append(str(archive))
    else:
        feed = archive
    done = programs.run(argv, postgres.with_password(dsn), tick, every, feed)
    if done.returncode != 0 and not only_unknown_settings(done.stderr):
        raise restore_error(done.stderr, done.returncode)


def _conninfo(dsn: Dsn) -> str:
    """Name of database and session; all else is in the environment, because `ps` shows this to everybody."""
    parts = {"dbname": dsn.parameters["dbname"], "application_name": "alembic-job restore"}
    if "," in dsn.parameters.get("host", "") and "target_session_attrs" not in dsn.parameters:
        parts["target_session_attrs"] = "read-write"
    quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in parts.items()}
    return " ".join(f"{name}='{value}'" for name, value in quoted.items())


def only_unknown_settings(stderr: str) -> bool:
    """True if pg_restore came to its end, and all that failed was to SET what an older server does not have."""
    errors = _ERROR.split(stderr)[1:]
    counted = _IGNORED.search(stderr)
    if not errors or counted is None or int(counted[1]) != len(errors):
        return False
    found = [_UNKNOWN_SETTING.match(error) for error in errors]
    return all(match is not None and match[1] == match[2] for match in found)


def restore_error(stderr: str, code: int) -> JobError:
    """What ended pg_restore, by its messages (in English: `programs.environment`)."""
    errors = [" ".join(error.split())[:500] for error in _ERROR.split(stderr)[1:]]
    relevant = [error for error in errors if not _UNKNOWN_SETTING.match(error)]
    said = "; ".join(relevant[:5]) or " ".join(stderr.split())[-2000:] or f"it ended with {code}"
    message = f"pg_restore failed: {said}"
    if roles := sorted(set(re.findall(r'ERROR: +role "(.+?)" does not exist', said))):
        create = " ".join(f'CREATE ROLE "{role}";' for role in roles)
        return LoginFailed(message, hint=f"make the roles first ({create}); {_DROPPED}")
    if re.search(
        r"permission denied|must be (owner|superuser|member|able)|Only superusers|authentication failed", said
    ):
        return LoginFailed(
            message, hint=f"restore with a role that may do that, such as the one that backed up; {_DROPPED}"
        )
    if re.search(r"No space left on device|could not extend file|[Dd]isk full", said):
        return BackupNotWritten(message, hint=f"make room on the database server; {_DROPPED}")
    if re.search(r"server closed the connection|terminating connection|connection to server .* failed", said):
        return ConnectionLost(message, hint=f"run again; {_DROPPED}")
    return BackupNotProven(message, hint=f"see the messages above; {_DROPPED}")


def _difference(connection: Connection, table: Table) -> str | None:
    """How the rows of a restored table differ from the manifest's. Raises `psycopg2.Error`."""
    try:
        [[rows]] = postgres.query(connection, f"SELECT count(*) FROM ONLY {table.name}")  # quoted as in the archive
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
        return f"{table.name}: it is missing, {table.rows} rows"
    return None if rows == table.rows else f"{table.name}: {rows} rows instead of {table.rows}"


def verify(connection: Connection, manifest: Manifest) -> tuple[int, int]:
    """Counts what was restored; returns how many tables and rows. Raises `BackupNotProven` (25) where it differs."""
    postgres.query(connection, "SET row_security = off")  # a policy must not hide rows: better to be refused
    counted = [table for table in manifest.tables if table.rows is not None]
    different = [found for table in counted if (found := _difference(connection, table)) is not None]
    if different:
        more = f" and {len(different) - 20} more" if len(different) > 20 else ""
        raise BackupNotProven(
            f"what was restored is not what was backed up: {'; '.join(different[:20])}{more}",
            hint=f"restore another backup; {_DROPPED}",
        )
    return len(counted), sum(table.rows or 0 for table in counted)
