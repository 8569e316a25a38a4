"""`lint`: what is wrong with revisions before they run. Nothing is changed, and no lock is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg2

from alembic_job.errors import JobError
from alembic_job.gateways import autogenerate, engines, postgres, squawk
from alembic_job.gateways.complaints import project_errors
from alembic_job.gateways.environment import visit_with_arguments
from alembic_job.gateways.history import History
from alembic_job.gateways.onlooker import nobody_reached
from alembic_job.gateways.project import Project, open_project, uncollected
from alembic_job.gateways.rendering import read_script
from alembic_job.gateways.scripts import all_scripts
from alembic_job.lint import beside
from alembic_job.lint.judge import judge
from alembic_job.lint.model import Database, Finding, Tree
from alembic_job.lint.report import Report
from alembic_job.logs.events import Log
from alembic_job.pipeline import exported_url, variable_url
from alembic_job.pipeline.archive import Edit
from alembic_job.pipeline.linting_view import has_grammar, looked_up, view
from alembic_job.pipeline.other import database_of
from alembic_job.pipeline.planning import looking
from alembic_job.settings import Settings
from alembic_job.steps import preflight

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import Script

BIG = 256 * 2**20  # bytes from which a table counts as large, unless it is said otherwise
_TARGET = "head"
# What env.py finds as the database offline: only its scheme matters, and nobody can be reached there.
_NOWHERE = "postgresql://offline.invalid/offline"
NO_GRAMMAR = "rules that read SQL were left out: pip install 'alembic-job[sql]'"


class Asked(NamedTuple):
    """Which revisions: these, those after `since`, `every` one, or (`pending`) what the database lacks.

    With none of them: what is pending where the settings name a database, else all.
    """

    revisions: tuple[str, ...] = ()
    pending: bool = False
    since: str | None = None
    every: bool = False
    offline: bool = False
    big: int = BIG


class _Seen(NamedTuple):
    """What one configuration of env.py showed; `pending` is empty offline."""

    tree: Tree
    asked: tuple[str, ...]
    pending: bool
    models: bool
    major: int | None


def lint(settings: Settings, log: Log, asked: Asked) -> Report:
    """Looks at the revisions asked for. Raises `JobError`."""
    online = not asked.offline and (asked.pending or settings.database is not None)
    settings = settings if online else settings.but(database_url=_NOWHERE, database_direct_url=None)
    with exported_url(settings) if online else variable_url(_NOWHERE), uncollected():
        project = open_project(settings, ("upgrade", _TARGET), log)
        engines.map_plain_scheme()
        linter = _Linter(project, settings, asked, Path.cwd())
        if online:
            with looking(project, settings):
                linter.visit(linter.online)
            seen = linter.compared(log)
        else:
            seen = linter.offline()
        return linter.report(seen)


class _Linter:
    """One project, through the configurations that its env.py comes to."""

    def __init__(self, project: Project, settings: Settings, asked: Asked, here: Path) -> None:
        self._project, self._settings, self._asked, self._here = project, settings, asked, here
        self._scripts: list[Script] = []
        self._remarks: list[str] = []
        self._seen: list[_Seen] = []

    def visit(self, look: Callable[[MigrationContext, dict[str, Any]], _Seen], *, as_sql: bool = False) -> None:
        """Through the configurations of env.py. Raises what that raises."""

        def each(context: MigrationContext, arguments: dict[str, Any]) -> None:
            self._seen.append(look(context, arguments))

        visit_with_arguments(self._project, self._settings.tag, each, _TARGET, as_sql=as_sql)

    def remark(self, text: str) -> None:
        if text not in self._remarks:
            self._remarks.append(text)

    def online(self, context: MigrationContext, arguments: dict[str, Any]) -> _Seen:
        """With the database that env.py has connected to."""
        label = preflight.version_table(context).label
        heads = preflight.current_heads(context)
        scripts = self._all()
        applied = self._project.ancestors(heads)
        pending = [script.revision for script in scripts if script.revision not in applied]
        if unknown := self._project.lacks(heads):
            self.remark(f"{label} holds {', '.join(unknown)}, which these scripts lack: what is pending is a guess")
        asked = self._chosen(pending if self._defaults_to_pending() else None)
        tree = view(context, arguments, scripts, asked, self._here)
        known = looked_up(context, tree, asked, self._asked.big)
        edited = self._edited(label, [script for script in scripts if script.revision in applied])
        database = replace(known, edited=frozenset(edited), applied=frozenset(applied))
        models = bool(autogenerate.metadata_of(context))
        major = postgres_major(context)
        return _Seen(replace(tree, database=database), asked, bool(pending or unknown), models, major)

    def _defaults_to_pending(self) -> bool:
        return self._asked.pending or not (self._asked.revisions or self._asked.since or self._asked.every)

    def offline(self) -> list[_Seen]:
        """Without a database: as `alembic upgrade --sql` loads env.py; where that fails, without env.py."""
        try:
            with looking(self._project, self._settings), nobody_reached(), _written_nowhere(self._project):
                self.visit(self._alone, as_sql=True)
        except JobError as error:
            if self._scripts:  # it came to the revisions: they are what is wrong
                raise
            self.remark(f"env.py cannot be loaded without a database, and was left out: {error}")
        return self._seen or [without_environment(self._project, self._alone)]

    def _alone(self, context: MigrationContext, arguments: dict[str, Any]) -> _Seen:
        scripts = self._all()
        asked = self._chosen(None)
        return _Seen(view(context, arguments, scripts, asked, self._here), asked, True, False, None)

    def _all(self) -> list[Script]:
        self._scripts = self._scripts or all_scripts(self._project)
        return self._scripts

    def _chosen(self, pending: list[str] | None) -> tuple[str, ...]:
        """The revisions asked for, in the order of the scripts. Raises `ProjectError`."""
        asked, ids = self._asked, [script.revision for script in self._scripts]
        if asked.revisions:
            with project_errors():
                wanted = {name for spec in asked.revisions for name in self._named(spec)}
        elif asked.since:
            with project_errors():
                there = self._project.script.get_revisions(asked.since)
            wanted = set(ids) - self._project.ancestors(script.revision for script in there if script is not None)
        else:
            wanted = set(ids if pending is None else pending)
        return tuple(dict.fromkeys(name for name in ids if name in wanted))

    def _named(self, spec: str) -> Iterable[str]:
        scripts: Any = self._project.script
        if ":" in spec:
            base, _, head = spec.partition(":")
            found = scripts.walk_revisions(base or "base", head or "heads")
        else:
            found = scripts.get_revisions(spec)
        return [script.revision for script in found if script is not None]

    def _edited(self, label: str, applied: list[Script]) -> list[str]:
        """Revisions whose scripts are not what was applied, by the history, if there is one."""
        try:
            with closing(postgres.connect(database_of(self._settings), "alembic-job lint")) as connection:
                history = History(connection, self._settings.history_schema, label)
                hashes = history.hashes()
                changed = [each for each in applied if hashes.get(each.revision, "") not in ("", _hash(each))]
                recorded = history.scripts() if changed else {}
        except (JobError, psycopg2.Error):  # only env.py knows the way there
            return []
        edits = [Edit(each, recorded[each.revision], *read_script(each.path)) for each in changed]
        return [edit.script.revision for edit in edits if edit.counts]

    def compared(self, log: Log) -> list[_Seen]:
        """With what differs between the models and the database, if that is at head; the first tells of all."""
        if any(each.pending for each in self._seen) or not any(each.models for each in self._seen):
            return self._seen
        from alembic_job.pipeline.authoring import check

        try:
            found = check(self._settings, log)
        except JobError as error:
            self.remark(f"models were not compared with the database: {error}")
            return self._seen
        first, *rest = self._seen
        database = replace(first.tree.database or Database(), differences=tuple(found["differences"]))
        return [first._replace(tree=replace(first.tree, database=database)), *rest]

    def report(self, seen: list[_Seen]) -> Report:
        """What the rules and squawk find in all of it."""
        if not has_grammar():
            self.remark(NO_GRAMMAR)
        found: dict[Finding, None] = {}
        for each in seen:
            told = judged(each.tree, each.asked, each.major, self.remark)
            found |= dict.fromkeys(told)
        asked = {name for each in seen for name in each.asked}
        return Report(tuple(found), len(asked), tuple(self._remarks))


def judged(tree: Tree, asked: Iterable[str], major: int | None, remark: Callable[[str], None]) -> list[Finding]:
    """What the rules find, and squawk where it is installed; `major` is the server's."""
    asked = set(asked)
    program = squawk.program()
    if program is None:
        remark("squawk is not installed, and was left out: pip install 'alembic-job[lint]'")
        return judge(tree, asked)
    scripts = {
        each.file: script for each in tree.revisions if each.revision in asked and (script := beside.script(each))
    }
    told = squawk.complaints(program, {file: script.text for file, script in scripts.items()}, major)
    findings = [beside.finding(scripts[each.key], tree, each.line, each.rule, each.message) for each in told]
    return judge(tree, asked, [finding for finding in findings if finding is not None])


def _hash(script: Script) -> str:
    return read_script(script.path)[0]


def postgres_major(context: MigrationContext) -> int | None:
    """The server's, as SQLAlchemy has read it."""
    version = getattr(context.dialect, "server_version_info", None)
    return int(version[0]) if version else None


@contextmanager
def _written_nowhere(project: Project) -> Iterator[None]:
    """What Alembic writes around revisions offline (BEGIN) is part of no answer."""
    from io import StringIO

    before = project.config.output_buffer
    project.config.output_buffer = StringIO()
    try:
        yield
    finally:
        project.config.output_buffer = before


def without_environment(project: Project, each: Callable[[MigrationContext, dict[str, Any]], _Seen]) -> _Seen:
    """What `each` makes of a configuration of Alembic's defaults."""
    from alembic.operations import Operations
    from alembic.runtime.environment import EnvironmentContext

    options: dict[str, Any] = {"as_sql": True, "destination_rev": _TARGET, "fn": lambda *_: []}
    with _written_nowhere(project), EnvironmentContext(project.config, project.script, **options) as environment:
        environment.configure(dialect_name="postgresql", literal_binds=True)
        context = environment.get_context()
        with Operations.context(context):
            return each(context, {})
