"""Lanes as text: what stands before each revision, and the lines between two of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from alembic_job.rules.lanes import Edge, Row

_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_UNICODE = {
    0: " ", _UP | _DOWN: "│", _LEFT | _RIGHT: "─",
    _DOWN | _RIGHT: "╭", _DOWN | _LEFT: "╮", _UP | _RIGHT: "╰", _UP | _LEFT: "╯",
    _UP | _DOWN | _RIGHT: "├", _UP | _DOWN | _LEFT: "┤", _LEFT | _RIGHT | _DOWN: "┬", _LEFT | _RIGHT | _UP: "┴",
    15: "┼",
}  # fmt: skip
_ASCII = {"│": "|", "─": "-", "╭": ".", "╮": ".", "╰": "'", "╯": "'", " ": " "}


class Drawn(NamedTuple):
    """The text left of a revision, to which its `node` belongs, and a line below it if lines change their lanes."""

    left: str
    node: str
    right: str
    below: str | None


def drawn(rows: Sequence[Row], nodes: Sequence[str], *, ascii_only: bool = False) -> Iterator[Drawn]:
    """Each row, drawn with its sign of `nodes`; a lane takes two columns."""
    for number, (row, node) in enumerate(zip(rows, nodes, strict=True)):
        passing = {edge.start for edge in row.below} - {row.lane}
        line = "".join("│ " if lane in passing else "  " for lane in range(row.lanes))
        left, right = line[: 2 * row.lane], line[2 * row.lane + 1 :].rstrip()
        follower = rows[number + 1] if number + 1 < len(rows) else None
        below = _below(row, follower)
        if ascii_only:
            left, right, below = _in_ascii(left), _in_ascii(right), None if below is None else _in_ascii(below)
        yield Drawn(left, node, right, below)


def _below(row: Row, follower: Row | None) -> str | None:
    """The line to the next row; none where all go straight down and nothing else has to keep the two apart."""
    sideways = [edge for edge in row.below if edge.start != edge.end]
    if sideways:
        return _turning(row, sideways)
    ends = all(edge.start != row.lane for edge in row.below)
    if follower is not None and ends and follower.lane == row.lane:  # it is no parent of this one
        return "".join("│ " if lane in _straight(row) else "  " for lane in range(row.lanes)).rstrip()
    return None


def _straight(row: Row) -> set[int]:
    """The lanes that go on."""
    return {edge.start for edge in row.below if edge.start == edge.end}


def _turning(row: Row, sideways: list[Edge]) -> str:
    """A star around the row's lane; what only passes is drawn over it."""
    cells = [0] * (2 * row.lanes - 1)
    for lane in _straight(row):
        cells[2 * lane] = _UP | _DOWN
    turned = {2 * row.lane}
    cells[2 * row.lane] |= _UP
    for edge in sideways:
        other = edge.end if edge.start == row.lane else edge.start
        cells[2 * other] |= _DOWN if edge.start == row.lane else _UP
        turned.add(2 * other)
    first, last = min(turned), max(turned)
    for column in range(first, last + 1):
        if column in turned or not cells[column]:
            cells[column] |= (_LEFT if column > first else 0) | (_RIGHT if column < last else 0)
    return "".join(_UNICODE[cell] for cell in cells).rstrip()


def _in_ascii(text: str) -> str:
    return "".join(_ASCII.get(sign, "+") for sign in text)
