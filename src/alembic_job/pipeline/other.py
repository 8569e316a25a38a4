"""The job's smaller commands: wait-for-db, backup."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alembic_job.dsn import Dsn
from alembic_job.errors import SettingsError
from alembic_job.gateways.project import find_config, ini_url
from alembic_job.identity import Identity
from alembic_job.logs.events import Log
from alembic_job.model import Report
from alembic_job.pipeline.failure import concluded
from alembic_job.settings import Settings
from alembic_job.settings.load import parse_url
from alembic_job.steps.wait import wait_for_primary
from alembic_job.watch import Watch


def wait_for_db(settings: Settings, *, log: Log, watch: Watch, identity: Identity, **_: Any) -> Report:
    """Waits until the database is a writable primary."""

    def work(dsn: Dsn) -> None:
        wait_for_primary(dsn, identity.application_name, settings.wait_timeout, settings.login_grace, log).close()

    return _report("wait-for-db", settings, identity, watch, work)


def backup(settings: Settings, *, log: Log, watch: Watch, identity: Identity, **_: Any) -> Report:
    """Takes a proven backup now, whatever MIGRATE_BACKUP says. Needs MIGRATE_BACKUP_URL."""
    from alembic_job.gateways import pg_dump

    def work(dsn: Dsn) -> None:
        url = settings.backup_url
        if not url:
            raise SettingsError("MIGRATE_BACKUP_URL is not set", hint="set it to the folder that backups go to")
        wait_for_primary(dsn, identity.application_name, settings.wait_timeout, settings.login_grace, log).close()
        pg_dump.dump(dsn, url, settings.pg_bindir, identity.run_id, log)

    return _report("backup", settings, identity, watch, work)


def _report(command: str, settings: Settings, identity: Identity, watch: Watch, work: Callable[[Dsn], None]) -> Report:
    report = Report(command, identity.run_id)
    with concluded(report, watch):
        work(database_of(settings))
    return report


def database_of(settings: Settings) -> Dsn:
    """The database without loading env.py: the settings', else the ini's `sqlalchemy.url`. Raises `SettingsError`."""
    if dsn := settings.own():
        return dsn
    try:
        url = ini_url(find_config(settings), settings.section or "alembic")
    except SettingsError:
        url = None
    if url and url.startswith("postgres"):
        return settings.login(parse_url(url, "alembic.ini sqlalchemy.url"))
    raise SettingsError("no database given", hint="set DATABASE_URL, or libpq's PGHOST and PGDATABASE")
