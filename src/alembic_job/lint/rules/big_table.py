"""A table that is large is written anew, or read to its end, under a lock."""

from __future__ import annotations

from collections.abc import Iterator

from alembic_job import human
from alembic_job.lint.model import Database, Level, Revision, Rule, Spot, Tree
from alembic_job.rules.effect import Effect
from alembic_job.rules.statement import ParsedStatement
from alembic_job.rules.tree import range_name


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """Only tables that are there already; what others wait for, and rows that are all changed at once."""
    database = tree.database
    if database is None:
        return
    for number, written in enumerate(revision.up.statements):
        for effect in database.effects.get((revision.revision, number), ()):
            for words, table in _heavy(effect):
                if size := _size(table, database):
                    yield Spot(written.line, f"{words} {table} ({_text(size)}) while others wait for it")
        for changed in filter(None, map(_whole, written.parsed)):
            if size := _size(changed, database):
                yield Spot(written.line, f"every row of {changed} ({_text(size)}) is changed in one transaction")


def _heavy(effect: Effect) -> Iterator[tuple[str, str]]:
    held = {lock.name for lock in effect.locks if lock.mode.blocks_writes}
    for table in effect.rewrites:
        yield "it writes anew", table
    for table in effect.scans:
        if table in held and table not in effect.rewrites:
            yield "it reads to the end", table


def _whole(statement: ParsedStatement) -> str | None:
    if statement.kind in ("UpdateStmt", "DeleteStmt") and "whereClause" not in statement.node:
        schema, name = range_name(statement.node["relation"])
        return f"{schema}.{name}" if schema else name
    return None


def _size(table: str, database: Database) -> int:
    """Bytes, if it is among the big ones; by its plain name where it has no schema."""
    plain = table.replace('"', "")
    return max(
        (size for (schema, name), size in database.big.items() if plain in (name, f"{schema}.{name}")), default=0
    )


def _text(size: int) -> str:
    return human.size(size, whole=("B", "KiB", "MiB"))


RULE = Rule(
    "big-table",
    Level.WARNING,
    "A large table is written anew, or read to its end, while others wait.",
    "What is done in milliseconds at the desk takes minutes there, under a lock that the application waits for; the job"
    " gives such a lock back after MIGRATE_MAX_LOCK_HOLD, and the deployment fails (26). Sizes are those that the last"
    " VACUUM or ANALYZE saw.",
    "Do it online: an index CONCURRENTLY, a constraint NOT VALID and validated later, a new column that is filled in"
    " batches and then takes the place of the old one.",
    'op.alter_column("orders", "id", type_=sa.BigInteger())',
    check,
    needs="the database",
)
