"""Free space on the server's disk, which SQL alone does not tell.

It is known where MIGRATE_SERVER_DISK says how large the disk is, or where the data directory lies on this machine.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.gateways.postgres import query

_DATA = "base"  # the tablespace pg_default, below the data directory
_STARTING = 10.0  # seconds from the moment that postmaster.pid has to pg_postmaster_start_time(): libraries are loaded
_SERVER = """
    SELECT CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('data_directory') END,
    extract(epoch FROM pg_postmaster_start_time())::float8, (SELECT system_identifier FROM pg_control_system())"""
# All databases in pg_default, also those that this role may not connect to. Whoever works in one of them may ask.
_USED = """
    SELECT CASE WHEN dattablespace = 1663 OR has_tablespace_privilege(1663, 'CREATE')
                     OR pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_tablespace_size(1663) END,
    has_function_privilege('pg_ls_waldir()', 'EXECUTE') FROM pg_database WHERE datname = current_database()"""
_WAL = "SELECT coalesce(sum(size), 0)::int8 FROM pg_ls_waldir()"
_SIZES = """
    SELECT name, pg_relation_size(id), pg_total_relation_size(id), pg_relation_filepath(id)
    FROM (SELECT name, to_regclass(name) AS id FROM unnest(ARRAY[{}]) name) r WHERE id IS NOT NULL"""


class Table(NamedTuple):
    """A table's bytes, with TOAST and indexes in `total`; `place` is its folder in the data directory."""

    name: str
    heap: int
    total: int
    place: str


@dataclass(frozen=True)
class ServerDisk:
    """What is known of a server's disk: the `size` of its data volume (bytes), its data directory on this machine."""

    size: int | None
    folder: Path | None

    def free(self, connection: Connection, place: str = _DATA) -> int | None:
        """Free bytes where a folder of the data directory really lies; `None` if that is not known."""
        if self.size is not None and not place.startswith("pg_tblspc/"):
            used = _used(connection)
            return None if used is None else max(0, self.size - used)
        if self.folder is None:
            return None
        try:
            return shutil.disk_usage(self.folder / place).free
        except OSError:
            return None

    def least(self, connection: Connection) -> int | None:
        """Free bytes of the fullest volume, of those that are known."""
        places = [_DATA]
        if self.folder is not None:
            places += [f"pg_tblspc/{link.name}" for link in self.folder.glob("pg_tblspc/*")]
        return min((free for place in places if (free := self.free(connection, place)) is not None), default=None)


def find(connection: Connection, size: int | None) -> ServerDisk | None:
    """How the free space of this server is known, if it is; `size` as MIGRATE_SERVER_DISK says, 0 for off."""
    if size == 0:
        return None
    folder = _folder(connection)
    return None if size is None and folder is None else ServerDisk(size, folder)


def free(connection: Connection, size: int | None) -> int | None:
    """Free bytes for a new database; `None` if that is not known. `size` as for `find`."""
    disk = find(connection, size)
    return None if disk is None else disk.free(connection)


def database_size(connection: Connection) -> int | None:
    """Bytes of this database, in all tablespaces."""
    row = _asked(connection, "SELECT pg_database_size(current_database())")
    return None if row is None else int(row[0])


def sizes(execute: Callable[[str], list[tuple[Any, ...]]], names: list[str]) -> dict[str, Table]:
    """Tables by their name (qualified, quoted). It opens each: on another session that waits for whoever has it."""
    from alembic_job.gateways.catalogue import literal

    rows = execute(_SIZES.format(", ".join(map(literal, names))))
    return {name: Table(name, heap, total, str(PurePosixPath(file).parent)) for name, heap, total, file in rows if file}


def _used(connection: Connection) -> int | None:
    """Bytes of the data volume that are known to be used: databases, and WAL where this role may see it."""
    row = _asked(connection, _USED)
    if row is None or row[0] is None:
        return None
    wal = _asked(connection, _WAL) if row[1] else None
    return int(row[0]) + (int(wal[0]) if wal else 0)


def _folder(connection: Connection) -> Path | None:
    """The data directory, if it is on this machine and surely this server's."""
    row = _asked(connection, _SERVER)
    if row is None or row[0] is None:
        return None
    folder = Path(row[0])
    return folder if is_data_of(folder, started=row[1], system=row[2]) else None


def is_data_of(folder: Path, started: float, system: int) -> bool:
    """True if the server that runs in this folder was started at that moment, as a primary of that identity.

    Servers have their data at the same path on many machines, and a standby has its primary's identifier.
    """
    try:
        lines = (folder / "postmaster.pid").read_text().splitlines()
        with (folder / "global" / "pg_control").open("rb") as control:
            found = int.from_bytes(control.read(8), sys.byteorder, signed=True)
        since = started - int(lines[2])
        return found == system and 0 <= since < _STARTING and not (folder / "standby.signal").exists()
    except (OSError, ValueError, IndexError):
        return False


def _asked(connection: Connection, sql: str) -> tuple[Any, ...] | None:
    """One row; `None` if the server does not say."""
    try:
        [row] = query(connection, sql)
    except psycopg2.Error:  # no right; and where the connection is lost, whoever works on it finds out
        return None
    return tuple(row)
