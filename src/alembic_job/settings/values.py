"""Reads values as people write them: `90s`, `5m`, `2GiB`, `on`. Each parser raises `ValueError` with what it takes."""

from __future__ import annotations

import math
from collections.abc import Callable

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1} | {
    sign + i: base**power for power, sign in enumerate("kmgt", 1) for i, base in (("", 1000), ("i", 1024))
}


def duration(text: str) -> float:
    """`90s`, `5m`, `1h30m`, `250ms`, or a plain number of seconds → seconds."""
    rest = text.strip().lower().replace(" ", "")
    try:
        total = float(rest)
    except ValueError:
        total = _sum_of_parts(rest)
    if not math.isfinite(total) or total < 0 or not rest:
        raise ValueError("a duration such as 90s, 5m or 1h30m")
    return total


def duration_or_off(text: str) -> float | None:
    """A duration, or `off` → None."""
    if text.strip().lower() == "off":
        return None
    try:
        return duration(text)
    except ValueError as error:
        raise ValueError(f"{error}, or off") from error


def terminate_blockers(text: str) -> float | None:
    """`idle-in-transaction>60s` → 60.0, `off` → None. Nothing shorter than a second: that would be working sessions."""
    rest = text.strip().lower().replace(" ", "")
    if rest == "off":
        return None
    word, sign, bound = rest.partition(">")
    try:
        seconds = duration(bound)
    except ValueError:
        seconds = 0.0
    if word not in ("idle-in-transaction", "idle_in_transaction") or not sign or seconds < 1:
        raise ValueError("idle-in-transaction>60s (a duration of at least 1s), or off")
    return seconds


def _sum_of_parts(rest: str) -> float:
    total = 0.0
    while rest:
        number = _leading(rest, "0123456789.")
        unit = _leading(rest[len(number) :], "abcdefghijklmnopqrstuvwxyz")
        if not number or unit not in _SECONDS or number.count(".") > 1 or number == ".":
            return math.nan
        total += float(number) * _SECONDS[unit]
        rest = rest[len(number) + len(unit) :]
    return total


def _leading(text: str, allowed: str) -> str:
    return text[: len(text) - len(text.lstrip(allowed))]


def size_or_off(text: str) -> int:
    """`500GiB`, `100 GB`, `1.5Ti`, or a plain number of bytes → bytes; `off` → 0."""
    rest = text.strip().lower().replace(" ", "")
    if rest == "off":
        return 0
    number = _leading(rest, "0123456789.")
    unit = rest[len(number) :].removesuffix("b")
    try:
        size = int(float(number) * _BYTES.get(unit, 0))
    except ValueError:
        size = 0
    if size < 1:
        raise ValueError("a size such as 100GB or 500GiB, or off")
    return size


def count(text: str) -> int:
    """A whole number from 1 on."""
    number = int(text) if text.strip().isascii() and text.strip().isdigit() and len(text) < 10 else 0
    if number < 1:
        raise ValueError("a whole number from 1 on")
    return number


def one_of(*words: str) -> Callable[[str], str]:
    """A parser that takes exactly these words, in any case."""

    def parse(text: str) -> str:
        word = text.strip().lower()
        if word not in words:
            raise ValueError(", ".join(words[:-1]) + " or " + words[-1])
        return word

    return parse


def some_of(*words: str) -> Callable[[str], frozenset[str]]:
    """A parser that takes any of these words, in any case, with commas or blanks between."""

    def parse(text: str) -> frozenset[str]:
        found = frozenset(text.lower().replace(",", " ").split())
        if not found or not found.issubset(words):
            raise ValueError("some of " + ", ".join(words))
        return found

    return parse


def urls(text: str) -> tuple[str, ...]:
    """URLs with blanks or commas between; a comma may be part of one. The error repeats nothing of them."""
    import re

    found = tuple(re.split(r"[\s,]+(?=[A-Za-z][A-Za-z0-9]*://)", text.strip().strip(",")))
    if not all(re.fullmatch(r"[A-Za-z][A-Za-z0-9]*://\S+", url) for url in found):
        raise ValueError(
            "URLs such as slack://…, with blanks or commas between (what is special in a part of one is"
            " written %40, %20 and so on)"
        )
    return found


def patterns(text: str) -> tuple[str, ...]:
    """Names in which `*` stands for anything, with commas or blanks between; quotes as in a shell."""
    found = words(text.replace(",", " "))
    if not found or any(name.startswith(".") or name.endswith(".") for name in found):
        raise ValueError("names such as audit.*, public.spatial_ref_sys or *_old, with commas or blanks between")
    return found


def words(text: str) -> tuple[str, ...]:
    """A list split at blanks as a shell would, without a shell."""
    import shlex

    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"words as in a shell ({error})") from error


def identifier(text: str) -> str:
    """The name of a schema, taken as it is."""
    name = text.strip()
    if not name or len(name.encode()) > 63 or "\x00" in name:
        raise ValueError("a schema name of 1 to 63 bytes")
    return name


def search_path(text: str) -> str:
    """A search_path as after SET, taken as it is once `schemas` can read it."""
    schemas(text)
    return text.strip()


def schemas(text: str) -> tuple[str, ...]:
    """`app, "We ird", $user` → the names in it. Raises `ValueError`."""
    import re

    blank = r"[ \t\r\n\f]*"
    item = re.compile(rf'{blank}(?:"((?:[^"\0]|"")+)"|(\$user|[^\W\d][\w$]*)){blank}(,|\Z)', re.IGNORECASE)
    names: list[str] = []
    end, more = 0, True
    while more:
        found = item.match(text, end)
        name = "" if found is None else found[1].replace('""', '"') if found[1] else _folded(found[2])
        if found is None or len(name.encode("utf-8", "surrogateescape")) > 63:
            raise ValueError('names of schemas with commas between, as after SET search_path: app, "My Schema", public')
        names.append(name)
        end, more = found.end(), found[3] == ","
    return tuple(names)


def _folded(name: str) -> str:
    """An unquoted name as PostgreSQL reads it: only ASCII letters have a lower case there."""
    return "".join(sign.lower() if sign.isascii() else sign for sign in name)


def plain(text: str) -> str:
    """Any text but the empty one."""
    if not text.strip():
        raise ValueError("some text")
    return text.strip()
