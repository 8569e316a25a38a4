"""What a run leaves in the job's own schema, so that any image can tell what was done, and undo it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from io import FileIO
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg2

from alembic_job.errors import ScriptEdited
from alembic_job.gateways import own_schema
from alembic_job.gateways.history import Archived, Begun, Executed, History
from alembic_job.gateways.project import Project
from alembic_job.gateways.rendering import Looked, Rendered, Renderer, hash_of, read_script
from alembic_job.gateways.unfinished import shown
from alembic_job.logs.events import Log
from alembic_job.model import Change
from alembic_job.pipeline.session import Session
from alembic_job.rules.scripts import difference, digest
from alembic_job.settings import Settings

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import Script

_EVERY = 5.0  # seconds between two writings of what was executed
_STATEMENTS = 1000  # kept of one revision
_OFF = Rendered((), "MIGRATE_ARCHIVE is off", "off")
_LOST = (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.ReadOnlySqlTransaction)


class Edit(NamedTuple):
    """A script that is not what was recorded, with its file as it is now."""

    script: Script
    recorded: Archived
    file_hash: str
    source: str

    @property
    def counts(self) -> bool:
        """True if it does something else; also where what it did was not kept (MIGRATE_ARCHIVE)."""
        before = self.recorded.source
        return before is None or digest(before) != digest(self.source)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.script.revision} ({self.script.path})"

    @property
    def diff(self) -> str | None:
        """From what was recorded to what is there, if that was kept."""
        return difference(self.recorded.source, self.source) if self.recorded.source is not None else None

    def warn(self, log: Log) -> None:
        """Says so."""
        revision, file = self.script.revision, self.script.path
        log.warning(
            "script.edited",
            revision=revision,
            file=file,
            message=f"revision {revision} is not what it was when it was applied: {file}",
            diff=self.diff,
            hint=f"take the edit back; or, where it is meant, `alembic-job repair {revision}` records it as it is now",
        )


class Archive:
    """The history of one version table, as one run writes it.

    The way back from a revision is recorded before the revision is begun; what was executed, soon after it was
    committed. Where the schema may not be written, nothing is, unless MIGRATE_HISTORY requires it.
    """

    def __init__(self, session: Session, settings: Settings, project: Project, change: Change, log: Log) -> None:
        self.change = change
        self._session, self._settings, self._project, self._log = session, settings, project, log
        self._on = settings.history != "off"
        self._renderer: Renderer | None = None
        self._archived: set[str] = set()
        self._executed: list[Executed] = []
        self._flushed = time.monotonic()
        self._begun, self._command = False, ""
        self.evidence: list[dict[str, Any]] = []  # what the run loses, for the record
        self._known = self.history.hashes() if self._on else {}

    @property
    def history(self) -> History:
        """On the session's connection of now: it may have been taken anew."""
        return History(self._session.connection, self._settings.history_schema, self.change.table.label)

    # Scripts that were applied before.

    def check_edited(self, applied: Iterable[str]) -> None:
        """Looks for scripts that are not what was applied. Raises `ScriptEdited` (27) where that is not tolerated."""
        if self._settings.when_edited == "ignore" or not self._known:
            return
        edited = [edit for edit in self.edits(applied) if edit.counts]
        for edit in edited:
            edit.warn(self._log)
        if edited and self._settings.when_edited == "fail":
            names = ", ".join(edit.name for edit in edited)
            revisions = [edit.script.revision for edit in edited]
            raise ScriptEdited(f"edited after it had been applied: {names}", revisions=revisions)

    def edits(self, applied: Iterable[str]) -> list[Edit]:
        """The scripts that are not, byte for byte, what was recorded."""
        changed = [script for script in self._scripts(applied) if self._is_changed(script)]
        recorded = self.history.scripts() if changed else {}
        return [Edit(script, recorded[script.revision], *read_script(script.path)) for script in changed]

    def renewed(self, context: MigrationContext, arguments: dict[str, Any], edits: list[Edit]) -> list[Archived]:
        """What is to be recorded of these as they are now; the ways back of those that count are rendered anew."""
        downs = self._downs(context, arguments, [edit.script for edit in edits if edit.counts])
        whole = self._settings.archive == "on"
        rows = []
        for script, recorded, *now in edits:
            down = downs.get(script.revision, recorded.downgrade)
            rows.append(_archived(script, Looked(script.revision, down, _OFF, *now), recorded.adopted, whole))
        return rows

    def _downs(
        self, context: MigrationContext, arguments: dict[str, Any], scripts: list[Script]
    ) -> dict[str, Rendered]:
        if not scripts or self._settings.archive != "on":
            return {script.revision: _OFF for script in scripts}
        renderer = Renderer(context, scripts, arguments, up=False)
        try:
            return {looked.revision: looked.down for script in scripts for looked in renderer.upto(script.revision)}
        finally:
            renderer.close()

    def _is_changed(self, script: Script) -> bool:
        before = self._known.get(script.revision, "")
        try:
            with FileIO(script.path) as file:
                return bool(before) and hash_of(file.readall()) != before
        except OSError:
            return False

    def _scripts(self, revisions: Iterable[str]) -> list[Script]:
        known: Any = self._project.script.revision_map._revision_map
        return [script for revision in revisions if (script := known.get(revision)) is not None]

    # A run that changes something.

    def begin(self, command: str, context: MigrationContext, arguments: dict[str, Any]) -> None:
        """Before the first change: the run itself; the ways back begin to be rendered."""
        self._command = command
        if not self._write(lambda: self._begin(command), must=True):
            return
        if command == "migrate" and self._settings.archive == "on":
            self._renderer = Renderer(context, self._scripts(self.change.planned), arguments, up=False)

    def _begin(self, command: str) -> None:
        self.history.make()
        who = (self._session.run.run_id, command, self._settings.image, socket.gethostname())
        evidence = json.dumps(self.evidence, ensure_ascii=False, default=str) if self.evidence else None
        self.history.begin(Begun(*who, self.change.before, self.change.planned, evidence))
        self._begun = True

    def is_due(self, revision: str) -> bool:
        """True if something is to be written before this revision is begun."""
        if not self._begun:
            return False
        return revision not in self._archived or time.monotonic() - self._flushed > _EVERY

    def ready(self, revision: str) -> None:
        """Before a revision is begun: its way back is recorded, or why there is none."""
        if revision in self._archived:
            return
        looked = list(self._renderer.upto(revision)) if self._renderer is not None else self._unrendered()
        self._keep(looked, adopted=False)
        for each in looked:
            self.warn_of_one_way(each.revision, each.down)

    def warn_of_one_way(self, revision: str, down: Rendered) -> None:
        """If the SQL of a downgrade is wanted, and cannot be had."""
        if down.reason and self._settings.archive == "on":
            self._log.warning(
                "revision.one_way",
                revision=revision,
                reason=down.reason,
                message=f"revision {revision} cannot be undone from an older image: {down.reason}",
            )

    def _unrendered(self) -> list[Looked]:
        return [
            Looked(script.revision, _OFF, _OFF, *read_script(script.path))
            for script in self._scripts(self.change.planned)
        ]

    def _keep(self, looked: list[Looked], adopted: bool) -> None:
        self._archived.update(each.revision for each in looked)
        scripts = {script.revision: script for script in self._scripts(each.revision for each in looked)}
        whole = self._settings.archive == "on"
        rows = [_archived(scripts[each.revision], each, adopted, whole) for each in looked if each.revision in scripts]
        self._write(lambda: self.history.keep(rows, self._session.run.run_id), must=not adopted)

    def done(
        self, revision: str, down: bool, statements: list[tuple[str, float]], seconds: float, locks: float
    ) -> None:
        """A revision was executed, and maybe committed; `locks` are seconds that it waited for locks."""
        if self._on:
            texts = tuple((shown(sql.replace("\0", "")), round(took, 4)) for sql, took in statements[:_STATEMENTS])
            now = datetime.now(UTC)
            self._executed.append(Executed(revision, down, texts, round(seconds, 4), round(locks, 4), now))

    def flush(self, committed: Callable[[str], bool], *, now: bool = False) -> None:
        """Writes, if it is time, what was executed and is committed."""
        if not self._begun or not (now or time.monotonic() - self._flushed > _EVERY):
            return
        self._flushed = time.monotonic()
        done = [each for each in self._executed if committed(each.revision)]
        self._executed = [each for each in self._executed if not committed(each.revision)]
        self._write(lambda: self.history.executed(self._session.run.run_id, done))

    def adopt(self, context: MigrationContext, arguments: dict[str, Any], applied: Iterable[str]) -> None:
        """Scripts that were applied by somebody else, or by a run that did not come to record them."""
        if not self._on or self._settings.archive != "on":
            return
        there = self._known.keys() | self._archived
        missing = [each for each in self._scripts(applied) if each.revision not in there]
        if not missing or not self._write(self.history.make, quiet=True):
            return
        renderer = Renderer(context, missing, arguments, up=False)
        try:
            for script in missing:
                if looked := list(renderer.upto(script.revision)):
                    self._keep(looked, adopted=True)
        finally:
            renderer.close()
        self._log.info("history.adopted", table=self.change.table.label, revisions=len(missing))

    def end(self, outcome: str, exit_code: int, error: str | None) -> None:
        """The run is over. Never raises."""
        self.close()
        if not self._begun or not self._on:
            return
        self.flush(lambda revision: revision in self.change.done, now=True)
        after, run_id = self.change.after, self._session.run.run_id
        self._write(lambda: self.history.end(run_id, outcome, exit_code, after, error))
        if self._command == "rollback":
            self._write(lambda: self.history.withdraw(self.change.done))

    def close(self) -> None:
        """Ends what runs beside."""
        if self._renderer is not None:
            self._renderer.close()

    def _write(self, write: Callable[[], object], *, must: bool = False, quiet: bool = False) -> bool:
        """True if it was written. What `must` be recorded before a change ends the run where history is required."""
        if not self._on:
            return False
        try:
            write()
        except psycopg2.Error as error:
            reason, lost = " ".join(str(error).split()), isinstance(error, _LOST)
            self._on = not lost and not self._session.connection.closed
            if must and self._settings.history == "required":
                if lost:
                    raise own_schema.refused(self._settings.history_schema, reason) from error
                raise
            (self._log.debug if quiet and lost else self._log.warning)("history.unavailable", reason=reason)
            return False
        return True


def _archived(script: Script, looked: Looked, adopted: bool, whole: bool) -> Archived:
    return Archived(
        script.revision,
        tuple(script._versioned_down_revisions),
        tuple(script._resolved_dependencies),
        tuple(sorted(script._orig_branch_labels)),
        script.doc.replace("\0", ""),
        looked.source if whole else None,
        looked.file_hash,
        looked.down,
        adopted,
    )
