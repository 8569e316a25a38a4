"""A value of an enum that is used in the transaction that adds it."""

from __future__ import annotations

from collections.abc import Iterator

from alembic_job.lint.model import Level, Revision, Rule, Side, Spot, Tree
from alembic_job.rules.tree import nodes, strings


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """In both ways."""
    if tree.transactional:
        yield from _spots(revision.up)
        yield from _spots(revision.down)


def _spots(side: Side) -> Iterator[Spot]:
    made: set[str] = set()
    added: dict[str, int] = {}
    for written, statement in side.parsed():
        if written.alone:
            added.clear()  # what came before it is committed
            continue
        if statement.kind == "CreateEnumStmt":
            made.add(strings(statement.node["typeName"])[-1])
        elif statement.kind == "AlterEnumStmt" and "oldVal" not in statement.node:
            if strings(statement.node["typeName"])[-1] not in made:
                added[statement.node["newVal"]] = written.line
        elif added:
            used = {node["sval"] for node in nodes(statement.node, "sval") if "sval" in node} & added.keys()
            for value in sorted(used):
                yield Spot(written.line, f"the value {value!r} is new in this transaction (line {added[value]})")


RULE = Rule(
    "enum-value-used",
    Level.ERROR,
    "A new value of an enum is used in the transaction that adds it.",
    'PostgreSQL refuses it: "unsafe use of new value". The value can be used once it is committed.',
    "Add the value in a revision before, or in `with op.get_context().autocommit_block():`.",
    "op.execute(\"ALTER TYPE status ADD VALUE 'paused'\")\nop.execute(\"UPDATE jobs SET status = 'paused'\")",
    check,
)
