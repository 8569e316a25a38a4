"""`restore`: a backup into a new database, which counts when it holds what the backup held, and may then take the
place of the old one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import JobError, Refused, SettingsError, UsageError
from alembic_job.gateways import backups, database_properties, databases, pg_restore, postgres, server_disk, swapping
from alembic_job.gateways.archives import Archive
from alembic_job.gateways.backups import Manifest
from alembic_job.gateways.programs import Programs
from alembic_job.identity import Identity
from alembic_job.logs.events import Log
from alembic_job.model import Report
from alembic_job.pipeline.backups import choose
from alembic_job.pipeline.failure import classify, concluded
from alembic_job.pipeline.other import database_of
from alembic_job.settings import Settings
from alembic_job.steps.disk import check_restore
from alembic_job.steps.pooler import check_pooler
from alembic_job.steps.wait import wait_for_primary
from alembic_job.watch import Watch

_TIDYING = 20.0  # seconds that a restore which was interrupted has to drop its database; Kubernetes gives 30


def restore(
    settings: Settings,
    *,
    log: Log,
    watch: Watch,
    identity: Identity,
    name: str | None = None,
    into: str | None = None,
    swap: bool = False,
    yes: bool = False,
    jobs: int = 1,
    **_: Any,
) -> Report:
    """Restores the backup called `name`, else the newest of this database, into a new one, by `jobs` processes.

    The new one is called `into` or after the old one, whose place it takes in a `swap`. Without `yes` it only says
    what it would do and raises `Refused` (26). The steps say what else they raise; then the new database is dropped
    again, unless it was verified before.
    """
    report = Report("restore", identity.run_id)
    with concluded(report, watch, _reworded):
        _Restore(settings, log, watch, identity, report).run(name, into, swap, yes, jobs)
    return report


def _reworded(reason: BaseException) -> BaseException:
    """What the server said on one of our own connections, as the error it means."""
    return classify(reason, None, None, in_project=False) if isinstance(reason, psycopg2.Error) else reason


class _Restore:
    """One restore: what its steps share."""

    def __init__(self, settings: Settings, log: Log, watch: Watch, identity: Identity, report: Report) -> None:
        self._settings, self._log, self._watch, self._identity, self._report = settings, log, watch, identity, report
        self._dsn = database_of(settings)
        self._stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        self._connections: list[Connection] = []  # whose statements a signal cancels
        self._rescue = databases.Rescue(self._beside, watch.settle)

    def run(self, name: str | None, into: str | None, swap: bool, yes: bool, jobs: int) -> None:
        """The steps, in order."""
        begun = time.monotonic()
        self._database = self._name_of_database()
        target = _checked(into) or databases.with_suffix(self._database, f"_restored_{self._stamp}")
        manifest, archive = self._find(name)
        self._plan(manifest, target, swap, yes)
        with closing(self._connected()) as connection:
            found = self._check(connection, manifest, archive, target, swap)
            with self._tidying(connection):
                with databases.made(connection, target, manifest.locale, self._rescue, self._log):
                    self._fill(connection, found, archive, target, jobs)
                    tables, rows = self._finish(connection, manifest, target)
                self._report.fields["database"] = target
                if swap:
                    self._swap(connection, target)
        self._log.info(
            "restore.finished",
            database=self._report.fields["database"],
            backup=manifest.name,
            bytes=manifest.size,
            tables=tables,
            rows=rows,
            duration_seconds=round(time.monotonic() - begun, 3),
        )

    def _name_of_database(self) -> str:
        """Of the database that the settings name, which need not be there any more."""
        if name := self._dsn.parameters.get("dbname") or os.environ.get("PGDATABASE"):
            return name
        with closing(self._waited_for()) as connection:
            return str(connection.info.dbname)

    def _find(self, name: str | None) -> tuple[Manifest, Archive]:
        """The backup and its archive. Raises `SettingsError` (20), `BackupNotWritten` (15: no answer)."""
        store = backups.store_of(self._settings.backup_url)
        manifest = choose(store, store.manifests(), name, self._database)
        archive = Archive(store, manifest, self._settings.backup_identity)
        if not archive.exists():
            raise SettingsError(
                f"the archive {archive.place} is gone, only its manifest is there",
                hint="restore another backup (`alembic-job backup list`), or bring the archive back",
            )
        archive.check_readable()
        return manifest, archive

    def _plan(self, manifest: Manifest, target: str, swap: bool, yes: bool) -> None:
        """Says what is going to happen. Raises `Refused` (26) where nobody has consented to it, or must not."""
        if swap and manifest.partial:
            raise Refused(
                f"{manifest.name} is a partial backup ({' '.join(manifest.arguments)}): what it lacks would be missing"
                f" from {self._database}; nothing was touched",
                hint="restore it beside, without --swap, and copy over what is needed; or choose a whole backup"
                " (`alembic-job backup list`)",
            )
        self._log.info(
            "restore.planned",
            backup=manifest.name,
            taken_at=manifest.taken_at,
            revision=manifest.revision,
            bytes=manifest.size,
            server_version=manifest.server_version,
            partial=manifest.partial,
            into=target,
            swap=swap,
            needs_bytes=manifest.database_size,
            free_bytes=self._free(),
        )
        if yes:
            return
        place = f", which then takes the place of {self._database}" if swap else ""
        raise Refused(
            f"{manifest.name}, taken at {manifest.taken_at} at revision {manifest.revision}, would be restored into the"
            f" new database {target}{place}; nothing was touched",
            hint="add --yes if that is what you want",
        )

    def _free(self) -> int | None:
        """Free bytes on the server, to be told; `None` if they are not known, or it is not there yet."""
        try:
            with closing(self._beside()) as connection:
                return server_disk.free(connection, self._settings.server_disk)
        except (psycopg2.Error, JobError):
            return None

    def _waited_for(self) -> Connection:
        settings = self._settings
        name = self._identity.application_name
        return wait_for_primary(self._dsn, name, settings.wait_timeout, settings.login_grace, self._log)

    def _beside(self) -> Connection:
        return databases.beside(self._dsn, self._database, self._identity.application_name)

    def _connected(self) -> Connection:
        """A connection beside the database, which is not waited for if the server answers: it may be gone."""
        connection = None
        try:
            connection = self._beside()
            ready = not postgres.server_state(connection).in_recovery
        except psycopg2.OperationalError:
            ready = False
        if connection is None or not ready:
            self._waited_for().close()
            connection = self._beside()
        check_pooler(connection, databases.at(self._dsn, connection.info.dbname), self._log)
        return connection

    def _check(self, connection: Connection, manifest: Manifest, archive: Archive, target: str, swap: bool) -> Programs:
        """What can be known before anything is made; returns the programs to restore with."""
        if databases.exists(connection, target):
            raise databases.taken(target)
        if swap:
            swapping.check(connection, self._database)
        found = pg_restore.find(self._settings.pg_bindir, manifest)
        check_restore(manifest, server_disk.free(connection, self._settings.server_disk), self._log)
        if archive.file:  # else its hash is found while it flows into the new database
            pg_restore.check(archive.file, manifest)
        return found

    @contextmanager
    def _tidying(self, connection: Connection) -> Iterator[None]:
        """Gives a run that is to end the time to drop its database: the watch alone would leave after 0.6 s."""
        watch = self._watch
        timers: list[threading.Timer] = []
        cancel, leave = watch.cancel, watch.leave
        self._connections.append(connection)

        def stop(_terminate: bool) -> None:
            if leave is not None and watch.stopped is not None and not timers:
                timers.append(threading.Timer(_TIDYING, leave, (watch.stopped,)))
                timers[0].daemon = True
                timers[0].start()
            for each in self._connections:
                if not each.closed:
                    each.cancel()

        watch.cancel, watch.leave = stop, None
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()
            watch.cancel, watch.leave = cancel, leave

    def _fill(self, connection: Connection, found: Programs, archive: Archive, target: str, jobs: int) -> None:
        """pg_restore, with a word of how large the database is by now."""
        begun = time.monotonic()

        def tell() -> None:
            with suppress(psycopg2.Error):  # only a word: what it means is found out later
                [[size]] = postgres.query(connection, "SELECT pg_database_size(%s)", target)
                seconds = round(time.monotonic() - begun, 1)
                self._log.info("restore.progress", database=target, bytes=size, seconds=seconds)

        self._log.info("restore.started", backup=archive.manifest.name, database=target, jobs=jobs)
        dsn, major = databases.at(self._dsn, target), connection.server_version // 10_000
        with nullcontext(archive.source) if archive.file or jobs == 1 else archive.fetched() as source:
            pg_restore.restore(found, dsn, source, jobs, major, tell, self._settings.heartbeat)

    def _finish(self, connection: Connection, manifest: Manifest, target: str) -> tuple[int, int]:
        """Gives the new database what an archive does not carry, then proves it; returns its tables and rows."""
        sources = [name for name in (manifest.database, self._database) if databases.exists(connection, name)]
        # Connected before that: the privileges and the limit that it gets may keep this role out.
        with closing(postgres.connect(databases.at(self._dsn, target), self._identity.application_name)) as inside:
            self._connections.append(inside)
            if sources:
                database_properties.take_over(connection, sources[0], target, self._log)
            tables, rows = pg_restore.verify(inside, manifest)
            self._log.info("restore.verified", database=target, tables=tables, rows=rows)
            database_properties.analyze(inside, target, self._log)
        return tables, rows

    def _bare(self, name: str) -> Connection:
        """A connection to that database as it comes, for `swapping`."""
        place = {**self._dsn.parameters, "dbname": name, "target_session_attrs": "read-write"}
        dsn = Dsn(place, password_command=self._dsn.password_command)
        return postgres.attach(dsn, self._identity.application_name, timeout=10)

    def _swap(self, connection: Connection, target: str) -> None:
        """Lets the restored database take the place of the old one, which keeps its data under a dated name."""
        before = databases.with_suffix(self._database, f"_before_restore_{self._stamp}")
        names = swapping.Names(self._database, target, before)
        try:
            with closing(self._bare(connection.info.dbname)) as renaming:
                self._connections.append(renaming)
                seconds = swapping.swap(renaming, names, self._watch.check, self._rescue)
        except (JobError, psycopg2.Error) as error:
            reason = classify(error, None, None, in_project=False)
            message = f"{self._database} stays as it is, and what was restored and verified is in {target}: {reason}"
            raise type(reason)(message, hint=reason.hint, **reason.fields) from error
        self._report.fields |= {"database": self._database, "before": before}
        self._log.info("restore.swapped", database=self._database, before=before, downtime_seconds=round(seconds, 3))


def _checked(into: str | None) -> str | None:
    """The name given for the new database. Raises `UsageError`."""
    if into is not None and not 0 < len(into.encode()) <= 63:
        raise UsageError("--into: a database's name has 1 to 63 bytes")
    return into
