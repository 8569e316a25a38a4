"""What took how long: the steps of a run, and of its revisions their statements, with what they waited for locks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    """A step. `key` tells it from others of its `kind`: a revision, a hook."""

    kind: str
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
    running: dict[tuple[str, str], Heard] = {}
    executed = statements(run)
    if waits := run.of("wait.started"):  # before it env.py and all it imports are loaded
        start = run.events[0]
        found.append(Span("Load the project", "", run.begun, waits[0].at - run.begun, DONE, start, waits[0]))
    for each in run.events:
        if pair := _BEGINS.get(each.event):
            running.setdefault((pair.kind, str(each.fields.get(pair.key, ""))), each)
        elif (pair := _ENDS.get(each.event)) and (
            first := running.pop((pair.kind, str(each.fields.get(pair.key, ""))), None)
        ):
            found.append(_span(run, executed, pair, first, each))
    for first in running.values():
        found.append(_span(run, executed, _BEGINS[first.event], first, None))
    return sorted(found, key=lambda span: span.begun)


def statements(run: Ended) -> dict[str, list[Heard]]:
    """What was executed, by revision."""
    found: dict[str, list[Heard]] = {}
    for each in run.of("statement.executed"):
        found.setdefault(str(each.fields.get("revision")), []).append(each)
    return found


def _span(run: Ended, executed: dict[str, list[Heard]], pair: _Pair, first: Heard, last: Heard | None) -> Span:
    key = str(first.fields.get(pair.key, ""))
    begun, end = first.at, last.at if last else run.ended
    waits: tuple[Wait, ...] = ()
    if pair.kind == "Wait for another runner":
        begun -= number(first, "waited_seconds")
        waits = (Wait(begun, end - begun),)
    elif pair.kind in REVISIONS:
        waits = tuple(_waits(each for each in executed.get(key, ()) if begun <= each.at <= end))
    state = DONE if last is not None else FAILED
    return Span(pair.kind, key, begun, max(0.0, end - begun), state, first, last, waits)


def _waits(executed: Iterable[Heard]) -> Iterator[Wait]:
    """For locks on tables."""
    for each in executed:
        if (waited := number(each, "waited_seconds")) >= _NOTICEABLE:
            yield Wait(each.at - number(each, "duration_seconds"), waited)


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
