"""Roles that a project takes for granted, on a server that was made for it."""

from __future__ import annotations

import re
from contextlib import suppress

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.gateways import databases, postgres

_LACKING = re.compile(r'role "(.+)" does not exist', re.DOTALL)
_CODES = ("42704", "22023")  # the second is SET ROLE's

_MAY_MIGRATE = """
    SELECT bool_or(has_table_privilege(%s::name, c.oid, 'INSERT, UPDATE')) FROM pg_class c
    WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND 'version_num' = ALL (
        SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
    AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'version_num')"""
_OWNERS = """
    SELECT rolname::text FROM pg_roles WHERE rolname <> %s AND rolname !~ '^pg_' AND oid IN (
        SELECT relowner FROM pg_class WHERE oid >= 16384 UNION SELECT nspowner FROM pg_namespace WHERE oid >= 16384
        UNION SELECT typowner FROM pg_type WHERE oid >= 16384 UNION SELECT proowner FROM pg_proc WHERE oid >= 16384)
    ORDER BY 1"""


def lacking(error: BaseException) -> str | None:
    """The role that a statement failed for since there is none of that name; for a server that speaks English."""
    if postgres.sqlstate(error) not in _CODES:
        return None
    for link in postgres.chain(error):
        said = getattr(getattr(link, "diag", None), "message_primary", None) or str(link)
        if found := _LACKING.search(said):
            return found[1]
    return None


def make(connection: Connection, name: str) -> None:
    """A role that nobody can log in as. Raises `psycopg2.Error`."""
    postgres.query(connection, databases.filled(connection, "CREATE ROLE {} NOLOGIN", sql.Identifier(name)))


def owners_unless_may_migrate(connection: Connection, role: str) -> list[str]:
    """Who owns what is in the database, if this role may write no version table there; else nobody."""
    [[may]] = postgres.query(connection, _MAY_MIGRATE, role)
    return [] if may is not False else [name for [name] in postgres.query(connection, _OWNERS, role)]


def lend(connection: Connection, owners: list[str], role: str) -> None:
    """Lets a role do what these may, on a server that was made for it: but for those that are its members themselves.

    Raises `psycopg2.Error`.
    """
    member = sql.Identifier(role)
    postgres.query(connection, databases.filled(connection, "ALTER ROLE {} INHERIT", member))
    for owner in owners:
        with suppress(psycopg2.errors.InvalidGrantOperation):
            postgres.query(connection, databases.filled(connection, "GRANT {} TO {}", sql.Identifier(owner), member))
