"""Step 6: a dump that is proven readable before the first change."""

from __future__ import annotations

from alembic_job.dsn import Dsn
from alembic_job.logs.events import Log
from alembic_job.settings import Settings


def back_up(settings: Settings, dsn: Dsn, run_id: str, log: Log) -> None:
    """Takes the backup that the settings ask for, if any."""
    if settings.backup == "off" or not settings.backup_url:
        return
    from alembic_job.gateways import pg_dump

    pg_dump.dump(dsn, settings.backup_url, settings.pg_bindir, run_id, log)
