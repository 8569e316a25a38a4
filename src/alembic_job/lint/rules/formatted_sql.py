"""Values that are formatted into SQL."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree
from alembic_job.lint.source import called_name, constant_text, executed

_ROWS = re.compile(r"\s*\(?\s*(?:SELECT|INSERT|UPDATE|DELETE|MERGE|WITH)\b", re.I)


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """An f-string, `%` or `format()` with a value that comes from outside of the script: a row, the environment."""
    for name in ("upgrade", "downgrade"):
        function = revision.function(name) if "execute" in revision.source else None
        if function is not None:
            outside = _outside(function)
            for line, sql in executed(function):
                for value in _values(sql) if _ROWS.match(_beginning(sql)) else ():
                    if _comes_from(value, outside):
                        yield Spot(line, f"{ast.unparse(value)} is formatted into SQL: pass it as a parameter")
                        break


def _beginning(sql: ast.expr) -> str:
    """The text before the first value; only statements about rows take parameters."""
    if isinstance(sql, ast.JoinedStr) and sql.values:
        return _beginning(sql.values[0])
    if isinstance(sql, ast.BinOp):
        return _beginning(sql.left)
    if isinstance(sql, ast.Call) and isinstance(sql.func, ast.Attribute):
        return _beginning(sql.func.value)
    return constant_text(sql) or ""


def _values(sql: ast.expr) -> list[ast.expr]:
    """What is put into a text."""
    if isinstance(sql, ast.JoinedStr):
        return [part.value for part in sql.values if isinstance(part, ast.FormattedValue)]
    if isinstance(sql, ast.BinOp) and isinstance(sql.op, ast.Mod):
        return [sql.right]
    if isinstance(sql, ast.BinOp) and isinstance(sql.op, ast.Add):
        return [each for each in (sql.left, sql.right) if not isinstance(each, ast.Constant)]
    if isinstance(sql, ast.Call) and called_name(sql) == "format":
        return [*sql.args, *(keyword.value for keyword in sql.keywords)]
    return []


def _outside(function: ast.AST) -> set[str]:
    """Names that hold what was read from the database or the environment."""
    outside: set[str] = set()
    while True:
        found = {
            name.id
            for targets, value in _bindings(function)
            if _comes_from(value, outside)
            for target in targets
            for name in ast.walk(target)
            if isinstance(name, ast.Name)
        }
        if found <= outside:
            return outside
        outside |= found


def _bindings(function: ast.AST) -> Iterator[tuple[list[ast.expr], ast.expr]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            yield node.targets, node.value
        elif isinstance(node, ast.For | ast.comprehension):
            yield [node.target], node.iter


def _comes_from(value: ast.expr, outside: set[str]) -> bool:
    for node in ast.walk(value):
        if isinstance(node, ast.Name) and node.id in outside:
            return True
        if isinstance(node, ast.Call) and called_name(node) in ("execute", "getenv", "scalar", "scalars", "query"):
            return True
        if isinstance(node, ast.Attribute) and node.attr == "environ":
            return True
    return False


RULE = Rule(
    "formatted-sql",
    Level.WARNING,
    "A value from the database or the environment is formatted into SQL.",
    "The first value with a quote in it breaks the statement, in production and not before; and a value that somebody"
    " chose can execute what it likes. Constants of the script, such as a table's name, are not found.",
    "Pass it as a parameter: `connection.execute(sa.text('… WHERE id = :id'), {'id': row.id})`.",
    'for row in connection.execute(sa.text("SELECT id, name FROM users")):\n'
    "    connection.execute(sa.text(f\"UPDATE users SET slug = '{row.name}' WHERE id = {row.id}\"))",
    check,
)
