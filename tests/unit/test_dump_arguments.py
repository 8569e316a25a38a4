"""What MIGRATE_BACKUP_ARGS may say to pg_dump."""

from __future__ import annotations

import pytest

from alembic_job import dump_arguments
from alembic_job.errors import SettingsError
from alembic_job.settings import Settings

REFUSED = [
    ("--file=/tmp/x", "MIGRATE_BACKUP_URL"),
    ("-f/tmp/x", "MIGRATE_BACKUP_URL"),
    ("--format=plain", "MIGRATE_BACKUP_JOBS"),
    ("-Fp", "MIGRATE_BACKUP_JOBS"),
    ("--jobs=4", "MIGRATE_BACKUP_JOBS"),
    ("--compress=0", "MIGRATE_BACKUP_COMPRESS"),
    ("--dbname=postgresql://other", "DATABASE_URL"),
    ("--host=other", "DATABASE_URL"),
    ("-hother", "DATABASE_URL"),
    ("-W", "DATABASE_URL"),
    ("--schema=public", "--exclude-schema"),
    ("-n", "--exclude-schema"),
    ("-Naudit", "--exclude-schema=PATTERN"),
    ("--exclude-table=audit.*", "--exclude-table-data"),
    ("--schema-only", "there are"),
    ("--data-only", "there are"),
    ("--inserts", "there are"),
    ("--snapshot=1", "there are"),
    ("--quote-all-identifiers", "there are"),
    ("--enable-row-security", "there are"),
    ("--exclude-schem=audit", "there are"),
    ("--no-comments=yes", "there are"),
    ("shop", "there are"),
    ("", "there are"),
    ("--exclude-table-data", "in the same word"),
    ("--exclude-schema=", "in the same word"),
    ("--exclude-schema=audit|shop", "a quoted one"),
    ("--exclude-schema=shop.audit", "a quoted one"),
    ("--exclude-schema=b$", "a quoted one"),
]


@pytest.mark.parametrize(("word", "hint"), REFUSED)
def test_what_the_job_sets_itself_or_cannot_follow_is_refused(word: str, hint: str) -> None:
    with pytest.raises(SettingsError, match="MIGRATE_BACKUP_ARGS") as caught:
        dump_arguments.check(["--no-comments", word])
    assert hint in caught.value.hint


def test_the_setting() -> None:
    """Words as in a shell; refused when the settings are read, before anything else happens."""
    text = "--exclude-table-data='audit.\"Log 1\"' --lock-wait-timeout=5s --exclude-schema=tmp_*"
    words = Settings.load(environ={"MIGRATE_BACKUP_ARGS": text}).backup_args
    assert words == ('--exclude-table-data=audit."Log 1"', "--lock-wait-timeout=5s", "--exclude-schema=tmp_*")
    with pytest.raises(SettingsError):
        Settings.load(environ={"MIGRATE_BACKUP_ARGS": "--no-comments --clean"})


@pytest.mark.parametrize(
    ("words", "partial"),
    [
        ([], False),
        (["--lock-wait-timeout=5s"], False),
        (["--no-comments"], True),
        (["--lock-wait-timeout=5s", "--exclude-table-data=audit.*"], True),
    ],
)
def test_partial(words: list[str], partial: bool) -> None:
    assert dump_arguments.is_partial(words) == partial


PATTERNS = [
    ("audit", "audit", True),
    ("AUDIT", "audit", True),
    ("audit", "Audit", False),
    ('"Audit"', "Audit", True),
    ("audit", "audit2", False),
    ("audit*", "audit2", True),
    ("audit?", "audit", False),
    ("*_old", "shop_old", True),
    ('"a*"', "ab", False),
    ('"a*"', "a*", True),
    ('"a""b.c"', 'a"b.c', True),
]


@pytest.mark.parametrize(("pattern", "schema", "excluded"), PATTERNS)
def test_schemas_that_are_left_out(pattern: str, schema: str, excluded: bool) -> None:
    words = ["--exclude-table-data=*", f"--exclude-schema={pattern}"]
    dump_arguments.check(words)
    assert dump_arguments.excludes(words, schema) == excluded
