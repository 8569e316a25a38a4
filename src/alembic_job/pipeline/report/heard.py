"""What a run said, as the report is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
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


@dataclass(frozen=True)
class Ended:
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
        if len(names) == 1:
            return self._named.get(names[0], [])
        return [each for each in self.events if each.event in names]

    @cached_property
    def _named(self) -> dict[str, list[Heard]]:
        found: dict[str, list[Heard]] = {}
        for each in self.events:
            found.setdefault(each.event, []).append(each)
        return found

    @cached_property
    def changed(self) -> frozenset[str]:
        """The revisions that were applied or reverted for good, as the last event says."""
        listed = (self.last.get(name) for name in ("applied", "reverted"))
        return frozenset(str(each) for names in listed if isinstance(names, list | tuple) for each in names)
