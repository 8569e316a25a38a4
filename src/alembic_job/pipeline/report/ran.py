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
_MOST_STATEMENTS = 3000  # on a page
_ENDS = {
    "restarted": ("given up for a lock, to be tried again", ""),
    "interrupted": ("cancelled, as the run was to end", "alarm"),
    "57014": ("cancelled", "alarm"),
}
_UNFINISHED = {  # what a revision was in that had no end, by the run's outcome
    **dict.fromkeys(("killed", "unknown"), ("was running", "warn")),
    **dict.fromkeys(("interrupted", "deadline"), ("interrupted", "bad")),
}
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
    groups = _groups(run, spans)
    state = "good" if run.succeeded else "bad"
    sign = "✓" if run.succeeded else "✕"
    dry = bool(run.of("rollback.planned")) and not any(span.kind in REVISIONS for span in spans)
    return render(
        "run",
        title=f"{run.command}: {last.get('outcome', 'unknown')}",
        state=state,
        badge=f"{sign} exit code {last['exit_code']}" if "exit_code" in last else "? did not end in this log",
        dry=dry,
        where=where or _database(run),
        error=last.get("error"),
        hint=last.get("hint"),
        facts=_facts(run, spans, groups),
        more=[(name, _plain(value)) for name, value in last.items() if name not in _OF_LAST and value],
        steps=_steps(run, spans),
        omitted=_omitted(spans),
        blockers=_blockers(run),
        evidence=run.of("rollback.evidence"),
        findings=run.of("lint.finding"),
        warnings=_warnings(run),
        backups=[_pairs(each) for each in run.of("backup.finished", "restore.finished")],
        groups=groups,
        events=[(_after(run, each), each.level, each.event, _plain(each.fields)) for each in run.events[:_MOST_EVENTS]],
        events_left=max(0, len(run.events) - _MOST_EVENTS),
        settings=settings or [],
        written=moment(time.time()),
    )


def _database(run: Ended) -> str:
    return next((str(each.fields["database"]) for each in run.of("wait.ready") if each.fields.get("database")), "")


def _took(run: Ended) -> float:
    told = run.last.get("duration_seconds")
    return told if isinstance(told, int | float) else run.ended - run.begun


def _facts(run: Ended, spans: list[Span], groups: list[tuple[str, Listed]]) -> list[Fact]:
    """Name, value and class of what matters most."""
    last = run.last
    facts = [
        ("Began", moment(run.begun), ""),
        ("Took", seconds(_took(run)), ""),
    ]
    if last.get("from") or last.get("to"):
        facts.append(("From → to", f"{_heads(last.get('from'))} → {_heads(last.get('to'))}", ""))
    chips = [chip for _, listed in groups for each in listed.revisions for chip, _ in each.chips]
    for chip, word in (("applied", "Applied"), ("rolled back", "Rolled back"), ("not begun", "Not begun")):
        facts += [(word, count(chips.count(chip), "revision"), "")] if chip in chips else []
    facts += [("Pending", "nothing", "")] if run.of("nothing.pending") and not groups else []
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
    if span.kind == "Restore":
        return str(last.get("database") or first.get("database") or "")
    return f"{last.get('path') or first.get('path') or ''}{f', {human.size(size)}' if isinstance(size, int) else ''}"


# Its revisions.


def _groups(run: Ended, spans: list[Span]) -> list[tuple[str, Listed]]:
    """A heading and the revisions of each version table, in the order in which they were to run."""
    left = [_MOST_STATEMENTS]
    planned = run.of("revision.planned") or run.of("rollback.planned")
    places = dict.fromkeys(
        [*(each.place for each in planned), *(span.place for span in spans if span.kind in REVISIONS)]
    )
    executed = timeline.statements(run)
    return [
        (
            f"Revisions of {place}" if len(places) > 1 else "Revisions",
            _revisions(
                run,
                {span.key: span for span in spans if span.kind in REVISIONS and span.place == place},
                {str(each.fields.get("revision")): each for each in planned if each.place == place},
                {key: found for (where, key), found in executed.items() if where == place},
                left,
            ),
        )
        for place in places
    ]


def _revisions(
    run: Ended, spans: dict[str, Span], planned: dict[str, Heard], executed: dict[str, list[Heard]], left: list[int]
) -> Listed:
    """Those of one version table; `left` says how many statements may still be shown."""
    keys = [*planned, *(key for key in spans if key not in planned)]
    follows = {key: tuple(map(str, planned[key].fields.get("follows") or ())) if key in planned else () for key in keys}
    place = {key: number for number, key in enumerate(keys)}
    newest_first = any(place[parent] > place[key] for key in keys for parent in follows[key] if parent in place)
    width, pictures = graph([*follows.items()], newest_first=newest_first)
    told = {str(each.fields.get("revision")): each for each in run.of("rollback.planned")}
    found = []
    for key, picture in zip(keys, pictures, strict=True):
        span = spans.get(key)
        fields = {**(span.first.fields if span else {}), **(planned[key].fields if key in planned else {})}
        mine, heard = executed.get(key, [])[: left[0]], len(executed.get(key, ()))
        left[0] -= len(mine)
        shown = [*map(_statement, mine), *_running(run, span), *(() if span else _told(told.get(key)))]
        if heard > len(mine):
            shown.append(Statement(Markup(), [(f"{count(heard - len(mine), 'more statement')}: the log has them", "")]))
        found.append(
            Revision(
                picture,
                key,
                str(fields.get("message") or ""),
                str(fields.get("file") or ""),
                _chips(run, key, span),
                seconds(span.seconds) if span else "",
                shown,
                _remark(span, bool(planned)),
                bar=bar(span, run.begun, run.ended - run.begun) if span else "",
            )
        )
    return Listed(width, found)


def _remark(span: Span | None, with_statements: bool) -> str:
    """What is said of a revision without statements."""
    if span is None:
        return "It was not begun."
    if not with_statements:
        return "The log has no statements: MIGRATE_LOG_LEVEL=debug tells them."
    return "It executes nothing." if span.last else "No statement of it came to its end."


def _told(planned: Heard | None) -> list[Statement]:
    """What a downgrade would execute, as a dry run tells it."""
    listed = planned.fields.get("statements") if planned else None
    return [Statement(highlighted(str(each)), []) for each in listed] if isinstance(listed, list | tuple) else []


def _running(run: Ended, span: Span | None) -> list[Statement]:
    """What the run was last seen to execute, if it was killed in this revision."""
    if span is None or span.last is not None or run.last.get("outcome") not in ("killed", "unknown"):
        return []
    seen = [each.fields for each in run.of("statement.progress") if each.at >= span.begun]
    if not seen:
        return []
    text = str(seen[-1].get("statement") or "")
    said = f"was being executed: {seen[-1].get('message') or ''}" if not text else "was being executed"
    return [Statement(highlighted(text), [(said, "alarm")])]


def _chips(run: Ended, key: str, span: Span | None) -> list[Shown]:
    word = "rolled back" if span is not None and span.kind == "Downgrade" else "applied"
    if span is None:
        chips = [("not begun", "plain")]
    elif span.last is None:
        chips = [_UNFINISHED.get(str(run.last.get("outcome")), ("failed", "bad"))]
    elif span.last.fields.get("committed") or run.succeeded or key in run.changed:
        chips = [(word, "good")]
    else:
        chips = [("undone with the transaction", "warn")]
    if span is not None and span.waited >= 0.01:
        chips.append((f"waited {seconds(span.waited)} for locks", "warn"))
    return chips


def _statement(each: Heard) -> Statement:
    fields = each.fields
    took = f"took {seconds(number(each, 'duration_seconds'))}"
    waited = number(each, "waited_seconds")
    error = str(fields.get("error") or "")
    said, kind = _ENDS.get(error, (f"failed: {error}", "alarm"))
    marks: list[Shown] = [(said, kind)] if error else []
    marks.append((took + (f", of which it waited {seconds(waited)} for locks" if waited >= 0.001 else ""), ""))
    rows = fields.get("rows")
    marks += [(count(rows, "row"), "")] if isinstance(rows, int) and rows > 0 else []
    return Statement(highlighted(str(fields.get("statement") or "")), marks)


# Who was in the way, and what else there is to know.


def _blockers(run: Ended) -> list[dict[str, str]]:
    """Each session or transaction once, as it was seen last."""
    seen: dict[str, dict[str, str]] = {}
    ended = [Heard(run.ended, "error", "lock.blocked", run.last)] if run.last.get("blockers") else []
    for each in [*run.of("lock.blocked", "blocker.ended", "blocker.not_ended"), *ended]:
        listed = each.fields.get("blockers") if each.event == "lock.blocked" else [each.fields]
        for blocker in [entry for entry in listed or () if isinstance(entry, dict)]:
            who = str(blocker.get("pid") or blocker.get("gid") or "?")
            since = blocker.get("transaction_seconds") or blocker.get("state_seconds")
            names = ("user", "application_name", "client")
            seen[who] = {
                "who": f"{blocker.get('kind') or 'session'} {who}",
                "whose": ", ".join(str(blocker[name]) for name in names if blocker.get(name)),
                "state": f"{blocker.get('state') or ''}{f' for {seconds(since)}' if since else ''}",
                "seen": _after(run, each),
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
