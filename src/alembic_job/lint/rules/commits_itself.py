"""A revision that ends the transaction it runs in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree
from alembic_job.lint.source import called_name, calls, constant_text, executed

_END = re.compile(r"(?:^|;)\s*(?:COMMIT|ROLLBACK|END|ABORT)\b(?!\s+TO\b)(?:\s+(?:WORK|TRANSACTION))?\s*(?:;|$)", re.I)

_WORDS = re.compile(r"\b(?:COMMIT|ROLLBACK|END|ABORT)\b", re.I)


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """COMMIT or ROLLBACK as SQL, or of the connection that it runs on."""
    if not _WORDS.search(revision.source):
        return
    for name in ("upgrade", "downgrade"):
        function = revision.function(name)
        if function is not None:
            yield from _spots(function)


def _spots(function: ast.AST) -> Iterator[Spot]:
    for line, sql in executed(function):
        if _END.search(constant_text(sql) or ""):
            yield Spot(line, "this ends the transaction of the revision")
    binds = _binds(function)
    for call in calls(function, "commit", "rollback"):
        owner = call.func.value if isinstance(call.func, ast.Attribute) else None
        if owner is not None and (_is_bind(owner) or (isinstance(owner, ast.Name) and owner.id in binds)):
            yield Spot(call.lineno, f"{ast.unparse(call)} ends the transaction of the revision")


def _binds(function: ast.AST) -> set[str]:
    """The names of the revision's own connection. A Session on it is none: what that commits is not committed yet."""
    assigned = [node for node in ast.walk(function) if isinstance(node, ast.Assign) and _is_bind(node.value)]
    return {target.id for node in assigned for target in node.targets if isinstance(target, ast.Name)}


def _is_bind(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return called_name(node) == "get_bind"
    return isinstance(node, ast.Attribute) and node.attr in ("bind", "connection") and "get_context" in ast.dump(node)


RULE = Rule(
    "commits-itself",
    Level.ERROR,
    "The revision ends its own transaction.",
    "What came before is there to stay although the version table does not tell of it; if the rest fails, the next run"
    " fails on what is there already. And Alembic's own transaction is gone from under it.",
    "Leave it out: Alembic commits. What has to run outside of a transaction goes into"
    " `with op.get_context().autocommit_block():`.",
    "connection = op.get_bind()\nconnection.execute(sa.text(\"UPDATE users SET state = 'new'\"))\nconnection.commit()",
    check,
)
