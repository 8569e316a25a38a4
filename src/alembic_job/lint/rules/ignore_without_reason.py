"""A comment that silences a rule must say why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from alembic_job.lint.ignores import Ignore
from alembic_job.lint.model import Level, Rule, Spot


def spots(comments: Iterable[Ignore]) -> Iterator[Spot]:
    """Comments that name no rule, or no reason."""
    for comment in comments:
        if not comment.rules:
            yield Spot(comment.line, "this comment names no rule: ignore[RULE] REASON")
        elif not comment.reason:
            yield Spot(comment.line, f"no reason is given for ignoring {', '.join(comment.rules)}")


RULE = Rule(
    "ignore-without-reason",
    Level.ERROR,
    "A comment silences a rule without saying why.",
    "Whoever reads the revision later cannot tell whether the finding was understood or merely in the way.",
    "Write the reason behind the brackets: `# alembic-job: ignore[RULE] REASON`.",
    'op.execute("TRUNCATE sessions CASCADE")  # alembic-job: ignore[squawk/ban-truncate-cascade]',
    lambda revision, tree: (),
)
