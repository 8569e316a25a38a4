"""Step 9: record what was proven, so that the next run with nothing to do can see it at a glance (`shortcut`)."""

from __future__ import annotations

import json

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.fingerprint import Inputs
from alembic_job.gateways import own_schema
from alembic_job.gateways.postgres import query
from alembic_job.logs.events import Log
from alembic_job.model import Change

_KEPT = 100  # records; images and settings alternate, but old ones must not pile up
_TABLE = "nothing_pending"


def record(
    connection: Connection,
    schema: str,
    policy: str,
    keys: tuple[str, ...],
    digest: str,
    inputs: Inputs,
    changes: list[Change],
    log: Log,
) -> None:
    """Writes the proof for a request, under each of its keys.

    `policy` is MIGRATE_HISTORY: under `auto` a role that may not does without.

    Raises `LoginFailed` (21) under `required`.
    """
    tables = [
        {
            "sql": sql.Identifier(change.table.schema, change.table.name).as_string(connection),
            "rows": sorted(change.after or ()),
        }
        for change in changes
    ]
    text = json.dumps({"inputs": inputs._asdict(), "tables": tables})
    try:
        own_schema.make(connection, schema)
        for key in keys:
            _write(connection, schema, key, digest, text, changes[0].table.database)
    except (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.ReadOnlySqlTransaction) as error:
        reason = " ".join(str(error).split())
        if policy == "required":
            raise own_schema.refused(schema, reason) from error
        log.debug("history.unavailable", reason=reason)


def _write(connection: Connection, schema: str, key: str, digest: str, text: str, identity: str) -> None:
    name = sql.Identifier(schema, _TABLE)
    upsert = sql.SQL(
        "INSERT INTO {} (key, digest, identity, record) VALUES (%s, %s, %s, %s) ON CONFLICT (key) DO UPDATE SET"
        " digest = excluded.digest, identity = excluded.identity, record = excluded.record, recorded_at = now()"
    )
    query(connection, upsert.format(name).as_string(connection), key, digest, identity, text)
    prune = sql.SQL("DELETE FROM {0} WHERE key NOT IN (SELECT key FROM {0} ORDER BY recorded_at DESC LIMIT {1})")
    query(connection, prune.format(name, sql.Literal(_KEPT)).as_string(connection))
