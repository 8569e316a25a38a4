"""Room on the server's disk: looked at before a restore and before tables are written anew, as far as it is known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from psycopg2.extensions import connection as Connection

from alembic_job.errors import BackupNotWritten, Refused
from alembic_job.gateways import postgres as pg
from alembic_job.gateways import server_disk
from alembic_job.gateways.server_disk import ServerDisk, Table
from alembic_job.gateways.work import Work, in_transaction
from alembic_job.logs.events import Log
from alembic_job.rules.space import Rewrite, Room

if TYPE_CHECKING:
    from alembic_job.gateways.backups import Manifest

_MAY_REWRITE = re.compile(r"\b(ALTER|CLUSTER|REFRESH|REINDEX|VACUUM)\b", re.IGNORECASE)
_ELSEWHERE = re.compile(r"\bTABLESPACE\b", re.IGNORECASE)  # where it goes to, other tables than its own tell
_PART = 3  # only a database larger than a third of the free space can have a table that is too large
_NOT_SAID = ("42501", "25P02")  # no right to ask; a transaction that failed before, as the statement will say
_HINT = (
    "make room on the server or enlarge its disk (MIGRATE_SERVER_DISK has to say its new size, where it is set);"
    " MIGRATE_SERVER_DISK=off leaves it to PostgreSQL"
)


def check_restore(manifest: Manifest, free: int | None, log: Log) -> None:
    """Compares what a backup's database took with the free bytes; only says so where that is not sure.

    Raises `BackupNotWritten` (15) if there is less than half of that. Nothing happens where either is not known.
    """
    needs = manifest.database_size
    if needs is None or free is None:
        return
    verdict = Room(needs, sure=not manifest.partial).verdict(free)
    if verdict == "too little":
        raise BackupNotWritten(
            f"the database of {manifest.name} took {needs} bytes, and the server has {free} left: nothing was made",
            hint=_HINT,
            needs_bytes=needs,
            free_bytes=free,
        )
    if verdict == "doubtful":
        log.warning(
            "restore.space_short",
            backup=manifest.name,
            needs_bytes=needs,
            free_bytes=free,
            message=f"the restore may not fit on the server: the database took {needs} bytes, {free} bytes are left",
            hint=_HINT,
        )


class Rewrites:
    """Looks, in a run, at the statements that write tables anew. `open` names the database they are executed in.

    `size` is what MIGRATE_SERVER_DISK says, as for `server_disk.find`. A database is asked once, and if it is small
    beside the free space, its statements are not looked at.
    """

    def __init__(self, size: int | None, log: Log) -> None:
        self._size, self._log = size, log
        self._disks: dict[str, ServerDisk | None] = {}  # by database; none where nothing is to be looked at
        self._said: set[str] = set()

    def open(self, database: str, connection: Callable[[], Connection]) -> None:
        """`connection` gives the run's own one, which may be another after it was lost."""
        self._database, self._connection = database, connection

    def guarded(self, work: Work, sql: str, run: Callable[[], None]) -> Callable[[], None]:
        """What runs a statement once it has its locks: `run` itself, or one that looks first.

        That raises `Refused` (26) if what is free is less than half of the tables; it warns where it may not do.
        """
        asked = self._database in self._disks
        if asked and self._disks[self._database] is None:
            return run
        if not _MAY_REWRITE.search(sql) or _ELSEWHERE.search(sql):
            return run
        if not asked:
            self._disks[self._database] = self._looked()
        disk = self._disks[self._database]
        if disk is None:
            return run

        def checked() -> None:
            self._check(work, sql, disk)
            run()

        return checked

    def _looked(self) -> ServerDisk | None:
        """The server's disk, if the database takes more than a part of what is free there."""
        connection = self._connection()
        disk = server_disk.find(connection, self._size)
        free = None if disk is None else disk.least(connection)
        taken = None if free is None else server_disk.database_size(connection)
        tight = free is not None and taken is not None and taken * _PART > free
        self._log.debug("disk.looked", free_bytes=free, database_bytes=taken, rewrites_watched=tight)
        return disk if tight else None

    def _check(self, work: Work, sql: str, disk: ServerDisk) -> None:
        for tables in _spared(work, lambda: _written(work, sql)):
            free = disk.free(self._connection(), tables[0].place)
            if free is None:
                continue
            need = Rewrite(sum(table.heap for table in tables), sum(table.total for table in tables))
            verdict = need.verdict(free)
            if verdict == "too little":
                raise _refused(tables, need, free)
            if verdict == "doubtful":
                self._warn(tables, need, free)

    def _warn(self, tables: list[Table], need: Rewrite, free: int) -> None:
        """Once a table."""
        names = [table.name for table in tables]
        if not self._said.issuperset(names):
            self._log.warning(
                "rewrite.space_short",
                tables=names,
                needs_bytes=need.total,
                free_bytes=free,
                message=f"{_told(names)} may not fit on the server's disk once more while written anew",
                hint=_HINT,
            )
        self._said.update(names)


def _refused(tables: list[Table], need: Rewrite, free: int) -> Refused:
    names = [table.name for table in tables]
    return Refused(
        f"{_told(names)} would be written anew beside the {need.total} bytes that are there"
        f" ({need.heap} without indexes), and the server has {free} bytes left: not begun",
        hint=_HINT,
        tables=names,
        needs_bytes=need.total,
        free_bytes=free,
    )


def _told(names: list[str]) -> str:
    """A partitioned table may have hundreds."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _written(work: Work, sql: str) -> list[list[Table]]:
    """The tables that a text writes anew: those that are there twice at the same time, and in the same place."""
    from alembic_job.gateways.catalogue import effect_of

    effects = effect_of(sql, work.run)
    together = [name for effect in effects if effect.transactional for name in effect.rewrites]
    alone = [[name] for effect in effects if not effect.transactional for name in effect.rewrites]
    names = [*together, *(name for [name] in alone)]
    if not names:
        return []
    known = server_disk.sizes(work.run, names)
    return [part for batch in (together, *alone) for part in _by_place(known[name] for name in batch if name in known)]


def _by_place(tables: Iterable[Table]) -> list[list[Table]]:
    places: dict[str, list[Table]] = {}
    for table in tables:
        places.setdefault(table.place, []).append(table)
    return list(places.values())


def _spared(work: Work, ask: Callable[[], list[list[Table]]]) -> list[list[Table]]:
    """Asks so that the open transaction survives it if the role has no right to; what else fails is raised."""
    inside = not work.autocommit or in_transaction(work.dbapi)
    try:
        if inside:
            work.run("SAVEPOINT alembic_job_disk")
        found = ask()
    except Exception as error:
        code = pg.sqlstate(error)
        if code not in _NOT_SAID:
            raise
        found = []
        if code == "25P02":
            return found
        if inside:
            work.run("ROLLBACK TO SAVEPOINT alembic_job_disk")
    if inside:
        work.run("RELEASE SAVEPOINT alembic_job_disk")
    return found
