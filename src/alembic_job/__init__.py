"""Run any Alembic project's migrations at deploy time, safely.

    from alembic_job import Settings, migrate

    report = migrate(Settings(database_url="postgresql://app@db/app", wait_timeout=30))
    print(report.applied)

`migrate` and `rollback` return a `Report` or raise a `JobError`, whose `report` says how far the run came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from alembic_job.api import migrate, rollback
    from alembic_job.errors import JobError
    from alembic_job.model import Report
    from alembic_job.settings import Settings

__all__ = ["JobError", "Report", "Settings", "__version__", "migrate", "rollback"]
_HOMES = {"migrate": "api", "rollback": "api", "JobError": "errors", "Report": "model", "Settings": "settings"}


def __getattr__(name: str) -> Any:
    """Imports what is asked for only then: the shortest run needs none of it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"alembic_job.{_HOMES[name]}"), name)
