"""`repair`: scripts that were edited after they had been applied are recorded as they are now."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic_job.errors import ProjectError, Refused, RevisionUnknown, SettingsError
from alembic_job.gateways import own_schema
from alembic_job.gateways.complaints import project_errors
from alembic_job.gateways.history import Archived, Begun
from alembic_job.gateways.project import open_project
from alembic_job.identity import Identity
from alembic_job.logs.events import Log
from alembic_job.model import Report
from alembic_job.pipeline import exported_url
from alembic_job.pipeline.archive import Archive, Edit
from alembic_job.pipeline.change import Run
from alembic_job.pipeline.failure import classify, concluded
from alembic_job.pipeline.held import surroundings
from alembic_job.pipeline.status import base_to_head
from alembic_job.settings import Settings
from alembic_job.watch import Watch

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext


def repair(
    settings: Settings,
    *,
    log: Log,
    watch: Watch,
    identity: Identity,
    learn_secret: Callable[[str], None] = lambda secret: None,
    revisions: tuple[str, ...] = (),
    yes: bool = False,
) -> Report:
    """Records the scripts of these applied revisions (all, where none is named) as they are now, if they were edited.

    Holds the locks that `migrate` holds. Without `yes` it shows them, changes nothing, and raises `Refused` (26) if
    there are any. Raises `ProjectError` (22) for a revision that is unknown or not applied, `RevisionUnknown` (28)
    where the database is ahead, `SettingsError` (20) without history, `LoginFailed` (21) where it may not be written.
    """
    report = Report("repair", identity.run_id)
    with concluded(report, watch), exported_url(settings):
        if settings.history == "off":
            raise SettingsError(
                "MIGRATE_HISTORY is off: there is no record of scripts to repair",
                hint="repair with MIGRATE_HISTORY=auto, as the runs that keep the history",
            )
        project = open_project(settings, ("upgrade", "heads"), log)
        doing = surroundings(log, watch, identity, learn_secret)
        run = _Repair(revisions, settings, project, "heads", **doing)
        with closing(run):
            try:
                run.execute()
                report.source = report.target = tuple(head for change in run.changes for head in change.before)
                report.fields["repaired"] = run.finish(yes)
            except Exception as error:
                raise classify(error, project, None, run.in_project) from error
    return report


class _Found(NamedTuple):
    """What was found of one version table: its edited scripts, and what is to be recorded of them."""

    archive: Archive
    edits: list[Edit]
    renewed: list[Archived]


class _Repair(Run):
    """A run that locks as `migrate` does, and then applies nothing, but looks at the scripts."""

    def __init__(self, named: tuple[str, ...], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._named, self.command = named, "repair"
        self._before_ran = True  # MIGRATE_BEFORE is for what changes the database
        self._not_applied: set[str] = set(named)
        self._found: dict[str, _Found] = {}  # by version table

    def _before(self, context: MigrationContext) -> None:
        _, archive, heads = self._lock(context)
        change = archive.change
        change.expected = change.before
        context.opts["dont_mutate"] = True  # else Alembic makes the version table
        if unknown := self.project.lacks(heads):
            raise RevisionUnknown(
                f"{change.table.label} holds {', '.join(unknown)}, which these scripts lack: they are not what is to be"
                " recorded",
                hint="repair with the image that migrated last",
                unknown=unknown,
            )
        archive.history.links()  # raises where it may not be read
        wanted = self._wanted(self.project.ancestors(heads))
        edits = archive.edits([script.revision for script in base_to_head(self.project) if script.revision in wanted])
        renewed = archive.renewed(context, self._arguments, edits)
        self._found[f"{change.table.database}/{change.table.label}"] = _Found(archive, edits, renewed)

    def _wanted(self, applied: set[str]) -> set[str]:
        """Those of the applied revisions that were named. Raises `ProjectError` (22) for a name that nobody knows."""
        if not self._named:
            return applied
        wanted = {name: self._resolved(name) for name in self._named}
        self._not_applied -= {name for name, revision in wanted.items() if revision in applied}
        return applied & set(wanted.values())

    def _resolved(self, name: str) -> str:
        with project_errors():
            script = self.project.script.get_revision(name)
        return script.revision if script is not None else ""

    def finish(self, yes: bool) -> list[str]:
        """Records what was found, or only shows it; returns the revisions. Still under the locks."""
        tables = [change.table.label for change in self.changes]
        if self._not_applied:
            raise ProjectError(
                f"not applied in {', '.join(tables)}: {', '.join(sorted(self._not_applied))}; nothing was changed",
                hint="only an applied revision has a record: `alembic-job status` shows what is pending",
            )
        counting = [edit for found in self._found.values() for edit in found.edits if edit.counts]
        if counting and not yes:
            for edit in counting:
                edit.warn(self.log)
            raise Refused(
                f"to be recorded as they are now: {', '.join(edit.name for edit in counting)}; nothing was changed",
                hint="add --yes if the edits that script.edited shows are meant; the database itself stays as it is",
            )
        if yes:
            for found in self._found.values():
                self._record(found)
        if not counting:
            self.log.info("scripts.unchanged", tables=tables)
        return list(dict.fromkeys(edit.script.revision for edit in counting))

    def _record(self, found: _Found) -> None:
        """With a run of its own in the history, unless nothing but comments was edited."""
        archive, edits, renewed = found
        history, change, run_id = archive.history, archive.change, self.identity.run_id
        repaired = tuple(edit.script.revision for edit in edits if edit.counts)
        with own_schema.writing(self.settings.history_schema, "repair"):
            if repaired:
                history.make()
                who = (run_id, self.command, self.settings.image, socket.gethostname())
                history.begin(Begun(*who, change.before, repaired))
            history.keep(renewed, run_id, repaired=True)
            if repaired:
                history.end(run_id, "done", 0, change.before, None)
        for edit, now in zip(edits, renewed, strict=True):
            if edit.counts:
                self._say(archive, edit, now)

    def _say(self, archive: Archive, edit: Edit, now: Archived) -> None:
        revision = edit.script.revision
        self.log.info(
            "script.repaired",
            revision=revision,
            table=archive.change.table.label,
            file=edit.script.path,
            message=f"revision {revision} is recorded as it is now: {edit.script.path}",
            diff=edit.diff,
        )
        archive.warn_of_one_way(revision, now.downgrade)
