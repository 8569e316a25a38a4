"""The last proof of a backup: it is restored into a scratch database, where each table must have its rows again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from typing import NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import JobError, SettingsError
from alembic_job.gateways import databases, encryption, pg_restore, postgres, programs, scratch
from alembic_job.gateways.archives import Archive
from alembic_job.logs.events import Log
from alembic_job.watch import Watch

_NAME = "alembic-job backup"
_TIDYING = 20.0  # seconds that a run which was interrupted has to drop the scratch database; Kubernetes gives 30
_PURPOSE = "to restore a backup into (MIGRATE_BACKUP_VERIFY=restore)"
_MAY_NOT = (
    "ALTER ROLE … CREATEDB; or let MIGRATE_REHEARSAL_URL name a server and a role that may make databases there; or"
    " MIGRATE_BACKUP_VERIFY=read"
)
_OTHERWISE = (
    "nothing was changed; let MIGRATE_REHEARSAL_URL name a server and a role that can restore it, or"
    " MIGRATE_BACKUP_VERIFY=read"
)


class Trial(NamedTuple):
    """Where a backup is restored to prove it: on the server of `other`, an `embedded` one, else the database's own.

    `watch` is the run's; `identity` decrypts what is encrypted.
    """

    watch: Watch
    other: Dsn | None = None
    embedded: bool = False
    identity: str | None = None

    def check(self, recipients: tuple[str, ...]) -> None:
        """Raises `SettingsError` if a backup encrypted to these could not be read."""
        if not recipients:
            return
        if self.identity is None:
            raise SettingsError(
                "MIGRATE_BACKUP_VERIFY=restore reads what is stored, and MIGRATE_BACKUP_IDENTITY is not set: the backup"
                " is encrypted",
                hint="set MIGRATE_BACKUP_IDENTITY_FILE to an identity of one of the recipients, or"
                " MIGRATE_BACKUP_VERIFY=read, which proves it before it is encrypted",
            )
        if not encryption.opens(self.identity, recipients):
            raise encryption.wrong_identity()


class Place:
    """A server on which the scratch database can be made; `beside` is a connection to another database there."""

    def __init__(self, trial: Trial, dsn: Dsn, beside: Connection, words: str, log: Log) -> None:
        self._trial, self._dsn, self._beside, self._words, self._log = trial, dsn, beside, words, log

    def prove(self, found: programs.Programs, archive: Archive, jobs: int, heartbeat: float) -> None:
        """Restores the archive and counts. Raises what `pg_restore.restore` and `verify` raise; the database is gone in
        any case."""
        trial, beside, manifest = self._trial, self._beside, archive.manifest
        name = scratch.name_of(manifest.run_id)
        dsn = scratch.dsn_of(beside, self._dsn, name)
        again = partial(postgres.connect, databases.at(dsn, beside.info.dbname), _NAME)
        locale = {} if trial.embedded else manifest.locale
        begun = time.monotonic()
        self._log.info("backup.restoring", database=name, server=self._words)
        try:
            with scratch.database(beside, name, locale, again, trial.watch.settle, self._log):
                major, tell = beside.server_version // 10_000, self._teller(name)
                pg_restore.restore(found, dsn, archive.source, jobs, major, tell, heartbeat, rows_only=True)
                with closing(postgres.connect(dsn, _NAME)) as inside, _interruptible(trial.watch, inside):
                    tables, rows = pg_restore.verify(inside, manifest)
        except JobError as error:
            text = f"the backup could not be proven by restoring it on {self._words}: {error}"
            raise type(error)(text, hint=error.hint if error.retryable else _OTHERWISE, **error.fields) from error
        trial.watch.resume()
        seconds = round(time.monotonic() - begun, 3)
        self._log.info("backup.restored", database=name, tables=tables, rows=rows, duration_seconds=seconds)

    def _teller(self, name: str) -> Callable[[], None]:
        begun = time.monotonic()

        def tell() -> None:
            with suppress(psycopg2.Error):  # only a word: what it means is found out later
                [[size]] = postgres.query(self._beside, "SELECT pg_database_size(%s)", name)
                seconds = round(time.monotonic() - begun, 1)
                self._log.info("restore.progress", database=name, bytes=size, seconds=seconds)

        return tell


@contextmanager
def place_of(trial: Trial, connection: Connection, dsn: Dsn, log: Log) -> Iterator[Place]:
    """The server that the trial names, without what killed runs have left there; `connection` leads to the database.

    Raises `LoginFailed` (21) if the role may not make databases, and what ends a connection.
    """
    with ExitStack() as stack:
        if trial.embedded:
            login, beside, words = _embedded(connection, stack, log)
        elif trial.other is not None:
            login = trial.other
            beside = stack.enter_context(closing(_connected(login)))
            words = f"the server at {login.place[0]}"
        else:
            database = connection.info.dbname
            login, words = scratch.dsn_of(connection, dsn, database), "the same server"
            beside = stack.enter_context(closing(databases.beside(login, database, _NAME)))
        postgres.unbound(beside)
        scratch.check_may(beside, words, _PURPOSE, _MAY_NOT)
        scratch.clear_abandoned(beside, log)
        stack.enter_context(_interruptible(trial.watch, beside))
        yield Place(trial, login, beside, words, log)


def _embedded(source: Connection, stack: ExitStack, log: Log) -> tuple[Dsn, Connection, str]:
    folder = stack.enter_context(scratch.folder(log))
    made = stack.enter_context(scratch.embedded_server(source.server_version // 10_000, folder))
    login = {"host": "127.0.0.1", "port": str(made.port), "user": "postgres", "dbname": "postgres"}
    beside = stack.enter_context(closing(_connected(Dsn({**login, "password": made.password}))))
    passwords = scratch.copy_roles(source, beside)  # policies name them
    dsn = Dsn({**login, "password": passwords.get("postgres", made.password)})
    return dsn, beside, f"an embedded server of PostgreSQL {made.major}"


def _connected(dsn: Dsn) -> Connection:
    try:
        return postgres.connect(dsn, _NAME)
    except psycopg2.OperationalError as error:
        problem = postgres.connect_error(error)
        raise problem.kind(f"{dsn.redacted()}: {problem.message}", hint=problem.hint) from error


@contextmanager
def _interruptible(watch: Watch, connection: Connection) -> Iterator[None]:
    """A signal cancels what the connection executes, and leaves the run the time to drop its database."""
    before, patience = watch.cancel, watch.leave_after

    def cancel(terminate: bool) -> None:
        if not connection.closed:
            connection.cancel()
        before(terminate)

    watch.cancel = cancel
    watch.leave_after += _TIDYING
    try:
        yield
    finally:
        watch.cancel, watch.leave_after = before, patience
