"""The project's part of `test`, in a process of its own: env.py, led to the scratch database, a revision at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic_job.errors import JobError, MigrationFailed, ProjectError
from alembic_job.gateways import autogenerate, engines, postgres, redirected, roles
from alembic_job.gateways.complaints import project_errors
from alembic_job.gateways.environment import run_env
from alembic_job.gateways.project import Project, described, open_project
from alembic_job.gateways.redirected import Redirect
from alembic_job.logs.events import Log, hear
from alembic_job.pipeline import authoring, exported_url
from alembic_job.pipeline.failure import classify
from alembic_job.pipeline.lacking import lacking
from alembic_job.pipeline.planning import steps_to
from alembic_job.pipeline.rehearsal_leg import end_with_parent, settling, step_of
from alembic_job.pipeline.testing_discretion import discreet, without_literals
from alembic_job.pipeline.testing_verdicts import UPWARD, Step, Verdicts
from alembic_job.rules.row_changes import Rows
from alembic_job.settings import Settings
from alembic_job.steps import preflight

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep


class Script(NamedTuple):
    """A revision: what it says of itself, what it builds upon, and whether it has a `downgrade`."""

    words: dict[str, Any]
    follows: frozenset[str]
    has_way_back: bool

    @property
    def revision(self) -> str:
        return str(self.words["revision"])


class Table(NamedTuple):
    """A version table that env.py came to, what it held, and whether schemas can be looked at between its steps."""

    schema: str
    name: str
    heads: tuple[str, ...]
    divisible: bool
    models: bool

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"


class Walked(NamedTuple):
    """How far a process came: the verdicts with what it added; `error` is what ended it, in the step `at`.

    `one_way`: it is that the project says that there is no way back; `role`: that the server lacks this one.
    """

    verdicts: Verdicts
    tables: tuple[Table, ...]
    at: Step | None
    error: JobError | None
    one_way: str | None
    role: str | None
    statement: str | None
    secrets: tuple[str, ...]


class Course(NamedTuple):
    """What a process is to do: these steps in each version table, by name where there is a row for it.

    `look` takes the schema, by the program `looks_by`; without it a process goes one step only. `told` hears of each
    step before it is executed. `rows` takes the rows, which are people's: no error tells of them then.
    """

    steps: tuple[Step, ...]
    look: Callable[[], str] | None = None
    looks_by: str = ""
    told: Callable[[Step], None] = lambda step: None
    by_table: dict[str, tuple[Step, ...]] | None = None
    rows: Callable[[], dict[str, Rows]] | None = None

    def of(self, label: str) -> tuple[Step, ...]:
        return self.steps if self.by_table is None else self.by_table.get(label, ())


def scripts(
    settings: Settings, log: Log, target: str | tuple[str, ...], heads: tuple[str, ...] = ()
) -> tuple[Script, ...]:
    """The revisions from these heads up to a target, each after what it builds upon; without env.py.

    Raises `RevisionUnknown` (28) for heads that the scripts lack, and other `JobError`s.
    """
    here = Path.cwd()
    project = open_project(settings, ("upgrade", "head"), log)
    if unknown := project.lacks(heads):
        raise lacking(None, "the database", unknown)
    found = [step.revision for step in steps_to(project, target, heads)]  # type: ignore[arg-type]
    return tuple(
        Script(described(each, here), frozenset(each._all_down_revisions), hasattr(each.module, "downgrade"))
        for each in found
    )


def ids(settings: Settings, log: Log, name: str) -> tuple[str, ...]:
    """The revisions that this names. Raises `ProjectError`."""
    project = open_project(settings, ("upgrade", "head"), log)
    with project_errors():
        return tuple(each.revision for each in project.script.get_revisions(name) if each is not None)


def models(settings: Settings, log: Log, redirect: Redirect) -> list[str]:
    """What differs between the models and the scratch database. Raises `JobError`."""
    end_with_parent()
    redirected.install(redirect)
    differences: list[str] = authoring.check(settings, log)["differences"]
    return differences


def walk(settings: Settings, log: Log, redirect: Redirect, course: Course, verdicts: Verdicts) -> Walked:
    """Loads env.py, which goes this course in the scratch database. What it raises is in the result."""
    secrets: dict[str, None] = {}
    hear(log, secrets.setdefault)
    end_with_parent()
    redirected.install(redirect)
    settling(settings)
    walker = _Walker(settings, log, course, verdicts)
    error: JobError | None = None
    reason: BaseException | None = None
    try:
        with exported_url(settings):
            walker.run()
    except BaseException as raised:
        reason, error = raised, redirect.refusal or walker.explained(raised)
    error = error or redirect.refusal  # also if env.py swallowed it
    statement = _statement(reason)
    if course.rows is not None and error is not None and error is not redirect.refusal:
        error, statement = discreet(error, reason), statement and without_literals(statement, reason)
    at, one_way = walker.current, _one_way(walker.current, reason)
    role = roles.lacking(reason) if reason is not None else None
    return Walked(verdicts, tuple(walker.tables), at, error, one_way, role, statement, tuple(secrets))


def _one_way(step: Step | None, reason: BaseException | None) -> str | None:
    links = postgres.chain(reason) if step is not None and step.way == "down" and reason is not None else ()
    said = [str(link) for link in links if isinstance(link, NotImplementedError)]
    return " ".join(["NotImplementedError", *said[0].split()]) if said else None


def _statement(reason: BaseException | None) -> str | None:
    """The one that the database refused."""
    links = postgres.chain(reason) if reason is not None else ()
    return next((str(sql) for link in links if (sql := getattr(link, "statement", None))), None)


class _Walker:
    """The hooks of one process: see `gateways.environment.EnvironmentHooks`."""

    def __init__(self, settings: Settings, log: Log, course: Course, verdicts: Verdicts) -> None:
        self.tables: list[Table] = []
        self.current: Step | None = None
        self._settings, self._log, self._course, self._verdicts = settings, log, course, verdicts
        self._project: Project | None = None
        self._heads: tuple[str, ...] = ()

    def run(self) -> None:
        """Raises whatever env.py raises."""
        way = self._course.steps[0].way if self._course.steps else "up"
        command = "downgrade" if way == "down" else "upgrade"
        target = "base" if way == "down" else "heads"
        project = self._project = open_project(self._settings, (command, target), self._log)
        engines.map_plain_scheme()
        try:
            run_env(project, target, self._settings.tag, self._settings.transaction, self)
        except SystemExit as end:
            if end.code or self.current is not None:
                raise
        if self.current is not None:
            raise MigrationFailed("it failed, and env.py went on as if it had not", revision=self.current.revision)
        if not self.tables:
            raise ProjectError("env.py ran without coming to run_migrations", hint="let it call it for `upgrade`")

    def explained(self, reason: BaseException) -> JobError:
        """What ended it, with the revision where it was one."""
        error = classify(reason, self._project, self.current.revision if self.current else None)
        if self.current is not None:
            error.fields["revision"] = self.current.revision
        return error

    def before(self, context: MigrationContext, arguments: dict[str, Any]) -> None:
        self._table = preflight.version_table(context)

    def after(self, context: MigrationContext) -> None:
        """As in a run: where each revision has its own transaction nobody else commits what was done around them."""
        connection: Any = context.connection
        if context._in_external_transaction:
            return
        if getattr(connection, "in_transaction", lambda: False)() and hasattr(connection, "commit"):
            connection.commit()

    def applied(self, heads: set[str], context: MigrationContext) -> None:
        self._heads = tuple(sorted(heads))

    def revisions(self, heads: tuple[str, ...], context: MigrationContext) -> Iterator[RevisionStep]:
        self._heads = tuple(sorted(heads))
        table = self._noted(context)
        steps = self._course.of(table.label)
        for step in steps:
            if self._course.look and self._verdicts.before is None and step.way != "apply":
                self._verdicts.before, self._verdicts.rows["before"] = self._schema(), self._heads
                self._verdicts.data = self._counted()
            self.current = step
            self._course.told(step)
            yield self._step(step)
            self.current = None
            if self._course.look is None:
                break  # whoever started this process looks, once it has ended
            self._done(step)
            if self._verdicts.broken:
                break

    def _noted(self, context: MigrationContext) -> Table:
        divisible = context.impl.transactional_ddl and not context._in_external_transaction
        models = bool(autogenerate.metadata_of(context))
        table = Table(self._table.schema, self._table.name, self._heads, divisible, models)
        self.tables.append(table)
        return table

    def _step(self, step: Step) -> RevisionStep:
        assert self._project is not None
        with project_errors():
            script = self._project.script.get_revision(step.revision)
        made: RevisionStep = step_of(self._project, script, "down" if step.way == "down" else "up")
        return made

    def _done(self, step: Step) -> None:
        """It is committed."""
        if step.way in UPWARD:
            self._verdicts.rows["after"] = self._heads
        self._verdicts.saw(step, *((None, {}) if step.way == "apply" else (self._schema(), self._counted())))

    def _counted(self) -> dict[str, Rows]:
        return self._course.rows() if self._course.rows else {}

    def _schema(self) -> str:
        assert self._course.look is not None
        with redirected.own_program(self._course.looks_by):
            return self._course.look()
