"""What a run said, as the report is made of it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Heard(NamedTuple):
    """An event: `at` in seconds since 1970, and its fields, without secrets."""

    at: float
    level: str
    event: str
    fields: dict[str, Any]


class Ended(NamedTuple):
    """A run that is over: what it was asked for, and the fields of its last event, `job.finished`."""

    command: str
    begun: float
    ended: float
    events: tuple[Heard, ...]
    last: dict[str, Any]

    @property
    def succeeded(self) -> bool:
        return not self.last.get("exit_code")

    def of(self, *names: str) -> list[Heard]:
        """The events of these names."""
        return [each for each in self.events if each.event in names]
