"""Revisions that a version table holds and these scripts lack: what the history knows of where their files may be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alembic_job.errors import RevisionUnknown
from alembic_job.gateways.history import Archived, History

_GONE = "if it is gone for good and the schema is right, `alembic-job stamp --purge head` forgets it"


def lacking(history: History | None, label: str, unknown: Iterable[str]) -> RevisionUnknown:
    """The error (28) of a command that cannot do without them. Raises `psycopg2.Error`."""
    unknown = sorted(unknown)
    recorded = history.scripts() if history is not None else {}
    applied = {row["revision"]: row for row in history.applied() if not row["down"]} if history is not None else {}
    told = [revision + _told(recorded.get(revision), applied.get(revision)) for revision in unknown]
    first = unknown[0]
    kept = recorded.get(first)
    where = f"look for its file in other branches: `git log --all --oneline -- '*{first}*'`"
    if kept is not None and kept.source is not None:
        where += "; its text is kept in the history as well (table scripts, column source)"
    elif not recorded.get(first):
        where += "; the history does not know it: was it applied by another program, or is this another database?"
    return RevisionUnknown(
        f"Can't locate revision identified by {', '.join(map(repr, unknown))}: {label} holds {'; '.join(told)},"
        " these scripts lack it",
        hint=f"{where}; {_GONE}",
        unknown=unknown,
    )


def _told(recorded: Archived | None, applied: dict[str, Any] | None) -> str:
    """What is known of one, in brackets."""
    words = [f"{recorded.message!r}"] if recorded is not None and recorded.message else []
    if applied is not None:
        when = applied["finished_at"].strftime("%Y-%m-%d %H:%M")
        by = applied["image"] or f"alembic-job {applied['job_version']}"
        words.append(f"applied {when} by {by} on {applied['host']}")
    return f" ({', '.join(words)})" if words else ""
