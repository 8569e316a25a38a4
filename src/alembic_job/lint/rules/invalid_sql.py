"""SQL that PostgreSQL cannot read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree

_PARAMETER = re.compile(r"(?<![:\w]):[A-Za-z_]\w*|%\(\w+\)s|%s|\$\{|^\\", re.MULTILINE)


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """In both ways; but not what has parameters in it still, which are filled in later."""
    for side in (revision.up, revision.down):
        for written in side.statements:
            if written.error and not _PARAMETER.search(written.sql):
                yield Spot(written.line, f"PostgreSQL cannot read this: {written.error}")


RULE = Rule(
    "invalid-sql",
    Level.ERROR,
    "PostgreSQL's grammar does not accept a statement.",
    "It fails wherever it is run. The grammar is that of PostgreSQL 18, which reads all that older ones do.",
    "Correct the statement.",
    'op.execute("UPDATE orders SET status 1")',
    check,
)
