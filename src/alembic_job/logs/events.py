"""The run's logger: structlog, private to us, so that a project that configures structlog changes nothing here."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TextIO

from alembic_job.logs.lines import Redactor, encode, timestamp

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Log(Protocol):
    """What the rooms need of a logger: `log.info("wait.retry", attempt=2)`."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


class Listening:
    """A log that tells somebody of its events, whatever their level: of its name, the event, and the fields."""

    def __init__(self, log: Log, hear: Callable[[str, str, dict[str, Any]], None]) -> None:
        self._log, self._hear = log, hear

    def debug(self, event: str, **fields: Any) -> Any:
        self._hear("debug", event, fields)
        return self._log.debug(event, **fields)

    def info(self, event: str, **fields: Any) -> Any:
        self._hear("info", event, fields)
        return self._log.info(event, **fields)

    def warning(self, event: str, **fields: Any) -> Any:
        self._hear("warning", event, fields)
        return self._log.warning(event, **fields)

    def error(self, event: str, **fields: Any) -> Any:
        self._hear("error", event, fields)
        return self._log.error(event, **fields)


class Ear(NamedTuple):
    """Who is told what comes from below all rooms, where nobody hands a log down: the password command."""

    log: Log
    learn_secret: Callable[[str], None]


_ears: list[Ear] = []


def hear(log: Log, learn_secret: Callable[[str], None]) -> None:
    """From now on such things are told to these."""
    _ears[:] = [Ear(log, learn_secret)]


def heard() -> Ear | None:
    """Who listens, if anybody does."""
    return _ears[0] if _ears else None


class _Sink:
    """structlog's last stop: hands the rendered line to `write`."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.debug = self.info = self.warning = self.error = write


def json_log(write: Callable[[str], None], redactor: Redactor, level: str, **bound: Any) -> Log:
    """A logger of JSON lines. `bound` are fields of every line (`run_id`); `write` takes a line without newline."""

    def render(_logger: Any, method: str, event: dict[str, Any]) -> str:
        line = {"timestamp": timestamp(), "level": method, "event": event.pop("event"), **event}
        return encode(redactor.event(line))

    return _logger(write, level, [render], bound)


def coloured(stream: TextIO) -> bool:
    """True for a terminal that has colours, unless NO_COLOR is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def text_log(stream: TextIO, redactor: Redactor, level: str, **bound: Any) -> Log:
    """A logger for people: one event a line, `run_id` left out. At a terminal it is coloured, unless NO_COLOR is set,
    and what only tells how far something is stands in one line that is written over."""
    import structlog.dev

    from alembic_job.logs import passing

    shown = passing.shown_at(stream)

    def clean(_logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
        event.pop("run_id", None)
        event = redactor.event(event)
        if shown(event):
            raise structlog.DropEvent
        if event["event"] == "statement.progress":  # its message is a bar that says it all
            event = {name: event[name] for name in ("event", "message")}
        if isinstance(event.get("blockers"), list):
            event["blockers"] = "; ".join(_who(each) for each in event["blockers"])
        return {"timestamp": timestamp()[11:23], "level": method, **event}

    def write(text: str) -> None:
        print(text, file=stream, flush=True)

    renderer = structlog.dev.ConsoleRenderer(colors=coloured(stream), pad_event_to=0, sort_keys=False)
    return _logger(write, level, [clean, renderer], bound)


def _who(blocker: dict[str, Any]) -> str:
    """A session in the way, in words: who, for how long, with what, and what would end it."""
    name = blocker.get("pid") or blocker.get("gid") or "?"
    since = blocker.get("transaction_seconds") or blocker.get("state_seconds")
    parts = [
        f"{blocker.get('kind') or 'session'} {name}",
        f"({blocker['user']})" if blocker.get("user") else "",
        blocker.get("state") or "",
        f"for {since:.0f} s" if isinstance(since, int | float) else "",
        f"last: {' '.join(str(blocker['statement']).split())[:80]}" if blocker.get("statement") else "",
        f"({blocker['end']} ends it)" if blocker.get("end") else "",
    ]
    return " ".join(part for part in parts if part)


def _logger(write: Callable[[str], None], level: str, processors: list[Any], bound: dict[str, Any]) -> Log:
    import structlog

    wrapper = structlog.make_filtering_bound_logger(_LEVELS[level])
    # Bound at once: the lazy proxy would assemble the logger anew for every event.
    logger: Log = structlog.wrap_logger(_Sink(write), processors=processors, wrapper_class=wrapper).bind(**bound)
    return logger
