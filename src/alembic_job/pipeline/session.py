"""The run's own side of one database: the connection that holds its locks, and how its work there is stopped."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import JobError, MigrationFailed
from alembic_job.gateways import hygiene, locks, postgres
from alembic_job.gateways.keeper import Keeper
from alembic_job.identity import Identity, key_of
from alembic_job.logs.events import Log
from alembic_job.rules.effect import Lock
from alembic_job.settings import Settings
from alembic_job.steps.lock import acquire, clear_orphans
from alembic_job.steps.pooler import check_pooler
from alembic_job.steps.wait import wait_for_primary
from alembic_job.watch import Watch, lock_lost


class Session:
    """One database that the run has reached, with the first lock (the whole database) held until `narrow`."""

    def __init__(self, dsn: Dsn, settings: Settings, identity: Identity, watch: Watch, log: Log) -> None:
        self.dsn, self.settings, self.run, self.watch, self.log = dsn, settings, identity, watch, log
        self.connection: Connection = wait_for_primary(
            dsn, identity.application_name, settings.wait_timeout, settings.login_grace, log
        )
        check_pooler(self.connection, dsn, log)
        postgres.sign(self.connection, settings.image)
        self.identity = postgres.identity(self.connection)
        # A password command may take longer than a signal may: who has one keeps a connection ready for that.
        self._control: Connection | None = self._plain() if dsn.password_command else None
        self._control_mutex = threading.Lock()
        locks.announce_run(self.connection, identity.key)
        self._self_waits = 0
        self._said: set[tuple[str, ...]] = set()
        self._closed = self._database_held = False
        self._tables: set[int] = set()
        self._keeper = self._keep()

    def hold_database(self) -> None:
        """The first lock: nobody else loads an env.py against this database meanwhile. Raises `RunLocked`."""
        acquire(self.connection, locks.DATABASE_KEY, "the database", self.settings.run_lock_timeout, self.log)
        self._database_held = True
        clear_orphans(self.connection, self.settings.run_lock_timeout, self.log)

    def narrow(self, label: str) -> None:
        """From the database's lock to one version table's, which is kept until the run ends. Raises `RunLocked`.

        If the table's lock is not free the first one is given back before waiting: projects that share the database
        must not wait for one that they have nothing to do with.
        """
        key = key_of(label) or 1
        if key in self._tables:
            return
        if not locks.try_lock(self.connection, key):
            self._release_database()
            acquire(self.connection, key, label, self.settings.run_lock_timeout, self.log)
        # Also where it was free: its owner may have been killed since the database's lock was taken.
        clear_orphans(self.connection, self.settings.run_lock_timeout, self.log)
        self._tables.add(key)
        self._release_database()
        self.log.debug("lock.narrowed", lock=label)

    def _release_database(self) -> None:
        if self._database_held:
            locks.unlock(self.connection, locks.DATABASE_KEY)
            self._database_held = False

    def settle(self, connection: Any, dsn: Dsn) -> None:
        """Makes a connection of the project's, which leads to `dsn`, fit for a migration; says what was lifted.

        Raises `LoginFailed` (21) for a role that cannot be taken, `SettingsError` (20) for a pooler that this run has
        not seen yet and that loses sessions.
        """
        if dsn.place != self.dsn.place and hygiene.is_proxied(connection):
            with closing(postgres.connect(dsn, self.run.application_name)) as own:
                check_pooler(own, dsn, self.log)
        settings = self.settings
        # Whoever wants PostgreSQL's own way of waiting for locks has the bounds that were set for it, too.
        keep = ("lock_timeout",) if settings.lock_policy == "off" else ()
        name = self.run.application_name
        settled = hygiene.settle(connection, name, settings.role, settings.search_path, keep=keep)
        lifted = [timeout for timeout in settled.lifted if timeout not in self._said]
        if lifted:
            self.log.info("session.timeouts_lifted", timeouts=[timeout._asdict() for timeout in lifted])
        if settled.missing and settled.missing not in self._said:
            self.log.warning(
                "session.schema_missing",
                schemas=list(settled.missing),
                message=f"MIGRATE_SEARCH_PATH names schemas that are not there: {', '.join(settled.missing)}",
                hint="make them first, or in a revision; until then PostgreSQL passes over them",
            )
        self._said.update(lifted, [settled.missing])

    def fresh(self, *, hurry: bool = False) -> Connection:
        """A new connection of our own; the caller closes it. Raises `psycopg2.OperationalError`.

        It can read what MIGRATE_ROLE can. In a `hurry` the last password will do, where a command gives it.
        """
        connection = self._plain(hurry=hurry)
        if self.settings.role is not None:
            postgres.query(connection, hygiene.to_read_as(self.settings.role, local=False))
        return connection

    def _plain(self, *, hurry: bool = False) -> Connection:
        return postgres.connect(self.dsn, self.run.application_name, hurry=hurry)

    def still_there(self, locks: Sequence[Lock]) -> tuple[Lock, ...]:
        """Those of these whose relations everybody sees, by their names of now."""
        if not locks:
            return ()
        rows = postgres.query(
            self.connection,
            "SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY(%s::oid[])",
            [lock.oid for lock in locks],
        )
        names = dict(rows)
        return tuple(replace(lock, name=names[lock.oid]) for lock in locks if lock.oid in names)

    def stop_work(self, terminate: bool) -> None:
        """Cancels or ends, from any thread, what the run's work connections execute here."""
        with self._control_mutex:
            if self._control is None:
                self._control = postgres.connect(self.dsn, self.run.application_name, timeout=2, hurry=True)
            try:
                locks.stop_work(self._control, self.run.key, terminate)
            except psycopg2.Error:
                self._control.close()
                self._control = None  # a new one at the next try
                raise

    def _keep(self) -> Keeper:
        return Keeper(self.connection, self._regain, self._look_for_self_waits)

    def _regain(self) -> None:
        """From the keeper's thread, when the lock connection is gone: takes all locks anew, or ends the run.

        A migration may end every other session of the database, ours included. If nobody else has come between, the
        locks are ours again before anybody can notice; else the run stops (13).
        """
        if self._closed:
            return
        try:
            connection = self._plain(hurry=True)
            postgres.sign(connection, self.settings.image)
            locks.announce_run(connection, self.run.key)
            keys = [*self._tables, *([locks.DATABASE_KEY] if self._database_held else [])]
            if not all(locks.try_lock(connection, key) for key in keys):
                connection.close()
                raise psycopg2.OperationalError
        except (psycopg2.Error, JobError):
            self.watch.stop(lock_lost())
            return
        self.connection = connection
        self._keeper.discard()
        self._keeper = self._keep()
        self.log.warning("lock.regained", message="the connection that held the lock was lost; it was taken anew")

    def _look_for_self_waits(self) -> None:
        """From the keeper's thread: ends the run if it waits for itself, seen twice in a row."""
        waiting = locks.waiting_for_itself(self.connection, self.run.key)
        self._self_waits = self._self_waits + 1 if waiting else 0
        if self._self_waits >= 2:
            self.watch.stop(waits_for_itself(waiting[0].statement or "a statement"))

    def close(self) -> None:
        """Gives the locks back by closing the connections."""
        self._closed = True
        self._keeper.close()
        for connection in (self._control, self.connection):
            if connection is not None:
                connection.close()


def waits_for_itself(statement: str) -> MigrationFailed:
    """The error for a migration whose connections wait for each other, which PostgreSQL takes for no deadlock."""
    return MigrationFailed(
        f"the migration waits for itself: {statement!r} on one of its connections waits for the transaction that is"
        " open on another",
        hint="run that statement in an autocommit block (op.get_context().autocommit_block()) or in a revision of its"
        " own, not on a second connection",
    )
