"""What a rehearsal found: as values for machines, as a table for people."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from alembic_job import human
from alembic_job.errors import JobError
from alembic_job.gateways.watched_statements import Held, Statement
from alembic_job.pipeline.planning import table_lines
from alembic_job.pipeline.rehearsal_leg import Leg
from alembic_job.rules.schema_text import Comparison
from alembic_job.settings import Settings

_LONGEST_STATEMENT = 100  # characters, for people


class Rehearsal(NamedTuple):
    """`found` is the report; `error` why the migrations cannot be applied."""

    found: dict[str, Any]
    error: JobError | None


class Ways(NamedTuple):
    """What came of each way, as far as it was gone, and of comparing the schema before `up` with that after `down`
    (`undone`), and that after `up` with that after the second way up (`redone`). `first` only looked."""

    first: Leg
    up: Leg
    down: Leg | None = None
    again: Leg | None = None
    undone: Comparison | None = None
    redone: Comparison | None = None


def nothing_pending(database: str) -> Rehearsal:
    """The report where no copy was made, because there is nothing to rehearse."""
    found: dict[str, Any] = {"database": database, "rehearsal": None, "tables": [], "pending": 0, "statements": []}
    found |= {"revisions": [], "up_down_up": "not tried", "findings": [], "notes": [], "error": None}
    return Rehearsal({**found, "summary": _summary(found)}, None)


def report_of(database: str, where: dict[str, Any], ways: Ways) -> Rehearsal:
    """Puts the report together; `where` says of the copy what it was made of, and where."""
    first, up, down, again, undone, redone = ways
    statements = [_statement("up", each) for each in up.statements]
    statements += [_statement("down", each) for each in (down.statements if down else ())]
    tables = [
        {"version_table": each.label, "current": list(each.heads), "pending": list(each.revisions), "unknown": []}
        for each in first.tables
    ]
    findings = [*_findings(down, again, undone, redone)]
    found = {
        "database": database,
        "rehearsal": where,
        "tables": tables,
        "pending": sum(len(table["pending"]) for table in tables),
        "statements": [{"number": number, **each} for number, each in enumerate(statements, 1)],
        "revisions": _revisions(up, down),
        "up_down_up": _verdict(up, again, findings),
        "findings": findings,
        "notes": _notes(undone, redone),
        "error": str(up.error) if up.error else None,
    }
    return Rehearsal({**found, "summary": _summary(found)}, up.error)


def _statement(direction: str, each: Statement) -> dict[str, Any]:
    return {
        "direction": direction,
        "revision": each.revision,
        "sql": each.sql,
        "seconds": each.seconds,
        "rows": each.rows,
        "locks": [_lock(held) for held in each.locks],
        "rewrites": each.rewrites,
        "size_change_bytes": sum(each.sizes.values()),
        "size_changes": each.sizes,
        "wal_bytes": each.wal_bytes,
        "autocommit": each.autocommit,
        "failed": not each.done,
    }


def _lock(held: Held) -> dict[str, Any]:
    return {"relation": held.relation, "mode": held.mode.sql, "held_seconds": held.seconds}


def _revisions(up: Leg, down: Leg | None) -> list[dict[str, Any]]:
    back = down.seconds if down else {}
    return [
        {"revision": revision, "up_seconds": seconds, "down_seconds": back.get(revision)}
        for revision, seconds in up.seconds.items()
    ]


def _findings(
    down: Leg | None, again: Leg | None, undone: Comparison | None, redone: Comparison | None
) -> list[dict[str, Any]]:
    """What is wrong with the way back, in the order it showed."""
    found: list[dict[str, Any]] = []
    for leg, kind in ((down, "downgrade_failed"), (again, "upgrade_again_failed")):
        if leg is not None and leg.error is not None:
            found.append({"kind": kind, "revision": leg.error.fields.get("revision"), "message": str(leg.error)})
    for comparison, kind, message in (
        (undone, "downgrade_differs", "after up and down the schema is not what it was"),
        (redone, "upgrade_again_differs", "after up, down and up the schema is not what it was after up"),
    ):
        if comparison is not None and not comparison.same:
            found.append({"kind": kind, "revision": None, "message": message, "diff": list(comparison.diff)})
    return found


def _notes(*comparisons: Comparison | None) -> list[str]:
    names = {name: None for each in comparisons if each is not None for name in each.reordered}
    return [f"the columns of {name} come back in another order" for name in names]


def _verdict(up: Leg, again: Leg | None, findings: list[dict[str, Any]]) -> str:
    """`same`, `different`, or `unknown` where the ways were not all gone."""
    if findings:
        return "different" if all("differs" in each["kind"] for each in findings) else "failed"
    return "same" if again is not None and up.error is None else "not tried"


def _summary(found: dict[str, Any]) -> dict[str, Any]:
    up = [each for each in found["statements"] if each["direction"] == "up"]
    held = [(lock["held_seconds"] or 0.0, lock, each) for each in up for lock in each["locks"] if blocks(lock)]
    longest = max(held, key=lambda entry: entry[0], default=None)
    return {
        "statements": len(up),
        "up_seconds": round(sum(each["up_seconds"] or 0.0 for each in found["revisions"]), 6),
        "down_seconds": round(sum(each["down_seconds"] or 0.0 for each in found["revisions"]), 6),
        "longest_lock": None if longest is None else {**longest[1], "statement": longest[2]["number"]},
        "rewrites": sorted({name for each in up for name in each["rewrites"]}),
        "size_change_bytes": sum(each["size_change_bytes"] for each in up),
    }


def blocks(lock: dict[str, Any]) -> bool:
    """True if readers or writers of the application would wait behind it."""
    return lock["mode"] in ("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE")


def told(found: dict[str, Any], form: str, settings: Settings) -> str:
    """The report as `text`, `json` or `html`."""
    if form == "json":
        return json.dumps(found, indent=2, default=str)
    if form == "html":
        from alembic_job.pipeline.report.rehearsed import as_html
        from alembic_job.settings.shown import chosen

        return as_html(found, settings=chosen(settings))
    return as_text(found)


# For people.


def as_text(found: dict[str, Any]) -> str:
    """The report as a table, with the summary at its end."""
    where = found["rehearsal"]
    if where is None:
        return f"database  {found['database']}\nnothing is pending"
    data = f"backup {where['backup']}" if where["backup"] else "a dump taken for it"
    lines = [
        f"database  {found['database']}, rehearsed in {where['database']} on {where['server']}",
        f"data      {data}, of {where['taken_at'][:19]}Z",
    ]
    lines += [line for table in found["tables"] for line in table_lines(table)]
    for direction in ("up", "down"):
        chosen = [each for each in found["statements"] if each["direction"] == direction]
        lines += ["", direction.upper(), *_table(chosen)] if chosen else []
    lines += [""] if found["statements"] else []
    lines += _findings_text(found)
    lines += _summary_text(found)
    return "\n".join(lines)


def _table(statements: list[dict[str, Any]]) -> list[str]:
    rows = [("#", "REVISION", "SECONDS", "ROWS", "SIZE", "REWRITE", "LOCKS", "STATEMENT")]
    for each in statements:
        locks = [f"{lock['mode']} {lock['relation']} {_seconds(lock['held_seconds'])}" for lock in each["locks"]]
        first, *more = locks or ["-"]
        rows.append(
            (
                str(each["number"]),
                each["revision"],
                f"{each['seconds']:.3f}",
                "-" if each["rows"] is None else str(each["rows"]),
                signed(each["size_change_bytes"]),
                "yes" if each["rewrites"] else "-",
                first,
                ("FAILED " if each["failed"] else "") + _shortened(each["sql"]),
            )
        )
        rows += [("",) * 6 + (lock, "") for lock in more]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _findings_text(found: dict[str, Any]) -> list[str]:
    lines = []
    for each in found["findings"]:
        lines += [f"finding   {each['message']}", *(f"          {line}" for line in each.get("diff", ()))]
    return lines + [f"note      {note}" for note in found["notes"]]


def _summary_text(found: dict[str, Any]) -> list[str]:
    summary = found["summary"]
    if found["error"]:
        return [f"failed    {found['error']}"]
    if not found["pending"]:
        return ["nothing is pending"]
    longest = summary["longest_lock"]
    lock = (
        f"{longest['mode']} on {longest['relation']} for {_seconds(longest['held_seconds'])}, by statement"
        f" {longest['statement']}"
        if longest
        else "none that readers or writers would wait behind"
    )
    back = {"same": "the same schema", "different": "another schema", "failed": "it cannot be undone and applied again"}
    return [
        f"up        {summary['statements']} statements in {summary['up_seconds']:.3f} s,"
        f" {signed(summary['size_change_bytes'])}",
        f"down      {summary['down_seconds']:.3f} s",
        f"lock      {lock}",
        f"rewrites  {', '.join(summary['rewrites']) or 'none'}",
        f"back      up, down, up: {back.get(found['up_down_up'], found['up_down_up'])}",
    ]


def _seconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.3f} s"


def _shortened(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= _LONGEST_STATEMENT else text[: _LONGEST_STATEMENT - 1] + "…"


def signed(size: float) -> str:
    """`+1.4 MiB`, `-913 B`, `0 B`."""
    return f"{'+' if size > 0 else '-' if size < 0 else ''}{human.size(abs(size))}"
