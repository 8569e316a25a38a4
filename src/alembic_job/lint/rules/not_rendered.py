"""A revision whose SQL cannot be had."""

from __future__ import annotations

from collections.abc import Iterator

from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """It asks the database, or fails, while it is rendered."""
    for name, side in (("upgrade", revision.up), ("downgrade", revision.down)):
        if side.kind in ("asks", "fails"):
            yield Spot(revision.line_of(name), f"the SQL of {name}() is not known before it runs: {side.reason}")


RULE = Rule(
    "not-rendered",
    Level.NOTE,
    "The SQL of the revision is not known before it runs.",
    "Rules that read the SQL had nothing to look at; nor has `plan`, and an older image cannot undo the revision. Most"
    " often it asks the database what is there, and goes on accordingly.",
    "Where that can be done say in SQL what it depends on (`IF EXISTS`, `INSERT … SELECT`), instead of asking first.",
    'if "orders" in sa.inspect(op.get_bind()).get_table_names():\n    op.drop_table("orders")',
    check,
)
