"""How far a database is from what the scripts need, for every kind of history."""

from __future__ import annotations

import pytest

from alembic_job.steps.compare import Distance, Need, distance

# a1 - a2 - a3, b1 - b2 (b2 depends on a2), and m joins a3 with b2
DOWN = {"a1": (), "a2": ("a1",), "a3": ("a2",), "b1": (), "b2": ("b1",), "m": ("a3", "b2")}
PARENTS = {**DOWN, "b2": ("b1", "a2")}


@pytest.mark.parametrize(
    ("needed", "rows", "below", "pending", "unknown"),
    [
        ("a3", "", "", "a1 a2 a3", ""),
        ("a3", "a1", "", "a2 a3", ""),
        ("a3", "a3", "", "", ""),
        ("a2", "a3", "", "", ""),  # beyond, at a revision that is known
        ("m", "a3 b1", "", "b2 m", ""),
        ("a3 b2", "a3", "", "b1 b2", ""),  # all heads are needed
        ("a3 b2", "a3 b2", "", "", ""),
        ("a2", "b2", "", "", ""),  # what it depends on is there
        ("", "", "", "", ""),  # no revisions
        ("a3", "z", "a3", "", "z"),  # a newer image
        ("a3", "z", "a1", "a2 a3", "z"),  # another branch
        ("m", "z", "a3 b2", "m", "z"),  # another merge
        ("a3 b2", "z b1", "a3", "b2", "z"),  # a newer image, still at work
        ("a3", "z", "", "a1 a2 a3", "z"),  # nothing of these
        ("a3", "z", None, "", "z"),  # nobody knows what it is built upon: a newer image
        ("a3 b2", "z b1", None, "b2", "z"),  # still at work: b1 stands, so b2 cannot have been
        ("a3 b2", "z a3", None, "", "z"),
        ("a3", "z a1", None, "a2 a3", "z"),
        ("m", "z b2", None, "m", "z"),
    ],
)
def test_distance(needed: str, rows: str, below: str | None, pending: str, unknown: str) -> None:
    """What is pending and what is unknown, in words."""
    need = Need(tuple(needed.split()), PARENTS, DOWN)
    found = distance(need, rows.split(), None if below is None else below.split())
    assert found == Distance(frozenset(pending.split()), tuple(unknown.split()))
