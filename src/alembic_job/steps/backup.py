"""Step 6: a dump that is proven readable before the first change, and the old ones that may go after it."""

from __future__ import annotations

from datetime import UTC, datetime

from alembic_job.dsn import Dsn
from alembic_job.errors import BackupNotWritten
from alembic_job.gateways import backups
from alembic_job.gateways.backups import Manifest
from alembic_job.logs.events import Log
from alembic_job.rules.retention import expired
from alembic_job.settings import Settings


def back_up(settings: Settings, dsn: Dsn, run_id: str, log: Log) -> None:
    """Takes the backup that the settings ask for, if any."""
    if settings.backup != "off" and settings.backup_url:
        take(settings, dsn, run_id, log)


def take(settings: Settings, dsn: Dsn, run_id: str, log: Log) -> Manifest:
    """Takes a proven backup now. Raises what `gateways.pg_dump.dump` raises."""
    from alembic_job.gateways.pg_dump import DumpOptions, dump

    folder = backups.folder_of(settings.backup_url, make=True)
    options = DumpOptions(
        bindir=settings.pg_bindir,
        run_id=run_id,
        jobs=settings.backup_jobs,
        compress=settings.backup_compress,
        verify=settings.backup_verify,
        image=settings.image,
        heartbeat=settings.heartbeat,
    )
    taken = dump(dsn, folder, options, log)
    if settings.backup_keep is not None or settings.backup_keep_for is not None:
        prune(settings, [backup for backup in backups.backups(folder) if backup.database == taken.database], log)
    return taken


def prune(settings: Settings, candidates: list[Manifest], log: Log, *, dry_run: bool = False) -> list[Manifest]:
    """Removes the backups that MIGRATE_BACKUP_KEEP and MIGRATE_BACKUP_KEEP_FOR do not keep; returns them.

    What cannot be removed is said and left: the backup that was just taken is worth more than the place.
    """
    folder = backups.folder_of(settings.backup_url)
    gone = expired(candidates, settings.backup_keep, settings.backup_keep_for, datetime.now(UTC))
    for backup in gone:
        fields = {"path": str(folder / backup.name), "taken_at": backup.taken_at, "bytes": backup.size}
        if dry_run:
            log.info("backup.expired", **fields)
            continue
        try:
            backups.remove(folder, backup)
        except BackupNotWritten as error:
            log.warning("backup.not_removed", **fields, reason=str(error))
        else:
            log.info("backup.removed", **fields)
    return gone
