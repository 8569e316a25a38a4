"""Whether a dump will fit: what is expected of it, and when it is not begun."""

from __future__ import annotations

import pytest

from alembic_job.rules.space import Previous, Rewrite, Room, room_for

GIB = 1 << 30


@pytest.mark.parametrize(
    ("database", "previous", "room"),
    [
        (10 * GIB, None, Room(10 * GIB, False)),
        (10 * GIB, Previous(2 * GIB, 10 * GIB, True), Room(2 * GIB, True)),
        (20 * GIB, Previous(2 * GIB, 10 * GIB, True), Room(4 * GIB, True)),  # it grew
        (5 * GIB, Previous(2 * GIB, 10 * GIB, True), Room(GIB, True)),  # it shrank
        (10 * GIB, Previous(9 * GIB, 10 * GIB, False), Room(10 * GIB, False)),  # compressed in another way
        (10 * GIB, Previous(2 * GIB, None, True), Room(10 * GIB, False)),  # an older manifest
        (10 * GIB, Previous(2 * GIB, 0, True), Room(10 * GIB, False)),
    ],
)
def test_what_is_expected(database: int, previous: Previous | None, room: Room) -> None:
    """What the newest backup took, as the database grew since; without it the database's own size."""
    assert room_for(database, previous) == room


@pytest.mark.parametrize(
    ("room", "free", "verdict"),
    [
        (Room(100, True), 49, "too little"),
        (Room(100, True), 50, "doubtful"),
        (Room(100, True), 119, "doubtful"),
        (Room(100, True), 120, "enough"),
        (Room(100, False), 0, "doubtful"),  # it may be compressed to anything
        (Room(100, False), 99, "doubtful"),
        (Room(100, False), 100, "enough"),
        (Room(0, True), 0, "enough"),
    ],
)
def test_verdict(room: Room, free: int, verdict: str) -> None:
    """Refused only where it is sure, told where it is not."""
    assert room.verdict(free) == verdict


@pytest.mark.parametrize(
    ("free", "verdict"),
    [(0, "too little"), (49, "too little"), (50, "doubtful"), (239, "doubtful"), (240, "enough")],
)
def test_room_for_a_rewrite(free: int, verdict: str) -> None:
    """The new table is surely half as large as the old one without indexes, and may be as large as with them."""
    assert Rewrite(heap=100, total=200).verdict(free) == verdict
