"""What statements would destroy, or fail on, counted on the real data before anything is changed.

The statements are judged one after another: `rules.losses` reads what each changes, `Foreseen` knows what the ones
before it will have left, and a `Reader` counts. What cannot be told is a finding too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from psycopg2.extensions import connection as Connection

from alembic_job.gateways.catalogue import literal
from alembic_job.gateways.evidence.constraints import CONSTRAINTS
from alembic_job.gateways.evidence.disposals import DISPOSALS
from alembic_job.gateways.evidence.foreseen import Foreseen
from alembic_job.gateways.evidence.judge import Judge
from alembic_job.gateways.evidence.present import label
from alembic_job.gateways.evidence.reading import Reader, Untold
from alembic_job.gateways.evidence.shapes import SHAPES
from alembic_job.gateways.parser import NotParsed, parse
from alembic_job.rules.changes import Opaque
from alembic_job.rules.facts import Name
from alembic_job.rules.finding import Finding, is_refused, is_unsure, loses_data
from alembic_job.rules.losses import changes
from alembic_job.rules.statement import ParsedStatement

__all__ = ["Finding", "gather", "is_refused", "is_unsure", "loses_data"]


def gather(
    connection: Connection,
    statements: Sequence[str],
    *,
    version_table: Name | None = None,
    settings: Mapping[str, str] | None = None,
    exact_below: int = 5_000_000,
    patience: float = 10,
    budget: float = 120,
) -> list[Finding]:
    """The figures of statements that would be executed in this order; each text may hold several.

    `connection` is our own, in autocommit mode; it is only read from. `version_table` (schema or none, name) is left
    out. `settings` are server settings that the statements would run with, such as `search_path` or `role`. A table of
    more than `exact_below` rows is estimated, as is what takes longer than `patience` seconds, or is left when all
    took `budget` seconds. Raises `psycopg2.Error` if the connection is lost, and nothing else of the server's.
    """
    first = [f"SELECT set_config({literal(name)}, {literal(value)}, true)" for name, value in (settings or {}).items()]
    reader = Reader(connection, exact_below, patience, budget, first)
    judge = Judge(reader, Foreseen(reader), version_table)
    for index, text in enumerate(statements):
        _judge_text(judge, index, text)
    return judge.findings


_JUDGEMENTS: dict[type, Callable[[Judge, Any], None]] = DISPOSALS | CONSTRAINTS | SHAPES


def _judge_text(judge: Judge, index: int, text: str) -> None:
    judge.index, judge.statement = index, text
    try:
        statements = parse(text)
    except NotParsed:
        return _JUDGEMENTS[Opaque](judge, Opaque("PostgreSQL's grammar does not accept it"))
    except LookupError as error:
        return _JUDGEMENTS[Opaque](judge, Opaque(str(error)))
    for statement in statements:
        judge.statement = statement.text
        _judge(judge, statement)
    return None


def _judge(judge: Judge, statement: ParsedStatement) -> None:
    judge.missing_ok = bool(statement.node.get("missing_ok"))
    for change in changes(statement):
        try:
            _JUDGEMENTS[type(change)](judge, change)
        except (Untold, RecursionError) as reason:
            judge.unknown(
                _named(judge, change), str(reason) if isinstance(reason, Untold) else "it is nested too deeply"
            )


def _named(judge: Judge, change: Any) -> str:
    """What a change is about, as the database calls it where it is known there."""
    name, column = getattr(change, "table", None) or getattr(change, "name", None), getattr(change, "column", "")
    if not name:
        return "statement"
    try:
        found = judge.tables.relation(name)
    except Untold:
        found = None
    table = found.label if found else label(*name)
    return f"column {table}.{label(column)}" if column else f"table {table}"
