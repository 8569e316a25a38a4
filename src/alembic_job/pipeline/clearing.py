"""The one transaction in which everything in some schemas is dropped, without making the application wait."""

from __future__ import annotations

import time

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.errors import LoginFailed, MigrationFailed, Refused
from alembic_job.gateways import blockers, dropping, hygiene, postgres
from alembic_job.gateways.dropping import Survey
from alembic_job.gateways.postgres import query
from alembic_job.logs.events import Log
from alembic_job.pipeline.session import Session
from alembic_job.settings import Settings
from alembic_job.steps.table_locks import not_won
from alembic_job.watch import Watch

_FIRST, _LONGEST = 0.02, 1.0  # seconds between two tries
_SHORT = "100ms"  # for locks that cannot be polled for: those of views, sequences, types


def clear(connection: Connection, session: Session, agreed: Survey, settings: Settings, watch: Watch, log: Log) -> None:
    """Drops what was agreed to, all of it or nothing; locks are tried for, never queued for.

    Raises `TableLocked` (12) where they are not won in `MIGRATE_TABLE_LOCK_TIMEOUT`, `LoginFailed` (21) for lack of
    privileges, `Refused` (26) where there is more than was agreed to, or others' things depend on it.
    """
    if settings.role is not None:
        hygiene.settle(connection, session.run.application_name, settings.role, None)
        connection.autocommit = True
    begun, pause = time.monotonic(), _FIRST
    while not _tried(connection, agreed, settings, watch, log):
        wanted = agreed.locks
        holders = blockers.holders(
            session.connection, [(lock.oid, lock.mode) for lock in wanted], [connection.info.backend_pid]
        )
        if time.monotonic() - begun > settings.table_lock_timeout:
            raise not_won(wanted, settings.table_lock_timeout, holders)
        if pause == _FIRST:
            log.warning("lock.blocked", blockers=[each.as_fields() for each in holders])
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST)


def _tried(connection: Connection, agreed: Survey, settings: Settings, watch: Watch, log: Log) -> bool:
    """One attempt; false if a lock was not free. Unless it is done, or the connection lost, it is rolled back."""
    watch.check()
    try:
        _attempt(connection, agreed, settings, log)
    except psycopg2.Error as error:
        if postgres.is_connection_lost(error) or isinstance(error, psycopg2.errors.QueryCanceled):
            raise
        query(connection, "ROLLBACK")
        if dropping.refused(error):
            return False
        said = " ".join(str(error).split())
        if isinstance(error, psycopg2.errors.InsufficientPrivilege):
            hint = "nothing was changed; reset as the owner of the tables (MIGRATE_ROLE)"
            raise LoginFailed(f"this role may not drop what is there: {said}", hint=hint) from error
        raise MigrationFailed(f"what is there cannot be dropped: {said}", hint="nothing was changed") from error
    except BaseException:
        query(connection, "ROLLBACK")
        raise
    return True


def _attempt(connection: Connection, agreed: Survey, settings: Settings, log: Log) -> None:
    query(connection, "BEGIN")
    query(connection, f"SET LOCAL lock_timeout = '{_SHORT}'")
    found = dropping.survey(connection, agreed.schemas, settings.history_schema, counted=False)
    if more := sorted(set(found.relations) - set(agreed.relations)):
        raise Refused(
            f"there is more than was agreed to: {', '.join(more[:10])}",
            hint="nothing was changed; somebody made it meanwhile: run again",
        )
    if locks := found.locks:
        query(connection, dropping.lock_statement(locks))
    before = dropping.outside(connection, agreed.schemas)
    for statement in found.statements:
        query(connection, statement)
    if lost := [before[key] for key in before.keys() - dropping.outside(connection, agreed.schemas).keys()]:
        raise Refused(
            f"other schemas' objects depend on what would be dropped: {'; '.join(sorted(lost)[:10])}",
            hint="nothing was changed; drop these first, or empty their schemas, too, with --schema",
        )
    left = dropping.survey(connection, agreed.schemas, settings.history_schema, counted=False)
    if left.relations or left.routines or left.types:
        log.warning("reset.left", names=[*left.relations, *left.routines, *left.types])
    query(connection, "COMMIT")
