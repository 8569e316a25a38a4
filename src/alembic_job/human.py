"""Figures as people read them."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB")


def size(count: float, whole: tuple[str, ...] = ("B",)) -> str:
    """Bytes as `913 B`, `1.4 MiB`; in the `whole` units without a fraction."""
    for unit in _UNITS:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit in whole else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
