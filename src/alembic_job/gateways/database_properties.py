"""What belongs to a database without being inside it, so that no archive carries it: its owner, privileges, settings,
comment and connection limit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.gateways import postgres
from alembic_job.gateways.databases import filled
from alembic_job.gateways.postgres import query
from alembic_job.logs.events import Log

# Stored as a list of identifiers, quoted where necessary; all others as they were given.
_LISTS = ("local_preload_libraries", "search_path", "session_preload_libraries", "temp_tablespaces")


class _Property(NamedTuple):
    """Something that a database has from outside: what it is, for people, and the statements that give it."""

    what: str
    statements: str


def take_over(connection: Connection, source: str, target: str, log: Log) -> None:
    """Gives a database the owner, privileges, settings, comment and connection limit that another one has.

    Privileges that somebody else than the owner had granted are granted by the owner. What this role may not do is
    warned of. Raises `psycopg2.Error` only if the connection is lost or the statement was cancelled.
    """
    for each in _properties(connection, source, target):
        _attempt(connection, target, each, log)


def analyze(connection: Connection, target: str, log: Log) -> None:
    """Gathers the planner's statistics of a database, from within it: without them its first queries are slow.

    Raises as `take_over`.
    """
    _attempt(connection, target, _Property("statistics", "ANALYZE"), log)


def _attempt(connection: Connection, target: str, wanted: _Property, log: Log) -> None:
    try:
        query(connection, wanted.statements)
    except psycopg2.Error as error:
        if error.pgcode == "57014" or postgres.is_connection_lost(error):
            raise
        log.warning(
            "restore.setting_skipped",
            database=target,
            setting=wanted.what,
            message=f"{target} does not get its {wanted.what}: {' '.join(str(error).split())}",
            sql=wanted.statements,
        )


def _properties(connection: Connection, source: str, target: str) -> Iterator[_Property]:
    """In an order in which one does not undo another: the owner first, whose privileges change with him."""

    def made_of(what: str, text: str, *parts: sql.Composable) -> _Property:
        return _Property(what, filled(connection, text, *parts))

    name = sql.Identifier(target)
    [[oid, owner, limit, comment]] = query(
        connection,
        "SELECT oid, pg_get_userbyid(datdba), datconnlimit, shobj_description(oid, 'pg_database')"
        " FROM pg_database WHERE datname = %s",
        source,
    )
    yield made_of("owner", "ALTER DATABASE {} OWNER TO {}", name, sql.Identifier(owner))
    if grants := _grants(connection, oid, owner, name):
        yield _Property("privileges", grants)
    for role, setting in query(
        connection,
        "SELECT rolname, entry FROM pg_db_role_setting LEFT JOIN pg_roles r ON r.oid = setrole,"
        " unnest(setconfig) WITH ORDINALITY AS given (entry, place)"
        " WHERE setdatabase = %s AND (setrole = 0 OR rolname IS NOT NULL) ORDER BY setrole <> 0, rolname, place",
        oid,
    ):
        parameter, _, value = setting.partition("=")
        who = "ALTER DATABASE {}" if role is None else "ALTER ROLE {} IN DATABASE {}"
        parts = [name] if role is None else [sql.Identifier(role), name]
        what = parameter if role is None else f"{parameter} of the role {role}"
        yield made_of(what, who + " SET {} TO {}", *parts, sql.Identifier(parameter), _value(parameter, value))
    if comment is not None:
        yield made_of("comment", "COMMENT ON DATABASE {} IS {}", name, sql.Literal(comment))
    if limit >= 0:
        yield made_of("connection limit", "ALTER DATABASE {} CONNECTION LIMIT {}", name, sql.Literal(limit))


def _grants(connection: Connection, oid: int, owner: str, name: sql.Identifier) -> str | None:
    """The statements, to be run as one, that make a new database's privileges these; `None` for the default ones."""
    [[is_default]] = query(connection, "SELECT datacl IS NULL FROM pg_database WHERE oid = %s", oid)
    if is_default:
        return None
    made = [
        filled(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", name),
        filled(connection, "REVOKE ALL ON DATABASE {} FROM {}", name, sql.Identifier(owner)),
    ]
    for grantee, privilege, grantable in query(
        connection,
        "SELECT CASE grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(grantee) END, privilege_type, is_grantable"
        " FROM pg_database, aclexplode(datacl) WITH ORDINALITY"
        " AS given (grantor, grantee, privilege_type, is_grantable, place)"
        " WHERE pg_database.oid = %s GROUP BY grantee, privilege_type, is_grantable ORDER BY min(place)",
        oid,
    ):
        whom = sql.SQL("PUBLIC") if grantee is None else sql.Identifier(grantee)
        option = sql.SQL(" WITH GRANT OPTION" if grantable else "")
        made.append(filled(connection, "GRANT {} ON DATABASE {} TO {}{}", sql.SQL(privilege), name, whom, option))
    return "; ".join(made)


def _value(parameter: str, value: str) -> sql.Composable:
    """A stored setting as SET takes it: a list's elements one by one, anything else as one text."""
    if parameter.lower() not in _LISTS:
        return sql.Literal(value)
    found = re.findall(r'"((?:[^"]|"")*)"|([^\s,"]+)', value) or [("", "")]
    return sql.SQL(", ").join(sql.Literal(bare or quoted.replace('""', '"')) for quoted, bare in found)
