"""Texts, sizes and times as the pages show them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup


def shown(value: Any) -> Any:
    """What stands on the page for a value: lines are kept; what a browser would obey or draw in another order, such as
    control characters and marks of direction, is spelled out. Markup of our own stays. Every `${…}` goes through it.
    """
    if isinstance(value, Markup):
        return value
    text = str(value).replace("\r\n", "\n").replace("\r", "\n")
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else _spelled(sign) for sign in text)


def _spelled(sign: str) -> str:
    return f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else f"\\U{ord(sign):08x}"


def seconds(value: float | None) -> str:
    """`0.4 ms`, `12 ms`, `1.25 s`, `3 min 5 s`, `2 h 30 min`; a dash for what is not known."""
    if value is None:
        return "–"
    if value < 1:
        milliseconds = value * 1000
        return f"{milliseconds:.0f} ms" if milliseconds >= 10 or not milliseconds else f"{milliseconds:.1f} ms"
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(when: float) -> str:
    """A time since 1970, as UTC to the second."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def count(number: int, word: str) -> str:
    """`1 statement`, `1,200 statements`."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")
