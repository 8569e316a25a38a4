"""A downgrade that does nothing, though the upgrade changes the schema."""

from __future__ import annotations

from collections.abc import Iterator

from alembic_job.lint.changes import changes_schema
from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree
from alembic_job.lint.source import does_nothing


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """`pass`, a docstring, and the like."""
    downgrade = revision.function("downgrade")
    if downgrade is None or not does_nothing(downgrade):
        return
    if any(changes_schema(statement) for _, statement in revision.up.parsed()):
        yield Spot(downgrade.lineno, "downgrade() is empty, but upgrade() changes the schema")


RULE = Rule(
    "empty-downgrade",
    Level.ERROR,
    "downgrade() does nothing, though upgrade() changes the schema.",
    "A rollback would change the version table alone; the next upgrade then fails on what is still there. The job"
    " refuses such a rollback (26). After an upgrade that only changes rows an empty downgrade is not found: often"
    " nothing has to be undone there.",
    "Undo what upgrade() does, or raise NotImplementedError if that cannot be done.",
    "def downgrade() -> None:\n    pass",
    check,
)
