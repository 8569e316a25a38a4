"""How long a statement may take, told from sizes alone, at rates that are assumed and said."""

from __future__ import annotations

from collections.abc import Iterable

from alembic_job.rules.effect import Effect
from alembic_job.rules.facts import Facts, Relation

MIB = 1 << 20
WRITTEN, READ, INDEXED, CHANGED = 50 * MIB, 200 * MIB, 50 * MIB, 50_000  # bytes, and rows, a second
RATES = (
    f"times are estimates: {WRITTEN // MIB} MiB/s for tables that are rewritten and indexes that are built,"
    f" {READ // MIB} MiB/s for tables that are read, {CHANGED:,} rows/s for UPDATE and DELETE, or what the revision"
    " took the last time"
)


def size_of(relation: Relation, facts: Facts) -> int | None:
    """Bytes without indexes; `None` where that is not known, or it has no rows of its own."""
    return relation.pages * facts.block_size if relation.kind in "rmi" and not is_unseen(relation) else None


def is_unseen(relation: Relation) -> bool:
    """True of a table that no VACUUM or ANALYZE has seen yet."""
    return relation.kind in "rm" and relation.tuples < 0 and relation.pages == 0


def rows_of(relation: Relation) -> int | None:
    return round(relation.tuples) if relation.kind in "rm" and relation.tuples >= 0 else None


def seconds_of(effect: Effect, kind: str, facts: Facts) -> float:
    """Of one statement; `kind` is its node's."""
    builds = kind in ("IndexStmt", "ReindexStmt")
    scans = [name for name in effect.scans if name not in effect.rewrites]
    return _bytes(effect.rewrites, facts) / WRITTEN + _bytes(scans, facts) / (INDEXED if builds else READ)


def _bytes(names: Iterable[str], facts: Facts) -> int:
    wanted = set(names)
    return sum(size_of(each, facts) or 0 for each in facts.relations.values() if each.quoted in wanted)
