"""What is known in the database of revisions that committed a part of their work and are not finished: one small table.

A row is a statement, with a fingerprint of the version table at that time: if that has changed since, somebody else has
migrated, and the row is worth nothing. It was done if the transaction that it was part of has committed (`xid`), or if
it is said so (`done`, in autocommit mode); a row that was only begun may be either. The rows of a revision are void
once the transaction that recorded it in the version table (`finished`) has committed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.gateways import own_schema
from alembic_job.gateways.postgres import query
from alembic_job.model import VersionTable

_TABLE = "unfinished"
_KEPT_TEXT = 2000  # characters of a statement, for people
_PASSWORD = re.compile(r"password", re.IGNORECASE)
# A literal after the word, comments between them or not; or an assignment, as in a connection string.
_SECRET = re.compile(
    r"password(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:(?:E|U&)?'|\$\w*\$)|password\s*=\s*\S", re.IGNORECASE | re.DOTALL
)
_LITERAL = re.compile(
    r"E'(?:[^'\\]|''|\\.)*(?:'|$)|(?:U&)?'(?:[^']|'')*(?:'|$)|\$(\w*)\$.*?(?:\$\1\$|$)|(?<==)\s*[^\s';]+",
    re.IGNORECASE | re.DOTALL,
)
# A program that makes a role: its strings stand in strings, and are put together in many ways.
_MAKES_ROLE = re.compile(
    r"^\s*(DO|CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE))\b(?=.*\b(?:ROLE|USER|GROUP)\b)(?=.*\bPASSWORD\b)",
    re.IGNORECASE | re.DOTALL,
)


class Part(NamedTuple):
    """A statement of an unfinished revision. `done` is `None` if it was begun and nobody knows how it ended."""

    position: int
    digest: str
    statement: str
    done: bool | None
    builds: str | None  # the index that it was to build CONCURRENTLY
    rows: int = -1  # how many it changed, as the driver told
    bound: bool = False  # it has parameters or returns rows: it need not be the same the next time


class Key(NamedTuple):
    """Which revision of which version table, and which way."""

    identity: str
    table: str
    revision: str
    down: bool


def shown(statement: str) -> str:
    """A statement for people, on one line, without the passwords that CREATE ROLE and the like spell out."""
    flat = without_secrets(" ".join(statement.split()))
    return flat if len(flat) <= _KEPT_TEXT else flat[: _KEPT_TEXT - 1] + "…"


def without_secrets(statement: str) -> str:
    """The statement without the passwords that it spells out. All literals after one are hidden, since
    strings stand in strings; and all that follows where it stands in one itself.
    """
    if not spells_secret(statement):
        return statement
    if program := _MAKES_ROLE.match(statement):
        return f"{program[1]} *** (a program that may spell out a password)"
    head, tail = _split(statement)
    if head.count("'") % 2 or "$" in head:
        begin = min(head.index(sign) for sign in "'$" if sign in head)
        return f"{head[:begin]}*** (what follows spells out a password)"
    return head + _LITERAL.sub("'***'", tail)


def _split(statement: str) -> tuple[str, str]:
    """Before the first word `password`, and from there."""
    found = _PASSWORD.search(statement)
    begin = found.start() if found else 0
    return statement[:begin], statement[begin:]


def spells_secret(statement: str) -> bool:
    """True if the statement spells out a password, as CREATE ROLE may."""
    return "password" in statement.lower() and bool(_SECRET.search(statement) or _MAKES_ROLE.match(statement))


def digest(statement: str, parameters: Any) -> str:
    """Tells one statement from another. Binary values of drivers are known by what is in them, not by their address."""
    if isinstance(parameters, dict):
        parameters = {name: _plain(value) for name, value in parameters.items()}
    elif isinstance(parameters, list | tuple):
        parameters = [_plain(value) for value in parameters]
    return hashlib.blake2b(f"{statement}\0{parameters!r}".encode(errors="replace"), digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    adapted = getattr(value, "adapted", getattr(value, "obj", value))
    return bytes(adapted) if isinstance(adapted, bytes | bytearray | memoryview) else adapted


def make(connection: Connection, schema: str) -> None:
    """Makes the job's schema where it is not. Raises `psycopg2.Error`, such as for lack of privileges."""
    own_schema.make(connection, schema)


def exists(connection: Connection, schema: str) -> bool:
    """True if the table is there and this role may read it."""
    [[found]] = query(
        connection,
        "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s"
        " AND c.relname = %s AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))",
        schema,
        _TABLE,
    )
    return bool(found)


def revisions(connection: Connection, schema: str) -> frozenset[str]:
    """The revisions that there are rows of, of whichever version table."""
    if not exists(connection, schema):
        return frozenset()
    rows = query(connection, sql.SQL("SELECT DISTINCT revision FROM {}").format(_name(schema)).as_string(connection))
    return frozenset(revision for [revision] in rows)


def version_rows(execute: Callable[[str], list[tuple[Any, ...]]], table: VersionTable) -> str:
    """Changes whenever somebody writes the version table, even if its content is then as it was before.

    `execute` runs a query on the migration's own connection, which sees what its transaction wrote there already.
    """
    name = ".".join('"' + part.replace('"', '""') + '"' for part in (table.schema, table.name))
    quoted = name.replace("'", "''")
    if not execute(f"SELECT 1 WHERE to_regclass('{quoted}') IS NOT NULL"):
        return "[]"
    return repr(execute(f"SELECT version_num::text, xmin::text, ctid::text FROM {name} ORDER BY 1"))


def parts(connection: Connection, schema: str, key: Key, version: str) -> list[Part]:
    """What an earlier run left of this revision, in order; void rows are removed first. The table must be there."""
    where = "WHERE identity = %s AND version_table = %s AND revision = %s AND down = %s"
    void = f"DELETE FROM {{}} {where} AND (version_rows <> %s OR pg_xact_status(finished::xid8) = 'committed')"
    query(connection, sql.SQL(void).format(_name(schema)).as_string(connection), *key, version)
    rows = (
        "SELECT position, digest, statement, CASE WHEN done THEN true WHEN xid IS NULL THEN NULL"
        " ELSE pg_xact_status(xid::xid8) IS NOT DISTINCT FROM 'committed' END, builds, rows"
        f" FROM {{}} {where} ORDER BY position"
    )
    found = query(connection, sql.SQL(rows).format(_name(schema)).as_string(connection), *key)
    known = [Part(*row)._replace(rows=-1 if row[5] is None else row[5]) for row in found]
    return [part for part in known if part.done is not False]


def begin(
    connection: Connection, schema: str, key: Key, run_id: str, version: str, xid: str | None, new: list[Part]
) -> None:
    """Records statements that are about to run (`xid` none), or to be committed together by that transaction."""
    values = sql.SQL(", ").join(
        sql.SQL("({})").format(
            sql.SQL(", ").join(
                sql.Literal(value)
                for value in (
                    *key,
                    part.position,
                    part.digest,
                    part.statement,
                    part.builds,
                    part.rows,
                    xid,
                    version,
                    run_id,
                )
            )
        )
        for part in new
    )
    statement = sql.SQL(
        "INSERT INTO {} (identity, version_table, revision, down, position, digest, statement, builds, rows, xid,"
        " version_rows, run_id) VALUES {} ON CONFLICT (identity, version_table, revision, down, position) DO UPDATE SET"
        " digest = excluded.digest, statement = excluded.statement, builds = excluded.builds, rows = excluded.rows,"
        " xid = excluded.xid,"
        " version_rows = excluded.version_rows, run_id = excluded.run_id,"
        " done = false, finished = NULL, recorded_at = clock_timestamp()"
    )
    query(connection, statement.format(_name(schema), values).as_string(connection))


def done(connection: Connection, schema: str, key: Key, position: int, rows: int) -> None:
    """That statement was executed, and changed so many rows."""
    statement = (
        "UPDATE {} SET done = true, rows = %s"
        " WHERE identity = %s AND version_table = %s AND revision = %s AND down = %s"
    )
    query(
        connection,
        sql.SQL(statement + " AND position = %s").format(_name(schema)).as_string(connection),
        rows,
        *key,
        position,
    )


def forget(connection: Connection, schema: str, key: Key, position: int) -> None:
    """That statement failed, and left nothing."""
    statement = "DELETE FROM {} WHERE identity = %s AND version_table = %s AND revision = %s AND down = %s"
    query(
        connection,
        sql.SQL(statement + " AND position = %s").format(_name(schema)).as_string(connection),
        *key,
        position,
    )


def finish(connection: Connection, schema: str, key: Key, xid: str) -> None:
    """The revision's rows are void if this transaction commits."""
    statement = "UPDATE {} SET finished = %s WHERE identity = %s AND version_table = %s AND revision = %s AND down = %s"
    query(connection, sql.SQL(statement).format(_name(schema)).as_string(connection), xid, *key)


def clear(connection: Connection, schema: str, identity: str, label: str) -> None:
    """What was begun on this version table is gone, with all else that its revisions had made."""
    if exists(connection, schema):
        statement = sql.SQL("DELETE FROM {} WHERE identity = %s AND version_table = %s").format(_name(schema))
        query(connection, statement.as_string(connection), identity, label)


def built_by_us(connection: Connection, schema: str, identity: str, index: str) -> bool:
    """True if a run of ours began to build this index (qualified and quoted) CONCURRENTLY, and did not finish."""
    if not exists(connection, schema):
        return False
    statement = "SELECT EXISTS (SELECT FROM {} WHERE identity = %s AND builds = %s AND NOT done AND finished IS NULL)"
    [[found]] = query(connection, sql.SQL(statement).format(_name(schema)).as_string(connection), identity, index)
    return bool(found)


def _name(schema: str) -> sql.Identifier:
    return sql.Identifier(schema, _TABLE)
