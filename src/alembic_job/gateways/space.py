"""Room on a disk: looked at before a dump, so that one that cannot succeed is not begun."""

from __future__ import annotations

import shutil

from alembic_job.errors import BackupNotWritten
from alembic_job.gateways.backups import Manifest, Store
from alembic_job.logs.events import Log
from alembic_job.rules.space import Previous, room_for


def check(store: Store, identity: str, database_size: int, compress: str | None, log: Log) -> None:
    """Compares the room in a store's folder with what a dump will need; only says so where that is not sure.

    `identity` and `database_size` (bytes) are the database's, `compress` is as pg_dump will take it. Stores that are no
    folders have room. Raises `BackupNotWritten` (15) if there is less than half of what the newest backup tells.
    """
    folder = store.local("")
    if folder is None:
        return
    try:
        free = shutil.disk_usage(folder).free
    except OSError:  # whether it can be written to is found out by writing
        return
    newest = next((each for each in reversed(store.manifests()) if each.identity == identity), None)
    room = room_for(database_size, _previous(newest, compress))
    verdict = room.verdict(free)
    by = f"the newest backup, {newest.name}" if newest and room.sure else "the size of the database"
    if verdict == "too little":
        raise BackupNotWritten(
            f"the backup needs about {room.expected} bytes, by {by}, and {folder} has {free} bytes left: not begun",
            hint=f"make room there, or give MIGRATE_BACKUP_URL another place; if most rows were deleted since, move"
            f" {newest.name if newest else ''}.json away, and nothing is expected any more",
            expected_bytes=room.expected,
            free_bytes=free,
        )
    if verdict == "doubtful":
        log.warning(
            "backup.space_short",
            path=str(folder),
            expected_bytes=room.expected,
            free_bytes=free,
            message=f"the backup may not fit into {folder}: it needs up to {room.expected} bytes, by {by}",
            hint="make room there; if it is not enough the run ends with 15, and nothing is changed",
        )


def _previous(newest: Manifest | None, compress: str | None) -> Previous | None:
    """What a backup tells; older ones do not know how large the database was."""
    if newest is None:
        return None
    size: int | None = getattr(newest, "database_size", None)
    return Previous(newest.size, size, getattr(newest, "compress", None) == compress)
