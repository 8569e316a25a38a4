"""The application never stands in a queue behind a migration that waits: small versions of `python -m bench.stall`.

Nothing here says how fast anything is. While a session sits on the table the migration cannot have its lock, so
whatever of the application waits for a table lock then, waits in the queue behind the migration. A wait counts if the
application's own records and the server both saw it: a busy machine makes queries slow, but puts none into a queue.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from bench.blockers import Idle
from bench.cases import CASES, Case, Scene
from bench.runners import BARE, JOB
from bench.stall import Outcome, play

from alembic_job.gateways.embedded import Server
from tests.waiting import until

HELD = 2.0  # seconds
CASE = {case.name: case for case in CASES}


class Held(Idle):
    """An idle session that holds its locks until the revision has been under way for that long."""

    def __init__(self, scene: Scene, statement: str) -> None:
        super().__init__(scene.url, statement, HELD)
        self._running = scene.folder / "running"

    def _sit(self) -> None:
        until(lambda: self._running.exists() or self._over.is_set(), 60, "the revision's start")
        super()._sit()


def held(name: str, table: str) -> Case:
    return replace(CASE[name], blocker=lambda scene: Held(scene, f"SELECT count(*) FROM {table}"))


SITUATIONS = pytest.mark.parametrize(
    "case",
    [
        held("two-tables", "ledger"),
        *(pytest.param(held(name, "account"), marks=pytest.mark.thorough) for name in ("idle", "drop-index")),
    ],
    ids=lambda case: str(case.name),
)


def checked(outcome: Outcome) -> Outcome:
    """In every case the blocker was there first, the migration got through, and only after the blocker's end."""
    assert outcome.codes == [0], outcome.output
    assert outcome.lag is not None and outcome.lag >= 0
    assert outcome.took > HELD
    return outcome


@SITUATIONS
def test_no_query_waits_behind_a_waiting_migration(pg18: Server, case: Case) -> None:
    """An idle transaction holds the table for 2 s: no query of the application waits in a queue for 200 ms."""
    outcome = checked(play(pg18, case, JOB, quiet=0))
    assert outcome.queued <= 0.2, outcome


@pytest.mark.thorough
@SITUATIONS
def test_bare_alembic_makes_them_wait(pg18: Server, case: Case) -> None:
    """The same with bare Alembic: queries wait about as long as the transaction stays, so the test above can fail."""
    outcome = checked(play(pg18, case, BARE, quiet=0))
    assert outcome.queued > HELD / 2, outcome
