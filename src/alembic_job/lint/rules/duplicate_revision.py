"""Two scripts with one id."""

from __future__ import annotations

from collections.abc import Iterator

from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """Each of the scripts that have the same id."""
    others = [file for file in tree.files[revision.revision] if file != revision.file]
    if others:
        yield Spot(revision.line_of("revision"), f"{', '.join(others)} has the id {revision.revision} as well")


RULE = Rule(
    "duplicate-revision",
    Level.ERROR,
    "Two scripts have the same revision id.",
    "Alembic takes one of them, whichever it reads last, and never runs the other.",
    "Give the newer one an id of its own, in `revision`, in the docstring and in the name of its file.",
    'revision = "8d2f4c1a9b70"  # as in the script it was copied from',
    check,
    of_tree=True,
)
