"""The job's smallest command: wait-for-db; and what it shares with the others that have no env.py to load."""

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

    return report_of("wait-for-db", settings, identity, watch, work)


def report_of(
    command: str, settings: Settings, identity: Identity, watch: Watch, work: Callable[[Dsn], None]
) -> Report:
    """Runs `work` on the database that the settings name; what it raises carries the report."""
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
