"""`consent`: agreed to beforehand, and kept in the database: a rollback of these revisions may lose data."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from alembic_job.errors import ProjectError
from alembic_job.gateways import engines, own_schema, postgres
from alembic_job.gateways.history import History
from alembic_job.gateways.project import Project, open_project
from alembic_job.identity import Identity
from alembic_job.logs.events import Log
from alembic_job.model import Report
from alembic_job.pipeline.failure import concluded
from alembic_job.pipeline.other import database_of
from alembic_job.pipeline.status import version_tables
from alembic_job.settings import Settings
from alembic_job.watch import Watch


def consent(
    settings: Settings,
    *,
    log: Log,
    watch: Watch,
    identity: Identity,
    learn_secret: Callable[[str], None] = lambda secret: None,
    revisions: tuple[str, ...],
    withdraw: bool = False,
) -> Report:
    """Agrees that the rollback of these revisions may lose data, until they were rolled back; or withdraws that.

    Needs no terminal at the time of the rollback: Helm has none. Raises `ProjectError` (22) for an unknown revision,
    `LoginFailed` (21) where the history cannot be written.
    """
    report = Report("consent", identity.run_id)
    with concluded(report, watch):
        project = open_project(settings, ("current",), log)
        engines.map_plain_scheme()
        labels = version_tables(project, settings)
        with closing(postgres.connect(database_of(settings), identity.application_name)) as connection:
            for label in labels:
                history = History(connection, settings.history_schema, label)
                with own_schema.writing(settings.history_schema, "consent"):
                    _write(project, history, label, revisions, withdraw)
                if withdraw:
                    log.info("consent.withdrawn", table=label, revisions=list(revisions))
                else:
                    log.info("consent.given", table=label, revisions=list(revisions))
    return report


def _write(project: Project, history: History, label: str, revisions: tuple[str, ...], withdraw: bool) -> None:
    recorded = history.scripts()
    if unknown := [each for each in revisions if not project.has(each) and each not in recorded]:
        raise ProjectError(
            f"neither these scripts nor the history of {label} know {', '.join(unknown)}",
            hint="give whole revision ids, as `alembic-job history --applied` tells them",
        )
    history.make()
    for revision in revisions:
        history.withdraw([revision]) if withdraw else history.consent(revision)
