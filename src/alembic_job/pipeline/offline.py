"""`--sql`: what Alembic's own offline mode writes for a command, without a database."""

from __future__ import annotations

import io

from alembic_job.errors import UsageError
from alembic_job.gateways import engines
from alembic_job.gateways.environment import application
from alembic_job.gateways.project import open_project
from alembic_job.logs.events import Log
from alembic_job.pipeline import exported_url
from alembic_job.pipeline.planning import looking
from alembic_job.settings import Settings


def as_sql(settings: Settings, log: Log, command: str, targets: tuple[str, ...]) -> str:
    """The SQL of `upgrade`, `downgrade` or `stamp`; in a target FROM:TO the version table holds FROM.

    Raises `UsageError` for a downgrade from nowhere, `ProjectError` and whatever else env.py ends with.
    """
    if command == "downgrade" and ":" not in targets[0]:
        raise UsageError(
            f"downgrade {targets[0]} --sql: nobody is asked where the database is",
            hint=f"say it: downgrade FROM:{'TO' if targets[0].startswith('-') else targets[0]} --sql",
        )
    with exported_url(settings):
        project = open_project(settings, (command, "--sql", *targets), log)
        engines.map_plain_scheme()
        import alembic.command

        project.config.output_buffer = io.StringIO()
        with looking(project, settings), application(project):
            what = list(targets) if command == "stamp" else targets[0]
            getattr(alembic.command, command)(project.config, what, sql=True, tag=settings.tag)
        return project.config.output_buffer.getvalue().rstrip("\n")
