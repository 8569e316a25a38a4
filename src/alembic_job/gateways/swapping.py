"""Two databases swap their names, with their sessions ended for it.

RENAME takes a lock on its database that new sessions wait behind, then waits until those that are there have ended; who
ends them is a second connection, once that lock is won. Nothing else is ever changed: a process that is killed at any
moment leaves the old names or the new ones, because both renames are one transaction.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.errors import ConnectionLost, JobError, LoginFailed, Refused, RunLocked, TableLocked
from alembic_job.gateways import locks
from alembic_job.gateways.databases import Rescue, exists, filled
from alembic_job.gateways.postgres import query
from alembic_job.patience import within

_PATIENCE = 10.0  # seconds: for all attempts together, and to find out how one ended
_ATTEMPT = 2.0  # seconds that nobody can connect at most, before everybody may again for a while
# Who wants to connect waits behind RENAME, also when we are gone: so it ends soon, and at once where that is noticed.
_BOUNDS = (
    "SET lock_timeout = '1s'; SET statement_timeout = '2s'; SET idle_session_timeout = 0;"
    " SET client_connection_check_interval = '100ms'"
)
_PAUSE = 0.5  # seconds between two attempts
_LOOK = 0.01  # seconds between two looks at how far it is
# Nobody's session is ended before one that this role may not end: superusers' first, its own last.
_SESSIONS = """
    SELECT a.pid FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
    -- autovacuum belongs to nobody, and makes way for RENAME by itself
    WHERE a.datname IN (%s, %s) AND a.usesysid IS NOT NULL
    ORDER BY r.rolsuper DESC, r.rolname = current_user"""
_PREPARED = "SELECT gid FROM pg_prepared_xacts WHERE database IN (%s, %s) ORDER BY prepared"
_LOCKED = """
    SELECT 1 FROM pg_locks WHERE pid = %s AND locktype = 'object' AND classid = 'pg_database'::regclass AND objid = %s
    AND mode = 'AccessExclusiveLock' AND granted"""
# What may be otherwise in a moment: somebody is still there, or held the database's lock; 57014 is our own bound.
_AGAIN = ("55006", "55P03", "57014")


class Names(NamedTuple):
    """`original` becomes `before`, and `new` becomes `original`."""

    original: str
    new: str
    before: str


def check(connection: Connection, database: str) -> None:
    """Finds out before a long restore whether a swap can be made at its end.

    Raises `Refused` (26) if there is no such database or no other one to do it from, `LoginFailed` (21) if the role
    may not rename it, `RunLocked` (11) while a run holds the job's lock on it.
    """
    if not exists(connection, database):
        raise Refused(
            f"there is no database {database} to swap with", hint=f"without --swap: --into {database} makes it"
        )
    if connection.info.dbname == database:
        raise Refused(
            f"--swap needs a connection to another database than {database}, which cannot be renamed from within",
            hint="let the role connect to the database postgres or template1, or rename by hand afterwards",
        )
    [[may]] = query(
        connection,
        "SELECT rolsuper OR (rolcreatedb AND pg_has_role(rolname, datdba, 'USAGE')) FROM pg_roles, pg_database"
        " WHERE rolname = current_user AND datname = %s",
        database,
    )
    if not may:
        raise LoginFailed(
            f"the role may not rename the database {database}: it needs to own it and to have CREATEDB",
            hint="restore with the owner's role or a superuser's, or without --swap and let somebody else rename",
        )
    _refuse_runners(connection, database)


def _refuse_runners(connection: Connection, database: str) -> None:
    """Raises `RunLocked` (11) while a run holds any of the job's locks in a database."""
    rows = query(
        connection,
        "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND classid = %s"
        " AND database = (SELECT oid FROM pg_database WHERE datname = %s)",
        locks.LOCK_CLASS,
        database,
    )
    if sessions := locks.describe(connection, [pid for [pid] in rows]):
        names = ", ".join(f"{each.application_name or 'a run'} (pid {each.pid})" for each in sessions)
        raise RunLocked(
            f"{names} is at work on {database}: it is not swapped under its hands",
            hint="wait until it has ended, or end it; `alembic-job status` shows what it does",
        )


def swap(connection: Connection, names: Names, goes_on: Callable[[], None], rescue: Rescue) -> float:
    """Swaps two databases, and ends their sessions for it; returns for how many seconds nobody could connect.

    `connection` leads to a third one, as `postgres.attach` opens it: a server that was told to look for lost clients
    every two seconds does so once more, before it looks every tenth of one. `goes_on` raises if the run is to end.

    Raises `TableLocked` (12) if sessions do not end in time, `LoginFailed` (21), `RunLocked` (11), `psycopg2.Error`;
    then all have their names.
    """
    [[oid, pid]] = query(connection, "SELECT oid, pg_backend_pid() FROM pg_database WHERE datname = %s", names.original)
    begun = time.monotonic()
    try:
        with closing(rescue.connect()) as other:
            return _attempts(connection, other, names, goes_on)
    except BaseException as error:
        rescue.settle()
        if _is_swapped(rescue.connect, names, oid, pid):
            return time.monotonic() - begun
        if known := _swap_error(error):
            raise known from error
        raise


def _attempts(connection: Connection, other: Connection, names: Names, goes_on: Callable[[], None]) -> float:
    """Tries until it is done or `_PATIENCE` is over; returns how long nobody could connect, in all attempts."""
    query(connection, _BOUNDS)
    end, away = time.monotonic() + _PATIENCE, 0.0
    while True:
        goes_on()
        failed = _prepared(other, names)
        if failed is None:
            attempt = _Attempt(connection, other, names)
            failed = attempt.run(goes_on)
            away += attempt.away
            if failed is None:
                return away
        if getattr(failed, "pgcode", "55006") not in _AGAIN or time.monotonic() > end:
            raise failed
        time.sleep(_PAUSE)


def _prepared(connection: Connection, names: Names) -> Exception | None:
    """The error for prepared transactions: nobody can end them from outside, so there is no use in ending sessions."""
    gids = [gid for [gid] in query(connection, _PREPARED, names.original, names.new)]
    if not gids:
        return None
    return TableLocked(
        f"prepared transactions are open: {', '.join(gids[:5])}",
        hint="COMMIT PREPARED or ROLLBACK PREPARED them (pg_prepared_xacts), then try again",
    )


class _Attempt:
    """One attempt to rename both. `away` is how long it took, in seconds; nobody could connect meanwhile."""

    def __init__(self, connection: Connection, other: Connection, names: Names) -> None:
        self._connection, self._other, self._names = connection, other, names
        self._thread = threading.Thread(target=self._rename, name="alembic-job-swap", daemon=True)
        self._error: Exception | None = None
        self.away = 0.0

    def run(self, goes_on: Callable[[], None]) -> Exception | None:
        """Returns what the server said if it did not rename. Raises what `goes_on` raises, and what ends the swap."""
        [[pid]] = query(self._connection, "SELECT pg_backend_pid()")
        [[oid]] = query(self._other, "SELECT oid FROM pg_database WHERE datname = %s", self._names.original)
        begun, locked = time.monotonic(), False
        self._thread.start()
        try:
            while self._thread.is_alive():
                goes_on()
                if not locked and query(self._other, _LOCKED, pid, oid):
                    locked = True
                    _refuse_runners(self._other, self._names.original)  # from now on none can come
                if locked:
                    self._end_sessions()
                if time.monotonic() - begun > _ATTEMPT:
                    break
                self._thread.join(_LOOK)
        finally:
            self._give_up()
            self.away = time.monotonic() - begun
        return self._error

    def _rename(self) -> None:
        """In its own thread: the server waits for the sessions to end for some seconds, then fails."""
        names = self._names
        # One simple query is one transaction, so there is no moment at which neither has the name.
        pairs = ((names.original, names.before), (names.new, names.original))
        try:
            query(self._connection, "; ".join(_renaming(self._connection, *pair) for pair in pairs))
        except Exception as error:
            self._error = error

    def _end_sessions(self) -> None:
        pids = [pid for [pid] in query(self._other, _SESSIONS, self._names.original, self._names.new)]
        query(self._other, "SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) pid", pids)

    def _give_up(self) -> None:
        """Cancels what is still going on; nothing if it has ended."""
        end = time.monotonic() + _ATTEMPT
        while self._thread.is_alive() and time.monotonic() < end:
            try:
                self._connection.cancel()
            except psycopg2.Error as error:  # the connection is lost: the server finds that out by itself
                self._error = self._error or error
            self._thread.join(0.1)
        if self._thread.is_alive():
            self._error = self._error or ConnectionLost("the server does not answer")


def _renaming(connection: Connection, name: str, other: str) -> str:
    return filled(connection, "ALTER DATABASE {} RENAME TO {}", sql.Identifier(name), sql.Identifier(other))


def _is_swapped(connect: Callable[[], Connection], names: Names, oid: int, pid: int) -> bool:
    """Looks, by a new connection, whether a swap that ended badly was made; waits while the server is still at it.

    Raises `ConnectionLost` (13) if that cannot be found out.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            with closing(connect()) as connection, within(_PATIENCE):
                at_it = query(connection, "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'", pid)
                [[name]] = query(connection, "SELECT datname FROM pg_database WHERE oid = %s", oid)
                if not at_it or time.monotonic() > end:
                    return bool(name == names.before)
        except (psycopg2.Error, JobError) as error:
            if time.monotonic() > end:
                raise ConnectionLost(
                    f"whether {names.new} took the place of {names.original} could not be found out:"
                    f" {' '.join(str(error).split())}",
                    hint=f"look with `psql -l`: if there is a {names.before}, it did",
                ) from error
        time.sleep(0.1)


def _swap_error(error: BaseException) -> JobError | None:
    """The error for a swap that the server refused; `None` for anything else."""
    code, said = getattr(error, "pgcode", None), " ".join(str(error).split())
    if code in _AGAIN:
        return TableLocked(
            f"sessions could not be ended within {_PATIENCE:g} s: {said}",
            hint="find them in pg_stat_activity, end them and what holds a lock on the database, then try again",
        )
    if code == "42501":
        return LoginFailed(
            f"the role may not end the sessions or rename: {said}",
            hint="GRANT pg_signal_backend TO …; sessions of superusers only a superuser ends",
        )
    return None
