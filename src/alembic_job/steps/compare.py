"""How far a database is from what these scripts need: pure functions of revisions and the rows of a version table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Need(NamedTuple):
    """What the scripts need: `heads`, and of every revision they have what it builds upon.

    `parents` are the down revisions and what a revision depends on; `down` the down revisions alone.
    """

    heads: tuple[str, ...]
    parents: Mapping[str, tuple[str, ...]]
    down: Mapping[str, tuple[str, ...]]

    def has(self, revision: str) -> bool:
        """True if the scripts have this very revision."""
        return revision in self.parents


class Distance(NamedTuple):
    """`pending`: revisions needed that are not applied; `unknown`: rows that the scripts lack."""

    pending: frozenset[str]
    unknown: tuple[str, ...]


def distance(need: Need, rows: Iterable[str], below: Iterable[str] | None = None) -> Distance:
    """Compares a version table's rows with what is needed.

    Rows that the scripts lack cannot be traced back by them: `below` are those of their revisions that these rows are
    built upon, by the history. Without it, what is needed counts as part of them, but for what follows a row that is
    known: Alembic replaces a row when a revision that follows it is applied, so while the row stands, none is.
    """
    rows = tuple(rows)
    unknown = tuple(sorted(row for row in rows if not need.has(row)))
    missing = _closure(need.heads, need.parents) - _closure([*rows, *(below or ())], need.parents)
    if unknown and below is None:
        standing = {row for row in rows if need.has(row)}
        missing = {revision for revision in missing if not standing.isdisjoint(_closure([revision], need.down))}
    return Distance(frozenset(missing), unknown)


def _closure(heads: Iterable[str], parents: Mapping[str, tuple[str, ...]]) -> set[str]:
    """These revisions with all that they build upon."""
    seen: set[str] = set()
    todo = list(heads)
    while todo:
        revision = todo.pop()
        if revision not in seen and revision in parents:
            seen.add(revision)
            todo.extend(parents[revision])
    return seen
