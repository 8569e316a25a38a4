"""An event as one line of JSON, without secrets. Imported by the shortest run, so it imports next to nothing."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterable
from typing import Any

# Written by us, never by the project: masking there would only confuse (a password that equals the user's name).
_PLAIN_FIELDS = frozenset(
    "timestamp level event run_id command outcome exit_code applied from to version revision down_revision "
    "database host user table schema origin pid duration_seconds".split()
)
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str, check_circular=False)
_LINE_BREAKS = {ord(char): f"\\u{ord(char):04x}" for char in (*map(chr, range(0x7F, 0xA0)), "\u2028", "\u2029")}
MASK = "***"


def timestamp() -> str:
    """Now, as RFC 3339 in UTC with microseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second(seconds)}.{nanoseconds // 1000:06d}Z"


@functools.lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def encode(event: dict[str, Any]) -> str:
    """One line of JSON without its newline; values that JSON lacks become text. Readers may split at any line break."""
    line = _ENCODER.encode(event)
    if line.isascii() and "\x7f" not in line:
        return line
    return line.translate(_LINE_BREAKS)


class Redactor:
    """Knows the run's secrets and masks them in every free text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: list[str] = []
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Learns a secret, as it is and as it stands in a URL. Shorter than three characters it is no secret."""
        if len(secret) < 3:
            return
        spellings = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]}
        if not secret.isalnum():
            from urllib.parse import quote, quote_plus

            spellings |= {quote(secret), quote(secret, safe=""), quote_plus(secret)}
        # The longest first, so that no part of a longer spelling stays behind.
        self._secrets = sorted({*self._secrets, *spellings}, key=len, reverse=True)

    def text(self, text: str) -> str:
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        return _mask_login(text) if "://" in text else text

    def event(self, event: dict[str, Any]) -> dict[str, Any]:
        return {key: value if key in _PLAIN_FIELDS else self._value(value) for key, value in event.items()}

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self._value(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(part) for part in value]
        return value


def _mask_login(text: str) -> str:
    """`scheme://user:password@host` → `scheme://user:***@host`, for URLs we were never told about."""
    import re

    return re.sub(r"(://[^\s:/@'\"]*:)[^\s'\"]*?(@)(?=[^\s@'\"]*(?:[\s'\"]|$))", rf"\1{MASK}\2", text)
