"""A comment that silences nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from alembic_job.lint.ignores import Ignore
from alembic_job.lint.model import Level, Rule, Spot


def spots(comment: Ignore, looked_for: Callable[[str], bool | None]) -> Iterator[Spot]:
    """`looked_for` says of a rule whether it was looked for; `None` if there is none of that name."""
    for name in comment.unused():
        looked = looked_for(name)
        if looked is None:
            yield Spot(comment.line, f"there is no rule {name}")
        elif looked:
            yield Spot(comment.line, f"{name} finds nothing here: the comment can go")


RULE = Rule(
    "unused-ignore",
    Level.NOTE,
    "A comment silences a rule that finds nothing there.",
    "It would silence the next finding, which nobody has looked at yet; or its rule's name is misspelled.",
    "Remove the comment, or correct the rule's name.",
    'op.drop_table("t")  # alembic-job: ignore[no-mesage] a typo',
    lambda revision, tree: (),
)
