"""`verify`: is the database what these scripts say it should be, and is everything in it whole?"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import Any

from psycopg2.extensions import connection as Connection

from alembic_job.errors import VerificationFailed
from alembic_job.gateways import hygiene, postgres
from alembic_job.gateways.history import History
from alembic_job.gateways.project import Project
from alembic_job.identity import Identity
from alembic_job.logs.events import Log
from alembic_job.model import Report
from alembic_job.pipeline import exported_url
from alembic_job.pipeline.descent import beyond
from alembic_job.pipeline.failure import concluded
from alembic_job.pipeline.other import database_of
from alembic_job.pipeline.status import Found, look, pending
from alembic_job.settings import Settings
from alembic_job.steps.verify import invalid_indexes, warn_of_constraints
from alembic_job.watch import Watch


def verify(settings: Settings, *, log: Log, watch: Watch, identity: Identity, **_: Any) -> Report:
    """Looks whether every version table is at head and no index is INVALID; changes nothing, takes no lock.

    Raises `VerificationFailed` (24), or `RevisionUnknown` (28) where the database is ahead and that is not tolerated,
    or the history tells of another project.
    """
    report = Report("verify", identity.run_id)
    with concluded(report, watch), exported_url(settings):
        project, tables = look(settings, log)
        watch.check()
        report.source = report.target = tuple(dict.fromkeys(head for table in tables for head in table.heads))
        with closing(postgres.connect(database_of(settings), identity.application_name)) as connection:
            for table in tables:
                _check_revision(project, table, connection, settings, log)
            if broken := invalid_indexes(connection):
                names = ", ".join(f"{index.qualified} on {index.table}" for index in broken[:20])
                raise VerificationFailed(
                    f"INVALID, so kept up but never used: {names}",
                    hint=f"DROP INDEX CONCURRENTLY {broken[0].qualified}; then build it again if it is wanted",
                )
            warn_of_constraints(connection, log)
        log.info("verify.passed", tables=[table.label for table in tables])
    return report


def _check_revision(project: Project, table: Found, connection: Connection, settings: Settings, log: Log) -> None:
    """At head, or beyond it where that is tolerated."""
    ahead = _ahead(project, table, connection, settings, log)
    if ahead is None:
        return
    if left := pending(project, (*table.heads, *ahead)):
        shown = ", ".join(left[:10]) + (f" and {len(left) - 10} more" if len(left) > 10 else "")
        raise VerificationFailed(
            f"{table.label} is at {', '.join(sorted(table.heads)) or 'base'}, and {len(left)} revisions are pending:"
            f" {shown}",
            hint="another branch was migrated: deploy an image that has both" if ahead else "run `alembic-job migrate`",
        )


def _ahead(project: Project, table: Found, connection: Connection, settings: Settings, log: Log) -> list[str] | None:
    """The project's revisions that those which it lacks are built upon; `None` if the history does not tell.

    Raises `RevisionUnknown` (28).
    """
    if all(project.has(head) for head in table.heads):
        return []
    role = settings.role
    before = f"{hygiene.to_read_as(role, local=True)}; " if role is not None else ""
    history = History(connection, settings.history_schema, table.table.label)
    found = beyond(project, table.table.label, table.heads, partial(history.links, before))
    if settings.when_ahead != "tolerate":
        raise found.error()
    if found.refuted:
        raise found.unproven()
    untold = {} if found.proven else {"hint": f"the history does not tell what they are built upon: {found.hint}"}
    log.warning("database.ahead", unknown=found.unknown, table=table.label, message=found.message, **untold)
    return found.below if found.proven else None
