"""One short look at version tables: a connection, a query, and gone again. What a thousand waiting pods do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import DatabaseUnreachable, JobError, LoginFailed, SettingsError, TableLocked
from alembic_job.gateways import hygiene, locks, postgres
from alembic_job.gateways.history import History, Link
from alembic_job.gateways.postgres import query
from alembic_job.patience import within

_ATTEMPT = 5.0  # seconds for a connection
_ANSWER = 8.0  # seconds for all queries of a look, more than the server's own bounds
_FIRST, _LONGEST = 1.0, 30.0  # seconds between two looks
# A slow answer means that many ask, or that the server has other things to do. So looks take no more than a hundredth
# of a pod's time: of a thousand pods some ten are there at once, however slow the server is.
_SHARE, _SLOWEST = 100, 60.0
_ROUNDS = 4  # a table that comes and goes faster than it can be read
# Bounded by the server, and only for this statement: a session's settings would be the next one's behind a pooler.
_BOUNDS = "SET LOCAL statement_timeout = 5000; SET LOCAL lock_timeout = 1000; "
_GONE = (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName)
_BUSY = (psycopg2.errors.LockNotAvailable, psycopg2.errors.QueryCanceled)


@dataclass(frozen=True)
class Sought:
    """A version table that is looked for: `exists` if it was there at the last look.

    Where it is not, `schema` is where it would be made now; `fixed` says that env.py names it. `others` are schemas
    that hold a table of that name which env.py does not mean.
    """

    schema: str
    name: str
    exists: bool
    fixed: bool = True
    others: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Place:
    """A database and the version tables that are looked for in it."""

    dsn: Dsn
    tables: tuple[Sought, ...]


class Seen(NamedTuple):
    """What one look found: `place` as it is now, the rows of each of its tables, and who migrates, where that was asked
    and can be known (not on a replica)."""

    place: Place
    rows: tuple[tuple[str, ...], ...]
    runners: list[locks.Session] | None


class Moved(Exception):
    """A version table appeared where it was not expected: only env.py knows whether it is the one."""


def poll(place: Place, application_name: str, *, role: str | None = None, runners: bool = False) -> Seen:
    """Looks once, on a connection of its own; with `runners` also who holds a lock of ours. With a `role`, as that one
    where the login can become it and could not read what it owns otherwise.

    Needs SELECT on the version tables and nothing else; works on a replica and through any pooler. Raises `Moved`,
    `DatabaseUnreachable` (10), `TableLocked` (12), `LoginFailed` (21) or `SettingsError` (20).
    """
    with _attached(place, application_name) as connection:
        found, rows = _rows(connection, place.tables, role)
        return Seen(replace(place, tables=found), rows, _runners(connection) if runners else None)


def links(
    place: Place, table: Sought, application_name: str, schema: str, *, role: str | None = None
) -> dict[str, Link]:
    """What the history in this schema tells of a version table's revisions; a connection and a query of its own.

    Raises `HistoryHidden` (21) where it may not be read, and otherwise what `poll` raises.
    """
    with _attached(place, application_name) as connection:
        return History(connection, schema, table.label).links(_before(role))


@contextmanager
def _attached(place: Place, application_name: str) -> Iterator[Connection]:
    """A connection there, as long as a look may take; what fails meanwhile is raised as `poll` says."""
    try:
        connection = postgres.attach(place.dsn, application_name, _ATTEMPT)
    except psycopg2.Error as error:
        raise _unreachable(place.dsn, error) from error
    with closing(connection), within(_ANSWER):
        try:
            yield connection
        except psycopg2.Error as error:
            raise _refused(connection, place, error) from error


class Pace:
    """How long to wait between looks: longer each time, longer yet where the server is slow, no two pods alike."""

    def __init__(self) -> None:
        self._longest = _FIRST

    def pause(self, took: float) -> float:
        """Seconds until the next look, after one that took so many; 0 for one that failed."""
        longest = min(max(self._longest, took * _SHARE), _SLOWEST)
        self._longest = min(self._longest * 1.7, _LONGEST)
        return random.uniform(longest / 2, longest)


def spread() -> float:
    """Seconds to wait before the first look: pods that start at the same instant come one after the other."""
    return random.uniform(0, _FIRST)


def _rows(
    connection: Connection, tables: tuple[Sought, ...], role: str | None
) -> tuple[tuple[Sought, ...], tuple[tuple[str, ...], ...]]:
    """The tables as they are now, with their rows. A second query only where a table has just come or gone."""
    before = _before(role)
    for _ in range(_ROUNDS):
        try:
            found = query(connection, before + _statement(connection, tables))
        except _GONE:
            tables = tuple(replace(table, exists=False) for table in tables)
            continue
        appeared = tuple(_appeared(table, number, found) for number, table in enumerate(tables))
        if not any(appeared):
            return tables, tuple(_of(number, found) for number in range(len(tables)))
        tables = tuple(replace(table, exists=table.exists or new) for table, new in zip(tables, appeared, strict=True))
    raise Moved


def _before(role: str | None) -> str:
    """What goes before each query, in its transaction."""
    return _BOUNDS + (f"{hygiene.to_read_as(role, local=True)}; " if role is not None else "")


def _statement(connection: Connection, tables: tuple[Sought, ...]) -> str:
    """One query for all: rows of a table that is there, else where there are tables of its name.

    To read a table that is not there would be an error in the server's log, a thousand times over.
    """
    return (
        " UNION ALL ".join(
            (_READ if table.exists else _FIND)
            .format(
                number=sql.Literal(number), table=sql.Identifier(table.schema, table.name), name=sql.Literal(table.name)
            )
            .as_string(connection)
            for number, table in enumerate(tables)
        )
        or "SELECT"
    )


_READ = sql.SQL("SELECT {number}, version_num::text, NULL::text FROM {table}")
_FIND = sql.SQL(
    "SELECT {number}, NULL, n.nspname::text FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relname = {name} AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
)


def _appeared(table: Sought, number: int, found: list[tuple[int, str | None, str | None]]) -> bool:
    """True if a table that was not there is there now. Raises `Moved` if one is there that may be it."""
    schemas = {schema for of, _, schema in found if of == number and schema is not None}
    if table.exists or table.schema in schemas:
        return not table.exists
    if not table.fixed and schemas - table.others:
        raise Moved
    return False


def _of(number: int, found: list[tuple[int, str | None, str | None]]) -> tuple[str, ...]:
    return tuple(sorted(row for of, row, _ in found if of == number and row is not None))


def _runners(connection: Connection) -> list[locks.Session] | None:
    """Who holds a lock of ours; a replica cannot know, and not every role may ask."""
    try:
        [[in_recovery]] = query(connection, "SELECT pg_is_in_recovery()")
        return None if in_recovery else locks.owners(connection)
    except psycopg2.Error:
        return None


def _unreachable(dsn: Dsn, error: psycopg2.Error) -> JobError:
    problem = postgres.connect_error(error)
    if problem.kind is SettingsError:
        return SettingsError(problem.message, hint="correct the parameters of the database URL")
    hint = "" if problem.kind is LoginFailed else UNREACHABLE_HINT
    return problem.kind(f"{dsn.redacted()}: {problem.message}", hint=hint, reason=problem.reason)


UNREACHABLE_HINT = (
    "check that PostgreSQL runs and that DATABASE_URL names its host and port as seen from here "
    "(`alembic-job doctor` looks at each step of the way); "
    "MIGRATE_MIGRATIONS_TIMEOUT sets how long to wait"
)


def _refused(connection: Connection, place: Place, error: psycopg2.Error) -> JobError:
    """What an error of the query means; what is not known may pass."""
    message = " ".join(str(error).split())
    if isinstance(error, psycopg2.errors.InsufficientPrivilege):
        role = connection.info.user
        tables = ", ".join(table.label for table in place.tables)
        schemas = ", ".join(dict.fromkeys(table.schema for table in place.tables))
        return LoginFailed(
            f"role {role} may not read {tables}: {message}",
            hint=f"as the owner: GRANT USAGE ON SCHEMA {schemas} TO {role}; GRANT SELECT ON {tables} TO {role}",
            reason="no privilege",
            running=bool(_runners(connection)),
        )
    if isinstance(error, _BUSY):
        return TableLocked(f"the version table is locked: {message}", reason="version table locked")
    return DatabaseUnreachable(f"{place.dsn.redacted()}: {message}", hint=UNREACHABLE_HINT, reason="query failed")
