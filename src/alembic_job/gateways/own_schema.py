"""The job's own schema in the database, and its own small migrations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
_ABSENT = (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName)

# Only ever added to, and each only adds: an older image works with what a newer one has made.
VERSIONS = (
    """
    CREATE TABLE IF NOT EXISTS {schema}.nothing_pending (
        key text PRIMARY KEY, digest text NOT NULL, identity text NOT NULL, record text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE IF NOT EXISTS {schema}.unfinished (
        identity text NOT NULL, version_table text NOT NULL, revision text NOT NULL, down boolean NOT NULL,
        position int NOT NULL, digest text NOT NULL, statement text NOT NULL, builds text, rows int,
        xid text, done boolean NOT NULL DEFAULT false, finished text, version_rows text NOT NULL,
        run_id text NOT NULL, recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (identity, version_table, revision, down, position))""",
    """
    CREATE TABLE {schema}.runs (
        run_id text NOT NULL, version_table text NOT NULL, command text NOT NULL, job_version text NOT NULL,
        image text, host text NOT NULL, login text NOT NULL DEFAULT session_user, evidence text,
        started_at timestamptz NOT NULL DEFAULT clock_timestamp(), finished_at timestamptz,
        outcome text, exit_code int, heads_before text[] NOT NULL, heads_after text[], planned text[] NOT NULL,
        error text, PRIMARY KEY (run_id, version_table));
    CREATE TABLE {schema}.steps (
        run_id text NOT NULL, version_table text NOT NULL, revision text NOT NULL, down boolean NOT NULL,
        statements text NOT NULL, seconds float8 NOT NULL, lock_seconds float8 NOT NULL,
        finished_at timestamptz NOT NULL, PRIMARY KEY (run_id, version_table, revision));
    CREATE TABLE {schema}.scripts (
        version_table text NOT NULL, revision text NOT NULL, down_revisions text[] NOT NULL,
        depends_on text[] NOT NULL, branch_labels text[] NOT NULL, message text NOT NULL,
        source text, file_hash text NOT NULL, downgrade text, not_rendered text,
        adopted boolean NOT NULL, run_id text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (version_table, revision));
    CREATE TABLE {schema}.consents (
        version_table text NOT NULL, revision text NOT NULL, given_by text NOT NULL DEFAULT session_user,
        given_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (version_table, revision))""",
)


def version(connection: Connection, schema: str) -> int:
    """How many of our migrations the schema has; 0 if it is not there. Raises `psycopg2.Error`."""
    try:
        [[found]] = query(connection, _sql(connection, "SELECT max(version) FROM {schema}.version", schema))
    except _ABSENT:
        return 0
    return int(found or 0)


def make(connection: Connection, schema: str) -> None:
    """Brings the schema to what this version needs; `IF NOT EXISTS` alone fails when several make it at once.

    `connection` is in autocommit. Raises `psycopg2.Error`, such as for lack of privileges.
    """
    for attempt in range(5):
        there = version(connection, schema)
        if there >= len(VERSIONS):
            return
        try:
            query(connection, _sql(connection, ";".join(_missing(connection, schema, there)), schema))
        except _RACES:
            if attempt == 4:
                raise


def _missing(connection: Connection, schema: str, there: int) -> list[str]:
    """Statements, which sent as one message are one transaction: another thread may use the connection meanwhile."""
    statements = []
    if there == 0:
        if not query(connection, "SELECT 1 FROM pg_namespace WHERE nspname = %s", schema):
            statements.append("CREATE SCHEMA {schema}")
        statements.append("CREATE TABLE IF NOT EXISTS {schema}.version (version int PRIMARY KEY, made_at timestamptz)")
    for number, script in enumerate(VERSIONS[there:], there + 1):
        statements.append(
            f"INSERT INTO {{schema}}.version VALUES ({number}, now())"
        )  # first: who loses a race waits here
        statements.append(script)
    return statements


def _sql(connection: Connection, text: str, schema: str) -> str:
    return text.replace("{schema}", str(sql.Identifier(schema).as_string(connection)))


@contextmanager
def writing(schema: str, command: str) -> Iterator[None]:
    """Around what a command writes there and cannot do without. Raises `LoginFailed` (21) where the role may not."""
    try:
        yield
    except psycopg2.errors.InsufficientPrivilege as error:
        raise LoginFailed(
            f"the history cannot be written: {' '.join(str(error).split())}",
            hint=f"{command} with the role that migrates, which owns the schema {schema}",
        ) from error


def refused(schema: str, reason: str) -> LoginFailed:
    """The error where MIGRATE_HISTORY=required, but the schema cannot be written."""
    return LoginFailed(
        f"MIGRATE_HISTORY=required, but the schema {schema} cannot be written: {reason}",
        hint=f"as an owner: CREATE SCHEMA {schema} AUTHORIZATION <role>; or MIGRATE_HISTORY=auto",
    )
