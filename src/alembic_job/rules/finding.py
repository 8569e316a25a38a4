"""What a statement would do to the data that is there, in figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

LOST, REFUSED, UNKNOWN = "lost", "refused", "unknown"


@dataclass(frozen=True)
class Finding:
    """One figure.

    `kind` is `lost` (the data would be gone), `refused` (the statement would fail on this data) or `unknown`. `what` is
    the thing: `table public.orders`, `column public.users.email`. `count` is a number of `unit` (`rows`, `values`);
    `None` where it is not known. `estimated`: not counted to the end, or counted before an earlier statement changes
    it. `why` completes the sentence; without `unit` it is all there is to say (`there is no such table`). `index` is
    the statement's place in the list that was asked about, `statement` its text on one line, shortened, without
    passwords.
    """

    kind: str
    what: str
    count: int | None
    unit: str
    why: str
    estimated: bool = False
    statement: str = ""
    index: int = 0
    table: int = 0  # OID of the table the figure is about; 0 if of none

    @property
    def text(self) -> str:
        """For people: `12,034 rows of table public.orders would be lost`."""
        if self.kind == UNKNOWN or not self.unit:
            return f"{self.what}: {self.why}"
        return f"{self._amount} of {self.what} would be {self.kind}{f': {self.why}' if self.why else ''}"

    @property
    def _amount(self) -> str:
        if self.count is None:
            return f"some {self.unit}"
        unit = self.unit.removesuffix("s") if self.count == 1 else self.unit
        return f"{'about ' if self.estimated else ''}{self.count:,} {unit}"

    def as_fields(self) -> dict[str, Any]:
        """For a line of the log or a report."""
        return {
            "kind": self.kind,
            "what": self.what,
            "count": self.count,
            "unit": self.unit,
            "estimated": self.estimated,
            "why": self.why,
            "statement": self.statement,
            "text": self.text,
        }


def loses_data(findings: Iterable[Finding]) -> bool:
    """True if data would be lost, or probably; what cannot be told is not counted, see `is_unsure`."""
    return any(finding.kind == LOST and (finding.count != 0 or finding.estimated) for finding in findings)


def is_refused(findings: Iterable[Finding]) -> bool:
    """True if a statement would fail on the data that is there."""
    return any(finding.kind == REFUSED for finding in findings)


def is_unsure(findings: Iterable[Finding]) -> bool:
    """True if of some statement it cannot be told what it does to the data."""
    return any(finding.kind == UNKNOWN for finding in findings)
