"""How often a waiting pod looks."""

from __future__ import annotations

from alembic_job.steps.poll import Pace, spread


def test_pauses_grow_to_half_a_minute() -> None:
    """About a second at first, then longer, never more than half a minute while the server answers quickly."""
    pace = Pace()
    pauses = [pace.pause(0.01) for _ in range(20)]
    assert 0.5 <= pauses[0] <= 1.0
    assert all(15.0 <= pause <= 30.0 for pause in pauses[10:])


def test_a_slow_server_is_asked_less() -> None:
    """A hundred times what the look took, at most a minute; and back again when it is quick."""
    pace = Pace()
    assert 10.0 <= pace.pause(0.2) <= 20.0
    assert 30.0 <= pace.pause(9.0) <= 60.0
    assert pace.pause(0.01) <= 3.0


def test_no_two_pods_look_at_the_same_time() -> None:
    """Pods that start at the same instant drift apart at once."""
    assert len({round(spread(), 6) for _ in range(100)}) > 95
    assert len({round(Pace().pause(0), 6) for _ in range(100)}) > 95
