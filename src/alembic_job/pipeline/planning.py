"""`plan`: what is pending, by version table. Nothing here changes anything or takes a lock."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_job.errors import JobError
from alembic_job.gateways import engines, hygiene
from alembic_job.gateways.complaints import project_errors
from alembic_job.gateways.environment import visit
from alembic_job.gateways.onlooker import only_looking
from alembic_job.gateways.project import Project, open_project
from alembic_job.logs.events import Log
from alembic_job.pipeline import exported_url
from alembic_job.pipeline.failure import classify
from alembic_job.settings import Settings
from alembic_job.steps import preflight

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext


def plan(settings: Settings, log: Log) -> dict[str, Any]:
    """What `migrate` would apply: `tables`, each with its pending revisions in order, and how many there are in all."""
    target = settings.to or "head"
    with exported_url(settings):
        project = open_project(settings, ("upgrade", target), log)
        engines.map_plain_scheme()
        here = Path.cwd()
        with looking(project, settings):
            tables = visit(project, settings.tag, lambda context: _table(project, target, context, here), target)
    return {"tables": tables, "pending": sum(len(table["pending"]) for table in tables)}


@contextmanager
def looking(project: Project, settings: Settings) -> Iterator[None]:
    """While env.py is loaded in it, nothing is changed or locked; errors become ours."""
    taken = hygiene.looking(settings.role, settings.search_path, strictly=True)
    try:
        with engines.logged_in(settings.login), only_looking(), taken:
            yield
    except JobError:
        raise
    except Exception as error:
        raise classify(error, project, None) from error


def _table(project: Project, target: str, context: MigrationContext, here: Path) -> dict[str, Any]:
    table = preflight.version_table(context)
    with preflight.kept_transaction(context):
        heads = tuple(sorted(context.get_current_heads()))
    unknown = [head for head in heads if not project.has(head)]
    revisions = [] if unknown else steps_to(project, target, heads)
    pending = [described(step.revision, here) for step in revisions]
    return {"version_table": table.label, "current": list(heads), "pending": pending, "unknown": unknown}


def steps_to(project: Project, target: str, heads: tuple[str, ...]) -> list[Any]:
    """Alembic's steps up from these heads. Raises `ProjectError`."""
    preflight.check_target(project, target)
    upgrade_steps: Any = project.script._upgrade_revs
    with project_errors():
        return list(upgrade_steps(target, heads))


def described(script: Any, here: Path) -> dict[str, Any]:
    """A revision: its id, what it says of itself, and its file as seen from a folder."""
    return {"revision": script.revision, "message": script.doc, "file": os.path.relpath(script.path, here)}


def as_text(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = [line for table in found["tables"] for line in table_lines(table)]
    return "\n".join(lines) or "env.py came to no version table"


def table_lines(table: dict[str, Any]) -> list[str]:
    """One version table, for people."""
    lines = [f"table     {table['version_table']}", f"current   {', '.join(table['current']) or '(nothing applied)'}"]
    if table["unknown"]:
        return [*lines, f"unknown   {', '.join(table['unknown'])}: these scripts lack it (a newer image?)"]
    width = max((len(each["revision"]) for each in table["pending"]), default=0)
    lines.append(f"pending   {len(table['pending'])}")
    return lines + [
        f"          {each['revision']:<{width}}  {each['message']}  ({each['file']})" for each in table["pending"]
    ]
