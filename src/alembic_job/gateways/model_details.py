"""What of the models Alembic's comparison passes over: the labels of enums, and what check constraints say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from alembic_job.gateways import autogenerate

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import CheckConstraint, Connection, Enum, Table

_LABELS = """
    SELECT enumlabel FROM pg_enum WHERE enumtypid = to_regtype(:name) ORDER BY enumsortorder"""
_CHECK = """
    SELECT pg_get_constraintdef(oid, true) FROM pg_constraint
    WHERE contype = 'c' AND conrelid = to_regclass(:table) AND conname = :name"""
_PROBE = "alembic_job_probe"
_SUFFIX = re.compile(r"( NO INHERIT| NOT VALID| NOT ENFORCED)+$")


def differences(context: MigrationContext) -> list[str]:
    """One line for each enum and each check constraint that is there, but is another in the models.

    For a scratch database: the models' check constraints are added to temporary tables, so that the server puts them
    into its own words.
    """
    connection: Any = context.connection
    found: dict[str, None] = {}
    for metadata in autogenerate.metadata_of(context):
        for table in metadata.tables.values():
            if _is_compared(table, context):
                found |= dict.fromkeys([*_enums(table, connection), *_checks(table, connection)])
    return list(found)


def _is_compared(table: Table, context: MigrationContext) -> bool:
    """What env.py says by `include_name` and `include_object`."""
    include_name, include_object = context.opts.get("include_name"), context.opts.get("include_object")
    parents = {"schema_name": table.schema, "schema_qualified_table_name": table.fullname}
    named = include_name is None or include_name(table.name, "table", parents)
    return bool(named and (include_object is None or include_object(table, table.name, "table", False, None)))


def _enums(table: Table, connection: Connection) -> Iterator[str]:
    for column in table.columns:
        kind = _enum(column.type)
        if kind is None:
            continue
        preparer: Any = connection.dialect.identifier_preparer
        name = _undoubled(preparer.format_type(kind), preparer)
        labels = _all(connection, _LABELS, name=name)
        lacking = [label for label in kind.enums if label not in labels]
        beside = [label for label in labels if label not in kind.enums]
        if labels and lacking:
            yield f"add value {', '.join(map(repr, lacking))} to type {name}"
        if labels and beside:
            yield f"remove value {', '.join(map(repr, beside))} of type {name}"


def _enum(kind: Any) -> Enum | None:
    """The native enum behind a column's type, also of an array."""
    from sqlalchemy import Enum
    from sqlalchemy.types import ARRAY, TypeDecorator

    while isinstance(kind, ARRAY | TypeDecorator):
        kind = kind.item_type if isinstance(kind, ARRAY) else kind.impl
    return kind if isinstance(kind, Enum) and kind.native_enum and kind.name else None


def _checks(table: Table, connection: Connection) -> Iterator[str]:
    from sqlalchemy import CheckConstraint

    preparer: Any = connection.dialect.identifier_preparer
    constraints = [
        each for each in table.constraints if isinstance(each, CheckConstraint) and isinstance(each.name, str)
    ]
    for each in sorted(constraints, key=lambda constraint: str(constraint.name)):
        name = _undoubled(preparer.format_constraint(each), preparer)
        place = _undoubled(preparer.format_table(table), preparer)
        plain = name[1:-1].replace('""', '"') if name.startswith('"') else name
        there = _all(connection, _CHECK, table=place, name=plain)
        wanted = _worded(each, place, connection) if there else None
        if wanted is not None and wanted != _SUFFIX.sub("", there[0]):
            yield f"change check constraint {plain} on {table.fullname} from {there[0]} to {wanted}"


def _worded(constraint: CheckConstraint, place: str, connection: Connection) -> str | None:
    """A check constraint of the models in the server's own words; `None` where the table does not take it."""
    from sqlalchemy import CheckConstraint, MetaData, Table, text
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.schema import AddConstraint

    same: Any = CheckConstraint(constraint.sqltext, name=_PROBE, _autoattach=False)
    Table(_PROBE, MetaData(), same)
    try:
        with connection.begin_nested() as savepoint:
            connection.execute(text(f"CREATE TEMP TABLE {_PROBE} (LIKE {_escaped(place)})"))
            connection.execute(AddConstraint(same))
            found = _all(connection, _CHECK, table=f"pg_temp.{_PROBE}", name=_PROBE)
            savepoint.rollback()
    except DBAPIError:  # also where env.py's connection commits by itself
        return None
    return found[0] if found else None


def _undoubled(name: str, preparer: Any) -> str:
    """A quoted name as it is: for some drivers SQLAlchemy doubles each % of it."""
    return name.replace("%%", "%") if getattr(preparer, "_double_percents", False) else name


def _escaped(name: str) -> str:
    """A colon begins a parameter of `text`."""
    return name.replace(":", "\\:")


def _all(connection: Connection, statement: str, **values: Any) -> list[str]:
    from sqlalchemy import text

    return [str(value) for [value] in connection.execute(text(statement), values)]
