"""A parse tree as SQL text again: libpg_query, by the package postgast (extra `sql`), which needs protobuf for that.

Where postgast was installed without protobuf, beside an application's own, only plain expressions are written.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from alembic_job.rules.statement import Node
from alembic_job.rules.tree import strings


def statement(node: Node) -> str:
    """The text of a statement such as `{"SelectStmt": …}`. Raises `ValueError` for what cannot be written as text."""
    try:
        postgast, json_format = map(import_module, ("postgast", "google.protobuf.json_format"))
    except ImportError as error:
        raise ValueError("it cannot be evaluated without the package protobuf") from error
    tree = postgast.ParseResult()
    try:
        json_format.ParseDict({"stmts": [{"stmt": node}]}, tree)
        return str(postgast.deparse(tree))
    except (postgast.PgQueryError, json_format.ParseError, RecursionError) as error:
        raise ValueError("it cannot be written as SQL") from error


def expression(node: Node) -> str:
    """The text of an expression. Raises `ValueError`."""
    try:
        return statement(select([{"ResTarget": {"val": node}}])).removeprefix("SELECT").strip()
    except ValueError:
        plain = _plain(node)
        if plain is None:
            raise
        return plain


def type_name(node: Node) -> str:
    """The text of a TypeName: `varchar(5)`. Raises `ValueError`."""
    null = {"A_Const": {"isnull": True}}
    return expression({"TypeCast": {"arg": null, "typeName": node}}).removeprefix("NULL::")


def _plain(node: Node) -> str | None:
    """Columns, constants, casts, comparisons and their like, without libpg_query; `None` for anything else."""
    [(kind, inner)] = node.items()
    write = _PLAIN.get(kind)
    return write(inner) if write else None


def _cast(node: Node) -> str | None:
    value, name = _plain(node["arg"]), strings(node["typeName"].get("names", []))
    lengths = [_plain(item) for item in node["typeName"].get("typmods", [])]
    if value is None or None in lengths or name[-1] == "interval":
        return None
    length = f"({', '.join(map(str, lengths))})" if lengths else ""
    text = ".".join(map(_quote, name)) + length + "[]" * len(node["typeName"].get("arrayBounds", []))
    return f"{value if value == 'NULL' else f'({value})'}::{text}"


def _constant(node: Node) -> str | None:
    if node.get("isnull"):
        return "NULL"
    if "sval" in node:
        text = str(node["sval"].get("sval", ""))
        return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
    if "boolval" in node:
        return "true" if node["boolval"].get("boolval") else "false"
    if "ival" in node:
        return str(node["ival"].get("ival", 0))
    return str(node["fval"]["fval"]) if "fval" in node else None


def _column(node: Node) -> str | None:
    names = strings(node["fields"])
    return ".".join(map(_quote, names)) if len(names) == len(node["fields"]) else None


def _operator(node: Node) -> str | None:
    left, right = (_plain(node[side]) if side in node else None for side in ("lexpr", "rexpr"))
    if node["kind"] != "AEXPR_OP" or left is None or right is None:
        return None
    return f"({left}) OPERATOR({'.'.join(strings(node['name']))}) ({right})"


def _null_test(node: Node) -> str | None:
    value = _plain(node["arg"])
    return None if value is None else f"({value}) IS {'NOT ' if node['nulltesttype'] == 'IS_NOT_NULL' else ''}NULL"


def _boolean(node: Node) -> str | None:
    values = [_plain(item) for item in node["args"]]
    if any(value is None for value in values):
        return None
    if node["boolop"] == "NOT_EXPR":
        return f"NOT ({values[0]})"
    return f" {node['boolop'].removesuffix('_EXPR')} ".join(f"({value})" for value in values)


_PLAIN: dict[str, Callable[[Node], str | None]] = {
    "TypeCast": _cast,
    "A_Const": _constant,
    "ColumnRef": _column,
    "A_Expr": _operator,
    "NullTest": _null_test,
    "BoolExpr": _boolean,
}


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def select(targets: list[Node], **clauses: Any) -> Node:
    """A SelectStmt of these ResTargets; clauses by their names in the tree, such as `fromClause`."""
    given = {name: value for name, value in clauses.items() if value}
    plain = {"limitOption": "LIMIT_OPTION_DEFAULT", "op": "SETOP_NONE"}
    return {"SelectStmt": {"targetList": targets, **plain, **given}}
