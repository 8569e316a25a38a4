"""What MIGRATE_BACKUP_ARGS may say to pg_dump: that which the proof of a backup can follow, and nothing that the job
sets itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

from alembic_job.errors import SettingsError

# Those with a value; and whether something of the database is missing from the backup then.
_WITH_VALUE = {
    "--exclude-schema": True,
    "--exclude-table-data": True,
    "--exclude-table-data-and-children": True,
    "--lock-wait-timeout": False,
}
_ALONE = (
    "--no-blobs",
    "--no-comments",
    "--no-large-objects",
    "--no-privileges",
    "--no-publications",
    "--no-security-labels",
    "--no-subscriptions",
    "--no-unlogged-table-data",
)
_CONNECTION = "DATABASE_URL leads to the database"
_SCHEMAS = (
    "leave schemas out with --exclude-schema: a dump of chosen ones has no extensions, and cannot be restored into an"
    " empty database"
)
_TABLES = "keep the table, and leave out its rows with --exclude-table-data"
_OTHERWISE = {
    "-d": _CONNECTION,
    "--dbname": _CONNECTION,
    "-h": _CONNECTION,
    "--host": _CONNECTION,
    "-p": _CONNECTION,
    "--port": _CONNECTION,
    "-U": _CONNECTION,
    "--username": _CONNECTION,
    "-w": _CONNECTION,
    "--no-password": _CONNECTION,
    "-W": _CONNECTION,
    "--password": _CONNECTION,
    "-f": "MIGRATE_BACKUP_URL says where to",
    "--file": "MIGRATE_BACKUP_URL says where to",
    "-F": "MIGRATE_BACKUP_JOBS above 1 makes each backup a folder",
    "--format": "MIGRATE_BACKUP_JOBS above 1 makes each backup a folder",
    "-j": "use MIGRATE_BACKUP_JOBS",
    "--jobs": "use MIGRATE_BACKUP_JOBS",
    "-Z": "use MIGRATE_BACKUP_COMPRESS",
    "--compress": "use MIGRATE_BACKUP_COMPRESS",
    "-n": _SCHEMAS,
    "--schema": _SCHEMAS,
    "-t": _TABLES,
    "--table": _TABLES,
    "-T": _TABLES,
    "--exclude-table": _TABLES,
    "-N": "write --exclude-schema=PATTERN",
}
# A word as pg_dump reads it with `*` and `?`, or a quoted name as it is. All else it would take for an expression.
_PATTERN = re.compile(r'[A-Za-z0-9_*?]+|"(?:[^"]|"")+"')


def check(words: Sequence[str]) -> None:
    """Raises `SettingsError` (20) for a word that is not among those a backup can be given."""
    for word in words:
        name, equals, value = word.partition("=")
        if name in _WITH_VALUE and not value:
            raise _refused(word, f"give it its value in the same word: {name}=…")
        if name not in _WITH_VALUE and (name not in _ALONE or equals):
            short = word[:2] if re.match(r"-[^-]", word) else name
            known = ", ".join([*(f"{each}=…" for each in _WITH_VALUE), *_ALONE])
            raise _refused(word, _OTHERWISE.get(short, f"there are {known}"))
        if name == "--exclude-schema" and not _PATTERN.fullmatch(value):
            raise _refused(word, 'give a name of letters, digits and _, perhaps with * and ?, or a quoted one: "a-b"')


def _refused(word: str, hint: str) -> SettingsError:
    return SettingsError(f"MIGRATE_BACKUP_ARGS: {word} cannot be given to pg_dump here", hint=hint)


def is_partial(words: Sequence[str]) -> bool:
    """True if a dump with these lacks something that the database has."""
    return any(_WITH_VALUE.get(word.partition("=")[0], True) for word in words)


def excludes(words: Sequence[str], schema: str) -> bool:
    """True if pg_dump leaves out that schema, by its rules for patterns."""
    return any(
        re.fullmatch(_expression(value), schema, re.DOTALL) is not None
        for name, _, value in (word.partition("=") for word in words)
        if name == "--exclude-schema"
    )


def _expression(pattern: str) -> str:
    if pattern.startswith('"'):
        return re.escape(pattern[1:-1].replace('""', '"'))
    return pattern.lower().replace("*", ".*").replace("?", ".")
