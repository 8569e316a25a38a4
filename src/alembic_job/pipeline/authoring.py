"""At the desk: `revision`, `merge`, `check`, `edit`. Files are written; the database is only looked at."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2

from alembic_job.errors import JobError, ProjectError
from alembic_job.gateways import autogenerate, engines, model_details, postgres
from alembic_job.gateways.complaints import project_errors
from alembic_job.gateways.environment import author
from alembic_job.gateways.history import History
from alembic_job.gateways.project import Project, described, open_project, option
from alembic_job.logs.events import Log
from alembic_job.pipeline import exported_url
from alembic_job.pipeline.failure import classify
from alembic_job.pipeline.lacking import lacking
from alembic_job.pipeline.other import database_of
from alembic_job.pipeline.planning import looking
from alembic_job.pipeline.status import look, pending
from alembic_job.settings import Settings
from alembic_job.steps import preflight

if TYPE_CHECKING:
    from alembic.autogenerate.api import RevisionContext
    from alembic.runtime.migration import MigrationContext

_ARGUMENTS: dict[str, Any] = {
    **dict.fromkeys(("message", "head", "branch_label", "version_path", "rev_id", "depends_on")),
    **dict.fromkeys(("autogenerate", "sql", "splice"), False),
}


def revision(settings: Settings, log: Log, asked: dict[str, Any]) -> dict[str, Any]:
    """Writes a revision file, as Alembic's command of that name; `asked` are its arguments, and `empty`.

    Returns `revisions`, each with its `file`; after autogenerate also `differences`, those that it cannot write
    (`by_hand`), and what was compared. Where there is nothing to write there are no `revisions`, and no file, unless
    `empty` says so. Raises `JobError`.
    """
    here = Path.cwd()
    arguments = {**_ARGUMENTS, **{name: value for name, value in asked.items() if name != "empty" and value}}
    with exported_url(settings):
        project = open_project(settings, ("revision", *_options(arguments)), log)
        engines.map_plain_scheme()
        _check_head(project, arguments["head"])
        writer = _Author(project, settings, arguments)
        if arguments["autogenerate"] or _wants_environment(project, arguments["sql"]):
            writer.load()
        found: dict[str, Any] = {"message": arguments["message"], "revisions": [], **writer.found()}
        if not arguments["autogenerate"] or found["differences"] or asked.get("empty"):
            found["revisions"] = writer.write(here)
    return found


def check(settings: Settings, log: Log) -> dict[str, Any]:
    """What differs between the models and the database, and what was compared. Raises `JobError`."""
    with exported_url(settings):
        project = open_project(settings, ("check",), log)
        engines.map_plain_scheme()
        writer = _Author(project, settings, {**_ARGUMENTS, "autogenerate": True})
        writer.load()
        found = writer.found()
        found["differences"] += found.pop("by_hand")
        return found


def merge(settings: Settings, log: Log, revisions: tuple[str, ...], asked: dict[str, Any]) -> dict[str, Any]:
    """Writes a revision that follows all of these, as Alembic's command of that name; `asked` are its other arguments.

    Raises `ProjectError`.
    """
    here = Path.cwd()
    with exported_url(settings):
        project = open_project(settings, ("merge", *_options(asked), *revisions), log)
        engines.map_plain_scheme()
        with project_errors():
            scripts = [script for script in project.script.get_revisions(revisions) if script is not None]
        heads = tuple(dict.fromkeys(script.revision for script in scripts))
        if len(heads) < 2:
            raise ProjectError(
                f"there is nothing to merge: {', '.join(revisions)} is {', '.join(heads) or 'no revision'}",
                hint="`alembic-job heads` shows what there is to merge",
            )
        writer = _Author(project, settings, {**_ARGUMENTS, **asked, "head": heads})
        if _wants_environment(project, False):
            writer.load()
        return {"message": asked["message"], "revisions": writer.write(here)}


def files(settings: Settings, log: Log, revision: str) -> list[str]:
    """The files of a revision: an id or the like, or `current`. Raises `ProjectError`."""
    with exported_url(settings):
        if revision == "current":
            project, found = look(settings, log)
            wanted: Any = [head for each in found for head in each.heads]
        else:
            project, wanted = open_project(settings, ("edit", revision), log), revision
        with project_errors():
            scripts = [script for script in project.script.get_revisions(wanted) if script is not None]
    if not scripts:
        raise ProjectError(f"{revision} is no revision", hint="`alembic-job history` lists what there is")
    return [str(Path(script.path).absolute()) for script in scripts]


def check_syntax(paths: Iterable[str]) -> None:
    """Raises `ProjectError` for a file that is no Python."""
    with project_errors():
        for path in paths:
            compile(Path(path).read_bytes(), path, "exec")


class _Author:
    """Alembic's `RevisionContext` for one command, filled by loading env.py, then written."""

    def __init__(self, project: Project, settings: Settings, arguments: dict[str, Any]) -> None:
        self._project, self._settings, self._arguments = project, settings, arguments
        if arguments["rev_id"] and project.has(arguments["rev_id"]):
            raise ProjectError(f"revision {arguments['rev_id']} is there already", hint="give another --rev-id")
        self._context = self._fresh()
        self._error: Exception | None = None  # env.py may swallow it
        self._compared: list[MigrationContext] = []
        self._metadata: list[Any] = []
        self._tables: set[str] = set()
        self._passed_over: dict[str, None] = {}

    def _fresh(self) -> RevisionContext:
        from alembic.autogenerate.api import RevisionContext

        return RevisionContext(self._project.config, self._project.script, self._arguments)

    def load(self) -> None:
        """Lets env.py configure what is compared, and compares. Raises `JobError`."""
        context = self._context
        given = {"template_args": context.template_args, "revision_context": context}
        with looking(self._project, self._settings):
            author(self._project, self._configured, self._changed, as_sql=self._arguments["sql"], **given)
        if self._error is not None:
            raise classify(self._error, self._project, None)
        if self._arguments["autogenerate"] and not self._compared:
            raise ProjectError(
                "env.py ran without coming to run_migrations", hint="let env.py call it for this command"
            )

    def _changed(self, options: dict[str, Any]) -> dict[str, Any]:
        ours = autogenerate.without_own(options, self._settings.history_schema, self._default_schema)
        return autogenerate.without_foreign(ours, self._settings.foreign or (), self._default_schema)

    def _default_schema(self) -> str | None:
        connection: Any = self._compared[-1].connection
        name: str | None = connection.dialect.default_schema_name
        return name

    def _configured(self, heads: tuple[str, ...], context: MigrationContext) -> None:
        try:
            self._compare(heads, context)
        except Exception as error:
            self._error = self._error or error
            raise

    def _compare(self, heads: tuple[str, ...], context: MigrationContext) -> None:
        if not self._arguments["autogenerate"]:
            self._context.run_no_autogenerate(heads, context)
            return
        self._compared.append(context)
        self._check_up_to_date(heads, context)
        self._context.run_autogenerate(heads, context)
        metadata = autogenerate.metadata_of(context)
        self._metadata += metadata
        self._tables.update(autogenerate.tables_of(context, metadata))
        self._passed_over |= dict.fromkeys(model_details.differences(context))

    def _check_up_to_date(self, heads: tuple[str, ...], context: MigrationContext) -> None:
        label = preflight.version_table(context).label
        if unknown := self._project.lacks(heads):
            raise _lacking(self._settings, label, unknown)
        waiting = pending(self._project, heads)
        if waiting:
            raise ProjectError(
                f"Target database is not up to date: {len(waiting)} pending in {label}: {self._named(waiting)}",
                hint="`alembic-job migrate` applies them, then try again; if the database has what they make already,"
                " `alembic-job stamp head` says so",
            )

    def _named(self, revisions: list[str]) -> str:
        scripts = [self._project.script.revision_map.get_revision(each) for each in revisions[:10]]
        names = [f"{script.revision} ({script.doc})" for script in scripts if script is not None]  # type: ignore[attr-defined]
        return ", ".join(names) + (f" and {len(revisions) - 10} more" if len(revisions) > 10 else "")

    def found(self) -> dict[str, Any]:
        """What differs, and what was compared; nothing without autogenerate."""
        if not self._arguments["autogenerate"]:
            return {}
        return {
            "differences": autogenerate.differences(self._context.generated_revisions),
            "by_hand": list(self._passed_over),
            "modules": autogenerate.modules_of(self._metadata),
            "models": sorted({table.fullname for each in self._metadata for table in each.tables.values()}),
            "database": sorted(self._tables),
        }

    def write(self, here: Path) -> list[dict[str, Any]]:
        """Writes what there is; each revision, with its file as seen from a folder. All of them, or none."""
        # A project's own hook may have thrown an empty revision away.
        context = self._context if self._context.generated_revisions else self._fresh()
        with autogenerate.whole_files(self._project.script), project_errors():
            scripts = [script for script in context.generate_scripts() if script is not None]
        return [{**described(script, here), "follows": list(script._versioned_down_revisions)} for script in scripts]


def _lacking(settings: Settings, label: str, unknown: list[str]) -> JobError:
    try:
        with closing(postgres.connect(database_of(settings), "alembic-job revision")) as connection:
            return lacking(History(connection, settings.history_schema, label), label, unknown)
    except (JobError, psycopg2.Error):  # only env.py knows the way there
        return lacking(None, label, unknown)


def _options(arguments: dict[str, Any]) -> list[str]:
    """As Alembic's own command line has them, for env.py to read."""
    words: list[str] = []
    for name, value in arguments.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value:
            words += [f"{flag}={each}" for each in (value if isinstance(value, tuple) else (value,))]
    return words


def _check_head(project: Project, head: str | None) -> None:
    heads = sorted(project.heads())
    if head in (None, "head") and len(heads) > 1:
        raise ProjectError(
            f"Multiple head revisions: {', '.join(heads)}",
            hint=f"join them first with {preflight.merge_command(heads)}, or say with --head which one to follow",
        )


def _wants_environment(project: Project, sql: bool) -> bool:
    """True if env.py is to be loaded although nothing is compared."""
    from alembic.util import asbool

    wanted = bool(asbool(option(project.config, "revision_environment")))
    if sql and not wanted:
        raise ProjectError(
            "--sql makes sense only where revision_environment is configured",
            hint="leave --sql out: nothing but the file is written anyway",
        )
    return wanted
