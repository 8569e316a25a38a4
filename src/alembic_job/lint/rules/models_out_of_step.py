"""Models that the migrations do not make."""

from __future__ import annotations

from collections.abc import Iterator

from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree

_MOST = 5


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """Said of the newest revision: the next one has to bring what is missing."""
    differences = tree.database.differences if tree.database is not None else ()
    if differences and revision in tree.heads[:1]:
        more = f" and {len(differences) - _MOST} more" if len(differences) > _MOST else ""
        yield Spot(1, f"models and database differ: {'; '.join(differences[:_MOST])}{more}")


RULE = Rule(
    "models-out-of-step",
    Level.WARNING,
    "The models and the database are not the same, though nothing is pending.",
    "The application expects what no revision makes.",
    "`alembic-job revision --autogenerate -m TEXT` writes the revision that is missing; `alembic-job check` shows all"
    " of the differences.",
    "class User(Base):\n    nickname = mapped_column(Text)  # and no revision that adds it",
    check,
    of_tree=True,
    needs="a database that is at head",
)
