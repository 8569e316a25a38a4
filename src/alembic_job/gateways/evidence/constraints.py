"""Constraints that the rows which are there may break: the statement that adds them would fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from alembic_job.gateways.evidence.judge import Judge
from alembic_job.gateways.evidence.present import Table, With, label, quote, with_clause
from alembic_job.gateways.evidence.reading import Figures, TooLong, Untold
from alembic_job.gateways.parser import parse
from alembic_job.rules.changes import (
    Attached,
    Checked,
    Distinct,
    DomainChecked,
    Excluding,
    KeyByIndex,
    NotNull,
    Recomposed,
    Referring,
    Unproven,
    Validated,
)
from alembic_job.rules.losses import constraint
from alembic_job.rules.statement import Node


def not_null(judge: Judge, change: NotNull) -> None:
    table = judge.table(change.table)
    for name in change.columns if table else ():
        assert table is not None
        column = table.column(name)
        if not column.not_null:
            figures = judge.count(table, f"{quote(name)} IS NULL", only=change.only)
            judge.refused(table, "rows", figures, f"{label(name)} would be NOT NULL, and is null")


def _keys(judge: Judge, table: Table, keys: Iterable[str | Node]) -> tuple[list[str], With]:
    """Columns and expressions as SQL. Raises `Untold`."""
    written: list[str] = []
    used: With = {}
    for key in keys:
        if isinstance(key, str):
            written.append(quote(table.column(key).name))
        else:
            sql, more = judge.tables.expression(key)
            written.append(f"({sql})")
            used |= more
    return written, used


def _where(judge: Judge, where: Node | None) -> tuple[str, With]:
    return judge.tables.expression(where) if where else ("true", {})


def _named(keys: Iterable[str | Node]) -> str:
    return ", ".join(label(key) if isinstance(key, str) else "…" for key in keys)


def _whole(judge: Judge, table: Table, sql: str) -> Figures:
    """A number for which all rows must be seen together: a sample says nothing. Raises `Untold`."""
    if table.source is None:
        return Figures((0,))
    try:
        [[count]] = judge.reader.rows(sql)
    except TooLong as error:
        raise Untold("it would take too long to look for equal rows") from error
    return Figures((int(count),), bool(judge.tables.doubt(table)))


def distinct(judge: Judge, change: Distinct) -> None:
    """Rows beyond the first of each value."""
    table = judge.table(change.table)
    if table is None or table.source is None or (change.only and table.kind == "p"):
        return
    keys, used = _keys(judge, table, change.keys)
    where, more = _where(judge, change.where)
    listed = ", ".join(keys)
    filled = "true" if change.nulls_equal else " AND ".join(f"{key} IS NOT NULL" for key in keys)
    figures = _whole(
        judge,
        table,
        f"{with_clause(used | more)}SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n"
        f" FROM ({table.source.sql(only=table.kind == 'r')}) AS {table.alias}"
        f" WHERE ({where}) AND {filled} GROUP BY {listed} HAVING count(*) > 1) AS _d",
    )
    name = "PRIMARY KEY" if change.primary else "UNIQUE"
    judge.refused(table, "rows", figures, f"{name} ({_named(change.keys)}), another row has the same")


def excluding(judge: Judge, change: Excluding) -> None:
    """Rows that are in conflict with another one that is counted before them."""
    table = judge.table(change.table)
    if table is None or table.source is None:
        return
    keys, used = _keys(judge, table, (key for key, _ in change.keys))
    where, more = _where(judge, change.where)
    listed = ", ".join(f"{key} AS _k{number}" for number, key in enumerate(keys))
    match = " AND ".join(f"_a._k{n} OPERATOR({operator}) _b._k{n}" for n, (_, operator) in enumerate(change.keys))
    others = "".join(f", {name} AS NOT MATERIALIZED ({query})" for name, query in (used | more).items())
    figures = _whole(
        judge,
        table,
        f"WITH _z AS (SELECT 1){others}, _n AS MATERIALIZED (SELECT {listed}, row_number() OVER () AS _i"
        f" FROM ({table.source.sql(only=table.kind == 'r')}) AS {table.alias} WHERE {where})"
        f" SELECT count(*) FROM _n AS _a WHERE EXISTS (SELECT FROM _n AS _b WHERE _b._i < _a._i AND {match})",
    )
    judge.refused(table, "rows", figures, f"EXCLUDE ({_named(key for key, _ in change.keys)}), another row conflicts")


def referring(judge: Judge, change: Referring) -> None:
    table, other = judge.table(change.table), judge.table(change.referenced)
    if table is None or other is None or judge.is_new(table):
        return
    theirs = change.referenced_columns or other.primary
    if len(theirs) != len(change.columns):
        raise Untold("which columns it refers to is not known")
    here = [f"_c.{quote(table.column(name).name)}" for name in change.columns]
    there = [f"_p.{quote(other.column(name).name)}" for name in theirs]
    match = " AND ".join(f"{left} = {right}" for left, right in zip(here, there, strict=True))
    found = f"EXISTS (SELECT FROM ({other.source.sql()}) AS _p WHERE {match})" if other.source else "false"
    filled = " AND ".join(f"{name} IS NOT NULL" for name in here)
    where = f"{filled} AND NOT {found}"
    if change.full:
        partly = " OR ".join(f"{name} IS NOT NULL" for name in here)
        where = f"({where}) OR (NOT ({filled}) AND ({partly}))"
    figures = judge.count(table, where, alias="_c", only=table.kind == "r")
    if judge.tables.doubt(other) and not judge.tables.doubt(table) and not figures.are_none:
        judge.unknown(f"table {table.label}", f"its references would be refused now, but {other.vague}")
        return
    why = f"FOREIGN KEY ({_named(change.columns)}), {other.label} has no such row"
    judge.refused(table, "rows", figures, why)


def checked(judge: Judge, change: Checked) -> None:
    table = judge.table(change.table)
    if table is not None and not judge.is_new(table):
        condition, used = judge.tables.expression(change.expression)
        figures = judge.count(table, f"NOT ({condition})", only=change.only, using=used)
        judge.refused(table, "rows", figures, f"CHECK ({condition})")


def unproven(judge: Judge, change: Unproven) -> None:
    table = judge.table(change.table)
    if table is not None:
        table.unproven[change.constraint] = change.asks


_DEFINITION = """SELECT pg_catalog.pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint
    WHERE conrelid = %s AND conname = %s AND NOT convalidated"""


def validated(judge: Judge, change: Validated) -> None:
    table = judge.table(change.table)
    if table is None:
        return
    asks = table.unproven.get(change.constraint)
    if asks is None:
        found = judge.reader.rows(_DEFINITION, (table.oid, change.constraint))
        text = str(found[0][0]).removesuffix(" NOT VALID") if found else ""
        asks = _read_constraint(text, change) if text else ()
    for one in asks:
        CONSTRAINTS[type(one)](judge, one)


def _read_constraint(definition: str, change: Validated) -> tuple[Any, ...]:
    """By the table's and columns' present names."""
    [statement] = parse(f"ALTER TABLE x ADD {definition}")
    return tuple(constraint(statement.node["cmds"][0]["AlterTableCmd"]["def"]["Constraint"], change.table))


_INDEXED = """SELECT a.attname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = %s AND c.relname = %s ORDER BY a.attnum"""


def key_by_index(judge: Judge, change: KeyByIndex) -> None:
    table = judge.table(change.table)
    if table is not None:
        columns = tuple(str(name) for [name] in judge.reader.rows(_INDEXED, (table.oid, change.index)))
        not_null(judge, NotNull(change.table, columns))


_OF_DOMAIN = """SELECT a.attrelid::int8, a.attnum, (SELECT pg_catalog.pg_get_constraintdef(k.oid)
        FROM pg_catalog.pg_constraint k WHERE k.contypid = a.atttypid AND k.conname = %s)
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    WHERE a.atttypid = %s::regtype AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition"""


def domain_checked(judge: Judge, change: DomainChecked) -> None:
    facts, _ = judge.tables.type_named(change.domain)
    if facts is None or not facts.text:
        return
    for oid, number, definition in judge.reader.rows(_OF_DOMAIN, (change.constraint, facts.text)):
        expression = change.expression
        if definition:
            [read] = _read_constraint(str(definition).removesuffix(" NOT VALID"), Validated((None, "x"), ""))
            expression = read.expression
        table = judge.tables.by_oid(oid)
        for column in [one for one in table.columns.values() if one.number == number]:
            condition, used = judge.tables.expression(expression) if expression else ("value IS NOT NULL", {})
            where = f"(SELECT NOT ({condition}) FROM (SELECT _d.{quote(column.name)} AS value) AS _v)"
            figures = judge.count(table, where, alias="_d", using=used)
            what = f"column {table.label}.{label(column.name)}"
            judge.refused(table, "values", figures, f"domain {facts.text}, {condition}", what)


def attached(judge: Judge, change: Attached) -> None:
    table = judge.table(change.table)
    if table is not None and not judge.count(table).are_none:
        judge.unknown(f"table {table.label}", "rows outside of the partition's bounds would be refused")


def recomposed(judge: Judge, change: Recomposed) -> None:
    facts, _ = judge.tables.type_named(change.type)
    for oid, number, _ in judge.reader.rows(_OF_DOMAIN, ("", facts.text)) if facts and facts.text else ():
        table = judge.tables.by_oid(oid)
        for column in [one for one in table.columns.values() if one.number == number]:
            if not judge.count(table, f"{quote(column.name)} IS NOT NULL").are_none:
                judge.unknown(f"column {table.label}.{label(column.name)}", "values of its type are changed")


CONSTRAINTS: dict[type, Callable[[Judge, Any], None]] = {
    NotNull: not_null,
    Distinct: distinct,
    Excluding: excluding,
    Referring: referring,
    Checked: checked,
    Unproven: unproven,
    Validated: validated,
    KeyByIndex: key_by_index,
    DomainChecked: domain_checked,
    Attached: attached,
    Recomposed: recomposed,
}
