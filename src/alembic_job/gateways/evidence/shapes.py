"""Statements that change the shape of things: columns, types and names. Some narrow what a column can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from alembic_job.gateways.catalogue import literal
from alembic_job.gateways.evidence.constraints import CONSTRAINTS
from alembic_job.gateways.evidence.judge import Judge
from alembic_job.gateways.evidence.present import Column, Table, With, label, quote
from alembic_job.gateways.evidence.reading import Figures, NoSuchForm, Unconvertible, Untold
from alembic_job.rules.changes import (
    AddedColumn,
    Calls,
    Created,
    Distinct,
    Ended,
    Filled,
    Grown,
    Label,
    Moved,
    NewType,
    NotNull,
    Opaque,
    Renamed,
    Retyped,
    Setting,
    Unsure,
)
from alembic_job.rules.facts import Name
from alembic_job.rules.finding import REFUSED
from alembic_job.rules.losses import constraint
from alembic_job.rules.narrowing import Conversion, Narrowing, TypeFacts, narrowing
from alembic_job.rules.statement import Node
from alembic_job.rules.tree import strings, type_name
from alembic_job.rules.types import is_serial

_TEXT = TypeFacts("text", "text")


def retype(judge: Judge, change: Retyped) -> None:
    table = judge.table(change.table)
    if table is None:
        return
    column = table.column(change.column)
    new = judge.tables.type(change.type)
    if new is None:
        raise Untold(f"there is no type {'.'.join(part for part in type_name(change.type) if part)}")
    how, used = _conversion(judge, column, change, new)
    table.columns[column.name] = replace(column, type=new, type_oid=0)
    try:
        _judge_conversion(judge, table, column, new, how, used, change.only)
    finally:
        text = new.text if new.text else "text[]" if new.is_array else "text"
        table.layer({column.name: f"({how.value})::{text}"}, using=used)


def _judge_conversion(
    judge: Judge, table: Table, column: Column, new: TypeFacts, how: Conversion, used: With, only: bool
) -> None:
    if table.source is None:
        return
    if column.type.text in judge.tables.relabelled:
        raise Untold("an earlier statement renames its values")
    what = f"column {table.label}.{label(column.name)}"
    if how.source is not None and not how.explicit and not _is_assignable(judge, column, how.source, new):
        judge.fails(what, f"no cast from {_shown(column.type)} to {_shown(new)} without USING")
        return
    [[version]] = judge.reader.rows("SELECT current_setting('server_version_num')::int")
    asked = narrowing(how, column.type, new, version)
    if asked is None:
        return
    why = f"from {_shown(column.type)} to {_shown(new)}"
    try:
        figures = _convert(judge, table, column, asked, how, used, only)
    except Unconvertible:
        judge.note(REFUSED, what, None, "values", why, of=table.oid)
        return
    refused, lost, changed = (*figures.numbers, 0)[:3]
    if refused or figures.sampled:
        judge.refused(table, "values", replace(figures, numbers=(refused,)), why, what)
    if lost:
        judge.lost(what, "values", replace(figures, numbers=(lost,)), f"changed {why}", table)
    if changed:
        judge.unknown(what, f"{changed:,} values would be others {why}, by an expression of the statement's own")


def _shown(type: TypeFacts) -> str:
    text = type.text.removeprefix("pg_catalog.").replace("character varying", "varchar")
    return text or f"{type.name} ({', '.join(type.labels or ())})"


def _convert(
    judge: Judge, table: Table, column: Column, asked: Narrowing, how: Conversion, used: With, only: bool
) -> Figures:
    """Values refused, values lost, values changed in a way that may be no loss. Raises `Untold`."""
    name = quote(column.name)
    for changed in asked.changed or ("false",):
        lost = changed if asked.certain else f"({how.value}) IS NULL"
        state = (
            f"CASE WHEN {name} IS NULL THEN NULL WHEN {asked.refused or 'false'} THEN 1"
            f" WHEN {lost} THEN 2 {'' if asked.certain else f'WHEN {changed} THEN 3'} END"
        )
        try:
            return judge.tally(table, state, 3, using=used, only=only)
        except NoSuchForm:
            continue
        except Unconvertible:  # by the statement's conversion, or only by ours back to the old type?
            if not asked.converted:
                raise
            guarded = f"CASE WHEN {asked.refused or 'false'} THEN NULL ELSE {asked.converted} END"
            judge.tally(table, f"CASE WHEN {guarded} IS NULL THEN 1 END", 1, using=used, only=only)
    raise Untold("its values cannot be converted now")


_ASSIGNABLE = """SELECT t.typcategory = 'S' OR t.typtype = 'd' OR EXISTS (SELECT FROM pg_catalog.pg_cast
    WHERE castsource = %s AND casttarget = t.oid AND castcontext IN ('i', 'a'))
    FROM pg_catalog.pg_type t WHERE t.oid = %s::regtype"""


def _is_assignable(judge: Judge, column: Column, old: TypeFacts, new: TypeFacts) -> bool:
    """False if the server would ask for USING."""
    if (old.name, old.is_array) == (new.name, new.is_array) and old.labels == new.labels:
        return True
    if not new.text or old is not column.type or column.type_oid == 0 or new.is_array or old.kind == "d":
        return bool(new.text) or old is not column.type
    found = judge.reader.rows(_ASSIGNABLE, (column.type_oid, new.text))
    return not found or bool(found[0][0])


def _conversion(judge: Judge, column: Column, change: Retyped, new: TypeFacts) -> tuple[Conversion, With]:
    """How the new value comes about. Raises `Untold`."""
    name, using = quote(column.name), change.using
    if using is None:
        return Conversion(name, name, column.type), {}
    explicit = False
    if "TypeCast" in using and type_name(using["TypeCast"]["typeName"])[1] == type_name(change.type)[1]:
        using, explicit = using["TypeCast"]["arg"], True
    value, used = judge.tables.expression(using)
    source, inner = None, using
    if "TypeCast" in inner:
        source = judge.tables.type(inner["TypeCast"]["typeName"])
    while "TypeCast" in inner:
        inner = inner["TypeCast"]["arg"]
    plain = "ColumnRef" in inner and strings(inner["ColumnRef"]["fields"])[-1:] == [column.name]
    if plain and "ColumnRef" in using:
        source = column.type
    return Conversion(name, value, source, explicit, plain), used


def add_column(judge: Judge, change: AddedColumn) -> None:
    table = judge.table(change.table)
    name = change.definition["colname"]
    if table is None or (change.missing_ok and name in table.columns):
        return
    column, value, used, is_own = _new_column(judge, change.definition)
    table.columns[name] = column
    table.layer({name: value}, using=used)
    for item in change.definition.get("constraints", ()):
        for one in constraint(item["Constraint"], change.table, change.only, name):
            if not (is_own and isinstance(one, NotNull | Distinct)):
                CONSTRAINTS[type(one)](judge, one)


def _new_column(judge: Judge, definition: Node) -> tuple[Column, str, With, bool]:
    """The column, its value in rows that are there, and whether each row gets one of its own."""
    type_node = definition["typeName"]
    serial = is_serial(type_name(type_node))
    found = None if serial else judge.tables.type(type_node)
    facts = found or _TEXT
    constraints = {item["Constraint"]["contype"]: item["Constraint"] for item in definition.get("constraints", ())}
    given = constraints.get("CONSTR_DEFAULT") or constraints.get("CONSTR_GENERATED")
    is_own = serial or "CONSTR_IDENTITY" in constraints
    value = "NULL"
    used: With = {}
    if given and not is_own:
        try:
            value, used = judge.tables.expression(given["raw_expr"])
        except Untold:
            is_own = True
    generated = "CONSTR_GENERATED" in constraints
    column = Column(definition["colname"], 0, facts, generated=generated, new=True)
    return column, f"({value})::{facts.text or 'text'}", used, is_own


def create(judge: Judge, change: Created) -> None:
    name = judge.tables.new_name(change.table)
    if change.missing_ok and judge.tables.relation(change.table):
        return
    columns: dict[str, Column] = {}
    for parent in change.parents:
        columns |= {one.name: replace(one, new=True) for one in _columns(judge, parent)}
    primary: tuple[str, ...] = ()
    for element in change.elements:
        if "ColumnDef" in element:
            column, *_ = _new_column(judge, element["ColumnDef"])
            columns[column.name] = column
        items = [element, *element.get("ColumnDef", {}).get("constraints", ())]
        for node in [item["Constraint"] for item in items if "Constraint" in item]:
            if node["contype"] == "CONSTR_PRIMARY":
                primary = tuple(strings(node.get("keys", []))) or (next(reversed(columns)),)
    table = Table(0, name, label(*name), change.kind, columns, primary=primary)
    table.vague = "" if change.known_empty else "an earlier statement makes it"
    judge.tables.create(table)


def _columns(judge: Judge, parent: Name) -> list[Column]:
    table = judge.tables.relation(parent)
    return list(table.columns.values()) if table else []


def rename(judge: Judge, change: Renamed) -> None:
    if change.kind == "type":
        facts, name = judge.tables.type_named(change.name)
        judge.tables.new_type(name, None)
        judge.tables.new_type((name[0], change.new), facts)
        return
    table = judge.table(change.name, change.kind == "view")
    if table is None:
        return
    if change.kind == "column":
        table.rename(change.part, change.new)
    else:
        judge.tables.rename(table, (table.name[0], change.new))


def move(judge: Judge, change: Moved) -> None:
    if change.kind == "type":
        facts, name = judge.tables.type_named(change.name)
        judge.tables.new_type(name, None)
        judge.tables.new_type((change.schema, name[1]), facts)
        return
    table = judge.table(change.name, change.kind == "view")
    if table is not None:
        judge.tables.rename(table, (change.schema, table.name[1]))


def new_type(judge: Judge, change: NewType) -> None:
    name = judge.tables.new_name(change.name)
    kind = "c" if change.labels is None else "e"
    judge.tables.new_type(name, TypeFacts("", name[1], kind, labels=change.labels))


def relabel(judge: Judge, change: Label) -> None:
    facts, name = judge.tables.type_named(change.type)
    if facts is None or facts.labels is None:
        return
    labels = tuple(change.new if one == change.old else one for one in facts.labels)
    new = replace(facts, labels=labels if change.old else (*labels, change.new))
    judge.tables.new_type(name, new)
    if change.old and facts.text:
        judge.tables.relabelled.add(facts.text)


def fill(judge: Judge, change: Filled) -> None:
    table = judge.tables.relation(change.table)
    if table is not None and not judge.is_version_table(table):
        judge.tables.blur(table, "an earlier statement changes its rows")
        judge.tables.fire(table)


def grown(judge: Judge, change: Grown) -> None:
    judge.tables.grown = True


def opaque(judge: Judge, change: Opaque) -> None:
    judge.unknown("statement", change.why)
    judge.tables.opaque = f"before it, {change.why}"


def unsure(judge: Judge, change: Unsure) -> None:
    judge.unknown(change.what, change.why)


def calls(judge: Judge, change: Calls) -> None:
    writer = judge.tables.writer(change.functions)
    if writer:
        opaque(judge, Opaque(f"{writer}() may change anything"))


def setting(judge: Judge, change: Setting) -> None:
    """Later statements are read as that setting makes the server read them."""
    text = _as_local(change.node)
    judge.reader.settings.append(text)
    try:
        judge.reader.rows("SELECT 1")
    except Untold:
        judge.reader.settings.remove(text)
        opaque(judge, Opaque("what it sets cannot be set here"))
    else:
        judge.local += [text] if change.node.get("is_local") else []
    judge.tables.forget_path()


def _as_local(node: Node) -> str:
    """A SET for one transaction; one that fails where the value is more than a constant."""
    name = node["name"]
    if not node.get("args"):
        return f"SET LOCAL {quote(name)} TO DEFAULT"
    texts = [_constant(item.get("A_Const", {})) for item in node["args"]]
    value = ", ".join(quote(text) if name == "search_path" else text for text in texts)
    return f"SELECT set_config({literal(name)}, {literal(value)}, true)"


def _constant(node: Node) -> str:
    for kind, default in (("sval", ""), ("ival", 0), ("fval", "0")):
        if kind in node:
            return str(node[kind].get(kind, default))
    return "not known"


def end(judge: Judge, change: Ended) -> None:
    if judge.local:
        judge.reader.settings = [one for one in judge.reader.settings if one not in judge.local]
        judge.local = []
        judge.tables.forget_path()


SHAPES: dict[type, Callable[[Judge, Any], None]] = {
    Retyped: retype,
    AddedColumn: add_column,
    Created: create,
    Renamed: rename,
    Moved: move,
    NewType: new_type,
    Label: relabel,
    Filled: fill,
    Grown: grown,
    Opaque: opaque,
    Unsure: unsure,
    Calls: calls,
    Setting: setting,
    Ended: end,
}
