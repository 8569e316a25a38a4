"""Statements that make data go away: DROP, TRUNCATE, DELETE, and UPDATE where it overwrites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from alembic_job.gateways import deparse
from alembic_job.gateways.evidence.judge import Judge
from alembic_job.gateways.evidence.present import Column, Table, With, label, quote, split, with_clause
from alembic_job.gateways.evidence.reading import Figures, Untold
from alembic_job.rules.changes import Deleted, Dropped, DroppedColumn, Emptied, Updated
from alembic_job.rules.facts import RELATION, Facts
from alembic_job.rules.finding import LOST
from alembic_job.rules.questions import Drop
from alembic_job.rules.statement import Node
from alembic_job.rules.tree import nodes, recurses

_HOLDS_ROWS = "rp"  # relkinds; what a view or a materialized view shows is elsewhere


def drop(judge: Judge, change: Dropped) -> None:
    if change.kind == "database":
        judge.note(LOST, f"database {label(change.name[1])}", None, "rows")
    elif change.kind in ("relation", "sequence", "view"):
        _drop_relation(judge, change)
    elif change.kind in ("type", "function", "schema", "extension"):
        _drop_other(judge, change)


def _drop_relation(judge: Judge, change: Dropped) -> None:
    table = judge.table(change.name, change.missing_ok or change.kind != "relation")
    if table is None:
        return
    if table.kind == "S" and table.oid:
        _lose_sequence(judge, table)
    elif table.kind in _HOLDS_ROWS and table.oid and not judge.is_version_table(table):
        facts = judge.tables.gone(Drop("relation", table.was), change.cascade)
        _lose(judge, facts, _oids(facts) | {table.oid})
    judge.tables.drop(table)


def _lose_sequence(judge: Judge, table: Table) -> None:
    [[value, is_called]] = judge.reader.rows(f"SELECT last_value, is_called FROM {table.base}")
    why = f"it stands at {value}" if is_called else ""
    figures = Figures((int(is_called),), bool(judge.tables.doubt(table)))
    judge.lost(f"sequence {table.label}", "values", figures, why)


def _drop_other(judge: Judge, change: Dropped) -> None:
    """What depends on a type, function, schema or extension; without CASCADE only an extension has something."""
    name = change.name
    if change.kind == "type":
        facts, found = judge.tables.type_named(name)
        judge.tables.new_type(found, None)
        if facts is None or not facts.text or not change.cascade:
            return
        name = split(facts.text)
    if not change.cascade:
        return
    facts_gone = judge.tables.gone(Drop(change.kind, name), True)
    own = _members(judge, name[1]) if change.kind == "extension" else frozenset()
    moved = {oid for oid in _oids(facts_gone) if change.kind == "schema" and _is_moved(judge, oid, name[1])}
    _lose(judge, facts_gone, _oids(facts_gone) - own - moved)


def _is_moved(judge: Judge, oid: int, schema: str) -> bool:
    return judge.tables.by_oid(oid).name[0] != schema


def _members(judge: Judge, extension: str) -> frozenset[int]:
    """The relations that belong to the extension itself: they come back with it."""
    found = judge.reader.rows(
        "SELECT objid::int8 FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid"
        " WHERE d.refclassid = 3079 AND d.classid = 1259 AND d.deptype = 'e' AND e.extname = %s",
        (extension,),
    )
    return frozenset(oid for [oid] in found)


def _oids(facts: Facts) -> set[int]:
    """The tables that go away as a whole."""
    whole = {gone.objid for gone in facts.gone if gone.classid == RELATION and gone.objsubid == 0}
    return {oid for oid in whole if oid in facts.relations and facts.relations[oid].kind in _HOLDS_ROWS}


def _lose(judge: Judge, facts: Facts, whole: set[int]) -> None:
    """The rows of these tables, and the values of columns that go away for themselves."""
    lost = [judge.tables.by_oid(oid) for oid in sorted(whole)]
    for table in lost:
        relation = facts.relations.get(table.oid)
        below_another = relation is not None and relation.is_partition and any(p in whole for p in relation.parents)
        if not below_another and not judge.tables.is_gone(table):
            lose_rows(judge, table, only=table.kind == "r" and bool(table.kin))
            _forget_columns(judge, table)
    for table in lost:
        judge.tables.drop(table)
        judge.tables.blur_kin(table, "an earlier statement drops a part of it")
    columns = {(gone.objid, gone.objsubid) for gone in facts.gone if gone.classid == RELATION and gone.objsubid > 0}
    for oid, number in sorted(columns):
        if oid not in whole and oid in facts.relations and facts.relations[oid].kind in _HOLDS_ROWS:
            parents = facts.relations[oid].parents
            if not any(parent == other for parent in parents for other, _ in columns):
                _lose_numbered(judge, judge.tables.by_oid(oid), number)


def _lose_numbered(judge: Judge, table: Table, number: int) -> None:
    for column in list(table.columns.values()):
        if column.number == number and not judge.tables.is_gone(table):
            _lose_column(judge, table, column)


def lose_rows(judge: Judge, table: Table, only: bool = False) -> None:
    if table.oid:
        judge.lost(f"table {table.label}", "rows", judge.count(table, plan=True, only=only), table=table)


def _forget_columns(judge: Judge, table: Table) -> None:
    """Values of a table's column are not counted again once its rows are."""
    judge.findings[:] = (
        [one for one in judge.findings if not (one.kind == LOST and one.unit == "values" and one.table == table.oid)]
        if table.oid
        else judge.findings
    )


def drop_column(judge: Judge, change: DroppedColumn) -> None:
    table = judge.table(change.table)
    if table is None or (change.column not in table.columns and change.missing_ok):
        return
    if change.column not in table.columns:
        judge.fails(f"column {table.label}.{label(change.column)}", "there is no such column")
        return
    _lose_column(judge, table, table.column(change.column), change.only)


def _lose_column(judge: Judge, table: Table, column: Column, only: bool = False) -> None:
    if not (column.new or column.generated or table.source is None):
        figures = judge.count(table, f"{quote(column.name)} IS NOT NULL", plan=True, only=only)
        judge.lost(f"column {table.label}.{label(column.name)}", "values", figures, table=table)
    del table.columns[column.name]
    table.layer({})


def truncate(judge: Judge, change: Emptied) -> None:
    emptied: dict[int, Table] = {}
    for name, recurse in change.tables:
        table = judge.table(name)
        if table is None:
            continue
        if table.oid not in emptied:
            emptied[table.oid] = table
            _empty(judge, table, only=not recurse)
    if change.cascade:
        for oid in _referring(judge, list(emptied)):
            table = judge.tables.by_oid(oid)
            if oid not in emptied and not judge.tables.is_gone(table):
                _empty(judge, table)


def _empty(judge: Judge, table: Table, only: bool = False) -> None:
    if not judge.is_version_table(table):
        lose_rows(judge, table, only)
    judge.tables.blur_kin(table, "an earlier statement truncates a part of it")
    judge.tables.fire(table)
    if only and table.kin:
        judge.tables.blur(table, "an earlier statement truncates a part of it")
    else:
        table.source = None


def _referring(judge: Judge, tables: list[int]) -> list[int]:
    found = judge.reader.rows(
        "WITH RECURSIVE f(oid) AS (SELECT unnest(%s::oid[]) UNION SELECT conrelid FROM f"
        " JOIN pg_catalog.pg_constraint k ON k.contype = 'f' AND k.confrelid = f.oid)"
        " SELECT f.oid::int8 FROM f JOIN pg_catalog.pg_class c ON c.oid = f.oid WHERE NOT c.relispartition",
        (tables,),
    )
    return [oid for [oid] in found]


def _condition(judge: Judge, node: Node) -> tuple[str, With]:
    """Whether a row of the target is meant. Raises `Untold`."""
    where = node.get("whereClause")
    if any(nodes(where, "CurrentOfExpr")):
        raise Untold("which rows are meant is a cursor's affair")
    others = node.get("usingClause") or node.get("fromClause")
    if others or node.get("withClause"):
        inner = deparse.select([], fromClause=others, whereClause=where, withClause=node.get("withClause"))
        where = {"SubLink": {"subLinkType": "EXISTS_SUBLINK", "subselect": inner}}
    return judge.tables.expression(where) if where else ("true", {})


def _alias(node: Node) -> str:
    relation = node["relation"]
    return quote(relation.get("alias", {}).get("aliasname", relation["relname"]))


def delete(judge: Judge, change: Deleted) -> None:
    table = judge.table(change.table)
    if table is None or judge.is_version_table(table):
        return
    if table.kind not in "rpf":
        judge.unknown(f"table {table.label}", "rows are deleted through a view")
        return
    try:
        _delete(judge, change, table)
    finally:
        judge.tables.fire(table)


def _delete(judge: Judge, change: Deleted, table: Table) -> None:
    only = not recurses(change.node["relation"]) and bool(table.kin)
    try:
        where, using = _condition(judge, change.node)
        figures = judge.count(table, where, plan=where == "true", only=only, using=using, alias=_alias(change.node))
    except Untold:
        judge.tables.blur(table, "an earlier statement deletes rows of it")
        raise
    if table.oid or not figures.are_none:
        judge.lost(f"table {table.label}", "rows", figures)
    gone = (
        f"{with_clause(using)}SELECT * FROM ({table.source.sql()}) AS {_alias(change.node)} WHERE {where}"
        if table.source
        else ""
    )
    if only:
        judge.tables.blur(table, "an earlier statement deletes a part of its rows")
    else:
        table.layer({}, f"({where}) IS NOT TRUE", _alias(change.node), using)
    judge.tables.blur_kin(table, "an earlier statement deletes a part of its rows")
    if gone and table.oid and not figures.are_none:
        _follow(judge, table, gone, {table.oid})


_KEYS = """SELECT k.conrelid::int8, k.confdeltype::text, k.conname::text,
    ARRAY(SELECT attname::text FROM unnest(k.conkey) WITH ORDINALITY u(n, i)
        JOIN pg_catalog.pg_attribute ON attrelid = k.conrelid AND attnum = u.n ORDER BY i),
    ARRAY(SELECT u.n FROM unnest(k.conkey) WITH ORDINALITY u(n, i) ORDER BY i),
    ARRAY(SELECT u.n FROM unnest(k.confkey) WITH ORDINALITY u(n, i) ORDER BY i)
    FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.confrelid = %s AND k.conparentid = 0
    ORDER BY k.conname"""


def _follow(judge: Judge, table: Table, gone: str, visited: set[int]) -> None:
    """What deleting these rows (`gone`, a query) does to the tables that refer to them."""
    for oid, action, name, columns, own, theirs in judge.reader.rows(_KEYS, (table.oid,)):
        child = judge.tables.by_oid(oid)
        if judge.tables.is_gone(child) or child.source is None:
            continue
        pairs = zip(_names(child, own), _names(table, theirs), strict=True)
        match = " AND ".join(f"_g.{quote(there)} = _c.{quote(here)}" for here, there in pairs)
        where = f"EXISTS (SELECT FROM ({gone}) AS _g WHERE {match})"
        figures = judge.count(child, where, alias="_c")
        if figures.are_none:
            continue
        why = f"by foreign key {label(name)}"
        if action == "c" and oid in visited:
            more = replace(figures, estimated=True)
            judge.lost(f"table {child.label}", "rows", more, f"{why}, ON DELETE CASCADE, and what refers to them")
            judge.tables.blur(child, "an earlier statement deletes rows that refer to each other")
        elif action == "c":
            judge.lost(f"table {child.label}", "rows", figures, f"{why}, ON DELETE CASCADE")
            below = f"SELECT * FROM ({child.source.sql()}) AS _c WHERE {where}"
            child.layer({}, f"NOT {where}", "_c")
            _follow(judge, child, below, visited | {oid})
        elif action in "nd":
            judge.lost(f"column {child.label}.{label(columns[0])}", "values", figures, why, child)
            judge.tables.blur(child, "an earlier statement deletes what it refers to")
        else:
            judge.refused(child, "rows", figures, f"they refer to rows that are deleted, {why}")


def _names(table: Table, numbers: list[int]) -> list[str]:
    """The present columns of these numbers. Raises `Untold` if one is gone: so is the foreign key."""
    known = {column.number: column.name for column in table.columns.values()}
    if not set(numbers) <= set(known):
        raise Untold("a foreign key's column is dropped before")
    return [known[number] for number in numbers]


def update(judge: Judge, change: Updated) -> None:
    table = judge.table(change.table)
    if table is not None and not judge.is_version_table(table):
        try:
            _update(judge, change, table)
        finally:
            judge.tables.fire(table)


def _update(judge: Judge, change: Updated, table: Table) -> None:
    try:
        if table.kind not in "rpf":
            raise Untold("values are changed through a view")
        if table.kin and not recurses(change.node["relation"]):
            raise Untold("values are changed in a way that is not followed")
        where, using = _condition(judge, change.node)
        assigned = _assigned(judge, table, change.node)
    except Untold:
        judge.tables.blur(table, "an earlier statement changes it")
        if _touches_old(table, change.node):
            raise
        return
    alias = _alias(change.node)
    for name, (value, more) in assigned.items():
        using |= more
        _overwritten(judge, table, name, f"({where}) AND {quote(name)} IS DISTINCT FROM ({value})", using, alias)
    layered = {name: f"CASE WHEN {where} THEN {value} ELSE {quote(name)} END" for name, (value, _) in assigned.items()}
    table.layer(layered, "", alias, using)
    judge.tables.blur_kin(table, "an earlier statement changes a part of it")


def _touches_old(table: Table, node: Node) -> bool:
    names = [target["ResTarget"].get("name", "") for target in node.get("targetList", [])]
    return table.source is not None and any(not table.columns[n].new for n in names if n in table.columns)


def _overwritten(judge: Judge, table: Table, name: str, where: str, using: With, alias: str) -> None:
    """Values that are there now and would be another."""
    column = table.column(name)
    if column.new or column.generated or table.source is None or not table.oid:
        return
    figures = judge.count(table, f"{where} AND {quote(name)} IS NOT NULL", using=using, alias=alias)
    if not figures.are_none:
        what = f"column {table.label}.{label(name)}"
        judge.lost(what, "values", figures, "overwritten by UPDATE", table)


def _assigned(judge: Judge, table: Table, node: Node) -> dict[str, tuple[str, With]]:
    """The new value of each column. Raises `Untold`."""
    found = {}
    for item in node["targetList"]:
        target = item["ResTarget"]
        value: Any = target["val"]
        if "MultiAssignRef" in value or "indirection" in target or "SetToDefault" in value:
            raise Untold("values are changed in a way that is not followed")
        others = node.get("fromClause")
        if others or node.get("withClause"):
            one = {"A_Const": {"ival": {"ival": 1}}}
            inner = deparse.select(
                [{"ResTarget": {"val": value}}],
                fromClause=others,
                whereClause=node.get("whereClause"),
                withClause=node.get("withClause"),
                limitCount=one,
            )
            inner["SelectStmt"]["limitOption"] = "LIMIT_OPTION_COUNT"
            value = {"SubLink": {"subLinkType": "EXPR_SUBLINK", "subselect": inner}}
        found[table.column(target["name"]).name] = judge.tables.expression(value)
    return found


DISPOSALS: dict[type, Callable[[Judge, Any], None]] = {
    Dropped: drop,
    DroppedColumn: drop_column,
    Emptied: truncate,
    Deleted: delete,
    Updated: update,
}
