"""A run as a page: how it ended, what took how long, who was in the way, and what each revision executed."""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple

from markupsafe import Markup

from alembic_job import human
from alembic_job.pipeline.report import timeline
from alembic_job.pipeline.report.graph import graph
from alembic_job.pipeline.report.heard import Ended, Heard
from alembic_job.pipeline.report.page import render
from alembic_job.pipeline.report.parts import Fact, Listed, Revision, Shown, Statement
from alembic_job.pipeline.report.sql import highlighted
from alembic_job.pipeline.report.text import count, moment, seconds
from alembic_job.pipeline.report.timeline import FAILED, REVISIONS, Span, bar, number

_MOST_STEPS = 40  # revisions in the timeline: of more, only the slowest
_MOST_EVENTS = 5000
_TOLD_ELSEWHERE = ("lock.blocked", "lint.finding", "rollback.evidence", "job.finished")
_OF_LAST = frozenset("command outcome exit_code from to applied reverted duration_seconds error hint".split())


class Step(NamedTuple):
    """A line of the timeline; `after` is when it began, seen from the run's begin."""

    name: str
    detail: str
    after: str
    seconds: str
    waited: str
    bar: Markup
    failed: bool


class Warned(NamedTuple):
    """A warning: `lines` are kept as they are, such as a diff."""

    event: str
    after: str
    text: str
    hint: str
    lines: str


def as_html(run: Ended, *, where: str = "", settings: list[tuple[str, str, str]] | None = None) -> str:
    """The page; `where` names the database, `settings` are names, values without secrets, and origins."""
    last, spans = run.last, timeline.spans(run)
    state = "good" if run.succeeded else "bad"
    sign = "✓" if run.succeeded else "✕"
    return render(
        "run",
        title=f"{run.command}: {last.get('outcome', 'unknown')}",
        state=state,
        badge=f"{sign} exit code {last.get('exit_code', '?')}",
        where=where,
        error=last.get("error"),
        hint=last.get("hint"),
        facts=_facts(run, spans),
        more=[(name, _plain(value)) for name, value in last.items() if name not in _OF_LAST and value],
        steps=_steps(run, spans),
        omitted=_omitted(spans),
        blockers=_blockers(run),
        evidence=run.of("rollback.evidence"),
        findings=run.of("lint.finding"),
        warnings=_warnings(run),
        backups=[_pairs(each) for each in run.of("backup.finished", "restore.finished")],
        listed=_revisions(run, spans),
        events=[(_after(run, each), each.level, each.event, _plain(each.fields)) for each in run.events[:_MOST_EVENTS]],
        events_left=max(0, len(run.events) - _MOST_EVENTS),
        settings=settings or [],
        written=moment(time.time()),
    )


def _facts(run: Ended, spans: list[Span]) -> list[Fact]:
    """Name, value and class of what matters most."""
    last = run.last
    facts = [("Began", moment(run.begun), ""), ("Took", seconds(run.ended - run.begun), "")]
    if last.get("from") or last.get("to"):
        facts.append(("From → to", f"{_heads(last.get('from'))} → {_heads(last.get('to'))}", ""))
    for name, word in (("applied", "Applied"), ("reverted", "Rolled back")):
        facts += [(word, count(len(last[name]), "revision"), "")] if last.get(name) else []
    waited = sum(span.waited for span in spans if span.kind in REVISIONS)
    facts += [("Waited for locks", seconds(waited), "warn")] if waited >= 0.01 else []
    for each in run.of("backup.finished"):
        facts.append(("Backup", str(each.fields.get("path", "")), ""))
    return facts


def _heads(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list | tuple) else str(value or "nothing")


# The timeline.


def _steps(run: Ended, spans: list[Span]) -> list[Step]:
    slowest = sorted((span for span in spans if span.kind in REVISIONS), key=lambda span: -span.seconds)[:_MOST_STEPS]
    kept = {id(span) for span in slowest}
    total = run.ended - run.begun
    return [
        Step(
            span.kind,
            _detail(run, span),
            seconds(max(0.0, span.begun - run.begun)),
            seconds(span.seconds),
            seconds(span.waited) if span.waited >= 0.001 else "",
            bar(span, run.begun, total),
            span.state == FAILED,
        )
        for span in spans
        if span.kind not in REVISIONS or id(span) in kept
    ]


def _omitted(spans: list[Span]) -> str:
    """What is said of the revisions that the timeline leaves out."""
    rest = sorted((span.seconds for span in spans if span.kind in REVISIONS), reverse=True)[_MOST_STEPS:]
    return f"{count(len(rest), 'more revision')} took {seconds(sum(rest))} in all." if rest else ""


def _detail(run: Ended, span: Span) -> str:
    first, last = span.first.fields, span.last.fields if span.last else {}
    if span.kind in REVISIONS:
        restarts = sum(each.fields.get("revision") == span.key for each in run.of("revision.restarted"))
        again = f" (started again {restarts} ×)" if restarts else ""
        return f"{span.key} {first.get('message') or ''}{again}"
    if span.kind == "Wait for the database":
        tries = run.of("wait.retry")
        said = f", the last: {tries[-1].fields.get('error') or tries[-1].fields.get('reason')}" if tries else ""
        return f"{count(len(tries), 'failed try').replace('trys', 'tries')}{said}" if tries else ""
    if span.kind == "Wait for another runner":
        owner = first.get("owner_image") or first.get("owner")
        return f"{first.get('lock') or ''}{f', held by {owner}' if owner else ''}"
    if span.kind == "Command":
        return _plain(first.get("argv") or first.get("hook") or "")
    size = last.get("bytes")
    return f"{last.get('path') or first.get('path') or ''}{f', {human.size(size)}' if isinstance(size, int) else ''}"


# Its revisions.


def _revisions(run: Ended, spans: list[Span]) -> Listed:
    """In the order in which they were to run."""
    by_key = {span.key: span for span in spans if span.kind in REVISIONS}
    planned = {str(each.fields.get("revision")): each for each in run.of("revision.planned")}
    keys = [*planned, *(key for key in by_key if key not in planned)]
    down = any(span.kind == "Downgrade" for span in by_key.values())
    parents = [(key, tuple(planned[key].fields.get("follows") or ()) if key in planned else ()) for key in keys]
    width, pictures = graph(parents, newest_first=down)
    executed = timeline.statements(run)
    nothing = (
        "No statement of it came to its end."
        if planned
        else "The log has no statements: MIGRATE_LOG_LEVEL=debug tells them."
    )
    total = run.ended - run.begun
    found = []
    for key, picture in zip(keys, pictures, strict=True):
        span, told = by_key.get(key), planned.get(key)
        fields = {**(span.first.fields if span else {}), **(told.fields if told else {})}
        found.append(
            Revision(
                picture,
                key,
                str(fields.get("message") or ""),
                str(fields.get("file") or ""),
                _chips(run, key, span),
                seconds(span.seconds) if span else "",
                [*map(_statement, executed.get(key, ())), *_running(run, span)],
                nothing if span else "It was not begun.",
                bar=bar(span, run.begun, total) if span else "",
            )
        )
    return Listed(width, found)


def _running(run: Ended, span: Span | None) -> list[Statement]:
    """What the run was last seen to execute, if it was killed in this revision."""
    if span is None or span.last is not None or run.last.get("outcome") not in ("killed", "unknown"):
        return []
    seen = [each.fields for each in run.of("statement.progress") if each.at >= span.begun]
    return [Statement(highlighted(str(seen[-1].get("statement"))), [("was executed", "alarm")])] if seen else []


def _chips(run: Ended, key: str, span: Span | None) -> list[Shown]:
    done = {*(run.last.get("applied") or ()), *(run.last.get("reverted") or ())}
    committed = span is not None and span.last is not None and bool(span.last.fields.get("committed"))
    if span is None:
        chips = [("not begun", "plain")]
    elif key in done or committed:
        chips = [("rolled back" if span.kind == "Downgrade" else "applied", "good")]
    else:
        chips = [("failed", "bad")] if span.state == FAILED else [("undone with the transaction", "warn")]
    if span is not None and span.waited >= 0.01:
        chips.append((f"waited {seconds(span.waited)} for locks", "warn"))
    return chips


def _statement(each: Heard) -> Statement:
    fields = each.fields
    took = f"took {seconds(number(each, 'duration_seconds'))}"
    waited = number(each, "waited_seconds")
    marks: list[Shown] = [(f"failed: {fields['error']}", "alarm")] if fields.get("error") else []
    marks.append((took + (f", of which it waited {seconds(waited)} for locks" if waited >= 0.001 else ""), ""))
    rows = fields.get("rows")
    marks += [(count(rows, "row"), "")] if isinstance(rows, int) and rows > 0 else []
    return Statement(highlighted(str(fields.get("statement") or "")), marks)


# Who was in the way, and what else there is to know.


def _blockers(run: Ended) -> list[dict[str, str]]:
    """Each session or transaction once, as it was seen last."""
    seen: dict[str, dict[str, str]] = {}
    for each in run.of("lock.blocked", "blocker.ended", "blocker.not_ended"):
        listed = each.fields.get("blockers") if each.event == "lock.blocked" else [each.fields]
        for blocker in [entry for entry in listed or () if isinstance(entry, dict)]:
            who = str(blocker.get("pid") or blocker.get("gid") or "?")
            since = blocker.get("transaction_seconds") or blocker.get("state_seconds")
            names = ("user", "application_name", "client")
            seen[who] = {
                "who": f"{blocker.get('kind') or 'session'} {who}",
                "whose": ", ".join(str(blocker[name]) for name in names if blocker.get(name)),
                "state": f"{blocker.get('state') or ''}{f' for {seconds(since)}' if since else ''}",
                "locks": ", ".join(map(str, blocker.get("locks") or ())),
                "statement": str(blocker.get("statement") or ""),
                "end": str(blocker.get("sql") or blocker.get("end") or ""),
                "what": _outcome(each),
            }
    return [*seen.values()]


def _outcome(each: Heard) -> str:
    if each.event == "blocker.ended":
        return "Ended by this run"
    if each.event == "blocker.not_ended":
        return "Could not be ended"
    waiting = each.fields.get("waiting_for")
    waited = f" for {seconds(number(each, 'waited_seconds'))}"
    return f"In the way of {_plain(waiting)}{waited}" if waiting else "In the way"


def _warnings(run: Ended) -> list[Warned]:
    found = []
    for each in run.events:
        if each.level in ("warning", "error") and each.event not in _TOLD_ELSEWHERE:
            fields = dict(each.fields)
            hint, lines = str(fields.pop("hint", None) or ""), _plain(fields.pop("diff", "") or "")
            text = str(fields.pop("message", None) or fields.pop("reason", None) or "")
            rest = ", ".join(
                f"{name}: {_plain(value)}" for name, value in fields.items() if value not in (None, "", [])
            )
            found.append(Warned(each.event, _after(run, each), text or rest, hint, lines))
    return found


def _pairs(each: Heard) -> list[tuple[str, str]]:
    names = {"bytes": "size", "duration_seconds": "took"}
    return [
        (names.get(name, name.replace("_", " ")), _value(name, value)) for name, value in each.fields.items() if value
    ]


def _value(name: str, value: Any) -> str:
    if name == "bytes" and isinstance(value, int):
        return human.size(value)
    return seconds(value) if name.endswith("seconds") and isinstance(value, int | float) else _plain(value)


def _after(run: Ended, each: Heard) -> str:
    return seconds(max(0.0, each.at - run.begun))


def _plain(value: Any) -> str:
    """A value as text: words as they are, a list of words with commas, else JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False, default=str)
