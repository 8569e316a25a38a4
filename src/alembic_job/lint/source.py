"""Reading a revision's Python without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef


def function_named(tree: ast.Module, name: str) -> Function | None:
    """The function of that name at the top of the script."""
    found = [node for node in tree.body if isinstance(node, Function) and node.name == name]
    return found[-1] if found else None


def does_nothing(function: Function) -> bool:
    """True if its body is only `pass`, `...`, a docstring or a bare return."""
    return all(_is_idle(node) for node in function.body)


def _is_idle(node: ast.stmt) -> bool:
    if isinstance(node, ast.Return):
        return node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None)
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """Calls of a function or method with one of these names, in the order of the file."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and called_name(node) in names]
    yield from sorted(found, key=lambda node: (node.lineno, node.col_offset))


def called_name(node: ast.Call) -> str:
    """The last word of what is called: `execute` of `op.execute(…)`."""
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def unwrapped(node: ast.expr) -> ast.expr:
    """The argument of `text(…)`, `textwrap.dedent(…)` and their like; else the expression itself."""
    while isinstance(node, ast.Call) and called_name(node) in ("text", "DDL", "dedent", "cleandoc") and node.args:
        node = node.args[0]
    return node


def executed(tree: ast.AST) -> Iterator[tuple[int, ast.expr]]:
    """Line and SQL (a constant, an f-string, …) of each `execute(…)`."""
    for call in calls(tree, "execute", "exec_driver_sql", "scalar", "scalars"):
        if call.args:
            yield call.lineno, unwrapped(call.args[0])


def constant_text(node: ast.expr) -> str | None:
    """A text that is there as it is."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
