"""Step 8: look at the result with fresh eyes."""

from __future__ import annotations

from typing import NamedTuple

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.errors import VerificationFailed
from alembic_job.gateways.postgres import query
from alembic_job.logs.events import Log
from alembic_job.model import Change, VersionTable

# An INVALID index that a session still builds is no defect; nor is one on a partitioned parent (relkind 'I').
_INVALID = """
    SELECT quote_ident(n.nspname) || '.' || quote_ident(i.relname), i.relname, c.oid::regclass::text
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
    JOIN pg_namespace n ON n.oid = i.relnamespace
    WHERE NOT x.indisvalid AND i.relkind = 'i' AND n.nspname !~ '^pg_' AND i.relname !~ '_cc(new|old)[0-9]*$'
    AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.oid) ORDER BY 1"""

_NOT_VALIDATED = """
    SELECT conrelid::regclass::text || ': ' || quote_ident(conname) FROM pg_constraint
    WHERE NOT convalidated AND conrelid <> 0 ORDER BY 1"""


class InvalidIndex(NamedTuple):
    """An index PostgreSQL keeps up but never uses: a CREATE INDEX CONCURRENTLY that failed."""

    qualified: str
    name: str
    table: str


def version_rows(connection: Connection, table: VersionTable) -> tuple[str, ...]:
    """The rows of a version table as another session sees them: what was really committed; none without a table."""
    statement = sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(table.schema, table.name))
    try:
        return tuple(sorted(row[0] for row in query(connection, statement.as_string(connection))))
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
        return ()


def invalid_indexes(connection: Connection) -> list[InvalidIndex]:
    return [InvalidIndex(*row) for row in query(connection, _INVALID)]


def verify(connection: Connection, changes: list[Change], touched: set[str], log: Log) -> None:
    """Revision reached, and no plain index left INVALID. Raises `VerificationFailed` (24).

    `touched` are words of the statements this run executed: an INVALID index none of them names was there before and
    is somebody else's, so it is a warning.
    """
    for change in changes:
        if change.expected is not None and change.after != change.expected:
            raise VerificationFailed(
                f"{change.table.label} holds {list(change.after or ())} but should hold {list(change.expected)}",
                hint="the project rolled its transaction back or another tool wrote the version table: compare "
                "`alembic-job status` with the log above, then run again",
            )
    for index in invalid_indexes(connection):
        if index.name in touched:
            raise VerificationFailed(
                f"index {index.qualified} on {index.table} is INVALID: it was not built to the end",
                hint=f"DROP INDEX CONCURRENTLY {index.qualified}; then build it again: stamp the revision before, "
                "or CREATE INDEX CONCURRENTLY it by hand",
            )
        log.warning("index.invalid", index=index.qualified, on=index.table, hint="left by somebody else; drop it")
    warn_of_constraints(connection, log)


def warn_of_constraints(connection: Connection, log: Log) -> None:
    """Names the constraints that are NOT VALID: a legitimate state, on the way to one that is."""
    for [constraint] in query(connection, _NOT_VALIDATED):
        log.warning(
            "constraint.not_validated", constraint=constraint, hint="ALTER TABLE … VALIDATE CONSTRAINT, when it suits"
        )
