"""What PostgreSQL runs only outside of a transaction, inside of one."""

from __future__ import annotations

from collections.abc import Iterator

from alembic_job.lint.model import Level, Revision, Rule, Side, Spot, Tree
from alembic_job.rules.effects import effects
from alembic_job.rules.facts import Facts
from alembic_job.rules.statement import ParsedStatement
from alembic_job.rules.tree import nodes

_NOBODY = Facts(0)


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """In both ways."""
    if tree.transactional:
        yield from _spots(revision.up)
        yield from _spots(revision.down)


def _spots(side: Side) -> Iterator[Spot]:
    for written, statement in side.parsed():
        if not written.alone and _needs_none(statement):
            words = " ".join(statement.text.split())[:60]
            yield Spot(written.line, f"PostgreSQL runs this only outside of a transaction: {words}")


def _needs_none(statement: ParsedStatement) -> bool:
    if statement.kind == "AlterTableStmt":
        return any(command.get("concurrent") for command in nodes(statement.node, "PartitionCmd"))
    if statement.kind == "TransactionStmt":
        return False
    return not effects(statement, _NOBODY).transactional


RULE = Rule(
    "not-transactional",
    Level.ERROR,
    "A statement that PostgreSQL refuses in a transaction is not in an autocommit_block().",
    "CREATE INDEX CONCURRENTLY, VACUUM, ALTER SYSTEM and their like fail in a transaction, and Alembic runs each"
    " revision in one.",
    "Put it into `with op.get_context().autocommit_block():`, best as the only statement of its revision.",
    'op.create_index("ix_orders_user", "orders", ["user_id"], postgresql_concurrently=True)',
    check,
)
