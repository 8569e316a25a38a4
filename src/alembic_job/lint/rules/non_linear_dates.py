"""A revision that is older than what it follows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePath

from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree

_CREATED = re.compile(r"^Create Date:\s*(\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d)?)", re.MULTILINE)
_NAMED = re.compile(r"(\d{4})[-_]?([01]\d)[-_]?([0-3]\d)(?=[-_T])")


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """By the date in the docstring; else, where both have one, in the files' names."""
    for name in revision.follows:
        before = tree.by_id.get(name)
        if before is None or before is revision:
            continue
        for kind, read in (("Create Date", _created), ("the date in its file's name", _named)):
            own, other = read(revision), read(before)
            if own is not None and other is not None:
                if own < other:
                    yield Spot(_line(revision), f"{kind} is {_text(own)}, before that of {name}, {_text(other)}")
                break


def _created(revision: Revision) -> datetime | None:
    found = _CREATED.search(revision.source)
    return datetime.fromisoformat(found[1]) if found else None


def _named(revision: Revision) -> datetime | None:
    found = _NAMED.match(PurePath(revision.file).name)
    try:
        return datetime(int(found[1]), int(found[2]), int(found[3])) if found else None
    except ValueError:  # it is none
        return None


def _text(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S}".removesuffix(" 00:00:00")


def _line(revision: Revision) -> int:
    found = _CREATED.search(revision.source)
    return revision.source.count("\n", 0, found.start()) + 1 if found else 1


RULE = Rule(
    "non-linear-dates",
    Level.WARNING,
    "A revision bears an older date than the one it follows.",
    "Files sorted by name are then not in the order in which they run, and whoever reads them is misled. It happens"
    " where a branch is rebased, and only `down_revision` is changed.",
    "Set Create Date (and the date in the file's name) to when the revision got its place; or write it anew with"
    " `alembic-job revision`.",
    '"""Add a status.\n\nRevises: 5c9a13e8f640 (created on 2025-02-03)\nCreate Date: 2025-01-20 10:00:00\n"""',
    check,
)
