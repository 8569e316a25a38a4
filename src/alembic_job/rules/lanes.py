"""Where each revision of a graph is drawn: in which lane, and by which lines it is joined to those below it.

For terminals and for pictures alike: a row a revision, the newest on top. A line is in one lane for as long as it leads
to the same revision, and no two lanes lead to the same one; the leftmost free lane is taken first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Edge(NamedTuple):
    """A line from lane `start` of a row to lane `end` of the row below it; it leads to the revision `to`."""

    start: int
    end: int
    to: str


class Row(NamedTuple):
    """A revision in its `lane` (0 is the leftmost), and all lines between its row and the next: those that pass it
    (from a lane other than its own) and those to its parents, in the order of their starts and ends.

    Lines that do not go straight down either all begin in `lane`, or there is one, and it ends in `lane`.
    """

    revision: str
    lane: int
    below: tuple[Edge, ...]

    @property
    def lanes(self) -> int:
        """How many lanes the row and the lines below it take."""
        return 1 + max([self.lane, *(max(edge.start, edge.end) for edge in self.below)])


def lanes(revisions: Sequence[tuple[str, tuple[str, ...]]]) -> list[Row]:
    """A row for each revision. They come with their parents, each before its parents (the newest first).

    Parents that are not among the revisions are left out. Raises `ValueError` where one comes before its child.
    """
    known = {revision for revision, _ in revisions}
    open_lanes: list[str | None] = []  # for each lane the revision it leads to
    rows: list[Row] = []
    placed: set[str] = set()
    for revision, parents in revisions:
        placed.add(revision)
        if late := placed.intersection(parents):
            raise ValueError(f"{min(late)} comes before its child {revision}")
        lane = _lane_of(revision, open_lanes)
        wanted = list(dict.fromkeys(parent for parent in parents if parent in known))
        rows.append(Row(revision, lane, _below(lane, wanted, open_lanes)))
    return rows


def _lane_of(revision: str, open_lanes: list[str | None]) -> int:
    """The lane that leads to the revision, or for a head the first free one from the left."""
    return open_lanes.index(revision) if revision in open_lanes else _free(open_lanes, 0)


def _free(open_lanes: list[str | None], first: int) -> int:
    """A free lane, from this one on; a new one where there is none."""
    for lane in range(first, len(open_lanes)):
        if open_lanes[lane] is None:
            return lane
    open_lanes.append(None)
    return len(open_lanes) - 1


def _below(lane: int, parents: list[str], open_lanes: list[str | None]) -> tuple[Edge, ...]:
    """The lines below a revision in `lane`; the open lanes become those of the next row."""
    open_lanes[lane] = None
    edges = [Edge(other, other, to) for other, to in enumerate(open_lanes) if to is not None]
    if len(parents) == 1 and parents[0] in open_lanes[lane:]:  # the line further right comes over
        other = open_lanes.index(parents[0])
        edges.remove(Edge(other, other, parents[0]))
        edges.append(Edge(other, lane, parents[0]))
        open_lanes[other] = None
    for parent in parents:
        if parent in open_lanes:
            end = open_lanes.index(parent)
        else:
            end = lane if open_lanes[lane] is None else _free(open_lanes, lane + 1)
        open_lanes[end] = parent
        edges.append(Edge(lane, end, parent))
    while open_lanes and open_lanes[-1] is None:
        open_lanes.pop()
    return tuple(sorted(edges))
