"""Rows and schema changed in one transaction."""

from __future__ import annotations

from collections.abc import Iterator

from alembic_job.lint.changes import changes_rows, changes_schema, tables_made
from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree
from alembic_job.rules.statement import ParsedStatement
from alembic_job.rules.tree import range_name, strings


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """Writing into tables that are older than the revision, beside a change of tables that are."""
    new = tables_made(revision.up)
    together = [(w, s) for w, s in revision.up.parsed() if not w.alone]
    changed = [w for w, s in together if changes_schema(s) and _tables(s) - new]
    written = [w for w, s in together if changes_rows(s) and _target(s) not in new]
    if changed and written:
        yield Spot(
            written[0].line,
            f"rows are changed in the transaction that changes the schema (line {changed[0].line}): give them a"
            " revision of their own",
        )


def _target(statement: ParsedStatement) -> str | None:
    """The table that it writes, if it names it at its top."""
    relation = statement.node.get("relation")
    return range_name(relation)[1] if relation else None


def _tables(statement: ParsedStatement) -> set[str]:
    """The tables that it alters: what takes a lock on them. What is merely made holds up nobody."""
    if statement.kind in ("AlterTableStmt", "IndexStmt", "RenameStmt", "CreateTrigStmt", "RuleStmt"):
        relation = statement.node.get("relation")
        return {range_name(relation)[1]} if relation else set()
    if statement.kind == "DropStmt" and statement.node["removeType"] == "OBJECT_TABLE":
        return {strings(item)[-1] for item in statement.node["objects"]}
    return set()


RULE = Rule(
    "data-and-schema",
    Level.WARNING,
    "Rows and schema are changed in one revision.",
    "The strong lock that the change of the schema took is held until every row is written: the application waits for"
    " all of it. And where it fails in its middle, both have to be thought through together. Filling a table that the"
    " same revision makes is not found, nor what runs in an autocommit_block().",
    "Split it: one revision changes the schema, the next one fills the rows (in batches, where there are many), a third"
    " makes it required.",
    'op.add_column("orders", sa.Column("total", sa.Numeric()))\n'
    'op.execute("UPDATE orders SET total = price * quantity")',
    check,
)
