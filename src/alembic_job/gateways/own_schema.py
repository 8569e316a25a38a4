"""The job's own schema in the database, and the tables in it."""

from __future__ import annotations

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.errors import LoginFailed
from alembic_job.gateways.postgres import query

_RACES = (
    psycopg2.errors.UniqueViolation,
    psycopg2.errors.DuplicateSchema,
    psycopg2.errors.DuplicateTable,
    psycopg2.errors.DuplicateObject,
)


def make(connection: Connection, schema: str, table: str, columns: str) -> None:
    """Makes schema and table where they are not; `IF NOT EXISTS` alone fails when several make them at once.

    `columns` is SQL. Raises `psycopg2.Error`, such as for lack of privileges.
    """
    name = sql.Identifier(schema, table)
    for _ in range(5):
        [[found]] = query(connection, "SELECT to_regclass(%s) IS NOT NULL", name.as_string(connection))
        if found:
            return
        try:
            if not query(connection, "SELECT 1 FROM pg_namespace WHERE nspname = %s", schema):
                query(connection, sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)).as_string(connection))
            query(connection, sql.SQL("CREATE TABLE {} (" + columns + ")").format(name).as_string(connection))
        except _RACES:
            continue


def refused(schema: str, reason: str) -> LoginFailed:
    """The error where MIGRATE_HISTORY=required, but the schema cannot be written."""
    return LoginFailed(
        f"MIGRATE_HISTORY=required, but the schema {schema} cannot be written: {reason}",
        hint=f"as an owner: CREATE SCHEMA {schema} AUTHORIZATION <role>; or MIGRATE_HISTORY=auto",
    )
