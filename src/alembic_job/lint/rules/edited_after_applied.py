"""A script that is not what it was when it was applied."""

from __future__ import annotations

from collections.abc import Iterator

from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """By what the history recorded."""
    if tree.database is not None and revision.revision in tree.database.edited:
        yield Spot(1, "the script is not what it was when it was applied: databases that have it lack the change")


RULE = Rule(
    "edited-after-applied",
    Level.ERROR,
    "The script was edited after it had been applied.",
    "Databases that have the revision do not get the change, new ones do: from then on they differ. Comments,"
    " docstrings and white space don't count.",
    "Take the edit back, and put the change into a new revision. Where it is meant, `alembic-job repair` records the"
    " script as it is now.",
    'op.create_table("users", sa.Column("email", sa.Text()))  # a column that no database got',
    check,
    of_tree=True,
    needs="a database that the job has migrated before",
)
