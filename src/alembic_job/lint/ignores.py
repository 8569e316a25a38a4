"""Comments that silence a rule: `# alembic-job: ignore[rule, other] reason`.

On the line of the finding, or on a line of its own above it; before the first statement of the script, it holds for the
whole file.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass, field

_COMMENT = re.compile(r"#\s*alembic-job:\s*ignore\s*(?:\[([^\]]*)\])?[\s:,-]*(.*)$")


@dataclass
class Ignore:
    """One comment. `lines`: those of the script that it is about; empty for all of them."""

    line: int
    rules: tuple[str, ...]
    reason: str
    lines: frozenset[int] = frozenset()
    used: set[str] = field(default_factory=set)

    def silences(self, rule: str, line: int) -> bool:
        """True if it is about this; it counts as used from then on."""
        about = (not self.lines or line in self.lines) and rule in self.rules
        if about:
            self.used.add(rule)
        return about

    def unused(self) -> tuple[str, ...]:
        return tuple(rule for rule in self.rules if rule not in self.used)


def ignores(source: str, tree: ast.Module | None = None) -> list[Ignore]:
    """The comments of a script; `tree` is what it parses to, if that is known."""
    if "alembic-job" not in source:
        return []
    found = [_ignore(token) for token in _comments(source)]
    top = _first_statement(ast.parse(source) if tree is None else tree)
    return [_about(ignore, source, top) for ignore in found if ignore is not None]


def _comments(source: str) -> Iterable[tokenize.TokenInfo]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token for token in tokens if token.type == tokenize.COMMENT]


def _ignore(token: tokenize.TokenInfo) -> Ignore | None:
    found = _COMMENT.match(token.string)
    if found is None:
        return None
    rules = tuple(rule for rule in re.split(r"[\s,]+", found[1] or "") if rule)
    return Ignore(token.start[0], rules, found[2].strip())


def _first_statement(tree: ast.Module) -> int:
    """The line of the first statement that is no docstring."""
    body = tree.body
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    return body[0].lineno if body else 1


def _about(ignore: Ignore, source: str, top: int) -> Ignore:
    if ignore.line >= top:
        lines = source.splitlines()
        following = ignore.line
        while following < len(lines) and lines[following - 1].lstrip().startswith("#"):
            following += 1
        ignore.lines = frozenset((ignore.line, following))
    return ignore
