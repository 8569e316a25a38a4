"""The other sessions of a database, seen by a run that wants locks, holds locks, or works for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.errors import JobError, Refused
from alembic_job.gateways import blockers as gateway
from alembic_job.gateways import locks as job_locks
from alembic_job.gateways.blockers import Blocker, Waiter
from alembic_job.gateways.postgres import query
from alembic_job.gateways.progress import bar, progress
from alembic_job.logs.events import Log
from alembic_job.pipeline.session import Session, waits_for_itself
from alembic_job.rules.effect import Lock, Mode
from alembic_job.settings import Settings
from alembic_job.steps.table_locks import TableLocks, TryAgain, advice, not_won

_FIRST_REPORT = 1.0  # seconds of waiting before anything is said
_IN_USE = 1.0  # seconds that a table is watched for users; servers count their use about once a second
_EVERY = 0.2  # seconds between two looks of the observer
_FRESH = 0.2  # seconds for which a look at who else is in the database holds
_LULL = 0.6  # seconds without anybody waiting after which a wait is over
_NEXT_ATTEMPT = 10.0  # seconds until a connection is asked for again
_BRIEF = 0.4  # seconds: what is over by then need not be looked at; a thousand small revisions are not
_QUEUED = 0.4  # seconds that others may stand behind a request of ours that was not polled for
_TERMINATE_AFTER = 0.6  # seconds after a cancellation: who holds a lock and executes nothing cannot be cancelled

_ACTIVE = """
    SELECT pid, coalesce(wait_event_type = 'Lock', false) FROM pg_stat_activity
    WHERE pid = ANY(%s) AND state = 'active'"""
_USE = """
    SELECT sum(pg_stat_get_numscans(oid) + pg_stat_get_tuples_fetched(oid) + pg_stat_get_tuples_inserted(oid)
               + pg_stat_get_tuples_updated(oid) + pg_stat_get_tuples_deleted(oid))::int8
    FROM (SELECT unnest(%s::oid[]) UNION SELECT indexrelid FROM pg_index WHERE indrelid = ANY(%s::oid[])) r (oid)"""
_OTHERS = """
    SELECT EXISTS (SELECT FROM pg_stat_activity a
        WHERE a.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND a.pid <> pg_backend_pid() AND a.application_name IS DISTINCT FROM %s
        AND NOT EXISTS (SELECT FROM pg_locks f WHERE f.pid = a.pid AND f.locktype = 'advisory' AND f.objsubid = 2
                        AND f.classid = %s AND f.objid = %s))
    OR EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())"""
_TRANSACTIONS = """
    SELECT pid, virtualtransaction FROM pg_locks WHERE locktype = 'virtualxid' AND granted AND pid = ANY(%s)"""
_SIZE = """
    SELECT coalesce(sum(relpages::int8), 0) * current_setting('block_size')::int8 FROM pg_class
    WHERE oid = ANY(%(o)s::oid[]) OR oid IN (SELECT reltoastrelid FROM pg_class WHERE oid = ANY(%(o)s::oid[]))"""


class Neighbours:
    """What the gate (`steps.table_locks`) asks while it polls, in the run's own thread."""

    def __init__(self, session: Session, settings: Settings, log: Log) -> None:
        self._session, self._settings, self._log = session, settings, log
        self._reporter = Reporter(settings, log)
        self._alone, self._counted = False, -_FRESH

    def holders(self, locks: Sequence[Lock]) -> list[Blocker]:
        try:
            connection = self._session.connection
            ours = job_locks.work_pids(connection, self._session.run.key)
            wanted = [(lock.oid, lock.mode) for lock in locks]
            return gateway.holders(connection, wanted, ours, statements=self._settings.log_queries == "on")
        except psycopg2.Error:  # the keeper regains that connection, or ends the run
            return []

    def blocked(self, locks: Sequence[Lock], blockers: list[Blocker], seconds: float) -> None:
        try:
            self._reporter.blocked([lock.name for lock in locks], blockers, seconds, [], self._session.connection)
        except psycopg2.Error:
            pass

    def in_use(self, locks: Sequence[Lock]) -> bool:
        oids = [lock.oid for lock in locks]
        try:
            end = time.monotonic() + _IN_USE
            before = query(self._session.connection, _USE, oids, oids)
            while time.monotonic() < end:
                everybody = [Lock(lock.oid, lock.name, lock.kind, Mode.ACCESS_EXCLUSIVE) for lock in locks]
                if any(blocker.kind == "client" for blocker in self.holders(everybody)):
                    return True
                time.sleep(0.1)
            return query(self._session.connection, _USE, oids, oids) != before
        except psycopg2.Error:
            return False

    def alone(self) -> bool:
        now = time.monotonic()
        if now - self._counted > _FRESH:
            self._counted = now
            try:
                [[others]] = query(
                    self._session.connection,
                    _OTHERS,
                    self._session.run.application_name[:63],
                    job_locks.FENCE_CLASS,
                    self._session.run.key,
                )
                self._alone = not others
            except psycopg2.Error:
                self._alone = False
        return self._alone

    def seen_by_others(self, oids: Sequence[int]) -> bool:
        rows = query(self._session.connection, "SELECT 1 FROM pg_class WHERE oid = ANY(%s::oid[]) LIMIT 1", list(oids))
        return bool(rows)

    def transactions(self, pids: Sequence[int]) -> dict[int, str]:
        return dict(query(self._session.connection, _TRANSACTIONS, list(pids)))

    def check_own(self, locks: Sequence[Lock], pid: int) -> None:
        ours = job_locks.work_pids(self._session.connection, self._session.run.key)
        wanted = [(lock.oid, lock.mode) for lock in locks]
        for blocker in gateway.holders(self._session.connection, wanted, [pid]):
            if blocker.pid in ours:
                raise waits_for_itself(f"LOCK TABLE {', '.join(lock.name for lock in locks)}")

    def size(self, locks: Sequence[Lock]) -> int:
        try:
            with self._session.connection.cursor() as cursor:
                cursor.execute(_SIZE, {"o": [lock.oid for lock in locks]})
                return int(cursor.fetchone()[0])
        except psycopg2.Error:
            return 0


class Reporter:
    """Says who is in the way, every few seconds, and ends those that may be ended."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self._settings, self._log = settings, log
        self._said = 0.0

    def blocked(
        self, what: list[str], blockers: list[Blocker], seconds: float, behind: Sequence[Waiter], connection: Connection
    ) -> None:
        """After a wait of `seconds` for `what`. Raises `psycopg2.Error`."""
        if self._settings.terminate_blockers is not None:
            self._end(blockers, self._settings.terminate_blockers, connection)
        now = time.monotonic()
        if seconds < _FIRST_REPORT or now - self._said < self._settings.heartbeat:
            return
        self._said = now
        self._log.warning(
            "lock.blocked",
            waiting_for=what,
            waited_seconds=round(seconds, 1),
            behind_us=len(behind),
            blockers=[blocker.as_fields() for blocker in blockers],
        )

    def _end(self, blockers: list[Blocker], idle: float, connection: Connection) -> None:
        outcome = gateway.terminate_idle(connection, blockers, idle)
        for blocker in outcome.ended:
            self._log.warning("blocker.ended", **blocker.as_fields(), setting="MIGRATE_TERMINATE_BLOCKERS")
        for blocker in outcome.refused:
            self._log.warning(
                "blocker.not_ended", **blocker.as_fields(), reason="this role may not: GRANT pg_signal_backend"
            )


class Observer:
    """Watches, from a thread and a connection of its own, what a run's work does to others, and how far it is.

    Where it must not go on `verdict` becomes the reason, and what executes is cancelled.
    """

    def __init__(self, session: Session, settings: Settings, gate: TableLocks, log: Log) -> None:
        self._session, self._settings, self.gate, self._log = session, settings, gate, log
        self._reporter = Reporter(settings, log)
        self._mutex = threading.Lock()
        self._verdict: JobError | TryAgain | None = None
        self._ending_since = self._cancelled = 0.0  # when it was cancelled first and last
        self._wake = threading.Event()
        self._over = False
        self._connection: Connection | None = None
        self._next_attempt = 0.0
        self._waiting_since: float | None = None
        self._counted = 0.0
        self._waiting_for_us: float | None = None  # since when somebody has been, with lulls
        self._seen_waiting = 0.0
        self._progressed = 0.0
        self._working_since: float | None = None
        self._thread: threading.Thread | None = None

    def start(self, anew: bool) -> None:
        """Work begins, if not earlier; `anew` where nothing is held from before."""
        if anew or self._working_since is None:
            self._working_since = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="alembic-job-observer", daemon=True)
            self._thread.start()

    def rest(self) -> None:
        """The work is over, and nothing is held."""
        self._working_since = None

    def close(self) -> None:
        self._over = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
        if self._connection is not None:
            self._connection.close()

    def take_verdict(self, cancelled: bool) -> JobError | TryAgain | None:
        """Why the work had to end, once; `cancelled`: a statement of it was cancelled, by whomever."""
        with self._mutex:
            verdict, self._verdict = self._verdict, None
            if verdict is None and cancelled and time.monotonic() - self._cancelled < 1.0:
                return TryAgain("a cancellation came late")
            return verdict

    def _run(self) -> None:
        while not self._over:
            self._wake.wait(_EVERY)
            if self._over:
                return
            since = self._working_since
            if since is None or time.monotonic() - since < _BRIEF:
                continue
            try:
                self._observe()
            except (psycopg2.Error, JobError):
                if self._connection is not None:
                    self._connection.close()
                self._connection = None  # a new one at the next look

    def _observe(self) -> None:
        connection = self._own_connection() or self._session.connection
        ours = job_locks.work_pids(connection, self._session.run.key)
        active = query(connection, _ACTIVE, ours) if ours else []
        waiters = gateway.behind(connection, ours, statements=False) if ours else []
        waiting = next((pid for pid, waits in active if waits), None)
        self._judge(waiters, waiting, connection, ours)
        if active and waiting is None:
            self._tell_progress(connection, [pid for pid, _ in active])

    def _own_connection(self) -> Connection | None:
        """A connection for looking; none for a while where the server has none left. Then the run's own must do."""
        if self._connection is None and time.monotonic() >= self._next_attempt:
            self._next_attempt = time.monotonic() + _NEXT_ATTEMPT
            try:
                self._connection = self._session.fresh(hurry=True)
            except (psycopg2.Error, JobError) as error:
                self._log.debug("observer.shares", reason=" ".join(str(error).split()))
        return self._connection

    def _judge(self, waiters: list[Waiter], waiting: int | None, connection: Connection, ours: list[int]) -> None:
        longest = self._longest(waiters)
        bound = self.gate.rules.max_lock_hold
        if waiting is not None:
            self._account(waiting, waiters, connection, ours)
        else:
            self._waiting_since = None
        if self.gate.on and waiting is not None and waiters and longest >= _QUEUED and self.gate.may_restart():
            self._end(TryAgain("a lock was waited for, and others waited behind"))
        elif bound is not None and waiters and longest >= bound - _EVERY - 0.1 and (self.gate.on or waiting is None):
            self._end(_held_too_long(bound, waiters, self.gate))
        elif self._verdict is not None:
            self._end(self._verdict)

    def _longest(self, waiters: list[Waiter]) -> float:
        """How long somebody has been waiting, be it one after the other: who gives up is followed by the next."""
        now = time.monotonic()
        if waiters:
            self._seen_waiting = now
            self._waiting_for_us = now if self._waiting_for_us is None else self._waiting_for_us
        elif now - self._seen_waiting > _LULL:
            self._waiting_for_us = None
        together = 0.0 if self._waiting_for_us is None else now - self._waiting_for_us
        return max([together, *(waiter.waited_seconds for waiter in waiters)])

    def _account(self, pid: int, waiters: list[Waiter], connection: Connection, ours: list[int]) -> None:
        """Our own statement waits: says for whom, and ends it when the budget is spent."""
        now = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = self._counted = now
        if not self.gate.polling:
            self.gate.budget.spent += now - self._counted
        self._counted = now
        waited = now - self._waiting_since
        blockers = gateway.blocking(connection, pid, ours, statements=self._settings.log_queries == "on")
        what = sorted({lock for blocker in blockers for lock in blocker.locks}) or ["a lock"]
        self._reporter.blocked(what, blockers, waited, waiters, connection)
        if self.gate.budget.left <= 0:
            self._end(not_won((), self.gate.budget.limit, blockers))

    def _end(self, verdict: JobError | TryAgain) -> None:
        """Cancels what executes, again until the run has noticed; ends it where nothing executes."""
        with self._mutex:
            self._cancelled = time.monotonic()
            if self._verdict is None:
                self._verdict, self._ending_since = verdict, self._cancelled
            terminate = self._cancelled - self._ending_since > _TERMINATE_AFTER
            job_locks.stop_work(self._connection or self._session.connection, self._session.run.key, terminate)

    def _tell_progress(self, connection: Connection, active: list[int]) -> None:
        now = time.monotonic()
        if now - self._progressed < self._settings.heartbeat:
            return
        for step in progress(connection, active):
            if (step.seconds or 0.0) < self._settings.heartbeat:
                continue
            self._progressed = now
            self._log.info("statement.progress", message=bar(step), **step.as_fields())


def _held_too_long(bound: float, waiters: list[Waiter], gate: TableLocks) -> Refused:
    return Refused(
        f"{len(waiters)} session{'s' if len(waiters) > 1 else ''} waited behind locks of this revision for {bound:g} s:"
        " it was cancelled and undone",
        hint=advice(bool(gate.last and gate.last.rewrites)),
        waiting=[_known(waiter._asdict()) for waiter in waiters[:10]],
    )


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields without those that say nothing, numbers rounded."""
    return {
        name: round(value, 1) if isinstance(value, float) else value
        for name, value in fields.items()
        if value is not None
    }
