"""How far a database is from what the scripts need, for every kind of history."""

from __future__ import annotations

import pytest

from alembic_job.steps.compare import Distance, Need, distance

# a1 - a2 - a3, b1 - b2 (b2 depends on a2), and m joins a3 with b2
DOWN = {"a1": (), "a2": ("a1",), "a3": ("a2",), "b1": (), "b2": ("b1",), "m": ("a3", "b2")}
PARENTS = {**DOWN, "b2": ("b1", "a2")}


@pytest.mark.parametrize(
    ("needed", "rows", "pending", "unknown"),
    [
        ("a3", "", "a1 a2 a3", ""),
        ("a3", "a1", "a2 a3", ""),
        ("a3", "a3", "", ""),
        ("a2", "a3", "", ""),  # beyond, at a revision that is known
        ("m", "a3 b1", "b2 m", ""),
        ("a3 b2", "a3", "b1 b2", ""),  # all heads are needed
        ("a3 b2", "a3 b2", "", ""),
        ("a2", "b2", "", ""),  # what it depends on is there
        ("", "", "", ""),  # no revisions
        ("a3", "z", "", "z"),  # a newer image
        ("a3 b2", "z b1", "b2", "z"),  # a newer image, still at work: b1 stands, so b2 cannot have been
        ("a3 b2", "z a3", "", "z"),
        ("a3", "z a1", "a2 a3", "z"),
        ("m", "z b2", "m", "z"),
    ],
)
def test_distance(needed: str, rows: str, pending: str, unknown: str) -> None:
    """What is pending and what is unknown, in words."""
    need = Need(tuple(needed.split()), PARENTS, DOWN)
    assert distance(need, rows.split()) == Distance(frozenset(pending.split()), tuple(unknown.split()))
