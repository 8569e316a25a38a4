"""`stamp`: sets the version table and runs no migration, under the locks that `migrate` holds, with a record of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from alembic_job.errors import VerificationFailed
from alembic_job.gateways.complaints import project_errors
from alembic_job.gateways.project import open_project
from alembic_job.identity import Identity
from alembic_job.logs.events import Log
from alembic_job.model import Report
from alembic_job.pipeline import exported_url
from alembic_job.pipeline.failure import concluded
from alembic_job.pipeline.held import Held, surroundings
from alembic_job.pipeline.lacking import lacking
from alembic_job.settings import Settings
from alembic_job.steps import preflight
from alembic_job.watch import Watch

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, StampStep


def stamp(
    settings: Settings,
    *,
    log: Log,
    watch: Watch,
    identity: Identity,
    learn_secret: Callable[[str], None] = lambda secret: None,
    revisions: tuple[str, ...] = ("head",),
    purge: bool = False,
) -> Report:
    """Sets every version table that env.py comes to, all of a table in one transaction; `purge` empties it first.

    Raises `ProjectError` (22) for a target that is unknown or ambiguous, `RevisionUnknown` (28) where the table holds
    what these scripts lack, without `purge`, and whatever `migrate` raises of database and lock.
    """
    report = Report("stamp", identity.run_id)
    with concluded(report, watch), exported_url(settings):
        settings = settings.but(transaction="all")
        project = open_project(settings, ("stamp", *revisions), log)
        for target in revisions:
            preflight.check_target_early(project, target)
        doing = surroundings(log, watch, identity, learn_secret)
        run = _Stamp(revisions, purge, settings, project, _destination(revisions), **doing)
        try:
            run.carry_out()
        finally:
            report.went(run.changes)
    return report


def _destination(revisions: tuple[str, ...]) -> str:
    """What env.py is told, where it asks."""
    return revisions[0] if len(revisions) == 1 else "heads"


class _Stamp(Held):
    """A run that only writes the version table."""

    def __init__(self, targets: tuple[str, ...], purge: bool, *args: Any, **kwargs: Any) -> None:
        super().__init__("stamp", *args, **kwargs)
        self._targets, self._purge = targets, purge

    def _before(self, context: MigrationContext) -> None:
        _, archive, heads = self._lock(context)
        change = archive.change
        unknown = self.project.lacks(heads)
        if unknown and not self._purge:
            raise lacking(archive.history, change.table.label, unknown)
        for target in self._targets:
            preflight.check_target(self.project, target)
        preflight.check_privileges(context, change.table)
        context.purge = self._purge
        change.expected = () if self._purge else change.before
        if self._purge or self._steps(heads):
            archive.begin(self.command, context, self._arguments)

    def _steps(self, heads: tuple[str, ...]) -> list[StampStep]:
        """Alembic's; none where the table holds what it should."""
        with project_errors():
            return self.project.script._stamp_revs(self._targets, heads)

    def check(self) -> None:
        """Says what was done. Raises `VerificationFailed` (24) where the tables do not hold what they should."""
        for change in self.changes:
            if change.after != change.expected:
                raise VerificationFailed(
                    f"{change.table.label} should hold {_text(change.expected)} now, but holds {_text(change.after)}",
                    hint="env.py must commit: let it call run_migrations inside `with context.begin_transaction():`",
                )
            self.log.info(
                "revision.stamped",
                table=change.table.label,
                before=list(change.before),
                after=list(change.after or ()),
                message=f"{change.table.label} holds {_text(change.after)} now, no migration was run",
            )


def _text(heads: tuple[str, ...] | None) -> str:
    return ", ".join(heads or ()) or "nothing"
