"""The last line at a terminal, where it only says how far something is: written over until something else is said."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, TextIO

from alembic_job import human
from alembic_job.screen import Screen, plain

_ERASE = "\r\033[K"
# What such an event is about: of those the first stays, since it says what is waited for and why.
_ABOUT = {"wait.retry": ("reason", "error"), "lock.waiting": ("lock", "owner_pid")}


class PassingLine:
    """The last line of a terminal. Whatever else is written there through `sys.stdout` or `sys.stderr` erases it."""

    def __init__(self, stream: TextIO) -> None:
        self._write, self._flush = stream.write, stream.flush
        self._there = False
        for other in {id(each): each for each in (stream, sys.stdout, sys.stderr) if each.isatty()}.values():
            other.write = self._after_erasing(other.write)  # type: ignore[method-assign]

    def show(self, text: str) -> None:
        """Writes the line, in the place of the one before; as much of it as there is room for."""
        width = shutil.get_terminal_size().columns
        shown = Screen(width).cut(text if text.isprintable() else plain(text), width - 1)
        self._write(_ERASE + shown)  # without the last column, which would begin a new line
        self._flush()
        self._there = True

    def _after_erasing(self, write: Callable[[str], int]) -> Callable[[str], int]:
        def write_anew(text: str, /) -> int:
            if self._there:
                self._there = False
                self._write(_ERASE)
                self._flush()
            return write(text)

        return write_anew


class Passing:
    """Which events are passing: they tell how far something is, and nobody needs them once it has gone on."""

    def __init__(self) -> None:
        self._said: set[tuple[Any, ...]] = set()

    def line(self, event: dict[str, Any]) -> str | None:
        """The event as a passing line; none for one that has to stay."""
        name = event["event"]
        if name in _ABOUT:
            about = (name, *(event.get(field) for field in _ABOUT[name]))
            if about not in self._said:
                self._said.add(about)
                return None
        tell = _LINES.get(name)
        return None if tell is None else tell(event)


def shown_at(stream: TextIO) -> Callable[[dict[str, Any]], bool]:
    """Shows an event as passing, if it is; false for all others, and where the stream cannot erase a line."""
    if not stream.isatty() or os.environ.get("TERM", "dumb") in ("dumb", ""):
        return lambda event: False
    last, passing = PassingLine(stream), Passing()

    def show(event: dict[str, Any]) -> bool:
        text = passing.line(event)
        if text is not None:
            last.show(text)
        return text is not None

    return show


def _backup(event: dict[str, Any]) -> str:
    written, pace = human.size(event["bytes"]), human.size(event["bytes_per_second"])
    return f"backup: {written} written, {pace} a second  {event['seconds']:.0f} s"


_LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "statement.progress": lambda event: str(event["message"]),
    "backup.progress": _backup,
    "restore.progress": lambda event: (
        f"restoring into {event['database']}: {human.size(event['bytes'])}  {event['seconds']:.0f} s"
    ),
    "lock.waiting": lambda event: f"waiting for the lock on {event['lock']}  {event['waited_seconds']:.0f} s",
    "wait.retry": lambda event: (
        f"waiting for the database: {event['reason']}, tried again in {event['next_in_seconds']:.1f} s"
    ),
}
