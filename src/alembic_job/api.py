"""The library beneath the command line: the same runs, without printing, exiting or touching descriptors."""

from __future__ import annotations

from typing import Any

from alembic_job.logs.events import hear
from alembic_job.model import Report
from alembic_job.pipeline import migrating
from alembic_job.pipeline.undoing import Consent
from alembic_job.settings import Settings
from alembic_job.watch import Watch


def migrate(settings: Settings, *, log: Any = None) -> Report:
    """Waits for the database, locks it, backs it up if the settings say so, upgrades, verifies.

    Blocks until done; `settings.deadline` (seconds) bounds it. `log` is a structlog logger, by default the program's
    own. The working directory is the project's, as for the `alembic` command; `settings.config_file` names its ini.
    Not for several threads at once: Alembic keeps its context in module globals. Raises `JobError`.
    """
    log = _heard(log or _program_log())
    with Watch(settings.deadline, signals=False) as watch:
        return migrating.migrate(settings, log=log, watch=watch)


def rollback(
    settings: Settings,
    target: str = "-1",
    *,
    data_loss: bool = False,
    no_backup: bool = False,
    empty_downgrade: bool = False,
    production: str | None = None,
    log: Any = None,
) -> Report:
    """Downgrades to `target`: a revision id, `-N` for N steps, or `base`. Otherwise as `migrate`. Raises `JobError`.

    A backup is taken first, unless there is to be `no_backup`; `data_loss` consents to the loss of what the downgrades
    drop, `empty_downgrade` to pass over downgrades that are empty though their upgrade was not. To `base`, a database
    that looks like production must be named as well: `production`.
    """
    consent = Consent(data_loss=data_loss, no_backup=no_backup, empty_downgrade=empty_downgrade, production=production)
    log = _heard(log or _program_log())
    with Watch(settings.deadline, signals=False) as watch:
        return migrating.rollback(settings, target, log=log, watch=watch, consent=consent)


def _heard(log: Any) -> Any:
    """The log, which is told of a password command's output too."""
    hear(log, lambda secret: None)
    return log


def _program_log() -> Any:
    import structlog

    return structlog.get_logger("alembic_job")
