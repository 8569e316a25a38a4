"""No downgrade at all."""

from __future__ import annotations

from collections.abc import Iterator

from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """A script without `downgrade`."""
    if revision.down.kind == "missing":
        yield Spot(revision.line_of("upgrade"), "there is no downgrade(): the revision cannot be undone")


RULE = Rule(
    "missing-downgrade",
    Level.ERROR,
    "The script has no downgrade().",
    "A rollback that comes to it fails, in the middle of what it undoes, if it is of several revisions.",
    "Write downgrade(). If the revision must not be undone, let it raise NotImplementedError and say why: then a"
    " rollback is refused before its first change.",
    'def upgrade() -> None:\n    op.add_column("users", sa.Column("note", sa.Text()))',
    check,
)
