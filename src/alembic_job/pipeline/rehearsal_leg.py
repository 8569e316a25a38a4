"""One way of a rehearsal, up or down, in a process of its own: env.py with all its connections led elsewhere."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic_job.dsn import Dsn
from alembic_job.errors import JobError, MigrationFailed, ProjectError, RevisionUnknown
from alembic_job.gateways import engines, hygiene, redirected
from alembic_job.gateways.complaints import project_errors
from alembic_job.gateways.environment import run_env, visit
from alembic_job.gateways.project import Project, alembic_library, described, open_project
from alembic_job.gateways.redirected import Finder, Found, Redirect
from alembic_job.gateways.watched_statements import Meter, Statement
from alembic_job.logs.events import Log, hear
from alembic_job.pipeline import exported_url
from alembic_job.pipeline.failure import classify
from alembic_job.pipeline.planning import steps_to
from alembic_job.settings import Settings
from alembic_job.steps import preflight

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep

_NAME = "alembic-job rehearsal"


class Table(NamedTuple):
    """One version table as a leg found it: whether it `existed`, its rows, and the revisions gone through."""

    schema: str
    name: str
    existed: bool
    heads: tuple[str, ...]
    revisions: tuple[dict[str, Any], ...]

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"


class Way(NamedTuple):
    """`look`: env.py runs without any step, for what it does by itself; `up` what is pending; `down` what `back` says.

    `back` has the revisions to undo by version table, in the order they were applied; `origin` is where that leads.
    """

    kind: str
    back: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    origin: str = "base"


class Leg(NamedTuple):
    """What came of one way: `error` is what ended it, `done` the revisions whose step was executed.

    `seconds` are by revision; `secrets` came to light on the way.
    """

    tables: tuple[Table, ...]
    statements: tuple[Statement, ...]
    seconds: dict[str, float]
    done: tuple[str, ...]
    error: JobError | None
    secrets: tuple[str, ...]

    @property
    def pending(self) -> int:
        """Revisions to go through, in all version tables."""
        return sum(len(table.revisions) for table in self.tables)


def prepare() -> None:
    """Imports what every leg needs, so that the processes forked from this one need not."""
    alembic_library()
    redirected.prepare()


def ways(settings: Settings, log: Log) -> Dsn:
    """Where env.py would connect to. It is loaded for that, but gets no connection.

    Raises `ProjectError` (22) if it does not connect at all, or fails before it does.
    """
    finder = Finder(settings.password_command or ())
    redirected.install(finder)
    project: Project | None = None
    try:
        with exported_url(settings):
            project = open_project(settings, ("upgrade", settings.to or "head"), log)
            engines.map_plain_scheme()
            visit(project, settings.tag, lambda context: None, settings.to or "head")
    except Found:
        pass
    except BaseException as error:
        if finder.place is None:
            raise classify(error, project, None) from error
    if finder.place is None:
        raise ProjectError(
            "env.py ran without connecting to PostgreSQL", hint="set DATABASE_URL to the database that it migrates"
        )
    return finder.place


def heads(settings: Settings, log: Log) -> tuple[str, ...]:
    """What the scripts lead to, without env.py. Raises `JobError`."""
    return tuple(sorted(open_project(settings, ("heads",), log).heads()))


def walk(settings: Settings, log: Log, redirect: Redirect, way: Way) -> Leg:
    """Loads env.py, which goes this way in the scratch database. What it raises is in the leg's `error`."""
    secrets: dict[str, None] = {}
    hear(log, secrets.setdefault)
    end_with_parent()
    redirected.install(redirect)
    settling(settings)
    leg = _Walk(settings, way, log)
    error: JobError | None = None
    with Meter(redirect.scratch.dsn) as meter:
        leg.meter = meter
        try:
            with exported_url(settings):
                leg.run()
        except BaseException as reason:
            error = redirect.refusal or leg.explained(reason)
    error = error or redirect.refusal  # also if env.py swallowed it
    statements = tuple(meter.statements)
    return Leg(tuple(leg.tables), statements, meter.seconds, tuple(leg.done), error, tuple(secrets))


def end_with_parent() -> None:
    """Ends this process soon after the one that forked it was killed: nobody would drop the scratch database then."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, name="alembic-job-parent", daemon=True).start()


def settling(settings: Settings) -> None:
    """Connections get the role and the search_path that they have in a run, and no timeout."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def connect(connection: Any, _record: Any) -> None:
        if engines.is_postgresql(connection):
            hygiene.settle(connection, _NAME, settings.role, settings.search_path)

    event.listen(Engine, "connect", connect)


class _Walk:
    """The hooks of one way: see `gateways.environment.EnvironmentHooks`."""

    def __init__(self, settings: Settings, way: Way, log: Log) -> None:
        self.meter: Meter
        self.tables: list[Table] = []
        self.done: list[str] = []
        self._settings, self._way, self._log = settings, way, log
        self._target = settings.to or "head"
        self._argument = way.origin if way.kind == "down" else self._target  # what env.py is told the target is
        self._project: Project | None = None
        self._current: str | None = None
        self._here = Path.cwd()

    def run(self) -> None:
        """Raises whatever env.py raises."""
        settings, command = self._settings, "downgrade" if self._way.kind == "down" else "upgrade"
        project = self._project = open_project(settings, (command, self._argument), self._log)
        engines.map_plain_scheme()
        try:
            run_env(project, self._argument, settings.tag, settings.transaction, self)
        except SystemExit as end:
            if end.code or self._current is not None:
                raise
        if self._current is not None:
            raise MigrationFailed("it failed, and env.py went on as if it had not", revision=self._current)

    def explained(self, reason: BaseException) -> JobError:
        """What ended it, with the statement where it was one."""
        error = classify(reason, self._project, self._current)
        if self._current is None:
            return error
        fields = {**error.fields, "revision": self._current}
        last = self.meter.statements[-1] if self.meter.statements else None
        if last is None or last.done or last.revision != self._current:
            return type(error)(str(error), hint=error.hint, **fields)
        message = f"{error}; the statement: {last.sql}"
        return type(error)(message, hint=error.hint, **fields, statement=last.sql)

    def before(self, context: MigrationContext, arguments: dict[str, Any]) -> None:
        self._table = preflight.version_table(context)

    def after(self, context: MigrationContext) -> None:
        """As in a run: where each revision has its own transaction nobody else commits what was done around them."""
        connection: Any = context.connection
        if self._settings.transaction != "per-revision" or context._in_external_transaction:
            return
        if getattr(connection, "in_transaction", lambda: False)() and hasattr(connection, "commit"):
            connection.commit()

    def applied(self, heads: set[str], context: MigrationContext) -> None:
        if self._current is not None:
            self.done.append(self._current)

    def revisions(self, heads: tuple[str, ...], context: MigrationContext) -> Iterator[RevisionStep]:
        project, table = self._project, self._table
        assert project is not None
        heads = tuple(sorted(heads))
        if self._way.kind == "down":
            scripts = _scripts(project, self._way.back.get(table.label, ()))[::-1]
        else:
            if unknown := project.lacks(heads):
                raise RevisionUnknown(f"the database is at {', '.join(unknown)}, which these scripts lack")
            scripts = [step.revision for step in steps_to(project, self._target, heads)]
        revisions = tuple(
            {**described(script, self._here), "follows": list(script._all_down_revisions)} for script in scripts
        )
        self.tables.append(Table(table.schema, table.name, table.exists, heads, revisions))
        for script in scripts if self._way.kind != "look" else ():
            self._current = script.revision
            step = step_of(project, script, self._way.kind)
            step.migration_fn = partial(self._measured, script.revision, step.migration_fn)
            yield step
            self._current = None

    def _measured(self, revision: str, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with self.meter.within(revision):
            return function(*args, **options)


def _scripts(project: Project, revisions: tuple[str, ...]) -> list[Any]:
    with project_errors():
        return [project.script.get_revision(revision) for revision in revisions]


def step_of(project: Project, script: Any, kind: str) -> Any:
    """Alembic's step up or down over just this revision, whatever the graph looks like."""
    from alembic.runtime.migration import MigrationStep

    make: Any = MigrationStep.downgrade_from_script if kind == "down" else MigrationStep.upgrade_from_script
    return make(project.script.revision_map, script)


__all__ = ["Leg", "Table", "Way", "end_with_parent", "heads", "prepare", "settling", "step_of", "walk", "ways"]
