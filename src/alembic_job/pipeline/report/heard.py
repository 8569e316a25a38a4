"""What a run said, as the report is made of it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Heard(NamedTuple):
    """An event: `at` in seconds since 1970, and its fields, without secrets."""

    at: float
    level: str
    event: str
    fields: dict[str, Any]

    @property
    def place(self) -> str:
        """The version table, and of several databases which one, that a revision's event is about."""
        table, database = self.fields.get("table"), self.fields.get("database")
        return f"{table or ''}{f' in {database}' if database else ''}"


class Ended(NamedTuple):
    """A run that is over: what it was asked for, and the fields of its last event, `job.finished`."""

    command: str
    begun: float
    ended: float
    events: tuple[Heard, ...]
    last: dict[str, Any]

    @property
    def succeeded(self) -> bool:
        return self.last.get("exit_code") == 0

    def of(self, *names: str) -> list[Heard]:
        """The events of these names."""
        return [each for each in self.events if each.event in names]
