"""How far a long statement is: the server's `pg_stat_progress_*` views, told alike for people and logs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg2.extensions import connection as Connection

from alembic_job.gateways.postgres import query

_CELLS = 10  # of the bar itself


class Progress(NamedTuple):
    """What a backend executes and how far it is, where the server says so.

    `done` of `total` `unit`s are of the current `phase`, and so is `percent` (0 to 100): phases differ in length.
    While it waits for other sessions' transactions, the unit is "transactions", there is no `percent`, and
    `locker_pid` is the session waited for. `relation` (qualified and quoted) is the table, `index_name` the index where
    it can be seen: a new one that is not built CONCURRENTLY cannot. `waiting_for` names a lock: `Lock/relation`.
    `seconds` are since the statement began.
    """

    pid: int
    command: str | None
    phase: str | None
    percent: float | None
    done: int | None
    total: int | None
    unit: str | None
    relation: str | None
    index_name: str | None
    seconds: float | None
    waiting_for: str | None
    locker_pid: int | None

    def as_fields(self) -> dict[str, Any]:
        """What is known, as plain values for an event."""
        fields = {name: value for name, value in self._asdict().items() if value is not None}
        return {name: round(value, 1) if isinstance(value, float) else value for name, value in fields.items()}


# The columns differ from PostgreSQL 14 to 18, so the rows are fetched as JSON.
_VIEWS = ("create_index", "vacuum", "cluster", "copy", "analyze")
_ROWS = " UNION ALL ".join(
    f"SELECT '{view}' AS view, to_jsonb(p) AS row FROM pg_stat_progress_{view} p WHERE p.pid = session.pid"
    for view in _VIEWS
)
_NAMED = """
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE session.datname = current_database() AND c.oid ="""
_INDEX = "coalesce(progress.row ->> 'index_relid', progress.row ->> 'cluster_index_relid')"
_PROGRESS = f"""
SELECT session.pid, progress.view, progress.row, relation.name, index.name, session.query,
    extract(epoch FROM clock_timestamp() - session.query_start)::float8,
    CASE WHEN session.wait_event_type = 'Lock' THEN 'Lock/' || session.wait_event END
FROM pg_stat_activity session
LEFT JOIN LATERAL ({_ROWS}) progress ON true
LEFT JOIN LATERAL ({_NAMED} (progress.row ->> 'relid')::oid) relation ON true
LEFT JOIN LATERAL ({_NAMED} {_INDEX}::oid) index ON true
WHERE session.pid = ANY (%s) AND (session.state = 'active' OR progress.row IS NOT NULL)
ORDER BY session.pid
"""


def progress(connection: Connection, pids: Sequence[int]) -> list[Progress]:
    """What these backends execute at the moment; who is idle is left out."""
    return [_progress(*row) for row in query(connection, _PROGRESS, list(pids))]


def _progress(
    pid: int, view: str | None, row: dict[str, Any] | None, relation: str | None, index: str | None,
    statement: str, seconds: float | None, waiting_for: str | None,
) -> Progress:  # fmt: skip
    if view is None or row is None:
        command = _command(statement)
        return Progress(pid, command, None, None, None, None, None, None, None, seconds, waiting_for, None)
    phase = row.get("phase")
    done, total, unit = _counted(view, phase or "", row)
    percent = round(min(100.0, 100 * done / total), 1) if done is not None and total and unit != _LOCKERS else None
    if row.get("partitions_total"):
        phase = f"{phase} (partition {row['partitions_done'] + 1} of {row['partitions_total']})"
    locker_pid = row.get("current_locker_pid") if unit == _LOCKERS else None
    command = row.get("command") or view.upper()
    return Progress(
        pid, command, phase, percent, done, total, unit, relation, index, seconds, waiting_for, locker_pid or None
    )


_LOCKERS = "transactions"
_Counted = tuple[str | None, str | None, str | None]  # column of what is done, column of the total, unit
_NOTHING: _Counted = (None, None, None)
_HEAP = "heap_blks_total"
# A column keeps its last value in the phases after it, so the phase decides what counts: a pattern, then the columns.
_COUNTERS: dict[str, tuple[tuple[str, _Counted], ...]] = {
    "create_index": (
        ("waiting for", ("lockers_done", "lockers_total", _LOCKERS)),
        ("sorting|initializing", _NOTHING),
        ("loading tuples", ("tuples_done", "tuples_total", "tuples")),
        ("building index|index validation", ("blocks_done", "blocks_total", "blocks")),
    ),
    "vacuum": (
        ("scanning heap", ("heap_blks_scanned", _HEAP, "blocks")),
        ("vacuuming heap", ("heap_blks_vacuumed", _HEAP, "blocks")),
        ("indexes", ("indexes_processed", "indexes_total", "indexes")),  # since PostgreSQL 17
    ),
    "cluster": (
        ("seq scanning heap", ("heap_blks_scanned", _HEAP, "blocks")),
        ("writing new heap", ("heap_tuples_written", "heap_tuples_scanned", "tuples")),
        ("index scanning heap", ("heap_tuples_scanned", None, "tuples")),
        ("rebuilding index", ("index_rebuild_count", None, "indexes")),
    ),
    "analyze": (
        ("acquiring", ("sample_blks_scanned", "sample_blks_total", "sample blocks")),
        ("extended statistics", ("ext_stats_computed", "ext_stats_total", "statistics")),
    ),
}


def _counted(view: str, phase: str, row: dict[str, Any]) -> tuple[int | None, int | None, str | None]:
    """What is done, the total, both `None` where unknown, and what is counted."""
    if view == "copy":
        sized = bool(row["bytes_total"])  # unknown for STDIN and programs
        return (
            (row["bytes_processed"], row["bytes_total"], "bytes")
            if sized
            else (row["tuples_processed"], None, "tuples")
        )
    counted = next((columns for pattern, columns in _COUNTERS[view] if re.search(pattern, phase)), _NOTHING)
    done, total, unit = counted
    if done is None or row.get(done) is None or (total is not None and not row.get(total)):
        return None, None, None
    return row[done], row[total] if total else None, unit


def _command(statement: str | None) -> str | None:
    """The statement's first words, which tell no data: `ALTER TABLE`, `UPDATE`."""
    text = re.sub(r"\A(\s+|--[^\n]*(\n|\Z)|/\*.*?\*/)+", "", statement or "", flags=re.DOTALL)
    verb = re.match(r"((ALTER|CREATE|DROP|REFRESH|REINDEX|LOCK|COMMENT)\s+)?[A-Za-z]+\b", text, re.IGNORECASE)
    return " ".join(verb[0].upper().split()) if verb else None


def bar(progress: Progress, width: int | None = None) -> str:
    """One line for a terminal of that width: `CREATE INDEX on public.orders: sorting  [██░░░░░░░░] 21 %  12 s`.

    Without a width it is for the one we are at (its last column stays free), or for 80 columns if there is none.
    """
    width = width or shutil.get_terminal_size((81, 24)).columns - 1
    seconds = "" if progress.seconds is None else f"  {_duration(progress.seconds)}"
    end = _measured(progress) + seconds
    about = progress.command or "statement"
    if progress.index_name:
        about += f" {progress.index_name}"
    elif progress.relation:
        about += f" {'on ' if 'INDEX' in about else ''}{progress.relation}"
    if progress.phase:
        about += f": {progress.phase}"
    if progress.waiting_for and not progress.locker_pid:
        about += f": waits for {progress.waiting_for}"
    room = max(width - len(end), 10)
    return (about if len(about) <= room else about[: room - 1] + "…") + end


def _measured(progress: Progress) -> str:
    if progress.percent is not None:
        filled = int(progress.percent * _CELLS / 100)
        return f"  [{'█' * filled}{'░' * (_CELLS - filled)}] {int(progress.percent)} %"
    if progress.done is None:
        return ""
    if progress.total is None:
        return f"  {progress.done} {progress.unit}"
    session = f" (pid {progress.locker_pid})" if progress.locker_pid else ""
    return f": {progress.done} of {progress.total}{session}"


def _duration(seconds: float) -> str:
    """`12 s`, `3 min 05 s`, `2 h 14 min`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, over = divmod(minutes, 60)
    if hours:
        return f"{hours} h {over:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
