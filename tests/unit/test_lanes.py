"""Where revisions are drawn: lanes, and the lines between them."""

from __future__ import annotations

import random

import pytest

from alembic_job.rules.lane_text import drawn
from alembic_job.rules.lanes import Edge, Row, lanes

Graph = list[tuple[str, tuple[str, ...]]]


def graph(text: str) -> Graph:
    """`m:b,c b:a c:a a` → the revisions with their parents."""
    found = []
    for word in text.split():
        revision, _, parents = word.partition(":")
        found.append((revision, tuple(parents.split(",")) if parents else ()))
    return found


def picture(revisions: Graph, *, ascii_only: bool = False) -> str:
    lines = []
    for row, text in zip(rows := lanes(revisions), drawn(rows, ["o"] * len(rows), ascii_only=ascii_only), strict=True):
        lines.append(f"{text.left}{text.node}{text.right} {row.revision}")
        lines += [] if text.below is None else [text.below]
    return "\n".join(lines)


PICTURES = [
    ("c:b b:a a", ["o c", "o b", "o a"]),
    ("c:a b:a a", ["o c", "│ o b", "├─╯", "o a"]),
    ("m:b,c b:a c:a a", ["o m", "├─╮", "o │ b", "│ o c", "├─╯", "o a"]),
    # Two merges of the same two revisions.
    ("m:b,c n:b,c b:a c:a a", ["o m", "├─╮", "│ │ o n", "├─┼─╯", "o │ b", "│ o c", "├─╯", "o a"]),
    # The line that comes over from the right is not joined with the one it crosses.
    ("w:p x:y z:p y:p p", ["o w", "│ o x", "│ │ o z", "├─│─╯", "│ o y", "├─╯", "o p"]),
    # The older branch stays on the left.
    ("x:y z:p y:p p", ["o x", "│ o z", "o │ y", "├─╯", "o p"]),
    ("m:b,c,d b:a c:a d:a a", ["o m", "├─┬─╮", "o │ │ b", "│ o │ c", "├─╯ │", "│   o d", "├───╯", "o a"]),
    # A base and a head in the same lane, one below the other, are kept apart.
    ("b2:b1 b1 s2:s1 s1", ["o b2", "o b1", "", "o s2", "o s1"]),
    ("s2:s1,b1 s1 b2:b1 b1", ["o s2", "├─╮", "o │ s1", "  │", "o │ b2", "├─╯", "o b1"]),
    # Of a range: the parent of the last is not in it.
    ("c:b b:a", ["o c", "o b"]),
    ("", [""]),
]


@pytest.mark.parametrize(("text", "lines"), PICTURES)
def test_pictures(text: str, lines: list[str]) -> None:
    """Linear, fork, merge, criss-cross, crossing, octopus, several bases, dependency, range."""
    assert picture(graph(text)).split("\n") == lines
    plain = picture(graph(text), ascii_only=True)
    assert plain.isascii() and list(map(len, plain.split("\n"))) == list(map(len, lines))


def test_rows() -> None:
    """What other drawings go by: lanes, and each line with the revision it leads to."""
    assert lanes(graph("m:b,c b:a c:a a")) == [
        Row("m", 0, (Edge(0, 0, "b"), Edge(0, 1, "c"))),
        Row("b", 0, (Edge(0, 0, "a"), Edge(1, 1, "c"))),
        Row("c", 1, (Edge(0, 0, "a"), Edge(1, 0, "a"))),
        Row("a", 0, ()),
    ]
    with pytest.raises(ValueError, match="a comes before its child b"):
        lanes(graph("a b:a"))


def grown(count: int, seed: int) -> Graph:
    """A history of that many revisions, with forks, merges and bases as chance has it."""
    chance = random.Random(seed)
    found: Graph = []
    for number in range(count):
        recent = [revision for revision, _ in found[-8:]]
        parents = chance.sample(recent, min(len(recent), chance.choice([0, 1, 1, 1, 1, 1, 2, 3])))
        found.append((f"r{number}", tuple(parents)))
    return found[::-1]


@pytest.mark.parametrize("seed", range(20))
def test_every_line_leads_to_its_revision(seed: int) -> None:
    """Followed from row to row each parent is reached, by one line only; nobody's lane is taken twice."""
    revisions = grown(1000 if seed == 0 else 60, seed)
    rows = lanes(revisions)
    at: dict[str, int] = {}  # where the lines to a revision are
    for row, (revision, parents) in zip(rows, revisions, strict=True):
        assert row.revision == revision
        assert at.pop(revision, row.lane) == row.lane
        assert row.lane not in at.values()
        starts = {(edge.start, edge.to) for edge in row.below}
        assert starts == {(lane, to) for to, lane in at.items()} | {(row.lane, parent) for parent in parents}
        at = {edge.to: edge.end for edge in row.below}
        assert all(at[edge.to] == edge.end for edge in row.below)
        assert len(set(at.values())) == len(at)
        sideways = [edge for edge in row.below if edge.start != edge.end]
        assert all(edge.start == row.lane for edge in sideways) or [edge.end for edge in sideways] == [row.lane]
    assert not at
