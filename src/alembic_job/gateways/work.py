"""A connection of the project's, in whichever driver's hands, and what its open transaction may keep others from."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

from alembic_job.rules.effect import Lock, Mode

_KEY = "alembic_job.work"
_HELD = """
    SELECT DISTINCT relation::int8 FROM pg_locks WHERE pid = pg_backend_pid() AND granted AND locktype = 'relation'
    AND relation >= 16384 AND mode IN ('RowExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
    'AccessExclusiveLock')"""


class Work:
    """One driver connection, kept as long as it lives; `held` and the like are about its open transaction."""

    def __init__(self, dbapi: Any) -> None:
        self.dbapi = dbapi
        self._pid: int | None = None
        self.held: dict[int, Lock] = {}  # strong locks won by polling, by oid
        self.statements = 0  # executed by the project since the transaction began
        self.wrote = False  # rows were changed: others may wait for them
        self.holding_since = time.monotonic()  # when others could first have had to wait
        self.loose = False  # after a COMMIT written as SQL: the driver believes a transaction open that is not

    @property
    def autocommit(self) -> bool:
        """True if each statement is a transaction of its own."""
        return self.loose or bool(getattr(self.dbapi, "autocommit", False))

    @property
    def fresh(self) -> bool:
        """True if nothing was done yet that a ROLLBACK would lose."""
        return self.statements == 0

    @property
    def blocks_others(self) -> bool:
        """True if others may wait for what the open transaction did."""
        return self.wrote or bool(self.held)

    def mode(self, oid: int) -> int:
        """The strongest lock that was won on a relation in this transaction; 0 for none."""
        return int(self.held[oid].mode) if oid in self.held else 0

    def loosen(self) -> None:
        """A COMMIT or ROLLBACK was written as SQL. psycopg 3 notices, and begins anew with the next statement."""
        module = type(self.dbapi).__module__
        self.loose = not f"{module}.".startswith(("psycopg.", "sqlalchemy.dialects.postgresql.psycopg."))

    def write(self) -> None:
        """Rows were changed."""
        self._hold()
        self.wrote = True

    def _hold(self) -> None:
        if not self.blocks_others:
            self.holding_since = time.monotonic()

    def note(self, locks: Sequence[Lock]) -> None:
        """These locks were won."""
        self._hold()
        for lock in locks:
            if lock.mode > self.mode(lock.oid):
                self.held[lock.oid] = lock

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """Executes one statement on the driver's own connection. Raises the driver's errors."""
        cursor = self.dbapi.cursor()
        try:
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
        finally:
            cursor.close()

    def run_all(self, statements: Sequence[str]) -> list[tuple[Any, ...]]:
        """Executes them in a row, and returns what the last one does; in one message where the driver can."""
        if type(self.dbapi).__module__.startswith("psycopg2"):
            return self.run("; ".join(statements))
        for statement in statements[:-1]:
            self.run(statement)
        return self.run(statements[-1])

    def adopt(self) -> bool:
        """Takes note of what was done past SQLAlchemy, on the driver's own cursor; true if a transaction ended so."""
        if self.autocommit:
            return False
        active = in_transaction(self.dbapi)
        if active and self.statements == 0:
            self.statements = 1
            self.write()
        elif not active and self.statements > 0:
            self.ended()
            return True
        return False

    def holds(self) -> list[int]:
        """The tables and the like (oids) on which the open transaction has a lock that others may wait for."""
        return [oid for [oid] in self.run(_HELD)]

    def pid(self) -> int:
        """The backend's number."""
        if self._pid is None:
            self._pid = int(self.run("SELECT pg_backend_pid()")[0][0])
        return self._pid

    def transaction(self) -> str | None:
        """The open transaction's id; none if it has changed nothing."""
        [[number]] = self.run("SELECT pg_current_xact_id_if_assigned()::text")
        return None if number is None else str(number)

    def rollback(self) -> None:
        """Ends the transaction at once, whatever SQLAlchemy believes; the next statement begins another."""
        self.dbapi.rollback()
        self.ended()

    def ended(self) -> None:
        """The transaction is over: committed or rolled back."""
        self.held.clear()
        self.statements, self.wrote, self.loose = 0, False, False


def in_transaction(dbapi: Any) -> bool:
    """True if the driver's connection has a transaction open on the server, whoever began it."""
    inner = getattr(dbapi, "driver_connection", None) or getattr(dbapi, "_connection", dbapi)
    if hasattr(inner, "is_in_transaction"):  # asyncpg
        return bool(inner.is_in_transaction())
    status = getattr(getattr(inner, "info", None), "transaction_status", 0)
    return int(status) != 0


def is_pooled(connection: Any) -> bool:
    """False for the connection that SQLAlchemy makes up for its own first questions to a server."""
    return isinstance(connection.connection, _pooled())


@functools.cache
def _pooled() -> type:
    from sqlalchemy.pool.base import _ConnectionFairy

    return _ConnectionFairy


def work_of(connection: Any) -> Work:
    """The `Work` of an SQLAlchemy connection; the same one for as long as its driver connection lives."""
    fairy = connection.connection
    known: Work | None = fairy.info.get(_KEY)
    if known is None or known.dbapi is not fairy.dbapi_connection:
        known = fairy.info[_KEY] = Work(fairy.dbapi_connection)
    return known


def table_locks(locks: Sequence[Lock], nowait: bool) -> list[str]:
    """LOCK TABLE statements, the strongest mode first; children are among `locks`, so each is locked by itself."""
    statements = []
    for mode in sorted({lock.mode for lock in locks}, reverse=True):
        names = ", ".join(f"ONLY {lock.name}" for lock in locks if lock.mode == mode)
        statements.append(f"LOCK TABLE {names} IN {Mode(mode).sql} MODE{' NOWAIT' if nowait else ''}")
    return statements
