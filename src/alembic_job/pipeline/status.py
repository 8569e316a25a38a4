"""The answers to questions: nothing here changes anything, waits long, or takes a lock."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, nullcontext
from functools import partial
from typing import Any, NamedTuple

from alembic_job.errors import JobError
from alembic_job.gateways import engines, hygiene, locks, postgres
from alembic_job.gateways.complaints import project_errors
from alembic_job.gateways.environment import application, visit
from alembic_job.gateways.history import History, labels
from alembic_job.gateways.project import Project, alembic_library, open_project
from alembic_job.logs.events import Log
from alembic_job.model import VersionTable
from alembic_job.pipeline.failure import classify
from alembic_job.pipeline.other import database_of
from alembic_job.pipeline.undoing import Ahead
from alembic_job.screen import DIM, PLAIN, RED, YELLOW, Screen, table
from alembic_job.settings import Settings
from alembic_job.settings.shown import rows as settings_rows
from alembic_job.steps import preflight


class Found(NamedTuple):
    """A version table that env.py is about, and what it holds; `label` is as people write it in their project."""

    table: VersionTable
    label: str
    heads: tuple[str, ...]


def status(settings: Settings, log: Log) -> dict[str, Any]:
    """Where each version table is, what is pending, and who is running right now."""
    project, found = look(settings, log)
    tables = [_table(project, settings, each) for each in found]
    return {
        "heads": sorted(project.heads()),
        "tables": tables,
        "up_to_date": all(not table["pending"] and not table["unknown"] for table in tables),
        "running": _running(settings),
    }


def look(settings: Settings, log: Log) -> tuple[Project, list[Found]]:
    """The project, and what each of its version tables holds. Raises what loading it raises."""
    project = open_project(settings, ("current",), log)
    project.heads()
    engines.map_plain_scheme()
    return project, _guarded(project, settings, lambda: visit(project, settings.tag, _read))


def _read(context: Any) -> Found:
    schema, name = context.version_table_schema, context.version_table
    label = f"{schema}.{name}" if schema else name
    return Found(preflight.version_table(context), label, context.get_current_heads())


def version_tables(project: Project, settings: Settings) -> list[str]:
    """The version tables that env.py is about, as `schema.name`. Raises what loading it raises."""
    return [each.table.label for each in _guarded(project, settings, lambda: visit(project, settings.tag, _read))]


def pending(project: Project, applied: Iterable[str]) -> list[str]:
    """The revisions that are not among these and what they build upon, the oldest first."""
    done = project.ancestors(applied)
    return [script.revision for script in base_to_head(project) if script.revision not in done]


def _table(project: Project, settings: Settings, found: Found) -> dict[str, Any]:
    unknown = project.lacks(found.heads)
    told: dict[str, Any] = {
        "version_table": found.label,
        "current": sorted(found.heads),
        "pending": [] if unknown else pending(project, found.heads),
        "unknown": unknown,
    }
    return {**told, "way_back": _way_back(project, settings, found)} if unknown else told


def _way_back(project: Project, settings: Settings, found: Found) -> dict[str, Any] | None:
    """What `rollback --to` would undo by the SQL of the history; none if it holds no way back."""
    with closing(postgres.connect(database_of(settings), "alembic-job status")) as connection:
        history = History(connection, settings.history_schema, found.table.label)
        ahead = Ahead(project, found.table, found.heads, history)
    if not ahead.proven or any(each.downgrade.reason for each in ahead.between):
        return None
    return {"to": ahead.below, "undoes": [each.revision for each in ahead.between]}


def base_to_head(project: Project) -> list[Any]:
    """All scripts, the oldest first."""
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


def as_text(found: dict[str, Any], screen: Screen = PLAIN) -> str:
    """The same for people."""
    rows = list(_status_rows(found))
    if screen.width is None:
        return "\n".join(f"{name:<8}  {value}" for name, value in rows)
    return "\n".join(table(rows, screen, shrinks=[1], colours={0: _status_colour}))


def _status_rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "heads", ", ".join(found["heads"]) or "(no revisions)"
    for each in found["tables"]:
        yield "table", each["version_table"]
        yield "current", ", ".join(each["current"]) or "(nothing applied)"
        if each["unknown"]:
            yield "unknown", f"{', '.join(each['unknown'])}: these scripts lack it (a newer image?)"
            if way := each["way_back"]:
                yield "way back", f"rollback --to {way['to'][0]} undoes {', '.join(way['undoes'])} from here"
        else:
            yield "pending", str(len(each["pending"]))
            yield from (("", revision) for revision in each["pending"])
    for run in found["running"]:
        yield "running", f"{run['owner'] or 'name hidden'} (pid {run['pid']}) since {run['since']}"
        yield from (("", f"pid {work['pid']} {work['state']}: {work['statement']}") for work in run["work"])
    if not found["running"]:
        yield "running", "nobody"


def _status_colour(row: Sequence[str]) -> str:
    """What asks for attention."""
    name, value = row
    if name == "unknown":
        return RED
    return YELLOW if name == "pending" and value != "0" else DIM


def applied(settings: Settings, _log: Log, as_json: bool, screen: Screen = PLAIN) -> str:
    """What the history tells of revisions, stamps, seeds and resets, the oldest first; for people, or as JSON."""
    connection = postgres.connect(database_of(settings), "alembic-job history")
    try:
        schema = settings.history_schema
        tables = {label: _executed(History(connection, schema, label)) for label in labels(connection, schema)}
    finally:
        connection.close()
    if as_json:
        return json.dumps(tables, indent=2, ensure_ascii=False, default=str)
    if not tables:
        return f"no history in schema {schema} yet: it begins with the next `alembic-job migrate`"
    told = _applied_lines if screen.width is None else partial(_applied_table, screen)
    return "\n".join(line for label, rows in tables.items() for line in told(label, rows))


def _executed(history: History) -> list[dict[str, Any]]:
    return sorted([*history.applied(), *history.stamps()], key=lambda row: row["finished_at"])


def _applied_lines(label: str, rows: list[dict[str, Any]]) -> list[str]:
    return [_table_title(label, rows)] + [
        f"  {_when(row)}  {_stamped(row, _by(row)) if row['revision'] is None else _step(row, _by(row))}"
        for row in rows
    ]


def _table_title(label: str, rows: list[dict[str, Any]]) -> str:
    return f"table {label}" + ("" if rows else ": nothing was executed by alembic-job yet")


def _when(row: dict[str, Any]) -> str:
    return str(row["finished_at"].strftime("%Y-%m-%d %H:%M:%S%z"))


def _by(row: dict[str, Any]) -> str:
    image = row["image"] or f"alembic-job {row['job_version']}"
    return f"{image} on {row['host']} as {row['login']}" if row["host"] else "a run that was not recorded"


def _applied_table(screen: Screen, label: str, rows: list[dict[str, Any]]) -> list[str]:
    headings = ("FINISHED AT", "WHAT", "REVISION", "MESSAGE", "TOOK", "WAITED", "BY")
    cells = [headings, *(_applied_cells(row) for row in rows)]
    lines = table(cells, screen, shrinks=(2, 3, 6), colours=dict.fromkeys(range(7), _applied_colour))
    return [screen.text(_table_title(label, rows)), *(lines if rows else ())]


def _applied_cells(row: dict[str, Any]) -> tuple[str, ...]:
    if row["revision"] is None:
        return _when(row), _did(row), f"{_heads(row['from'])} -> {_heads(row['to'])}", "", "", "", _by(row)
    waited = f"{row['lock_seconds']:.3g} s" if row["lock_seconds"] >= 0.01 else ""
    what = "reverted" if row["down"] else "applied"
    return _when(row), what, row["revision"], row["message"] or "", f"{row['seconds']:.3g} s", waited, _by(row)


def _applied_colour(row: Sequence[str]) -> str:
    if row[0] == "FINISHED AT":
        return DIM
    return YELLOW if row[1] not in ("applied", "seeded") else ""


def _step(row: dict[str, Any], by: str) -> str:
    what = "reverted" if row["down"] else "applied "
    waited = f", waited {row['lock_seconds']:.3g} s for locks" if row["lock_seconds"] >= 0.01 else ""
    message = f"  {row['message']}" if row["message"] else ""
    return f"{what}  {row['revision']}{message}  ({row['seconds']:.3g} s{waited}; {by})"


def _stamped(row: dict[str, Any], by: str) -> str:
    return f"{_did(row):<8}  {_heads(row['from'])} -> {_heads(row['to'])}  ({by})"


def _did(row: dict[str, Any]) -> str:
    return str({"stamp": "stamped", "seed": "seeded"}.get(row["command"], row["command"]))


def _heads(revisions: list[str] | None) -> str:
    return ", ".join(revisions or ()) or "nothing"


def show_settings(settings: Settings, as_json: bool, screen: Screen = PLAIN) -> str:
    """Every setting, its value without secrets, and where it came from."""
    rows = settings_rows(settings)
    if as_json:
        return json.dumps({name: {"value": value, "from": origin} for name, value, origin in rows}, indent=2)
    told = [(name, value if value is not None else "-", origin) for name, value, origin in rows]
    if screen.width is not None:
        return "\n".join(table(told, screen, shrinks=(1, 2), colours=dict.fromkeys(range(3), _setting_colour)))
    width = max(len(name) for name, _, _ in told)
    return "\n".join(f"{name:<{width}}  {value:<24}  {origin}" for name, value, origin in told)


def _setting_colour(row: Sequence[str]) -> str:
    """What somebody set stands out."""
    return DIM if row[2] == "default" else ""


def alembic_answer(settings: Settings, log: Log, name: str, command: list[str], **arguments: Any) -> str:
    """What Alembic's own command of that name prints, to its last newline."""
    alembic_library()
    import alembic.command

    project = open_project(settings, tuple(command), log)
    engines.map_plain_scheme()
    told, encoding = io.BytesIO(), sys.stdout.encoding or "utf-8"  # Alembic replaces what the encoding lacks
    project.config.stdout = io.TextIOWrapper(told, encoding=encoding, newline="", write_through=True)

    def run() -> None:
        with application(project) if name == "current" or arguments.get("indicate_current") else nullcontext():
            getattr(alembic.command, name)(project.config, **arguments)

    _guarded(project, settings, run)
    return told.getvalue().decode(encoding)


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
