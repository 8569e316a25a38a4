"""Several heads that are meant to be one."""

from __future__ import annotations

from collections.abc import Iterator

from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """A head that another head shares an ancestor with, and no branch label tells them apart."""
    if revision not in tree.heads:
        return
    mine = _ancestors(revision, tree)
    others = [
        other.revision
        for other in tree.heads
        if other is not revision and other.labels == revision.labels and mine & _ancestors(other, tree)
    ]
    if others:
        yield Spot(
            revision.line_of("down_revision"),
            f"{revision.revision} and {', '.join(others)} are heads of the same branch: `alembic-job merge heads`"
            " joins them",
        )


def _ancestors(revision: Revision, tree: Tree) -> set[str]:
    seen: set[str] = set()
    left = [revision.revision]
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += tree.by_id[name].follows if name in tree.by_id else ()
    return seen


RULE = Rule(
    "multiple-heads",
    Level.ERROR,
    "Two revisions follow the same one.",
    "`upgrade head` refuses to choose between them, so the deployment fails. It happens when two branches of the code"
    " that each add a revision are merged. Heads whose branch labels differ are meant, and are not found.",
    "`alembic-job merge heads -m 'merge'` writes a revision that follows both; or let one of them follow the other, if"
    " it was applied nowhere yet.",
    'down_revision = "5c9a13e8f640"  # as another revision has it',
    check,
    of_tree=True,
)
