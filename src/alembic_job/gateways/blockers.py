"""Who is in our way on the server, and who waits behind us: seen in `pg_locks`, without taking a lock on any table.

A session that polls for a lock never waits, so `pg_blocking_pids()` is empty for it: `holders` compares the locks
wanted with those held or asked for. What a role without pg_read_all_stats may not see of others' sessions is `None`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.gateways.locks import FENCE_CLASS, LOCK_CLASS, RUN_CLASS
from alembic_job.gateways.postgres import query
from alembic_job.rules.effect import Mode

LONGEST_STATEMENT = 500  # characters
WRAPAROUND = "autovacuum to prevent wraparound"
_IDLE = ("idle in transaction", "idle in transaction (aborted)")
_WAIT_FOR_IT = "wait for it: a cancelled vacuum against wraparound starts again at once"
_OTHER_MIGRATION = "another migration: better wait for it than end it"
_GONE_WITHIN = 1000  # milliseconds


class Blocker(NamedTuple):
    """A session or prepared transaction in the way. Ages are in seconds; `None` is what is unknown or does not apply.

    `kind` is "client", "migration" (it works for an alembic-job), "autovacuum", "autovacuum to prevent wraparound",
    "prepared transaction" (which has a `gid` and no pid), or else the server's `backend_type`. `locks` are those in the
    way: `AccessShareLock on public.users`, with ` (waiting)` behind those only asked for. `end` is the SQL that ends
    it, `hint` what else to know. `hidden`: this role may not see the details.
    """

    pid: int | None
    kind: str
    user: str | None
    application_name: str | None
    client: str | None
    state: str | None
    transaction_seconds: float | None
    state_seconds: float | None
    statement: str | None
    locks: tuple[str, ...]
    gid: str | None
    end: str | None
    hidden: bool
    hint: str | None
    backend_start: str | None

    def as_fields(self) -> dict[str, Any]:
        """What is known, as plain values for an event."""
        fields = {
            name: value for name, value in self._asdict().items() if value is not None and name != "backend_start"
        }
        fields["locks"] = list(self.locks)
        if not self.hidden:
            del fields["hidden"]
        return {name: round(value, 1) if isinstance(value, float) else value for name, value in fields.items()}

    def __str__(self) -> str:
        """One line for people: who, since when, which locks, what it runs."""
        whose = [f"user {self.user}" if self.user else None, self.application_name, self.client]
        parts = [
            f"{self.kind} {self.gid if self.pid is None else self.pid}",
            f"({', '.join(filter(None, whose))})" if any(whose) else None,
            self.state and f"{self.state} for {self.state_seconds or 0:.0f} s",
            self.transaction_seconds is not None and f"in a transaction for {self.transaction_seconds:.0f} s",
            self.locks and "with " + ", ".join(self.locks),
        ]
        return " ".join(part for part in parts if part) + (f": {self.statement}" if self.statement else "")


class Waiter(NamedTuple):
    """A client's session that waits behind us, and for how many seconds it has done so."""

    pid: int
    user: str | None
    application_name: str | None
    waited_seconds: float
    statement: str | None


class Terminated(NamedTuple):
    """Which sessions have really ended, and which this role may not end."""

    ended: list[Blocker]
    refused: list[Blocker]


_FENCES = f"locktype = 'advisory' AND objsubid = 2 AND classid = {FENCE_CLASS}"
_LOOK = """
WITH given AS (SELECT %s::int[] AS ours),
here AS (SELECT oid FROM pg_database WHERE datname = current_database()),
locks AS MATERIALIZED (SELECT * FROM pg_locks),
activity AS MATERIALIZED (
    SELECT *, coalesce(leader_pid, pid) AS leader, clock_timestamp() AS asked FROM pg_stat_activity
),
"""
# `found` are rows of `locks`; a prepared transaction is known by its transactionid lock: its virtual transaction is
# that of the session that prepared it, or -1/xid after a restart.
_REPORT = f"""
parties AS (
    SELECT activity.leader AS pid, prepared.gid,
        array_agg(DISTINCT found.mode || ' on ' || CASE locktype
            WHEN 'relation' THEN coalesce(named.name, 'relation ' || found.relation)
            WHEN 'transactionid' THEN 'transaction ' || found.transactionid
            WHEN 'virtualxid' THEN 'virtual transaction ' || found.virtualxid
            ELSE concat_ws(' of ', found.locktype, named.name) END
            || CASE WHEN found.granted THEN '' ELSE ' (waiting)' END) FILTER (WHERE found.mode IS NOT NULL) AS locks
    FROM found CROSS JOIN given
    LEFT JOIN activity ON activity.pid = found.pid
    LEFT JOIN (
        SELECT held.virtualtransaction, xact.gid FROM locks held
        JOIN pg_prepared_xacts xact ON xact.transaction = held.transactionid
        WHERE held.pid IS NULL AND held.locktype = 'transactionid' AND held.granted
    ) prepared ON found.pid IS NULL AND prepared.virtualtransaction = found.virtualtransaction
    LEFT JOIN (
        SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    ) named ON named.oid = found.relation
    WHERE activity.leader <> ALL (given.ours) OR prepared.gid IS NOT NULL
    GROUP BY 1, 2
)
SELECT parties.pid, parties.gid, quote_literal(parties.gid), activity.backend_type, activity.usesysid IS NULL,
    EXISTS (SELECT FROM locks WHERE {_FENCES} AND locks.granted AND locks.pid = parties.pid),
    EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE pid = parties.pid)
        OR EXISTS (SELECT FROM pg_stat_progress_analyze WHERE pid = parties.pid),
    coalesce(activity.usename, prepared.owner), nullif(activity.application_name, ''),
    coalesce(host(activity.client_addr), CASE WHEN activity.client_port = -1 THEN 'local' END), activity.state,
    extract(epoch FROM coalesce(activity.asked - activity.xact_start, clock_timestamp() - prepared.prepared))::float8,
    extract(epoch FROM activity.asked - activity.state_change)::float8,
    activity.query, coalesce(parties.locks, '{{}}'), quote_ident(current_user), activity.backend_start::text
FROM parties
LEFT JOIN activity ON activity.pid = parties.pid
LEFT JOIN pg_prepared_xacts prepared ON prepared.gid = parties.gid
WHERE activity.pid IS NOT NULL OR prepared.gid IS NOT NULL
ORDER BY 12 DESC NULLS LAST, 1
"""

_HOLDERS = f"""{_LOOK}
wanted AS (SELECT * FROM unnest(%s::oid[], %s::text[]) AS wanted (relation, mode)),
queued AS (
    SELECT locks.relation, pg_blocking_pids(locks.pid) AS ahead FROM locks, given
    WHERE locks.locktype = 'relation' AND NOT locks.granted AND locks.pid = ANY (given.ours)
),
found AS (
    SELECT locks.* FROM locks JOIN wanted USING (relation, mode)
    WHERE locks.locktype = 'relation' AND locks.database IN (0, (SELECT oid FROM here))
    AND (locks.granted OR NOT EXISTS (
        SELECT FROM queued WHERE queued.relation = locks.relation AND locks.pid <> ALL (queued.ahead)))
),
{_REPORT}"""

_TAG = "locktype, database, relation, page, tuple, virtualxid, transactionid, classid, objid, objsubid"
_CONFLICTS = ", ".join(f"('{mode.pg_locks}', '{other.pg_locks}')" for mode in Mode for other in mode.conflicts)
_SAME_LOCK = " AND ".join(f"locks.{name} IS NOT DISTINCT FROM awaited.{name}" for name in _TAG.split(", "))
_BLOCKING = f"""{_LOOK}
ahead AS (SELECT DISTINCT unnest(pg_blocking_pids(%s)) AS pid),
awaited AS (
    SELECT locks.* FROM locks JOIN activity USING (pid) WHERE activity.leader = %s AND NOT locks.granted
),
contested AS (
    SELECT locks.*, activity.leader FROM awaited
    JOIN (VALUES {_CONFLICTS}) conflict (wanted, held) ON conflict.wanted = awaited.mode
    JOIN locks ON locks.mode = conflict.held AND {_SAME_LOCK}
    LEFT JOIN activity ON activity.pid = locks.pid
),
found AS (
    SELECT contested.locktype, contested.database, contested.relation, contested.virtualxid, contested.transactionid,
        contested.virtualtransaction, contested.mode, contested.granted, nullif(ahead.pid, 0) AS pid
    FROM ahead LEFT JOIN contested ON coalesce(contested.leader, 0) = ahead.pid
),
{_REPORT}"""


def holders(
    connection: Connection, wanted: Sequence[tuple[int, Mode]], ours: Sequence[int], *, statements: bool = True
) -> list[Blocker]:
    """Who holds a lock on these relations (oids) that conflicts with the mode wanted, or asked for one ahead of us.

    The sessions of `ours` (pids) do not count; the oldest transaction comes first. Without `statements` none is told.
    """
    pairs = [(relation, other.pg_locks) for relation, mode in wanted for other in mode.conflicts]
    relations, modes = [relation for relation, _ in pairs], [mode for _, mode in pairs]
    rows = query(connection, _HOLDERS, list(ours), relations, modes)
    return [_blocker(row, statements) for row in rows]


def blocking(connection: Connection, pid: int, ours: Sequence[int], *, statements: bool = True) -> list[Blocker]:
    """Who the waiting backend `pid` waits for, for a table, a row or, as CONCURRENTLY does, a transaction's end."""
    return [_blocker(row, statements) for row in query(connection, _BLOCKING, list(ours), pid, pid)]


def _blocker(row: tuple[Any, ...], statements: bool) -> Blocker:
    pid, gid, gid_literal, backend_type, system, fenced, vacuuming, user, application_name, client, *rest = row
    state, transaction_seconds, state_seconds, text, locks, role, backend_start = rest
    hidden = pid is not None and backend_start is None
    kind = _kind(pid, backend_type, system, fenced, vacuuming, text or "")
    ends = {
        "prepared transaction": f"ROLLBACK PREPARED {gid_literal}",
        "autovacuum": f"SELECT pg_cancel_backend({pid})",
    }
    hints = {WRAPAROUND: _WAIT_FOR_IT, "migration": _OTHER_MIGRATION}
    hint = f"details are hidden from this role: GRANT pg_read_all_stats TO {role}" if hidden else hints.get(kind)
    end = None if kind == WRAPAROUND else ends.get(kind, f"SELECT pg_terminate_backend({pid})")
    statement = None if hidden or not statements else _shortened(text)
    return Blocker(
        pid, kind, user, application_name, client, state, transaction_seconds, state_seconds, statement,
        tuple(locks), gid, end, hidden, hint, backend_start,
    )  # fmt: skip


def _kind(pid: int | None, backend_type: str | None, system: bool, fenced: bool, vacuuming: bool, text: str) -> str:
    if pid is None:
        return "prepared transaction"
    if fenced:
        return "migration"
    if backend_type is None:  # hidden; only processes of the server's own have no user
        return ("autovacuum" if vacuuming else "background process") if system else "client"
    if backend_type == "autovacuum worker":
        return WRAPAROUND if text.endswith("(to prevent wraparound)") else "autovacuum"
    return "client" if backend_type == "client backend" else backend_type


def _shortened(statement: str | None) -> str | None:
    flat = " ".join((statement or "").split())
    return (flat if len(flat) <= LONGEST_STATEMENT else flat[: LONGEST_STATEMENT - 1] + "…") or None


# ANALYZE, VACUUM and CONCURRENTLY are not the application: they may wait.
_BEHIND = """
WITH RECURSIVE given AS (SELECT %s::int[] AS ours),
waiting AS MATERIALIZED (
    SELECT locks.pid, coalesce(locks.waitstart, clock_timestamp()) AS since FROM pg_locks locks, given
    WHERE NOT locks.granted AND locks.pid <> ALL (given.ours) AND locks.locktype <> 'virtualxid'
    AND NOT (locks.locktype = 'relation' AND locks.mode = 'ShareUpdateExclusiveLock')
),
queue AS MATERIALIZED (
    SELECT coalesce(session.leader_pid, waiting.pid) AS pid, waiting.since, pg_blocking_pids(waiting.pid) AS ahead
    FROM waiting CROSS JOIN LATERAL pg_stat_get_activity(waiting.pid) session
),
edges AS MATERIALIZED (
    SELECT queue.pid, queue.since, blocker FROM queue CROSS JOIN given CROSS JOIN LATERAL unnest(queue.ahead) blocker
    WHERE blocker = ANY (given.ours) OR NOT queue.ahead && given.ours  -- else a long queue has the square of its length
),
behind AS (
    SELECT edges.pid, greatest(edges.since, session.xact_start) AS since
    FROM edges JOIN given ON edges.blocker = ANY (given.ours)
    CROSS JOIN LATERAL pg_stat_get_activity(edges.blocker) session
    UNION
    SELECT edges.pid, greatest(edges.since, behind.since) FROM behind JOIN edges ON edges.blocker = behind.pid
)
SELECT behind.pid, pg_get_userbyid(session.usesysid), nullif(session.application_name, ''),
    greatest(0, extract(epoch FROM clock_timestamp() - behind.since))::float8,
    nullif(session.query, '<insufficient privilege>')
FROM (SELECT pid, min(since) AS since FROM behind GROUP BY pid) behind
CROSS JOIN LATERAL pg_stat_get_activity(behind.pid) session CROSS JOIN given
WHERE behind.pid <> ALL (given.ours) AND session.usesysid IS NOT NULL
AND coalesce(session.backend_type, 'client backend') = 'client backend'
ORDER BY 4 DESC, 1
"""


def behind(connection: Connection, ours: Sequence[int], *, statements: bool = True) -> list[Waiter]:
    """Which clients wait for our backends (pids), directly or through others; who waited longest comes first.

    A wait behind us begins when the session began to wait or when we began our transaction, whichever was later.
    """
    [[waited_for]] = query(connection, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
    if not waited_for:  # by far the most frequent answer, in a fifth of the time
        return []
    return [
        Waiter(pid, user, application_name, waited, _shortened(text) if statements else None)
        for pid, user, application_name, waited, text in query(connection, _BEHIND, list(ours))
    ]


_TERMINATE = f"""
SELECT pg_terminate_backend(pid, {_GONE_WITHIN}) FROM pg_stat_activity
WHERE pid = %s AND backend_start = %s::timestamptz AND backend_type = 'client backend' AND state = ANY (%s)
AND state_change < clock_timestamp() - make_interval(secs => %s) AND pid <> pg_backend_pid()
AND NOT EXISTS (
    SELECT FROM pg_locks WHERE pg_locks.pid = pg_stat_activity.pid AND locktype = 'advisory' AND objsubid = 2
    AND classid IN ({FENCE_CLASS}, {LOCK_CLASS}, {RUN_CLASS}))
"""


def terminate_idle(connection: Connection, blockers: Sequence[Blocker], idle_seconds: float) -> Terminated:
    """Ends the clients' sessions among these that have idled in a transaction for longer than that.

    Each is looked at again in the statement that ends it: who has gone on meanwhile, and who works for a migration, is
    left alone. In neither list is who did not qualify, or was told to end and had not a second later.
    """
    ended, refused = [], []
    for blocker in blockers:
        if blocker.kind != "client" or blocker.state not in _IDLE or blocker.backend_start is None:
            continue
        try:
            rows = query(connection, _TERMINATE, blocker.pid, blocker.backend_start, list(_IDLE), idle_seconds)
        except psycopg2.errors.InsufficientPrivilege:
            refused.append(blocker)
        else:
            ended += [blocker for [gone] in rows if gone]
    return Terminated(ended, refused)
