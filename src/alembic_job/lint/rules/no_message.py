"""A revision that does not say what it is for."""

from __future__ import annotations

from collections.abc import Iterator

from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """No docstring, or Alembic's words for none."""
    message = revision.message.strip().lower()
    if message in ("", "empty message", "none") or message.startswith("revision id:"):
        yield Spot(1, "the revision has no message")


RULE = Rule(
    "no-message",
    Level.WARNING,
    "The revision does not say what it is for.",
    "The message is what `status`, `history`, logs and reports show of a revision, also at 3 a.m.",
    "Write it as the first line of the script's docstring; `alembic-job revision -m TEXT` does.",
    '"""empty message\n\nRevision ID: 8d2f4c1a9b70\n"""',
    check,
)
