"""Step 4: be the only one who migrates. Locks are polled, never waited for, and a dead runner's backends are ended."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from psycopg2.extensions import connection as Connection

from alembic_job.errors import RunLocked
from alembic_job.gateways import locks
from alembic_job.gateways.postgres import signature
from alembic_job.logs.events import Log

_REPORT_EVERY = 5.0  # seconds between two words about what is waited for


def acquire(connection: Connection, key: int, what: str, timeout: float, log: Log) -> bool:
    """Polls for the lock on a key for `timeout` seconds; returns whether it had to wait. Raises `RunLocked` (11).

    `what` names it for people. A blocking pg_advisory_lock would hold a snapshot that CREATE INDEX CONCURRENTLY
    waits for, in a circle PostgreSQL cannot see.
    """
    if locks.try_lock(connection, key):
        log.debug("lock.acquired", lock=what)
        return False
    waited = _poll(
        lambda: locks.try_lock(connection, key),
        lambda: locks.owners(connection, key),
        timeout,
        lambda seen, seconds: log.info("lock.waiting", lock=what, **_owner(seen), waited_seconds=round(seconds, 1)),
        lambda seen: RunLocked(f"another runner holds the lock on {what}: {_name(seen)}", **_owner(seen)),
    )
    log.info("lock.acquired", lock=what, waited_seconds=round(waited, 3))
    return True


def clear_orphans(connection: Connection, timeout: float, log: Log) -> None:
    """Ends what a dead runner left working on the server, or waits for it where this role may not end it.

    A free lock does not prove that nobody works: after SIGKILL the idle lock connection ends at once while the working
    backend lives out its statement. Raises `RunLocked`.
    """
    ended: set[int] = set()

    def gone() -> bool:
        left = locks.orphans(connection)
        for orphan in left:
            if orphan.pid not in ended and locks.end_orphan(connection, orphan.pid):
                log.warning("orphan.ended", pid=orphan.pid, of=orphan.application_name, statement=orphan.statement)
                ended.add(orphan.pid)
        return not left

    if gone():
        return
    _poll(
        gone,
        lambda: locks.orphans(connection),
        timeout,
        lambda seen, seconds: log.warning(
            "orphan.waiting",
            pids=[orphan.pid for orphan in seen],
            users=[orphan.user for orphan in seen],
            waited_seconds=round(seconds, 1),
            hint=_orphan_hint(seen),
        ),
        lambda seen: RunLocked(f"a dead runner's session still works: {_name(seen)}", hint=_orphan_hint(seen)),
    )


def _poll(
    done: Callable[[], bool],
    look: Callable[[], list[locks.Session]],
    timeout: float,
    report: Callable[[list[locks.Session], float], object],
    error: Callable[[list[locks.Session]], Exception],
) -> float:
    """Polls until done; reports at once and every few seconds who is in the way; returns the seconds waited."""
    begun = time.monotonic()
    next_report, pause = 0.0, 0.05
    while True:
        waited = time.monotonic() - begun
        if waited >= next_report:
            if seen := look():
                report(seen, waited)
            next_report = waited + _REPORT_EVERY
        if waited >= timeout:
            raise error(look())
        time.sleep(pause * random.uniform(0.7, 1.3))
        pause = min(pause * 1.5, 0.5)
        if done():
            return time.monotonic() - begun


def _owner(sessions: list[locks.Session]) -> dict[str, Any]:
    if not sessions:
        return {"owner": None}
    first = sessions[0]
    return {
        "owner": first.application_name,
        "owner_pid": first.pid,
        "owner_image": signature(first.statement),
        "owner_client": first.client,
        "owner_since": first.since,
    }


def _name(sessions: list[locks.Session]) -> str:
    described = [
        f"{session.application_name or 'name hidden'} (pid {session.pid}, user {session.user or 'hidden'}, "
        f"image {signature(session.statement) or 'unknown'}, "
        f"from {session.client or 'a local socket'}, since {session.since or 'unknown'})"
        for session in sessions
    ]
    return "; ".join(described) or "it has just gone"


def _orphan_hint(sessions: list[locks.Session]) -> str:
    ends = "; ".join(f"SELECT pg_terminate_backend({session.pid})" for session in sessions)
    return f"its runner is dead; it may be ended by its own role or a superuser: {ends}" if ends else ""
