"""Who works on which database: advisory locks of this job, polled on a connection of their own.

Three classes of two-key advisory locks (a key space that projects' own one-key locks cannot touch):

* LOCK, exclusive, key: what is worked on (the whole database while env.py loads, then one version table).
* RUN, exclusive, key: a run. Held by the run's lock connection for as long as the run lives.
* FENCE, shared, key: the same run. Held by every connection the project's code works on.

A fence without its RUN lock is an orphan: its runner was killed, but the server still executes its statement.
All of it is visible in `pg_locks` to every role, so it needs no privilege to find out.
"""

from __future__ import annotations

from typing import NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.gateways.postgres import query

LOCK_CLASS = 0x616A6F4C
RUN_CLASS = 0x616A6F52
FENCE_CLASS = 0x616A6F46
DATABASE_KEY = 0

_HERE = "locktype = 'advisory' AND objsubid = 2 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
_ORPHANS = f"""
    SELECT pid FROM pg_locks fence WHERE {_HERE} AND classid = {FENCE_CLASS} AND granted
    AND NOT EXISTS (SELECT FROM pg_locks run WHERE {_HERE.replace("database =", "run.database =")}
                    AND run.classid = {RUN_CLASS} AND run.objid = fence.objid AND run.granted)"""


class Session(NamedTuple):
    """A backend as `pg_stat_activity` shows it; `None` where this role may not see it."""

    pid: int
    user: str | None
    application_name: str | None
    client: str | None
    since: str | None
    state: str | None
    statement: str | None


def describe(connection: Connection, pids: list[int]) -> list[Session]:
    """What is known of these backends. Another role's details are hidden without pg_read_all_stats."""
    rows = query(
        connection,
        "SELECT pid, usename, nullif(application_name, ''), client_addr::text, backend_start::text, state, query"
        " FROM pg_stat_activity WHERE pid = ANY(%s) ORDER BY pid",
        pids,
    )
    return [Session(*row) for row in rows]


def try_lock(connection: Connection, key: int) -> bool:
    """Takes the lock on a key if it is free; never waits (a waiting backend would hold a snapshot)."""
    [[won]] = query(connection, "SELECT pg_try_advisory_lock(%s, %s)", LOCK_CLASS, key)
    return bool(won)


def unlock(connection: Connection, key: int) -> None:
    query(connection, "SELECT pg_advisory_unlock(%s, %s)", LOCK_CLASS, key)


def announce_run(connection: Connection, run_key: int) -> None:
    """Marks the run as alive for as long as this connection lives."""
    query(connection, "SELECT pg_try_advisory_lock(%s, %s)", RUN_CLASS, run_key)


def owners(connection: Connection, key: int | None = None) -> list[Session]:
    """Who holds the lock on a key, or any of our locks."""
    which = "" if key is None else f" AND objid = {key}"
    rows = query(
        connection, f"SELECT DISTINCT pid FROM pg_locks WHERE {_HERE} AND classid = {LOCK_CLASS} AND granted{which}"
    )
    return describe(connection, [pid for [pid] in rows])


def work_pids(connection: Connection, run_key: int) -> list[int]:
    """The backends that a run's project works on, by their fences."""
    which = f"classid = {FENCE_CLASS} AND objid = {run_key}::oid"
    rows = query(connection, f"SELECT DISTINCT pid FROM pg_locks WHERE {_HERE} AND {which} AND granted")
    return [pid for [pid] in rows]


def workers(connection: Connection, run_keys: list[int] | None = None) -> list[Session]:
    """The backends behind fences, of these runs or of all."""
    which = "" if run_keys is None else f" AND objid = ANY(ARRAY{run_keys}::oid[])"
    rows = query(
        connection, f"SELECT DISTINCT pid FROM pg_locks WHERE {_HERE} AND classid = {FENCE_CLASS} AND granted{which}"
    )
    return describe(connection, [pid for [pid] in rows])


def run_keys(connection: Connection, pid: int) -> list[int]:
    """The keys of the runs which a lock connection announced."""
    rows = query(
        connection, f"SELECT objid::int8 FROM pg_locks WHERE {_HERE} AND classid = {RUN_CLASS} AND pid = %s", pid
    )
    return [int(key) for [key] in rows]


def orphans(connection: Connection) -> list[Session]:
    """Backends that still work for a run that is dead."""
    return describe(connection, [pid for [pid] in query(connection, _ORPHANS)])


def end_orphan(connection: Connection, pid: int) -> bool:
    """Terminates an orphan's backend, if it still is one; false where this role may not."""
    try:
        query(connection, f"SELECT pg_terminate_backend(pid) FROM ({_ORPHANS}) orphan WHERE pid = %s", pid)
    except psycopg2.errors.InsufficientPrivilege:
        return False
    return True


def stop_work(connection: Connection, run_key: int, terminate: bool) -> int:
    """Cancels what this run's work connections execute, or ends them; returns how many there are."""
    function = "pg_terminate_backend" if terminate else "pg_cancel_backend"
    rows = query(
        connection,
        f"SELECT {function}(pid) FROM pg_locks WHERE {_HERE} AND classid = {FENCE_CLASS} AND objid = {run_key}::oid",
    )
    return len(rows)


def waiting_for_itself(connection: Connection, run_key: int) -> list[Session]:
    """This run's backends that wait for nobody but other backends of this run, which PostgreSQL takes for no deadlock.

    A migration that builds an index CONCURRENTLY on a second connection waits for the transaction of the first.
    """
    ours = f"SELECT pid FROM pg_locks WHERE {_HERE} AND classid = {FENCE_CLASS} AND objid = {run_key}::oid"
    rows = query(
        connection,
        f"SELECT pid FROM ({ours}) ours WHERE cardinality(pg_blocking_pids(pid)) > 0"
        f" AND pg_blocking_pids(pid) <@ ARRAY({ours})",
    )
    return describe(connection, [pid for [pid] in rows])


def fence_statement(run_key: int) -> str:
    """What a work connection executes first, in any driver: takes the fence, tells whether the run is announced there.

    One row: pid, whether the run's lock is seen from here, whether the fence was taken.
    """
    return (
        f"SELECT pg_backend_pid(), EXISTS (SELECT FROM pg_locks WHERE {_HERE} AND classid = {RUN_CLASS}"
        f" AND objid = {run_key}::oid AND granted), pg_try_advisory_lock_shared({FENCE_CLASS}, {run_key})"
    )
