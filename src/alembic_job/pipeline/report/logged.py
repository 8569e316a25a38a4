"""A run as its JSON log tells it: for one that was killed, or had no MIGRATE_REPORT."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from alembic_job.errors import UsageError
from alembic_job.pipeline.report.heard import Ended, Heard

_OF_ALL = frozenset(("timestamp", "level", "event", "run_id"))


def from_log(lines: Iterable[str], run_id: str | None = None) -> Ended:
    """The last run in these lines, or the one whose id begins so; others may stand between. Raises `UsageError`."""
    runs: dict[str, list[Heard]] = {}
    for line in lines:
        if (told := _event(line)) is not None:
            runs.setdefault(told[0], []).append(told[1])
    names = [name for name in runs if name.startswith(run_id or "")]
    if not names:
        wanted = f"of a run {run_id}" if run_id else "of alembic-job"
        raise UsageError(
            f"no line {wanted} is in that log", hint="it has to be JSON (MIGRATE_LOG_FORMAT=json), whole lines"
        )
    events = runs[names[-1]]
    last = next((each.fields for each in reversed(events) if each.event == "job.finished"), None)
    if last is None:
        hint = "`alembic-job status` says whether it still works, and where the database is; then run again"
        last = {"outcome": "unknown", "error": "the log ends before the run does", "hint": hint}
    first = next((each.fields for each in events if each.event == "job.started"), {})
    command = str(last.get("command") or first.get("command") or "run")
    return Ended(command, events[0].at, events[-1].at, tuple(events), last)


def _event(line: str) -> tuple[str, Heard] | None:
    """The run's id, and the event that a line tells; something may stand before it, as with `kubectl logs --prefix`."""
    try:
        fields: Any = json.loads(line[line.index("{") :])
        at = datetime.fromisoformat(fields["timestamp"]).timestamp()
        run_id, level, event = (str(fields[name]) for name in ("run_id", "level", "event"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return run_id, Heard(at, level, event, {name: value for name, value in fields.items() if name not in _OF_ALL})
