"""From costs to ratios, and to lines of a table."""

from __future__ import annotations

from statistics import median, quantiles
from typing import NamedTuple


class Cost(NamedTuple):
    """What one run of one command took: seconds, seconds, bytes."""

    wall: float
    cpu: float
    peak: float


class Ratio(NamedTuple):
    """The median of the ratios within the pairs, and their quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


class Comparison(NamedTuple):
    """The same work done by the job and by bare Alembic, pair by pair."""

    title: str
    revisions: int
    bare: list[Cost]
    job: list[Cost]

    def ratio(self, what: str) -> Ratio:
        """Job over bare: `what` is a field of `Cost`."""
        pairs = zip(self.bare, self.job, strict=True)
        ratios = [getattr(job, what) / getattr(bare, what) for bare, job in pairs]
        if len(ratios) == 1:
            return Ratio(ratios[0], ratios[0], ratios[0])
        low, middle, high = quantiles(ratios, n=4, method="inclusive")
        return Ratio(middle, low, high)

    def row(self) -> list[str]:
        bare, job = (median(cost.wall for cost in costs) for costs in (self.bare, self.job))
        memory = [median(cost.peak for cost in costs) / 2**20 for costs in (self.bare, self.job)]
        return [
            self.title,
            f"{self.revisions:,}",
            str(len(self.bare)),
            *(str(self.ratio(what)) for what in Cost._fields),
            f"{_seconds(bare)} → {_seconds(job)}",
            f"{memory[0]:.0f} → {memory[1]:.0f} MB",
        ]


HEADINGS = ["job : bare", "revisions", "pairs", "wall", "CPU", "peak memory", "wall, bare → job", "peak, bare → job"]


def table(comparisons: list[Comparison]) -> str:
    """One line a comparison, in columns: ratios first, then what both took."""
    rows = [HEADINGS, *(comparison.row() for comparison in comparisons)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


class Target(NamedTuple):
    """A bound for a ratio, and the comparisons it holds for."""

    title: str
    what: str
    bound: float
    least_revisions: int = 0

    def verdicts(self, comparisons: list[Comparison]) -> list[str]:
        meant = [c for c in comparisons if c.title == self.title and c.revisions >= self.least_revisions]
        return [self._verdict(comparison) for comparison in meant]

    def _verdict(self, comparison: Comparison) -> str:
        found = comparison.ratio(self.what).median
        name = "peak memory" if self.what == "peak" else self.what
        said = "met" if found <= self.bound else "MISSED"
        return (
            f"{said:<6}  {comparison.title}, {comparison.revisions:,} revisions: {name} {found:.2f} ≤ {self.bound:.2f}"
        )


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
