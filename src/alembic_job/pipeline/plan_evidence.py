"""What the statements of a plan lose, or fail on, counted on the data that is there now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from psycopg2.extensions import connection as Connection

from alembic_job.gateways.evidence import gather
from alembic_job.rules.facts import Name
from alembic_job.rules.finding import Finding

EXACT_BELOW, PATIENCE, BUDGET = 1_000_000, 3.0, 30.0  # rows; seconds for one question, for all
_UNKNOWN = "DO 'unknown'"


class Concern(NamedTuple):
    """A statement that is to be looked at; `None` as its text: a revision whose SQL is not known.

    `own`: it is only about tables that the plan itself makes. `names`: all that it names, qualified.
    """

    text: str | None
    own: bool = False
    names: frozenset[Name] = frozenset()


def findings(
    connection: Connection, concerns: Sequence[Concern], version_table: Name, settings: Mapping[str, str]
) -> list[tuple[Finding, ...]]:
    """Those of each, in the order in which they would be executed."""
    wanted = _wanted(concerns)
    texts = [
        (_UNKNOWN if each.text is None else each.text) if is_wanted else ""
        for each, is_wanted in zip(concerns, wanted, strict=True)
    ]
    found = gather(
        connection,
        texts,
        version_table=version_table,
        settings=settings,
        exact_below=EXACT_BELOW,
        patience=PATIENCE,
        budget=BUDGET,
    )
    told: list[list[Finding]] = [[] for _ in concerns]
    for finding in found:
        told[finding.index].append(finding)
    return [tuple(each) for each in told]


def _wanted(concerns: Sequence[Concern]) -> list[bool]:
    """What is only about the plan's own tables has no data to lose: it is left out, unless others refer to them."""
    wanted = [not each.own for each in concerns]
    needed = {name for each in concerns if not each.own for name in each.names}
    grows = True
    while grows:
        grows = False
        for number, each in enumerate(concerns):
            if not wanted[number] and not needed.isdisjoint(each.names):
                wanted[number] = grows = True
                needed |= each.names
    return wanted
