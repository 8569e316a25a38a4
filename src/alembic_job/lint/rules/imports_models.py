"""A revision that imports the application's models."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """Modules in which tables of `target_metadata` are defined, and packages that hand them on."""
    if not any(module.partition(".")[0] in revision.source for module in tree.model_modules):
        return
    for node in ast.walk(revision.tree):
        for name in _imported(node):
            if any(_is_same(name, module) for module in tree.model_modules):
                line = getattr(node, "lineno", 1)
                yield Spot(line, f"it imports {name}, where models are defined: tomorrow they will be others")
                break


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _is_same(name: str, module: str) -> bool:
    """The module itself, or the package it is in, unless that is the application's outermost one."""
    package, dot, _ = module.rpartition(".")
    return name == module or (bool(dot) and "." in package and name == package)


RULE = Rule(
    "imports-models",
    Level.WARNING,
    "The revision imports the application's models.",
    "A revision must do the same for ever, but models change: a column that is added to a model next year is selected"
    " by this year's revision, in which the table does not have it yet. New databases can then no longer be made.",
    "Describe the tables that it needs in the revision itself: `users = sa.table('users', sa.column('name'))`.",
    "from app.models import User",
    check,
)
