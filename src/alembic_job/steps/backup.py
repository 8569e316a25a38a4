"""Step 6: a dump that is proven readable before the first change, and the old ones that may go after it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from alembic_job.dsn import Dsn
from alembic_job.errors import BackupNotWritten
from alembic_job.gateways import backups
from alembic_job.gateways.backups import Manifest, Store
from alembic_job.logs.events import Log
from alembic_job.rules.retention import expired
from alembic_job.settings import EMBEDDED, Settings
from alembic_job.watch import Watch

if TYPE_CHECKING:
    from alembic_job.gateways.pg_dump import DumpOptions


def back_up(settings: Settings, dsn: Dsn, run_id: str, watch: Watch, log: Log) -> None:
    """Takes the backup that the settings ask for, if any."""
    if settings.backup != "off" and settings.backup_url:
        take(settings, dsn, run_id, watch, log)


def take(settings: Settings, dsn: Dsn, run_id: str, watch: Watch, log: Log) -> Manifest:
    """Takes a proven backup now. Raises what `gateways.pg_dump.dump` raises."""
    from alembic_job.gateways.pg_dump import dump

    store = backups.store_of(settings.backup_url, make=True)
    taken = dump(dsn, store, _options(settings, run_id, watch), log)
    if settings.backup_keep is not None or settings.backup_keep_for is not None:
        _prune_after(settings, store, taken, log)
    return taken


def check(settings: Settings, watch: Watch) -> None:
    """Raises what can be known of a backup before there is a database, such as `SettingsError`."""
    from alembic_job.gateways import pg_dump

    pg_dump.check(backups.store_of(settings.backup_url, make=True), _options(settings, "", watch))


def _options(settings: Settings, run_id: str, watch: Watch) -> DumpOptions:
    from alembic_job.gateways.pg_dump import DumpOptions
    from alembic_job.gateways.proving import Trial

    embedded = settings.rehearsal_url == EMBEDDED
    trial = Trial(watch, settings.rehearsal, embedded, settings.backup_identity)
    return DumpOptions(
        bindir=settings.pg_bindir,
        run_id=run_id,
        jobs=settings.backup_jobs,
        compress=settings.backup_compress,
        verify=settings.backup_verify,
        encrypt_to=settings.backup_encrypt_to or (),
        image=settings.image,
        heartbeat=settings.heartbeat,
        arguments=settings.backup_args or (),
        trial=trial if settings.backup_verify == "restore" else None,
    )


def _prune_after(settings: Settings, store: Store, taken: Manifest, log: Log) -> None:
    """The backup is there: that the store refuses to list the others now does not fail the run."""
    try:
        mine = [backup for backup in store.manifests() if backup.database == taken.database]
    except BackupNotWritten as error:
        log.warning("backup.not_removed", path=store.place, reason=str(error))
    else:
        prune(settings, store, mine, log)


def prune(
    settings: Settings, store: Store, candidates: list[Manifest], log: Log, *, dry_run: bool = False
) -> list[Manifest]:
    """Removes the backups that MIGRATE_BACKUP_KEEP and MIGRATE_BACKUP_KEEP_FOR do not keep; returns them.

    What cannot be removed is said and left: the backup that was just taken is worth more than the place.
    """
    gone = expired(candidates, settings.backup_keep, settings.backup_keep_for, datetime.now(UTC))
    for backup in gone:
        fields = {"path": store.at(backup.name), "taken_at": backup.taken_at, "bytes": backup.size}
        if dry_run:
            log.info("backup.expired", **fields)
            continue
        try:
            store.remove(backup)
        except BackupNotWritten as error:
            log.warning("backup.not_removed", **fields, reason=str(error))
        else:
            log.info("backup.removed", **fields)
    return gone
