"""`plan`: what is pending, by version table, and what it would do. Nothing is changed, and nobody waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_job.errors import JobError, ProjectError
from alembic_job.gateways import engines, hygiene
from alembic_job.gateways.complaints import project_errors
from alembic_job.gateways.environment import visit_with_arguments
from alembic_job.gateways.onlooker import only_looking
from alembic_job.gateways.project import Project, described, open_project
from alembic_job.logs.events import Log
from alembic_job.pipeline import exported_url
from alembic_job.pipeline.failure import classify
from alembic_job.rules.plan import Plan, PlannedTable
from alembic_job.rules.plan_estimates import RATES
from alembic_job.settings import Settings
from alembic_job.steps import preflight

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext


def plan(settings: Settings, log: Log, *, bookkeeping: bool = False) -> Plan:
    """What `migrate` would apply, and what that would do. With `bookkeeping` also the SQL for the version tables."""
    target = settings.to or "head"
    tables: list[PlannedTable] = []
    notes: list[str] = []
    with exported_url(settings):
        project = open_project(settings, ("upgrade", target), log)
        engines.map_plain_scheme()
        here = Path.cwd()

        def each(context: MigrationContext, arguments: dict[str, Any]) -> None:
            found, mine = _table(project, settings, context, arguments, here, bookkeeping)
            tables.append(found)
            notes.extend(note for note in mine if note not in notes)

        with looking(project, settings):
            visit_with_arguments(project, settings.tag, each, target)
    return Plan(tuple(tables), (RATES, *notes) if any(table.pending for table in tables) else tuple(notes))


@contextmanager
def looking(project: Project, settings: Settings) -> Iterator[None]:
    """While env.py is loaded in it, nothing is changed or locked; errors become ours. Some env.py end like a program:
    the rest of the block is passed over then.
    """
    taken = hygiene.looking(settings.role, settings.search_path, strictly=True)
    try:
        with engines.logged_in(settings.login), only_looking(), taken:
            yield
    except JobError:
        raise
    except SystemExit as end:
        if end.code:
            raise ProjectError(f"env.py ended with {end.code}", hint="see the lines above") from end
    except Exception as error:
        raise classify(error, project, None) from error


def _table(
    project: Project,
    settings: Settings,
    context: MigrationContext,
    arguments: dict[str, Any],
    here: Path,
    bookkeeping: bool,
) -> tuple[PlannedTable, list[str]]:
    """And notes on the whole plan."""
    table = preflight.version_table(context)
    heads = preflight.current_heads(context)
    unknown = tuple(project.lacks(heads))
    steps = [] if unknown else steps_to(project, settings.to or "head", heads)
    found = PlannedTable(table.label, heads, (), unknown, _transaction(context, settings))
    if not steps:
        return found, []
    from alembic_job.pipeline.plan_revisions import Planner, version_table_made

    planner = Planner(context, arguments, table, settings)
    names = [described(step.revision, here) for step in steps]
    found = found._replace(pending=planner.planned(steps, names, bookkeeping=bookkeeping))
    if bookkeeping and not table.exists:
        found = found._replace(bookkeeping=version_table_made(context))
    return found, planner.notes


def _transaction(context: MigrationContext, settings: Settings) -> str:
    if not context.impl.transactional_ddl:
        return "none"
    if settings.transaction != "project":
        return settings.transaction
    return "per-revision" if context._transaction_per_migration else "all"


def steps_to(project: Project, target: str, heads: tuple[str, ...]) -> list[Any]:
    """Alembic's steps up from these heads. Raises `ProjectError`."""
    preflight.check_target(project, target)
    upgrade_steps: Any = project.script._upgrade_revs
    with project_errors():
        return list(upgrade_steps(target, heads))


def table_lines(table: dict[str, Any]) -> list[str]:
    """One version table and what is pending, for people."""
    lines = [f"table     {table['version_table']}", f"current   {', '.join(table['current']) or '(nothing applied)'}"]
    if table["unknown"]:
        return [*lines, f"unknown   {', '.join(table['unknown'])}: these scripts lack it (a newer image?)"]
    width = max((len(each["revision"]) for each in table["pending"]), default=0)
    lines.append(f"pending   {len(table['pending'])}")
    return lines + [
        f"          {each['revision']:<{width}}  {each['message']}  ({each['file']})" for each in table["pending"]
    ]
