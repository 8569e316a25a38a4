"""What of the models Alembic's comparison passes over: the labels of enums, and what check constraints say.

Nothing is written for it, so it can be asked of any database, also a standby.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from alembic_job.gateways import autogenerate, postgres

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import CheckConstraint, Connection, Enum, Table

_LABELS = """
    SELECT enumlabel::text FROM pg_enum WHERE enumtypid = to_regtype(:name) ORDER BY enumsortorder"""
_CHECKS = """
    SELECT conname::text, pg_get_constraintdef(oid, true), pg_get_expr(conbin, conrelid) FROM pg_constraint
    WHERE contype = 'c' AND conrelid = to_regclass(:table)"""
_EXPLAINED = "EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) SELECT ({}\n), ({}) FROM ONLY {}"
_SUFFIX = re.compile(r"( NO INHERIT| NOT VALID| NOT ENFORCED)+$")
# Classes of SQLSTATE: the table has no such columns or may not be read; a constant in it is none.
_NOT_TO_BE_ASKED = ("42", "22", "0A")


def differences(context: MigrationContext) -> list[str]:
    """One line for each enum and each named check constraint that is there, but is another in the models.

    As env.py's `include_name` and `include_object` say: the latter is asked of a `check_constraint`, too. Nothing of
    a database that is no PostgreSQL. Raises what SQLAlchemy raises.
    """
    connection: Any = context.connection
    if connection.dialect.name != "postgresql":
        return []
    found: dict[str, None] = {}
    for metadata in autogenerate.metadata_of(context):
        for table in metadata.tables.values():
            parents = {"schema_name": table.schema}
            if _is_compared(context, table, table.name, "table", parents):
                found |= dict.fromkeys([*_enums(table, context), *_checks(table, context)])
    return list(found)


def _is_compared(context: MigrationContext, what: Any, name: str, kind: str, parents: dict[str, str | None]) -> bool:
    """What env.py says; of check constraints Alembic asks nothing by name alone."""
    include_name, include_object = context.opts.get("include_name"), context.opts.get("include_object")
    table = what if kind == "table" else what.table
    parents = {**parents, "schema_qualified_table_name": table.fullname}
    named = include_name is None or kind == "check_constraint" or include_name(name, kind, parents)
    return bool(named and (include_object is None or include_object(what, name, kind, False, None)))


def _enums(table: Table, context: MigrationContext) -> Iterator[str]:
    connection: Any = context.connection
    preparer: Any = connection.dialect.identifier_preparer
    parents = {"schema_name": table.schema, "table_name": table.name}
    for column in table.columns:
        kind = _enum(column.type)
        if kind is not None and _is_compared(context, column, column.name, "column", parents):
            name = _undoubled(preparer.format_type(kind), preparer)
            yield from _relabelled(name, list(kind.enums), [row[0] for row in _rows(connection, _LABELS, name=name)])


def _enum(kind: Any) -> Enum | None:
    """The native enum behind a column's type, also of an array."""
    from sqlalchemy import Enum
    from sqlalchemy.types import ARRAY, TypeDecorator

    while isinstance(kind, ARRAY | TypeDecorator):
        kind = kind.item_type if isinstance(kind, ARRAY) else kind.impl
    return kind if isinstance(kind, Enum) and kind.native_enum and kind.name else None


def _relabelled(name: str, wanted: list[str], labels: list[str]) -> Iterator[str]:
    """Nothing of a type that is not there: its column lacks, which Alembic tells."""
    lacking = [label for label in wanted if label not in labels]
    beside = [label for label in labels if label not in wanted]
    if labels and lacking:
        yield f"add value {_listed(lacking)} to type {name}"
    if labels and beside:
        yield f"remove value {_listed(beside)} of type {name}"
    if labels and not lacking and not beside and labels != wanted:
        yield f"change order of type {name} from {_listed(labels)} to {_listed(wanted)}"


def _listed(labels: list[str]) -> str:
    return ", ".join(map(repr, labels))


def _checks(table: Table, context: MigrationContext) -> Iterator[str]:
    connection: Any = context.connection
    preparer: Any = connection.dialect.identifier_preparer
    named = _named(table, preparer)
    place = _undoubled(preparer.format_table(table), preparer)
    there = {row[0]: row[1:] for row in _rows(connection, _CHECKS, table=place)} if named else {}
    for name, constraint in sorted(named.items()):
        if name not in there or not _is_compared(context, constraint, name, "check_constraint", {}):
            continue
        [said, meant], wanted = there[name], _text(constraint, connection)
        if f"({wanted})" != meant and not _same(wanted, meant, place, connection):
            now, wished = _SUFFIX.sub("", said), " ".join(wanted.split())
            yield f"change check constraint {name} on {table.fullname} from {now} to CHECK ({wished})"


def _named(table: Table, preparer: Any) -> dict[str, CheckConstraint]:
    """By the name that it has in a database: as a naming convention has it, and not too long."""
    from sqlalchemy import CheckConstraint

    found = {}
    for each in table.constraints:
        if isinstance(each, CheckConstraint) and isinstance(each.name, str):
            name = _undoubled(preparer.format_constraint(each), preparer)
            found[name[1:-1].replace('""', '"') if name.startswith('"') else name] = each
    return found


def _text(constraint: CheckConstraint, connection: Any) -> str:
    """Its condition, as CREATE TABLE would have it."""
    dialect: Any = connection.dialect
    compiler: Any = dialect.ddl_compiler(dialect, None).sql_compiler
    text = compiler.process(constraint.sqltext, include_table=False, literal_binds=True)
    return _undoubled(text, dialect.identifier_preparer)


def _same(one: str, other: str, place: str, connection: Any) -> bool:
    """True if the server means the same by both, or does not understand the first.

    It puts both into its own words, with casts, after it has worked out what is constant; nothing is executed, and the
    table is locked as by a SELECT, until that is told.
    """
    from sqlalchemy.exc import DBAPIError

    statement = _escaped(_EXPLAINED.format(one, other, place))
    try:
        with _undone(connection):
            [[told]] = _rows(connection, statement)
    except DBAPIError as error:
        if (postgres.sqlstate(error) or "")[:2] in _NOT_TO_BE_ASKED:
            return True
        raise
    [explained] = json.loads(told) if isinstance(told, str) else told
    one, other = explained["Plan"]["Output"]
    return one == other


@contextmanager
def _undone(connection: Any) -> Iterator[None]:
    """A savepoint that is given up in the end, with its locks; nothing where each statement commits by itself."""
    if getattr(connection.connection, "autocommit", False):
        yield
        return
    savepoint = connection.begin_nested()
    try:
        yield
    finally:
        savepoint.rollback()


def _undoubled(name: str, preparer: Any) -> str:
    """A text as it is: for some drivers SQLAlchemy doubles each % of it."""
    return name.replace("%%", "%") if getattr(preparer, "_double_percents", False) else name


def _escaped(text: str) -> str:
    """A colon begins a parameter of `text`."""
    return text.replace(":", "\\:")


def _rows(connection: Connection, statement: str, **values: Any) -> list[Any]:
    from sqlalchemy import text

    return list(connection.execute(text(statement), values))
