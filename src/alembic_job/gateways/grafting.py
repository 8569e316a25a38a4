"""Revisions that these scripts lack, made of what the history holds: to Alembic they are scripts like the others.

So an older image undoes them by the ordinary way: plan, locks, transactions, what is resumed, the version table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from alembic_job.gateways.history import Archived, Link
from alembic_job.gateways.project import Project
from alembic_job.gateways.rendering import Statement

if TYPE_CHECKING:
    from alembic.script import Script


Recorded = TypeVar("Recorded", bound=Archived | Link)


class Scripts(Protocol):
    """A project, or what was learned of one."""

    def has(self, revision: str) -> bool:
        """True if there is a script of this very revision."""


def graft(project: Project, revisions: Iterable[Archived]) -> None:
    """Adds them to the project's revisions, those first that others build upon. Their upgrade cannot be run."""
    from alembic.script import Script

    known: Any = project.script.revision_map
    for each in revisions:
        module: Any = ModuleType(f"{each.revision}_archived", each.message)
        module.revision, module.down_revision = each.revision, _tuple_or_one(each.down_revisions)
        module.depends_on, module.branch_labels = each.depends_on or None, None  # labels name what is there already
        module.archived = each
        module.downgrade = _downgrade(each.downgrade.statements)
        known.add_revision(Script(module, each.revision, f"(archived) {each.revision}"))


def archived(script: Script) -> Archived | None:
    """Where a script came from the history."""
    found: Archived | None = getattr(script.module, "archived", None)
    return found


def _tuple_or_one(revisions: Sequence[str]) -> Any:
    return (revisions[0] if len(revisions) == 1 else tuple(revisions)) if revisions else None


def _downgrade(statements: Sequence[Statement]) -> Any:
    """A function that executes them, as Alembic would have: what stood in an autocommit block stands in one again."""

    def downgrade(**_: Any) -> None:
        from alembic import op

        for alone, group in groupby(statements, key=lambda statement: statement.alone):
            if not alone:
                _execute(op, group)
                continue
            with op.get_context().autocommit_block():
                _execute(op, group)

    return downgrade


def _execute(op: Any, statements: Iterable[Statement]) -> None:
    for statement in statements:
        # Without parameters for the driver: a `%` is a `%`.
        op.get_bind().exec_driver_sql(statement.sql, execution_options={"no_parameters": True})


def lineage(heads: Iterable[str], scripts: dict[str, Recorded], project: Scripts) -> tuple[list[Recorded], list[str]]:
    """What lies between these heads and what the project knows: recorded revisions, the oldest first; and those that
    are not recorded."""
    between: dict[str, Recorded] = {}
    missing: list[str] = []
    todo = [head for head in heads if not project.has(head)]
    while todo:
        revision = todo.pop()
        if revision in between or revision in missing:
            continue
        found = scripts.get(revision)
        if found is None:
            missing.append(revision)
            continue
        between[revision] = found
        todo += [each for each in (*found.down_revisions, *found.depends_on) if not project.has(each)]
    return _oldest_first(between), sorted(missing)


def _oldest_first(found: dict[str, Recorded]) -> list[Recorded]:
    from graphlib import TopologicalSorter

    graph = {name: [*each.down_revisions, *each.depends_on] for name, each in found.items()}
    return [found[name] for name in TopologicalSorter(graph).static_order() if name in found]


def frontier(between: Iterable[Recorded], project: Scripts) -> list[str]:
    """The project's own revisions that the recorded ones are built upon."""
    below = {each for recorded in between for each in (*recorded.down_revisions, *recorded.depends_on)}
    return sorted(each for each in below if project.has(each))
