"""Before a rollback changes anything: is there a way back, what would be lost, and who has agreed to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic_job.errors import ProjectError, Refused, RevisionUnknown
from alembic_job.gateways import unfinished
from alembic_job.gateways.grafting import archived, graft
from alembic_job.gateways.history import Archived, History
from alembic_job.gateways.project import Project
from alembic_job.gateways.rendering import Rendered, Renderer
from alembic_job.logs.events import Log
from alembic_job.model import VersionTable
from alembic_job.pipeline.descent import Beyond, names
from alembic_job.pipeline.session import Session
from alembic_job.rules.finding import REFUSED, UNKNOWN, Finding, is_unsure, loses_data
from alembic_job.settings import Settings
from alembic_job.steps.preflight import ask

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import Script
    from psycopg2.extensions import connection as Connection


_OTHERWISE = "roll back with the image that has it; or restore a backup from before it: `alembic-job backup list`"
_DATA = ("INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "SELECT", "SET", "COPY")


@dataclass(frozen=True)
class Consent:
    """What whoever asks for a rollback has agreed to, and whether it is only to be looked at."""

    data_loss: bool = False
    no_backup: bool = False
    empty_downgrade: bool = False
    dry_run: bool = False
    production: str | None = None  # the name of the database, said a second time


class Way(NamedTuple):
    """How one revision is to be undone, and what that costs on the data of now."""

    revision: str
    down: Rendered
    findings: tuple[Finding, ...]

    @property
    def loses(self) -> bool:
        """True if data would be lost, or if nobody can tell."""
        return loses_data(self.findings) or is_unsure(self.findings)


# An image that is older than the database.


class Ahead(Beyond[Archived]):
    """The same for a run: they can be made known to its project."""

    def __init__(self, project: Project, table: VersionTable, heads: Iterable[str], history: History) -> None:
        super().__init__(project, table.label, heads, history.scripts())
        self._project, self._history = project, history

    def graft(self, settings: Settings) -> None:
        """Makes them known to the project, so that they can be undone.

        Raises `RevisionUnknown` (28) where there is no way back, `Refused` (26) for SQL that others may have written.
        """
        if self.missing or not self.between:
            unknown = ", ".join(self.missing or self.unknown)
            raise RevisionUnknown(
                f"{self.message}, and the history does not tell how to undo {unknown}",
                hint=_OTHERWISE,
                unknown=self.unknown,
            )
        if stuck := [each for each in self.between if each.downgrade.reason]:
            reasons = "; ".join(f"{each.revision}: {each.downgrade.reason}" for each in stuck)
            raise RevisionUnknown(
                f"the history holds no SQL to undo {names(stuck)} ({reasons})",
                hint=_OTHERWISE,
                unknown=self.unknown,
            )
        if others := self._history.others(settings.role):
            raise Refused(
                f"the SQL in schema {settings.history_schema} is not executed: others may have written it"
                f" ({'; '.join(others)})",
                hint=f"look what it holds; then ALTER SCHEMA {settings.history_schema}, and the tables in it, OWNER TO"
                " the role that migrates, and REVOKE what others may",
            )
        graft(self._project, self.between)


# Any rollback.


@contextmanager
def missing_functions() -> Iterator[None]:
    """Around Alembic's planning, which takes each function by its name: says which revision has none."""
    try:
        yield
    except AttributeError as error:
        revision = getattr(error.obj, "revision", None)
        if error.name not in ("upgrade", "downgrade") or revision is None:
            raise
        way = "way back" if error.name == "downgrade" else error.name
        raise ProjectError(
            f"revision {revision} ({getattr(error.obj, '__file__', '')}) has no {way}, no function {error.name}();"
            " nothing was changed",
            hint=f"write its {error.name}()" + (", or restore a backup from before it" if way == "way back" else ""),
            revision=revision,
        ) from error


def check_backup(settings: Settings, consent: Consent, what: str = "a rollback") -> None:
    """Raises `Refused` (26) where this is to take a backup first, and does not know where to."""
    if not (consent.no_backup or consent.dry_run or settings.backup == "off" or settings.backup_url):
        raise Refused(
            f"{what} takes a fresh backup first, and MIGRATE_BACKUP_URL is not set",
            hint="set MIGRATE_BACKUP_URL to a folder or an object store, or add --no-backup",
        )


def ways_back(
    context: MigrationContext,
    arguments: dict[str, Any],
    scripts: list[Script],
    history: History,
    session: Session,
    table: VersionTable,
    consent: Consent,
    log: Log,
) -> list[Way]:
    """How each of these revisions, the newest first, is to be undone.

    Raises `ProjectError` (22) for one that has no downgrade, `Refused` (26) for an empty one whose upgrade was not.
    """
    rendered = _rendered(context, arguments, scripts, history)
    for script in scripts:
        _check_way(script, *rendered[script.revision], consent, log)
    [[search_path]] = ask(context, "SELECT current_setting('search_path')")
    with closing(session.fresh()) as connection:
        downs = [(script.revision, rendered[script.revision][0]) for script in scripts]
        downs = [(name, _left(down, _done(context, session, table, name))) for name, down in downs]
        return _with_evidence(connection, search_path, table, downs)


def _rendered(
    context: MigrationContext, arguments: dict[str, Any], scripts: list[Script], history: History
) -> dict[str, tuple[Rendered, bool | None]]:
    """By revision: its downgrade, and whether its upgrade changed the schema (unknown: `None`)."""
    found: dict[str, tuple[Rendered, bool | None]] = {}
    own = [script for script in scripts if archived(script) is None]
    for script in scripts:
        if (kept := archived(script)) is not None:
            found[script.revision] = (kept.downgrade, _changes_schema(history.statements(script.revision)))
    renderer = Renderer(context, own, arguments, up=True) if own else None
    try:
        for script in own:
            assert renderer is not None
            for looked in renderer.upto(script.revision):
                changes = None if looked.up.reason else _changes_schema([s.sql for s in looked.up.statements])
                found[looked.revision] = (looked.down, changes)
    finally:
        if renderer is not None:
            renderer.close()
    return found


def _changes_schema(statements: list[str]) -> bool | None:
    words = {statement.split(None, 1)[0].upper() for statement in statements if statement.strip()}
    return bool(words - set(_DATA))


def _check_way(script: Script, down: Rendered, changes_schema: bool | None, consent: Consent, log: Log) -> None:
    where = f"revision {script.revision} ({script.path})"
    if down.kind in ("missing", "refuses"):
        raise ProjectError(
            f"{where} has no way back: {down.reason}; nothing was changed",
            hint="restore a backup from before it (`alembic-job backup list`), or write its downgrade()",
            revision=script.revision,
        )
    if down.reason or down.statements or changes_schema is False:
        return
    if changes_schema and not consent.empty_downgrade:
        raise Refused(
            f"the downgrade of {where} is empty, though its upgrade was not: the schema would stay as it is",
            hint="write its downgrade(), or add --allow-empty-downgrade if that is meant",
            revision=script.revision,
        )
    log.warning("revision.empty_downgrade", revision=script.revision, message=f"the downgrade of {where} is empty")


def _done(context: MigrationContext, session: Session, table: VersionTable, revision: str) -> set[str]:
    """The statements of this downgrade that a run which was interrupted has committed."""
    schema = session.settings.history_schema
    if revision not in unfinished.revisions(session.connection, schema):
        return set()
    key = unfinished.Key(session.identity, table.label, revision, True)
    version = unfinished.version_rows(lambda sql: ask(context, sql), table)
    return {part.statement for part in unfinished.parts(session.connection, schema, key, version) if part.done}


def _left(down: Rendered, done: set[str]) -> Rendered:
    return down._replace(statements=tuple(each for each in down.statements if unfinished.shown(each.sql) not in done))


def _with_evidence(
    connection: Connection, search_path: str, table: VersionTable, downs: list[tuple[str, Rendered]]
) -> list[Way]:
    """What each loses, in the order in which they are undone: what an earlier one drops is not counted again."""
    from alembic_job.gateways.evidence import gather

    texts = [_texts(down) for _, down in downs]
    known = {"search_path": search_path}
    findings = gather(
        connection, [text for each in texts for text in each], version_table=(table.schema, table.name), settings=known
    )
    ways, position = [], 0
    for (revision, down), mine_texts in zip(downs, texts, strict=True):
        mine = tuple(f for f in findings if position <= f.index < position + len(mine_texts))
        position += len(mine_texts)
        if down.reason:
            why = f"what its downgrade loses cannot be told: {down.reason}"
            mine = (Finding(UNKNOWN, f"revision {revision}", None, "rows", why),)
        ways.append(Way(revision, down, mine))
    return ways


def _texts(down: Rendered) -> list[str]:
    """Its statements; where they are not known, one of which nobody can tell what it does to those that follow."""
    return ["DO 'unknown'"] if down.reason else [statement.sql for statement in down.statements]


def check_losses(ways: list[Way], consents: set[str], consent: Consent, log: Log) -> None:
    """Says what would be lost. Raises `Refused` (26) where nobody has agreed to it, and nothing was changed."""
    for way in ways:
        for finding in way.findings:
            log.warning("rollback.evidence", revision=way.revision, message=finding.text, **finding.as_fields())
    if consent.dry_run:
        return
    if failing := [finding for way in ways for finding in way.findings if finding.kind == REFUSED]:
        raise Refused(
            f"the rollback would fail on the data that is there: {_listed([finding.text for finding in failing])}",
            hint="nothing was changed; correct these rows first",
            evidence=as_fields(ways),
        )
    losing = [way for way in ways if way.loses and way.revision not in consents]
    if losing and not consent.data_loss:
        texts = [f"{way.revision}: {finding.text}" for way in losing for finding in way.findings]
        raise Refused(
            f"the rollback would lose data: {_listed(texts)}",
            hint="nothing was changed; add --allow-data-loss if it may be lost, or agree to it beforehand with"
            f" `alembic-job consent {' '.join(way.revision for way in losing)}`",
            evidence=as_fields(losing),
        )


def _listed(texts: list[str]) -> str:
    return "; ".join(texts[:10]) + (f"; and {len(texts) - 10} more" if len(texts) > 10 else "")


def as_fields(ways: list[Way]) -> list[dict[str, Any]]:
    """What would be lost, for a log line and the history."""
    return [{"revision": way.revision, **finding.as_fields()} for way in ways for finding in way.findings]


def show(ways: list[Way], log: Log) -> None:
    """What a rollback would execute, for `--dry-run`."""
    for way in ways:
        statements = [statement.sql for statement in way.down.statements]
        log.info("rollback.planned", revision=way.revision, statements=statements, reason=way.down.reason or None)
