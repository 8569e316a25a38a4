"""Which backups may go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic_job.gateways.backups import Manifest


def expired(backups: Sequence[Manifest], keep: int | None, keep_for: float | None, now: datetime) -> list[Manifest]:
    """The backups, in any order, that no rule keeps; `keep_for` in seconds, `now` with a time zone.

    Kept are, of each database, the newest `keep`, those younger than `keep_for`, and always the newest of each
    PostgreSQL major, so that there is one that its server's programs can restore. Partial ones are counted for
    themselves: they never take the place of a whole one. Without a rule nothing goes.
    """
    if keep is None and keep_for is None:
        return []
    gone: list[Manifest] = []
    for kind in {(backup.database, backup.partial) for backup in backups}:
        own = [backup for backup in backups if (backup.database, backup.partial) == kind]
        own.sort(key=lambda backup: (backup.taken_at, backup.name), reverse=True)
        majors: set[int] = set()
        for place, backup in enumerate(own):
            major = backup.server_version // 10_000
            young = keep_for is not None and (now - _taken(backup)).total_seconds() < keep_for
            if major in majors and not young and (keep is None or place >= keep):
                gone.append(backup)
            majors.add(major)
    return sorted(gone, key=lambda backup: (backup.taken_at, backup.name))


def _taken(backup: Manifest) -> datetime:
    return datetime.fromisoformat(backup.taken_at.replace("Z", "+00:00"))
