"""What of squawk's findings is said, and of which line.

squawk reads a text of SQL alone. What the job does around each statement makes some of its rules moot, others are
matters of taste: so the rules that count are listed here, and new ones of its come in when they were looked at.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from alembic_job.lint.changes import DML
from alembic_job.lint.model import Finding, Level, Revision, Tree, Written
from alembic_job.rules.tree import nodes

# Each of squawk's rules that counts, and what it is about.
SAID = {
    "adding-field-with-default": "a column is added with a default that writes the table anew",
    "adding-foreign-key-constraint": "a foreign key is added that reads both tables under their locks",
    "adding-not-nullable-field": "a column is set NOT NULL without a CHECK, so the table is read under its lock",
    "adding-required-field": "a column is added NOT NULL without a default",
    "adding-serial-primary-key-field": "a serial primary key is added to a table that is there",
    "ban-alter-domain-with-add-constraint": "a domain gets a constraint, which reads all tables that use it",
    "ban-char-field": "`char(n)` pads with blanks",
    "ban-create-domain-with-constraint": "a domain is made with a constraint, which is hard to change later",
    "ban-drop-database": "a database is dropped",
    "ban-truncate-cascade": "TRUNCATE empties tables that it does not name",
    "changing-column-type": "a column's type is changed, which mostly writes the table anew",
    "constraint-missing-not-valid": "a constraint is added that reads the table under its lock",
    "disallowed-unique-constraint": "a unique constraint is added that builds its index under a lock",
    "identifier-too-long": "a name is longer than PostgreSQL keeps",
    "prefer-repack": "VACUUM FULL or CLUSTER writes a table anew under its lock",
    "prefer-timestamp-tz": "a time without time zone is kept",
    "renaming-column": "a column is renamed under the application that runs",
    "renaming-table": "a table is renamed under the application that runs",
    "require-concurrent-index-creation": "an index is built under a lock that blocks writes",
    "require-concurrent-index-deletion": "an index is dropped under a lock that blocks reads",
    "require-concurrent-partition-detach": "a partition is detached under a lock that blocks reads",
    "require-concurrent-reindex": "an index is built anew under a lock",
}
# And why those of its default rules that are left out are.
LEFT_OUT = {
    "ban-concurrent-index-creation-in-transaction": "`not-transactional` says it, for all such statements",
    "ban-drop-column": "what no release uses any more has to go; `plan` and a rollback count what is lost",
    "ban-drop-not-null": "whether an older release minds, SQL cannot tell",
    "ban-drop-table": "as `ban-drop-column`",
    "ban-uncommitted-transaction": "Alembic commits",
    "prefer-bigint-over-int": "a matter of the model's design",
    "prefer-bigint-over-smallint": "a matter of the model's design",
    "prefer-identity": "SQLAlchemy renders its default integer key as serial",
    "prefer-robust-stmts": "a revision is undone as a whole, or gone on with where it was",
    "prefer-text-field": "a matter of the model's design; a longer varchar(n) is no rewrite",
    "require-lock-timeout": "the job never queues for a lock",
    "require-statement-timeout": "the job gives locks back that others wait behind, and has a deadline",
    "require-timeout-settings": "as the two above",
    "syntax-error": "`invalid-sql` says it",
    "transaction-nesting": "`commits-itself` says it",
}

_ROWS = DML | {"SelectStmt"}


class Script(NamedTuple):
    """A revision's upgrade as one text, and the line in it at which each statement begins."""

    revision: Revision
    text: str
    starts: tuple[int, ...]
    statements: tuple[Written, ...]


def script(revision: Revision) -> Script | None:
    """What squawk is to read of a revision; `None` if there is nothing but changes of rows."""
    chosen = [each for each in revision.up.statements if any(item.kind not in _ROWS for item in each.parsed)]
    if not chosen:
        return None
    starts, texts, line = [], [], 1
    for written in chosen:
        starts.append(line)
        texts.append(f"{written.sql}\n;\n")
        line += written.sql.count("\n") + 2
    return Script(revision, "".join(texts), tuple(starts), tuple(chosen))


def finding(script: Script, tree: Tree, line: int, rule: str, message: str) -> Finding | None:
    """A complaint about a line of the text, at the line of Python; `None` if it is not one that counts."""
    written = script.statements[max(bisect_right(script.starts, line) - 1, 0)]
    if rule not in SAID or (rule == "adding-not-nullable-field" and _is_proven(written, tree)):
        return None
    at = script.revision
    return Finding(f"squawk/{rule}", Level.WARNING, message, at.file, max(written.line, 1), at.revision)


def _is_proven(written: Written, tree: Tree) -> bool:
    """True if some script has a CHECK that a column which is set NOT NULL is not: then nothing is read under the lock.

    squawk knows of that only within one text, but it takes several revisions to do it well.
    """
    commands = [command for each in written.parsed for command in nodes(each.node, "AlterTableCmd")]
    names = [command["name"] for command in commands if command["subtype"] == "AT_SetNotNull"]
    return all(any(_CHECK.format(name) in _plain(each.source) for each in tree.revisions) for name in names)


_CHECK = "{} IS NOT NULL"


def _plain(source: str) -> str:
    return source.replace('"', "")
