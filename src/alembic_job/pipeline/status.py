"""The answers to questions: nothing here changes anything, waits long, or takes a lock."""

from __future__ import annotations

import io
import json
from contextlib import ExitStack, nullcontext
from typing import Any

from alembic_job.errors import JobError
from alembic_job.gateways import engines, hygiene, locks, postgres
from alembic_job.gateways.complaints import project_errors
from alembic_job.gateways.environment import application, look
from alembic_job.gateways.project import Project, alembic_library, open_project
from alembic_job.logs.events import Log
from alembic_job.pipeline.failure import classify
from alembic_job.pipeline.other import database_of
from alembic_job.settings import SETTINGS, Settings


def status(settings: Settings, log: Log) -> dict[str, Any]:
    """Where each version table is, what is pending, and who is running right now."""
    project = open_project(settings, ("current",), log)
    heads = project.heads()
    engines.map_plain_scheme()
    found = _guarded(project, settings, lambda: look(project, settings.tag))
    tables = [_table(project, heads, *entry) for entry in found]
    return {
        "heads": sorted(heads),
        "tables": tables,
        "up_to_date": all(not table["pending"] and not table["unknown"] for table in tables),
        "running": _running(settings),
    }


def _table(
    project: Project, heads: tuple[str, ...], name: str, schema: str | None, current: tuple[str, ...]
) -> dict[str, Any]:
    unknown = [revision for revision in current if not project.has(revision)]
    done = project.ancestors(current)
    pending = [script.revision for script in _base_to_head(project) if script.revision not in done]
    return {
        "version_table": f"{schema}.{name}" if schema else name,
        "current": sorted(current),
        "pending": [] if unknown else pending,
        "unknown": unknown,
    }


def _base_to_head(project: Project) -> list[Any]:
    with project_errors():
        return list(project.script.walk_revisions())[::-1]


def _running(settings: Settings) -> list[dict[str, Any]]:
    """Runs that hold one of our locks now, each with what its work connections execute."""
    connection = postgres.connect(database_of(settings), "alembic-job status")
    try:
        return [
            {
                "owner": owner.application_name,
                "pid": owner.pid,
                "client": owner.client,
                "since": owner.since,
                "work": [
                    {"pid": worker.pid, "state": worker.state, "statement": worker.statement}
                    for worker in locks.workers(connection, locks.run_keys(connection, owner.pid))
                ],
            }
            for owner in locks.owners(connection)
        ]
    finally:
        connection.close()


def as_text(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"heads     {', '.join(found['heads']) or '(no revisions)'}"]
    for table in found["tables"]:
        lines.append(f"table     {table['version_table']}")
        lines.append(f"current   {', '.join(table['current']) or '(nothing applied)'}")
        if table["unknown"]:
            lines.append(f"unknown   {', '.join(table['unknown'])}: these scripts lack it (a newer image?)")
        else:
            lines.append(f"pending   {len(table['pending'])}" + "".join(f"\n          {r}" for r in table["pending"]))
    for run in found["running"]:
        lines.append(f"running   {run['owner'] or 'name hidden'} (pid {run['pid']}) since {run['since']}")
        lines += [f"          pid {work['pid']} {work['state']}: {work['statement']}" for work in run["work"]]
    if not found["running"]:
        lines.append("running   nobody")
    return "\n".join(lines)


def show_settings(settings: Settings, as_json: bool) -> str:
    """Every setting, its value without secrets, and where it came from."""
    rows = [(setting, _shown(settings, setting.name), settings.origins[setting.name]) for setting in SETTINGS]
    if as_json:
        return json.dumps(
            {setting.variable: {"value": value, "from": origin} for setting, value, origin in rows}, indent=2
        )
    width = max(len(setting.variable) for setting in SETTINGS)
    return "\n".join(
        f"{setting.variable:<{width}}  {value if value is not None else '-':<24}  {origin}"
        for setting, value, origin in rows
    )


def _shown(settings: Settings, name: str) -> str | None:
    value = getattr(settings, name)
    if value is None:
        return None
    if name == "database_url":
        return settings.database.redacted() if settings.database else None
    if name == "database_direct_url":
        return settings.direct.redacted() if settings.direct else None
    if isinstance(value, tuple):
        return " ".join(value)
    return f"{value:g}s" if isinstance(value, float) else str(value)


def alembic_answer(settings: Settings, log: Log, name: str, command: list[str], **arguments: Any) -> str:
    """What Alembic's own command of that name prints."""
    alembic_library()
    import alembic.command

    project = open_project(settings, tuple(command), log)
    engines.map_plain_scheme()
    project.config.stdout = io.StringIO()

    def run() -> None:
        with application(project) if name == "current" or arguments.get("indicate_current") else nullcontext():
            getattr(alembic.command, name)(project.config, **arguments)

    _guarded(project, settings, run)
    return project.config.stdout.getvalue().rstrip("\n")


def _guarded(project: Project, settings: Settings, function: Any) -> Any:
    """Runs what loads env.py; its errors become ours."""
    try:
        with ExitStack() as stack:
            if settings.password_command:
                stack.enter_context(engines.logged_in(settings.login))
            stack.enter_context(hygiene.looking(settings.role, settings.search_path, strictly=True))
            return function()
    except JobError:
        raise
    except Exception as error:
        raise classify(error, project, None) from error


__all__ = ["alembic_answer", "as_text", "show_settings", "status"]
