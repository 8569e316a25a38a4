"""What can be told of an error that came of people's rows: names, never values."""

from __future__ import annotations

import re

from alembic_job.errors import JobError
from alembic_job.gateways import postgres

_PLACE = re.compile(r" \([^()]+:\d+\)$")
_LITERAL = re.compile(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$|\b\d{5,}\b", re.DOTALL)
_DETAIL = re.compile(r"\s*\b(?:DETAIL|CONTEXT|HINT|LINE \d+):.*", re.DOTALL)
# Classes of SQLSTATE whose messages have names in them, but no values; of the last, syntax errors quote what there is.
_OF_NAMES = ("0A", "23", "25", "28", "2B", "3D", "3F", "40", "53", "54", "55", "57", "42")
_SYNTAX = "42601"


def discreet(error: JobError, reason: BaseException | None) -> JobError:
    """An error that ended a revision, by the name of what was raised, and the server's words if these have no values.

    An error of our own is as it was.
    """
    if reason is None or isinstance(reason, JobError) or "revision" not in error.fields:
        return error
    place = _PLACE.search(str(error))
    text = f"revision {error.fields['revision']} failed: {told(reason)}{place[0] if place else ''}"
    return type(error)(text, hint=error.hint, revision=error.fields["revision"])


def told(reason: BaseException) -> str:
    """What was raised: its name, the server's words, the constraint."""
    orig = getattr(reason, "orig", None)
    named = next((link for link in reversed(postgres.chain(orig)) if postgres.sqlstate(link)), orig) if orig else reason
    links = [getattr(link, "diag", None) or link for link in postgres.chain(reason)]
    code = postgres.sqlstate(reason)
    said = next((found for link in links if (found := _primary(link))), None)
    text = f": {said}" if said and code and code[:2] in _OF_NAMES and code != _SYNTAX else ""
    return f"{type(named).__name__}{text}"


def _primary(link: object) -> str | None:
    """The first line of what the server says: of psycopg, old and new, or asyncpg."""
    said = getattr(link, "message_primary", None) or getattr(link, "message", None)
    return str(said) if said else None


def without_literals(statement: str, reason: BaseException | None) -> str | None:
    """A statement without the texts and long numbers in it; `None` where it cannot be told what is a text."""
    if reason is not None and postgres.sqlstate(reason) == _SYNTAX:
        return None
    return _LITERAL.sub("'…'", statement)


def without_detail(message: str) -> str:
    """What the server says first: the rest has rows in it."""
    return _DETAIL.sub("", message)
