"""Reading libpg_query's JSON: names, and what an expression calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alembic_job.rules.facts import Name
from alembic_job.rules.statement import Node


def range_name(node: Node) -> Name:
    """The name in a RangeVar, wrapped or not. A database's name in front is left out."""
    inner = node.get("RangeVar", node)
    return inner.get("schemaname"), inner["relname"]


def recurses(node: Node) -> bool:
    """False if a RangeVar says ONLY."""
    return bool(node.get("RangeVar", node).get("inh"))


def strings(node: Any) -> list[str]:
    """The texts of a List of String, a list of String, or one String."""
    if isinstance(node, list):
        return [text for item in node for text in strings(item)]
    if "String" in node:
        return [node["String"].get("sval", "")]
    if "List" in node:
        return strings(node["List"].get("items", []))
    if "TypeName" in node:
        return strings(node["TypeName"].get("names", []))
    if "ObjectWithArgs" in node:
        return strings(node["ObjectWithArgs"].get("objname", []))
    return []


def to_name(parts: list[str]) -> Name:
    return (parts[-2], parts[-1]) if len(parts) > 1 else (None, parts[-1])


def type_name(node: Node) -> Name:
    """The name in a TypeName, wrapped or not."""
    return to_name(strings(node.get("TypeName", node).get("names", [])))


def nodes(tree: Any, kind: str) -> Iterator[Node]:
    """Every node of that kind, at any depth. Without recursion: an expression may be nested deeply."""
    left = [tree]
    while left:
        item = left.pop()
        if isinstance(item, list):
            left.extend(item)
        elif isinstance(item, dict):
            if isinstance(item.get(kind), dict):
                yield item[kind]
            left.extend(item.values())


def called(tree: Any) -> list[Name]:
    """The names of the functions an expression calls."""
    return [to_name(strings(call["funcname"])) for call in nodes(tree, "FuncCall")]


def option(options: list[Node], name: str) -> bool:
    """A boolean option in parentheses: `(FULL)`, `(FULL true)`, not `(FULL off)`."""
    for item in options:
        element = item["DefElem"]
        if element["defname"] == name:
            value = element.get("arg")
            text = str(next(iter(next(iter(value.values())).values()), "0")) if value else "true"
            return text.lower() not in ("false", "off", "0", "no", "f", "n")
    return False
