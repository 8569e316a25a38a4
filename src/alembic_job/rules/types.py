"""Whether a column's change of type rewrites the table, and whether an expression's value differs from row to row."""

from __future__ import annotations

from typing import Any

from alembic_job.rules.facts import Column, Facts, Name, Type
from alembic_job.rules.statement import Node
from alembic_job.rules.tree import called, nodes, strings, type_name

SERIALS = frozenset("serial serial2 serial4 serial8 bigserial smallserial".split())
_VOLATILE = frozenset(
    "nextval random clock_timestamp timeofday gen_random_uuid uuid_generate_v4 uuid_generate_v1 setval".split()
)
_HEADER = 4  # what typmod adds to a length


def is_volatile(expression: Any, facts: Facts) -> bool:
    """True if each row needs a value of its own: a volatile function is called."""
    names = called(expression)
    return any(name in facts.volatile or name[1] in _VOLATILE for name in names)


def changes_storage(column: Column, definition: Node, facts: Facts) -> bool:
    """True if ALTER COLUMN TYPE writes the table anew (ATColumnChangeRequiresRewrite in PostgreSQL's tablecmds.c)."""
    using = definition.get("raw_default")
    if using is not None and not _is_plain(using, column.name, definition["typeName"]):
        return True
    name = type_name(definition["typeName"])
    new = facts.types.get(facts.found_types.get(name, 0))
    if new is None:
        return True
    is_array = bool(definition["typeName"].get("arrayBounds"))
    return _coercion_writes(column, new, is_array, _typmods(definition["typeName"]), facts)


def _is_plain(using: Node, column: str, new: Node) -> bool:
    """True for USING that is the column alone, or its cast to the very type."""
    while "TypeCast" in using and type_name(using["TypeCast"]["typeName"]) == type_name(new):
        using = using["TypeCast"]["arg"]
    return "ColumnRef" in using and strings(using["ColumnRef"]["fields"])[-1:] == [column]


def _typmods(type_node: Node) -> list[int]:
    return [
        item["A_Const"].get("ival", {}).get("ival", 0) for item in type_node.get("typmods", []) if "A_Const" in item
    ]


def _coercion_writes(column: Column, new: Type, is_array: bool, typmods: list[int], facts: Facts) -> bool:
    old = facts.types.get(column.type)
    if old is None:
        return True
    if is_array:
        return old.element != new.oid or bool(typmods)
    if new.kind == "d" and new.oid != old.oid:
        return _domain_writes(column, new, facts)
    source = old
    if old.kind == "d" and old.oid != new.oid:
        return new.oid != old.base or bool(typmods)
    if source.oid == new.oid:
        return _typmod_writes(new.name, column.typmod, typmods)
    if facts.casts.get((source.oid, new.oid)) != "b":
        return True
    return bool(typmods)  # to varchar(n): every value's length is looked at


def _domain_writes(column: Column, new: Type, facts: Facts) -> bool:
    if new.constrained:
        return True
    same = column.type == new.base or facts.casts.get((column.type, new.base)) == "b"
    return not same or (new.base_typmod not in (-1, column.typmod))


def _typmod_writes(name: str, old: int, typmods: list[int]) -> bool:
    """True unless the new length, precision or scale holds every old value."""
    if not typmods:
        return False
    if name == "varchar":
        return old < 0 or typmods[0] + _HEADER < old
    if name == "bpchar":
        return typmods[0] + _HEADER != old
    if name == "varbit":
        return old < 0 or typmods[0] < old
    if name == "bit":
        return typmods[0] != old
    if name == "numeric":
        return old < 0 or not _numeric_grows(old - _HEADER, typmods)
    if name in ("timestamp", "timestamptz", "time", "timetz"):
        return typmods[0] < 6 and (old < 0 or typmods[0] < old)
    return True


def _numeric_grows(old: int, typmods: list[int]) -> bool:
    precision, scale = typmods[0], typmods[1] if len(typmods) > 1 else 0
    old_precision, old_scale = old >> 16 & 0xFFFF, old & 0x7FF
    return scale == old_scale and precision >= old_precision


def names_column(expression: Any, column: str) -> bool:
    return any(strings(reference["fields"])[-1:] == [column] for reference in nodes(expression, "ColumnRef"))


def is_serial(name: Name) -> bool:
    return name[0] is None and name[1] in SERIALS
