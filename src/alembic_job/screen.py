"""What somebody looks at: how wide a terminal is, what it can draw, and tables that fit it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"
_LEAST = 8  # columns that a cell keeps
_GAP = 2  # columns between two cells


class Screen(NamedTuple):
    """A terminal of `width` columns; without a width it is none: nothing is cut, and texts stay as they are.

    `clean` masks secrets. It comes before a text is cut, since nobody finds the half of a secret.
    """

    width: int | None = None
    colour: bool = False
    ascii_only: bool = False
    clean: Callable[[str], str] = str

    def paint(self, code: str, text: str) -> str:
        """The text in this colour, where there are colours."""
        return f"\033[{code}m{text}\033[0m" if self.colour and text and code else text

    def text(self, text: str) -> str:
        """A text of the project or the database: without secrets, and at a terminal harmless and on one line."""
        return self.clean(text) if self.width is None else plain(self.clean(text))

    def cut(self, text: str, width: int) -> str:
        """Not wider than this, where the screen has a width; what was cut off is shown by a sign."""
        if self.width is None or columns(text) <= width:
            return text
        sign = "~" if self.ascii_only else "…"
        kept, taken = [], 0
        for each in text:
            taken += columns(each)
            if taken > width - 1:
                break
            kept.append(each)
        return "".join(kept).rstrip() + sign if width > 0 else ""


PLAIN = Screen()


def plain(text: str) -> str:
    """On one line, without what a terminal would obey or draw in another order."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in " ".join(text.split()))


def columns(text: str) -> int:
    """How many columns a terminal takes for the text: two for Chinese, Japanese, Korean signs and emoji."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(sign: str) -> int:
    if unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in ("W", "F") else 1


def table(
    rows: Sequence[Sequence[str]],
    screen: Screen,
    *,
    shrinks: Sequence[int] = (),
    colours: Mapping[int, Callable[[Sequence[str]], str]] | None = None,
) -> list[str]:
    """Lines of a table. Where it is too wide the columns `shrinks` are cut, the widest first; the last line of defence
    is to cut the line.

    `colours` has for a column (0 is the first) what tells a row's colour, "" for none.
    """
    shown = [[screen.text(cell) for cell in row] for row in rows]
    widths = _widths(shown, screen, shrinks)
    return [_line(row, widths, screen, colours or {}) for row in shown]


def _widths(rows: Sequence[Sequence[str]], screen: Screen, shrinks: Sequence[int]) -> list[int]:
    widths = [max(map(columns, cells)) for cells in zip(*rows, strict=True)]
    if screen.width is None:
        return widths
    while sum(widths) + _GAP * (len(widths) - 1) > screen.width:
        widest = max(shrinks, key=lambda column: widths[column], default=None)
        if widest is None or widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    return widths


def _line(
    row: Sequence[str], widths: Sequence[int], screen: Screen, colours: Mapping[int, Callable[[Sequence[str]], str]]
) -> str:
    left, cells = screen.width if screen.width is not None else 0, []
    for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
        text = screen.cut(cell, min(width, left))
        code = colours[column](row) if column in colours else ""
        cells.append(screen.paint(code, text) + " " * (width - columns(text)))
        left = max(0, left - width - _GAP)
    return (" " * _GAP).join(cells).rstrip()
