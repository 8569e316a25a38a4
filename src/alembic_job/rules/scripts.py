"""When is a revision's script still the one that was applied: comments, docstrings and white space don't count."""

from __future__ import annotations

import ast
import difflib
import hashlib
from collections.abc import Iterator

_SHOWN = 60  # lines of a difference


def digest(source: str) -> str:
    """Tells one program from another, by what it does. Same for every Python that can parse it.

    `ast.dump` would not do: newer versions of Python have more fields. An unparsable text is told by its characters.
    """
    try:
        text = "\n".join(_told(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        text = source
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _told(node: ast.AST) -> Iterator[str]:
    """The names of nodes and what is in their fields, without empty fields and where they stand in the file."""
    yield type(node).__name__
    for name, value in ast.iter_fields(node):
        if name in ("kind", "type_comment", "ctx", "type_ignores"):
            continue
        values = value if isinstance(value, list) else [value]
        if name == "body" and values and _is_docstring(values[0]):
            values = values[1:]
        for one in values:
            if isinstance(one, ast.AST):
                yield f".{name}"
                yield from _told(one)
            elif one is not None or isinstance(node, ast.Constant):
                yield f".{name}={one!r}"
        yield ""


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def difference(applied: str, now: str) -> str:
    """A unified diff for people, cut where it gets long."""
    lines = [
        line.rstrip("\n")
        for line in difflib.unified_diff(
            applied.splitlines(), now.splitlines(), "as it was applied", "as it is now", lineterm="", n=2
        )
    ]
    more = len(lines) - _SHOWN
    return "\n".join([*lines[:_SHOWN], *([f"… and {more} more lines"] if more > 0 else [])])
