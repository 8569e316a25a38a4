"""Two schemas as pg_dump writes them: where they differ, apart from the order of columns."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import NamedTuple

_MOST_LINES = 200
_TABLE = re.compile(r"CREATE (?:UNLOGGED |FOREIGN )?TABLE (.+) \($")


class Comparison(NamedTuple):
    """How a schema differs from another: `diff` has the lines of a unified diff, none if they are the same.

    `reordered` are tables whose columns are the same, but in another order.
    """

    diff: tuple[str, ...]
    reordered: tuple[str, ...]

    @property
    def same(self) -> bool:
        return not self.diff


def compare(before: str, after: str, names: tuple[str, str] = ("before", "after")) -> Comparison:
    """Compares what pg_dump wrote of two schemas; a diff of more than 200 lines is cut."""
    old, new = (list(_blocks(text)) for text in (before, after))
    orders = {block[0]: block for block in old if _is_table(block)}
    reordered = tuple(
        _name(block) for block in new if _is_table(block) and (was := orders.get(block[0])) and _only_moved(was, block)
    )
    # A moved column is no difference: the new schema is compared with the old order where it can be.
    settled = [orders[block[0]] if _is_table(block) and _name(block) in reordered else block for block in new]
    lines = list(difflib.unified_diff(_flat(old), _flat(settled), *names, lineterm=""))
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], f"… and {len(lines) - _MOST_LINES} more lines"]
    return Comparison(tuple(lines), reordered)


def _blocks(text: str) -> Iterator[list[str]]:
    """The lines, those of one CREATE TABLE together; without comments, blank lines and pg_dump's random keys."""
    table: list[str] | None = None
    for line in text.splitlines():
        if table is not None:
            table.append(line)
            if line.startswith(")"):
                yield table
                table = None
        elif _TABLE.match(line):
            table = [line]
        elif line and not line.startswith(("--", "\\restrict", "\\unrestrict")):
            yield [line]
    if table is not None:
        yield table


def _is_table(block: list[str]) -> bool:
    return len(block) > 1


def _name(block: list[str]) -> str:
    found = _TABLE.match(block[0])
    return found[1] if found else block[0]


def _only_moved(one: list[str], other: list[str]) -> bool:
    return (
        _columns(one) != _columns(other) and sorted(_columns(one)) == sorted(_columns(other)) and one[-1] == other[-1]
    )


def _columns(block: list[str]) -> list[str]:
    return [line.rstrip(",") for line in block[1:-1]]


def _flat(blocks: list[list[str]]) -> list[str]:
    return [line for block in blocks for line in block]
