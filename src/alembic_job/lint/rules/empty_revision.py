"""A revision that does nothing."""

from __future__ import annotations

from collections.abc import Iterator

from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree
from alembic_job.lint.source import does_nothing


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """Neither way, and it joins no branches, and begins none."""
    functions = [revision.function(name) for name in ("upgrade", "downgrade")]
    upgrade = functions[0]
    if upgrade is None or not all(function is None or does_nothing(function) for function in functions):
        return
    if len(revision.follows) < 2 and not revision.depends_on and "branch_labels = None" in _labels(revision):
        yield Spot(upgrade.lineno, "the revision changes nothing")


def _labels(revision: Revision) -> str:
    if not any(line.startswith("branch_labels") for line in revision.source.splitlines()):
        return "branch_labels = None"
    lines = [line for line in revision.source.splitlines() if line.startswith("branch_labels")]
    return "branch_labels = None" if lines[0].replace(" ", "").endswith("=None") else lines[0]


RULE = Rule(
    "empty-revision",
    Level.WARNING,
    "The revision does nothing.",
    "Mostly autogenerate did not see the models: they were not imported by env.py, not saved, or have another Base. A"
    " revision that joins branches, or begins one, may be empty, and is not found.",
    "`alembic-job check` tells which models are imported and what differs. Remove the file, and generate it anew.",
    "def upgrade() -> None:\n    pass\n\n\ndef downgrade() -> None:\n    pass",
    check,
)
