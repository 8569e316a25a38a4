"""Counts the rows of each table in the text that `pg_restore --data-only --file=-` writes, as it flows by."""

from __future__ import annotations

import re

_NAME = rb'(?:"(?:[^"]|"")+"|[^".\s(]+)'
_COPY = re.compile(rb"COPY (" + _NAME + rb"\." + _NAME + rb") .*FROM stdin;")
_END = b"\n\\.\n"


class CopiedRows:
    """`feed` it the text in pieces of any size; `rows` by the table's name, qualified and quoted as in the text.

    In the data a line of nothing but `\\.` is the end of a table: COPY writes every backslash twice.
    """

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self._rest = b""
        self._table: str | None = None

    def feed(self, piece: bytes) -> None:
        text, place = self._rest + piece, 0
        while True:
            place, more = self._skip(text, place) if self._table is None else self._count(text, place)
            if not more:
                break
        self._rest = text[place:]

    def _skip(self, text: bytes, place: int) -> tuple[int, bool]:
        """Passes over one line outside of data."""
        end = text.find(b"\n", place)
        if end < 0:
            return place, False
        if text.startswith(b"COPY ", place) and (found := _COPY.fullmatch(text, place, end)):
            self._table = found[1].decode(errors="replace")
            self.rows.setdefault(self._table, 0)
            return end, True  # at the line break, with which the mark of the end begins
        return end + 1, True

    def _count(self, text: bytes, place: int) -> tuple[int, bool]:
        """Counts rows; `place` is at the line break before the next one."""
        assert self._table is not None
        end = text.find(_END, place)
        if end >= 0:
            self.rows[self._table] += text.count(b"\n", place + 1, end + 1)
            self._table = None
            return end + len(_END), True
        last = text.rfind(b"\n", place)
        if last > place:
            self.rows[self._table] += text.count(b"\n", place + 1, last + 1)
            place = last
        if len(text) - place >= len(_END):  # the end does not begin there: of a row as long as it likes, a byte is kept
            place = len(text) - 1
        return place, False
