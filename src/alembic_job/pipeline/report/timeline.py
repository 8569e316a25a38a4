"""What took how long: the steps of a run, and of its revisions their statements, with what they waited for locks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from markupsafe import Markup

from alembic_job.pipeline.report.heard import Ended, Heard

DONE, FAILED = "done", "failed"
_NOTICEABLE = 0.001  # seconds of waiting that are drawn
_MOST_WAITS = 60  # that are drawn in one bar


class Wait(NamedTuple):
    """Somebody else's lock was in the way: from when (seconds since 1970), for how many seconds."""

    begun: float
    seconds: float


class Span(NamedTuple):
    """A step. `place` and `key` tell it from others of its `kind`: the version table of a revision, a hook."""

    kind: str
    place: str
    key: str
    begun: float
    seconds: float
    state: str
    first: Heard
    last: Heard | None  # none if the run ended in it
    waits: tuple[Wait, ...] = ()

    @property
    def waited(self) -> float:
        return sum(wait.seconds for wait in self.waits)


class _Pair(NamedTuple):
    """The events between which a step lies, and the field that tells one from another."""

    begins: str
    ends: str
    kind: str
    key: str = ""


_PAIRS = (
    _Pair("wait.started", "wait.ready", "Wait for the database"),
    _Pair("lock.waiting", "lock.acquired", "Wait for another runner", "lock"),
    _Pair("command.started", "command.finished", "Command", "hook"),
    _Pair("backup.started", "backup.finished", "Backup"),
    _Pair("backup.restoring", "backup.restored", "Proof of the backup"),
    _Pair("restore.started", "restore.finished", "Restore"),
    _Pair("revision.applying", "revision.applied", "Upgrade", "revision"),
    _Pair("revision.reverting", "revision.reverted", "Downgrade", "revision"),
    _Pair("seed.started", "seed.finished", "Seed", "seed"),
)
_BEGINS = {pair.begins: pair for pair in _PAIRS}
_ENDS = {pair.ends: pair for pair in _PAIRS}
REVISIONS = ("Upgrade", "Downgrade")


def spans(run: Ended) -> list[Span]:
    """The steps of a run, in the order they began; one that was not ended lasted until the run's end."""
    found: list[Span] = []
    running: dict[tuple[str, str, str], Heard] = {}
    executed = statements(run)
    if waits := run.of("wait.started"):  # before it env.py and all it imports are loaded
        start = run.events[0]
        found.append(Span("Load the project", "", "", run.begun, waits[0].at - run.begun, DONE, start, waits[0]))
    for each in run.events:
        if pair := _BEGINS.get(each.event):
            running.setdefault(_name(pair, each), each)
        elif (pair := _ENDS.get(each.event)) and (first := running.pop(_name(pair, each), None)):
            found.append(_span(run, executed, pair, first, each))
    for first in running.values():
        found.append(_span(run, executed, _BEGINS[first.event], first, None))
    return sorted(found, key=lambda span: span.begun)


def _name(pair: _Pair, each: Heard) -> tuple[str, str, str]:
    """The kind, place and key of the step that an event begins or ends."""
    return pair.kind, each.place if pair.kind in REVISIONS else "", str(each.fields.get(pair.key, ""))


Executed = dict[tuple[str, str], list[Heard]]


def statements(run: Ended) -> Executed:
    """What was executed, by place and revision."""
    found: Executed = {}
    for each in run.of("statement.executed"):
        found.setdefault((each.place, str(each.fields.get("revision"))), []).append(each)
    return found


def _span(run: Ended, executed: Executed, pair: _Pair, first: Heard, last: Heard | None) -> Span:
    _, place, key = _name(pair, first)
    begun, end = first.at, last.at if last else run.ended
    waits: tuple[Wait, ...] = ()
    if pair.kind == "Wait for another runner":
        begun -= number(first, "waited_seconds")
        waits = (Wait(begun, end - begun),)
    elif pair.kind == "Wait for the database":
        waits = (Wait(begun, end - begun),)
    elif pair.kind in REVISIONS:
        mine = [each for each in executed.get((place, key), ()) if begun <= each.at <= end]
        waits = tuple(_waits(run, mine, begun, end, last is None))
    state = DONE if last is not None else FAILED
    return Span(pair.kind, place, key, begun, max(0.0, end - begun), state, first, last, waits)


def _waits(run: Ended, executed: list[Heard], begun: float, end: float, ended_in_it: bool) -> Iterator[Wait]:
    """For locks on tables: those won, those that statements tell of without it, and one that was never won."""
    won = [each for each in run.of("table.locked") if begun <= each.at <= end]
    for each in won:
        yield Wait(each.at - number(each, "waited_seconds"), number(each, "waited_seconds"))
    for each in executed:
        first = each.at - number(each, "duration_seconds")
        if (waited := number(each, "waited_seconds")) >= _NOTICEABLE and not any(
            first <= lock.at <= each.at for lock in won
        ):
            yield Wait(first, waited)
    blocked = [each for each in run.of("lock.blocked") if begun <= each.at <= end]
    if ended_in_it and blocked and not any(each.at >= blocked[-1].at for each in won):
        first = max(begun, blocked[-1].at - number(blocked[-1], "waited_seconds"))
        if not any(number(each, "waited_seconds") >= _NOTICEABLE and each.at > first for each in executed):
            yield Wait(first, end - first)


def number(each: Heard, field: str) -> float:
    """A field in seconds; 0 where it is not told, or no number."""
    value = each.fields.get(field)
    return float(value) if isinstance(value, int | float) else 0.0


def bar(span: Span, begun: float, seconds: float) -> Markup:
    """A picture of when it was, within so many seconds from `begun`."""
    total = seconds or 1.0

    def part(start: float, length: float, kind: str) -> Markup:
        x = min(99.5, max(0.0, 100 * (start - begun) / total))
        width = min(100 - x, max(0.5, 100 * length / total))
        return Markup('<rect x="{:.2f}%" width="{:.2f}%" height="100%" class="{}"/>').format(x, width, kind)

    kind = "wait" if span.kind.startswith("Wait") else "fail" if span.state == FAILED else "work"
    parts = [part(span.begun, span.seconds, kind)]
    longest = sorted(span.waits, key=lambda wait: -wait.seconds)[:_MOST_WAITS]
    parts += [part(wait.begun, wait.seconds, "wait") for wait in longest]
    return Markup('<svg class="bar" aria-hidden="true">{}</svg>').format(Markup("").join(parts))
