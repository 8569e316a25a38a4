"""Command lines as people may see them: without what looks like a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable

from alembic_job.logs.lines import MASK, Redactor

_NAME = r"(?:pass(?:word|wd|phrase)?|secret|token|credentials?|(?:api|access|private)[_-]?key)"
_GIVEN = re.compile(rf"^((?:-*|.*[\W_])[\w-]*{_NAME}[\w-]*\s*[=:]\s*).+$", re.IGNORECASE | re.DOTALL)  # NAME=VALUE
_ASKS = re.compile(rf"^--?[\w-]*{_NAME}$", re.IGNORECASE)  # --password VALUE
_LOGIN = ("-u", "--user", "--proxy-user")  # curl's: NAME:PASSWORD
_BEARER = re.compile(r"((?:Bearer|Basic)\s+)\S+", re.IGNORECASE)


def without_secrets(words: Iterable[str]) -> list[str]:
    """The words, with `***` in the place of values that their names, or the options before them, call secrets."""
    shown: list[str] = []
    before = ""
    for word in words:
        if _ASKS.match(before):
            shown.append(MASK)
        elif before in _LOGIN and ":" in word:
            shown.append(f"{word.partition(':')[0]}:{MASK}")
        elif found := _GIVEN.match(word):
            shown.append(f"{found[1]}{MASK}")
        else:
            shown.append(Redactor().text(_BEARER.sub(rf"\1{MASK}", word)))
        before = word
    return shown
