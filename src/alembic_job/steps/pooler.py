"""Step 2, part: a pooler that changes servers between transactions would lose our locks. Find out before anything."""

from __future__ import annotations

import secrets

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import SettingsError
from alembic_job.gateways import postgres
from alembic_job.gateways.postgres import query
from alembic_job.logs.events import Log

_PROBE = "alembic_job.probe"


def check_pooler(connection: Connection, dsn: Dsn, log: Log) -> None:
    """Passes a direct connection and session pooling. Raises `SettingsError` (20) for transaction or statement pooling.

    A direct connection is known by the backend's number, at no cost. Else a setting is made on one connection; with
    a transaction open on a second one the first must still see it, and the second must not.
    """
    if not postgres.is_proxied(connection):
        return
    if _loses_its_session(connection, dsn):
        raise SettingsError(
            f"{dsn.redacted()} is a pooler in transaction or statement mode: locks and settings of a session get lost",
            hint="set DATABASE_DIRECT_URL to the server behind it (or to a pooler in session mode)",
        )
    log.info("pooler.session_mode", database=dsn.redacted())
    postgres.unbound(connection)


def _loses_its_session(connection: Connection, dsn: Dsn) -> bool:
    token = secrets.token_hex(8)
    query(connection, "SELECT set_config(%s, %s, false)", _PROBE, token)
    second = postgres.connect(dsn, "alembic-job probe")
    try:
        query(second, "BEGIN")
        [[seen_by_second]] = query(second, "SELECT current_setting(%s, true)", _PROBE)
        if seen_by_second == token:
            return True
        [[seen_by_first]] = query(connection, "SELECT current_setting(%s, true)", _PROBE)
        return bool(seen_by_first != token)
    except psycopg2.Error:
        return True  # statement pooling refuses transactions
    finally:
        second.close()
