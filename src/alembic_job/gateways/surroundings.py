"""What else there is at a server that matters to a migration: rights, clock, room for connections, old sessions."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from psycopg2.extensions import connection as Connection

from alembic_job.gateways.postgres import query


class Role(NamedTuple):
    """Who is logged in, and what that role may do here. `hidden`: other roles' sessions are not shown to it."""

    name: str
    superuser: bool
    creates_schemas: bool
    hidden: bool


class Foreign(NamedTuple):
    """Tables of a schema that belong to a role which this one is no member of."""

    owner: str
    number: int
    example: str


class Idle(NamedTuple):
    """A transaction that nobody works in, `seconds` since it was begun, by the name of its session or preparation."""

    name: str
    seconds: float
    prepared: bool


def role(connection: Connection) -> Role:
    """The role of this session."""
    [row] = query(
        connection,
        "SELECT current_user, rolsuper, has_database_privilege(current_database(), 'CREATE'),"
        " NOT pg_has_role('pg_read_all_stats', 'USAGE') FROM pg_roles WHERE rolname = current_user",
    )
    return Role(*row)


def foreign_tables(connection: Connection, schema: str) -> list[Foreign]:
    """Whose the tables of a schema are that this role may not alter."""
    rows = query(
        connection,
        "SELECT pg_get_userbyid(relowner), count(*), min(relname) FROM pg_class c"
        " WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s) AND relkind IN ('r', 'p')"
        " AND NOT pg_has_role(relowner, 'USAGE') AND NOT EXISTS (SELECT FROM pg_depend d"
        "  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"
        " GROUP BY relowner ORDER BY 1",
        schema,
    )
    return [Foreign(*row) for row in rows]


def idle_transactions(connection: Connection, seconds: float) -> list[Idle]:
    """Transactions of this database, older than so many seconds, that hold locks while nobody works in them."""
    rows = query(
        connection,
        "SELECT concat_ws(' ', 'pid', pid, usename, '(' || nullif(application_name, '') || ')'),"
        " extract(epoch FROM clock_timestamp() - xact_start)::float8, false FROM pg_stat_activity"
        " WHERE datname = current_database() AND state LIKE 'idle in transaction%%' AND pid <> pg_backend_pid()"
        " AND xact_start < clock_timestamp() - %s * interval '1 second'"
        " UNION ALL SELECT 'prepared transaction ' || gid, extract(epoch FROM clock_timestamp() - prepared)::float8,"
        " true FROM pg_prepared_xacts WHERE database = current_database()"
        " AND prepared < clock_timestamp() - %s * interval '1 second' ORDER BY 2 DESC",
        seconds,
        seconds,
    )
    return [Idle(*row) for row in rows]


def clock_ahead(connection: Connection) -> float:
    """Seconds by which the server's clock is ahead of this machine's, to half of the answer's time."""
    before = time.time()
    [[there]] = query(connection, "SELECT extract(epoch FROM clock_timestamp())::float8")
    return float(there) - (before + time.time()) / 2


def free_connections(connection: Connection) -> tuple[int, int]:
    """How many more connections the server takes from roles without privilege, and how many in all."""
    [row] = query(
        connection,
        "SELECT greatest(0, total - reserved - used)::int, total::int FROM (SELECT"
        " current_setting('max_connections')::int AS total,"
        " current_setting('superuser_reserved_connections')::int"
        " + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved,"
        " (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL) AS used"
        ") counted",
    )
    return row[0], row[1]


def tls(connection: Connection) -> str:
    """The protocol that this connection is encrypted by, as `TLSv1.3`; empty if it is not."""
    info: Any = connection.info
    return str(info.ssl_attribute("protocol") or "yes") if info.ssl_in_use else ""


def databases(connection: Connection) -> list[str]:
    """The names of the databases that one can log in to."""
    return [name for [name] in query(connection, "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1")]
