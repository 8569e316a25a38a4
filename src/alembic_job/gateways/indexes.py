"""Indexes whose build was interrupted."""

from __future__ import annotations

from typing import NamedTuple

from psycopg2.extensions import connection as Connection

from alembic_job.gateways.postgres import query

# Who builds an index CONCURRENTLY, or drops it, holds this lock on its table; it is seen without any privilege.
_STATE = """
    SELECT x.indisvalid, quote_ident(n.nspname) || '.' || quote_ident(t.relname),
           ARRAY(SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'relation' AND relation = x.indrelid AND granted
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                 AND mode = 'ShareUpdateExclusiveLock')
    FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE x.indexrelid = to_regclass(%s)"""


class IndexState(NamedTuple):
    """`builders` are the backends that may be building it."""

    valid: bool
    table: str
    builders: tuple[int, ...]


def state(connection: Connection, index: str) -> IndexState | None:
    """What is there under this name (qualified and quoted); `None` for nothing."""
    rows = query(connection, _STATE, index)
    return IndexState(rows[0][0], rows[0][1], tuple(rows[0][2])) if rows else None
