"""A statement as PostgreSQL's own grammar reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Node = dict[str, Any]  # a node of the parse tree, as libpg_query's JSON has it


@dataclass(frozen=True)
class ParsedStatement:
    """One statement of a text: its node's name (`AlterTableStmt`), the node, and its own text."""

    kind: str
    node: Node
    text: str
