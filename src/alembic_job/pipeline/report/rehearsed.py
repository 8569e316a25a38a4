"""A rehearsal as a page: what each statement took, held and changed on a copy of the database."""

from __future__ import annotations

import time
from typing import Any

from markupsafe import Markup

from alembic_job.pipeline.rehearsal_report import blocks, signed
from alembic_job.pipeline.report.graph import graph
from alembic_job.pipeline.report.page import render
from alembic_job.pipeline.report.parts import Fact, Listed, Revision, Shown, Statement
from alembic_job.pipeline.report.sql import highlighted
from alembic_job.pipeline.report.text import count, moment, seconds

_VERDICTS = {
    "same": ("the same schema", ""),
    "different": ("another schema", "bad"),
    "failed": ("cannot be undone and applied again", "bad"),
}


def as_html(found: dict[str, Any], *, settings: list[tuple[str, str, str]] | None = None) -> str:
    """The page of what `plan --rehearse --json` prints."""
    where = found["rehearsal"] or {}
    pending = [each for table in found["tables"] for each in table["pending"]]
    width, pictures = graph([(each["revision"], tuple(each["follows"])) for each in pending])
    state, badge = _state(found)
    return render(
        "rehearsal",
        title=f"Rehearsal: {f'{len(pending):,}' if pending else 'nothing'} pending",
        state=state,
        badge=badge,
        where=found["database"],
        error=found["error"],
        facts=_facts(found, where) if pending else [],
        findings=found["findings"],
        listed=Listed(width, [_revision(found, *each) for each in zip(pending, pictures, strict=True)]),
        notes=found["notes"],
        settings=settings or [],
        written=moment(time.time()),
    )


def _state(found: dict[str, Any]) -> Shown:
    if found["error"]:
        return "bad", "✕ Cannot be applied"
    if found["findings"]:
        return "warn", "! Can be applied, but not undone as it was"
    return "good", "✓ Applied, undone and applied again" if found["pending"] else "✓ Nothing is pending"


def _facts(found: dict[str, Any], where: dict[str, Any]) -> list[Fact]:
    """Name, value and class of what matters most."""
    summary = found["summary"]
    longest = summary["longest_lock"]
    lock = "none that readers or writers would wait behind"
    if longest:
        lock = f"{longest['mode']} on {longest['relation']} for {seconds(longest['held_seconds'])}"
    verdict, kind = _VERDICTS.get(found["up_down_up"], (found["up_down_up"], ""))
    facts = [("Up", f"{count(summary['statements'], 'statement')} in {seconds(summary['up_seconds'])}", "")]
    facts += [("Down", seconds(summary["down_seconds"]), "")] if summary["down_seconds"] else []
    facts += [("Up, down, up", verdict, kind), ("Longest lock", lock, "warn" if longest else "")]
    facts += [("Writes anew", ", ".join(summary["rewrites"]), "warn")] if summary["rewrites"] else []
    facts.append(("Size", _signed(summary["size_change_bytes"]), ""))
    if where:
        data = f"backup {where['backup']}" if where.get("backup") else "a dump taken for it"
        facts.append(("On a copy", f"{where.get('server') or ''}, {data}", ""))
    return facts


def _revision(found: dict[str, Any], each: dict[str, Any], picture: Markup) -> Revision:
    mine = [one for one in found["statements"] if one["revision"] == each["revision"]]
    took = next((one for one in found["revisions"] if one["revision"] == each["revision"]), None)
    chips: list[Shown] = [("failed", "bad")] if any(one["failed"] for one in mine) else []
    chips += [("not reached", "plain")] if took is None and not mine else []
    chips += [
        (f"{lock['mode']} on {lock['relation']}", "warn")
        for one in mine
        if one["direction"] == "up"
        for lock in one["locks"]
        if blocks(lock)
    ]
    chips += [(f"writes {name} anew", "warn") for one in mine if one["direction"] == "up" for name in one["rewrites"]]
    statements = [Statement(highlighted(one["sql"]), _marks(one), one["direction"].title()) for one in mine]
    up = seconds(took["up_seconds"]) if took else ""
    return Revision(
        picture, each["revision"], each["message"] or "", each["file"], list(dict.fromkeys(chips)), up, statements
    )


def _marks(one: dict[str, Any]) -> list[Shown]:
    rows = f", {count(one['rows'], 'row')}" if one["rows"] is not None else ""
    marks: list[Shown] = [("failed", "alarm")] if one["failed"] else []
    marks.append((f"took {seconds(one['seconds'])}{rows}", ""))
    for lock in one["locks"]:
        kind = "care" if blocks(lock) else ""
        marks.append((f"{lock['mode']} on {lock['relation']}, held for {seconds(lock['held_seconds'])}", kind))
    marks += [(f"writes {name} anew", "care") for name in one["rewrites"]]
    marks += [(f"{name}: {_signed(size)}", "") for name, size in one["size_changes"].items()]
    return marks + ([("outside of a transaction", "")] if one["autocommit"] else [])


def _signed(size: float) -> str:
    return signed(size).replace("-", "−")
