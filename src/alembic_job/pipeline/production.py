"""Before everything in a database is thrown away: does it look like production, and was it said twice?"""

from __future__ import annotations

import os

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import Refused
from alembic_job.gateways.postgres import query
from alembic_job.logs.events import Log
from alembic_job.rules.production import MANAGED_ROLES, Facts, signs
from alembic_job.settings import Settings

_FACTS = """
    SELECT current_database()::text, pg_database_size(current_database()),
           ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s)),
           (SELECT count(*) FROM pg_stat_get_wal_senders())"""


def check(
    settings: Settings, dsn: Dsn, connection: Connection, what: str, first: str, named: str | None, log: Log
) -> bool:
    """Whether it is production, told twice: by `first`, an option that was given, and by its name, `named`.

    `what` would be done. Raises `Refused` (26) where it was told once, or another name was given.
    """
    facts = _facts(settings, dsn, connection)
    if named is not None and named != facts.database:
        raise Refused(
            f"{what} is refused: --production {named} was given, but the database is {facts.database}",
            hint="look where DATABASE_URL leads; --production takes the name of that very database",
        )
    found = signs(facts, settings.development_hosts, os.environ) if settings.production == "auto" else []
    if settings.production == "yes":
        found = ["MIGRATE_PRODUCTION is yes"]
    if found and named is None:
        raise Refused(
            f"{what} is refused: {facts.database} looks like production: {'; '.join(found)}",
            hint=f"nothing was changed; if that is meant, say it twice: {first} --production {facts.database}; if it is"
            " one to develop with, put its host into MIGRATE_DEVELOPMENT_HOSTS or set MIGRATE_PRODUCTION=no",
            signs=found,
        )
    if found:
        log.warning("production.confirmed", database=facts.database, signs=found, message=f"{what}: said twice")
    return bool(found)


def _facts(settings: Settings, dsn: Dsn, connection: Connection) -> Facts:
    [[database, size, roles, replicas]] = query(connection, _FACTS, list(MANAGED_ROLES))
    return Facts(
        database, _hosts(settings, dsn, connection), size, tuple(roles), replicas, _image(settings, connection)
    )


def _hosts(settings: Settings, dsn: Dsn, connection: Connection) -> tuple[str, ...]:
    """Where this connection leads, where another try of it might, and what stands before it (a pooler)."""
    found = [connection.info.host or "", connection.info.dsn_parameters.get("hostaddr")]
    for each in (dsn, settings.database):
        if each is not None:
            found += [
                host for name in ("host", "hostaddr") for host in each.parameters.get(name, "").split(",") if host
            ]
    return tuple(dict.fromkeys(host for host in found if host is not None))


def _image(settings: Settings, connection: Connection) -> str | None:
    """The image that migrated it last, if the history tells of one."""
    runs = sql.Identifier(settings.history_schema, "runs").as_string(connection)
    try:
        rows = query(connection, f"SELECT image FROM {runs} WHERE image <> '' ORDER BY started_at DESC LIMIT 1")
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName, psycopg2.errors.InsufficientPrivilege):
        return None
    return str(rows[0][0]) if rows else None
