"""Every setting, once. The loader, the command line's options, `config` and the reference page are made from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from alembic_job.settings import values


class Setting(NamedTuple):
    """One setting: `name` in Python and, with dashes, as option; `variable` in the environment."""

    name: str
    variable: str
    parse: Callable[[str], Any]
    default: str | None
    help: str
    secret: bool = False
    flag: bool = True

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")


_D = values.duration

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "database_url",
        "DATABASE_URL",
        values.plain,
        None,
        "The database. Unset: libpq's PG* variables, then the project's own way.",
        True,
    ),
    Setting(
        "database_direct_url",
        "DATABASE_DIRECT_URL",
        values.plain,
        None,
        "The way around a pooler to the same database, for the lock, the backup and the migrations.",
        True,
    ),
    Setting(
        "password_command",
        "MIGRATE_PASSWORD_COMMAND",
        values.words,
        None,
        "A command whose output is the database's password, asked anew for new connections (no shell). It goes over a password in the URL.",
    ),
    Setting(
        "config_file",
        "ALEMBIC_CONFIG",
        values.plain,
        None,
        "Path of alembic.ini or pyproject.toml; as -c. Unset: alembic.ini here, else pyproject.toml with [tool.alembic], else alembic/alembic.ini or migrations/alembic.ini.",
        flag=False,
    ),
    Setting(
        "to",
        "MIGRATE_TO",
        values.plain,
        None,
        "Revision to upgrade to: an id, head, heads, label@head, +1. Unset: head.",
    ),
    Setting("section", "MIGRATE_SECTION", values.plain, None, "Section of the ini file; as -n.", flag=False),
    Setting(
        "x", "MIGRATE_X", values.words, None, "KEY=VALUE arguments for env.py, split as by a shell; as -x.", flag=False
    ),
    Setting("tag", "MIGRATE_TAG", values.plain, None, "Tag for env.py; as --tag.", flag=False),
    Setting("wait_timeout", "MIGRATE_WAIT_TIMEOUT", _D, "60s", "How long to wait for the database."),
    Setting(
        "login_grace",
        "MIGRATE_LOGIN_GRACE",
        _D,
        "5s",
        "How long a refused login or a missing database is tried again, for services that create them late.",
    ),
    Setting("run_lock_timeout", "MIGRATE_RUN_LOCK_TIMEOUT", _D, "10m", "How long to wait for another runner."),
    Setting(
        "image",
        "MIGRATE_IMAGE",
        values.plain,
        None,
        "What this run is, for those who wait for it: the image's name. The chart sets it.",
    ),
    Setting(
        "lock_policy",
        "MIGRATE_LOCK_POLICY",
        values.one_of("never-queue", "off"),
        "never-queue",
        "How a statement gets a lock that the application would wait behind: polled for, or (off) as PostgreSQL does it.",
    ),
    Setting(
        "table_lock_timeout",
        "MIGRATE_TABLE_LOCK_TIMEOUT",
        _D,
        "10m",
        "How long a run tries to get locks on tables, over all its statements.",
    ),
    Setting(
        "max_lock_hold",
        "MIGRATE_MAX_LOCK_HOLD",
        values.duration_or_off,
        "5s",
        "How long other sessions may wait behind a lock of ours before the statement is cancelled and its revision undone; off: for ever.",
    ),
    Setting(
        "terminate_blockers",
        "MIGRATE_TERMINATE_BLOCKERS",
        values.terminate_blockers,
        None,
        "Sessions in the way that may be ended: idle-in-transaction>60s (idle for longer than that in an open transaction). Unset: none.",
    ),
    Setting(
        "log_queries",
        "MIGRATE_LOG_QUERIES",
        values.one_of("on", "off"),
        "on",
        "Show what sessions in the way execute, in events and errors; off where statements hold secrets.",
    ),
    Setting(
        "heartbeat",
        "MIGRATE_HEARTBEAT",
        _D,
        "5s",
        "How often a long statement's progress, and who is in the way, is logged.",
    ),
    Setting(
        "server_disk",
        "MIGRATE_SERVER_DISK",
        values.size_or_off,
        None,
        "How large the disk of the server's data is, such as 500GiB: what cannot fit there any more is not begun. Unset: known only where the data directory is on this machine; off: not looked at.",
    ),
    Setting(
        "role",
        "MIGRATE_ROLE",
        values.plain,
        None,
        "SET ROLE to this on every connection of the project: the owner of what it makes.",
    ),
    Setting(
        "search_path",
        "MIGRATE_SEARCH_PATH",
        values.search_path,
        None,
        "search_path of the project's connections, as after SET: app, public.",
    ),
    Setting(
        "migrations_timeout",
        "MIGRATE_MIGRATIONS_TIMEOUT",
        _D,
        "10m",
        "How long wait-for-migrations waits for the database to be at what these scripts need.",
    ),
    Setting(
        "deadline", "MIGRATE_DEADLINE", _D, None, "Bound for the whole run; every other budget is cut to what is left."
    ),
    Setting(
        "transaction",
        "MIGRATE_TRANSACTION",
        values.one_of("per-revision", "all", "project"),
        "per-revision",
        "One transaction a revision, one for all, or as env.py says.",
    ),
    Setting(
        "backup",
        "MIGRATE_BACKUP",
        values.one_of("auto", "off", "required"),
        "auto",
        "A proven pg_dump before the first change. auto: when MIGRATE_BACKUP_URL is set.",
    ),
    Setting(
        "backup_url",
        "MIGRATE_BACKUP_URL",
        values.plain,
        None,
        "Where backups go: a folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.",
    ),
    Setting(
        "backup_verify",
        "MIGRATE_BACKUP_VERIFY",
        values.one_of("read", "list", "restore"),
        "read",
        "How a backup is proven. read: to its last byte, rows counted; list: by its table of contents alone; restore: read, then restored into a scratch database (where MIGRATE_REHEARSAL_URL says) and counted there.",
    ),
    Setting(
        "backup_jobs",
        "MIGRATE_BACKUP_JOBS",
        values.count,
        "1",
        "Tables dumped at the same time; more than one make each backup a folder instead of a file.",
    ),
    Setting(
        "backup_compress",
        "MIGRATE_BACKUP_COMPRESS",
        values.plain,
        None,
        "As pg_dump's --compress: 0 to 9; zstd:3, lz4, gzip:6 or none from pg_dump 16 on. Unset: pg_dump's own.",
    ),
    Setting(
        "backup_args",
        "MIGRATE_BACKUP_ARGS",
        values.words,
        None,
        "Further arguments of pg_dump, such as --exclude-table-data=audit.*; of a backup that lacks something by them, the manifest says partial.",
    ),
    Setting(
        "backup_keep",
        "MIGRATE_BACKUP_KEEP",
        values.count,
        None,
        "So many of the newest backups of the database stay when another was taken. Unset, as MIGRATE_BACKUP_KEEP_FOR: all.",
    ),
    Setting(
        "backup_keep_for",
        "MIGRATE_BACKUP_KEEP_FOR",
        _D,
        None,
        "Backups younger than this stay too, such as 30d; the newest of each PostgreSQL major always does.",
    ),
    Setting(
        "backup_encrypt_to",
        "MIGRATE_BACKUP_ENCRYPT_TO",
        values.words,
        None,
        "Recipients of age (age1…, with blanks between) that backups are encrypted to before they leave the job.",
    ),
    Setting(
        "backup_identity",
        "MIGRATE_BACKUP_IDENTITY",
        values.plain,
        None,
        "The identity of age (AGE-SECRET-KEY-1…) that restore and backup verify decrypt with; mostly as MIGRATE_BACKUP_IDENTITY_FILE.",
        True,
        False,
    ),
    Setting(
        "rehearsal_url",
        "MIGRATE_REHEARSAL_URL",
        values.plain,
        None,
        "The server for the scratch database of `plan --rehearse` and MIGRATE_BACKUP_VERIFY=restore: a URL of a database there, or embedded. Unset: the database's own server.",
        True,
    ),
    Setting(
        "pg_bindir",
        "MIGRATE_PG_BINDIR",
        values.plain,
        None,
        "Folder of pg_dump and pg_restore. Unset: the newest on PATH and in the usual places.",
    ),
    Setting(
        "when_ahead",
        "MIGRATE_WHEN_AHEAD",
        values.one_of("fail", "tolerate", "rollback"),
        "fail",
        "The database holds a revision these scripts lack: fail with 28; tolerate it where the history proves that it descends from ours; or roll it back by the SQL that the history holds. Unset, wait-for-migrations tolerates it.",
    ),
    Setting(
        "new_database",
        "MIGRATE_NEW_DATABASE",
        values.one_of("any", "empty"),
        "any",
        "A database without a version table: empty refuses one that holds tables already.",
    ),
    Setting(
        "history",
        "MIGRATE_HISTORY",
        values.one_of("auto", "required", "off"),
        "auto",
        "The job's own schema in the database. auto: when privileges allow it.",
    ),
    Setting("history_schema", "MIGRATE_HISTORY_SCHEMA", values.identifier, "alembic_job", "Name of that schema."),
    Setting(
        "archive",
        "MIGRATE_ARCHIVE",
        values.one_of("on", "off"),
        "on",
        "Keep each applied script there with the SQL of its downgrade, so that an older image can roll back.",
    ),
    Setting(
        "when_edited",
        "MIGRATE_WHEN_EDITED",
        values.one_of("warn", "fail", "ignore"),
        "warn",
        "A script is not what it was when it was applied (comments and white space don't count): warn, or fail with 27.",
    ),
    Setting(
        "lint",
        "MIGRATE_LINT",
        values.one_of("off", "warn", "error"),
        "off",
        "Look for what is wrong with the pending revisions before the first change, as `alembic-job lint` does: warn, or refuse with 26 where a finding is an error.",
    ),
    Setting(
        "foreign",
        "MIGRATE_FOREIGN",
        values.patterns,
        None,
        "What in the database belongs to others, so that `check` passes it over, with `--live` and without: schema.table, schema.* or *_old, with commas or blanks between.",
        flag=False,
    ),
    Setting(
        "before",
        "MIGRATE_BEFORE",
        values.words,
        None,
        "A command run under the lock before the first change (no shell).",
    ),
    Setting(
        "before_when",
        "MIGRATE_BEFORE_WHEN",
        values.one_of("pending", "always"),
        "pending",
        "Run MIGRATE_BEFORE only when something is pending, or always.",
    ),
    Setting(
        "after", "MIGRATE_AFTER", values.words, None, "A command run under the lock after the last change (no shell)."
    ),
    Setting(
        "seed",
        "MIGRATE_SEED",
        values.words,
        None,
        "What fills the database with its first rows: MODULE:FUNCTION, which gets a Session or Connection; or a command (no shell). Unset: seed() in app/seed.py, src/app/seed.py or seed.py.",
        flag=False,
    ),
    Setting(
        "production",
        "MIGRATE_PRODUCTION",
        values.one_of("auto", "yes", "no"),
        "auto",
        "Whether this is a database that `reset` and a rollback to base refuse unless told twice. auto: unless all that can be seen speaks for a desk.",
        flag=False,
    ),
    Setting(
        "development_hosts",
        "MIGRATE_DEVELOPMENT_HOSTS",
        values.words,
        "localhost 127.0.0.1 ::1 /* host.docker.internal",
        "Hosts of databases at a desk, with blanks between; `*` stands for anything, `/*` for Unix sockets. Any other is production's.",
    ),
    Setting(
        "notify",
        "MIGRATE_NOTIFY",
        values.urls,
        None,
        "Whom to tell how a run goes: Apprise URLs (slack://…, mailto://…), with blanks or commas between. Needs the extra notify.",
        True,
        flag=False,
    ),
    Setting(
        "notify_on",
        "MIGRATE_NOTIFY_ON",
        values.some_of("started", "finished", "failed", "rolled-back"),
        "finished,failed,rolled-back",
        "What they are told: started, finished and rolled-back of a run that changes something, failed of any.",
    ),
    Setting(
        "log_format",
        "MIGRATE_LOG_FORMAT",
        values.one_of("auto", "json", "text"),
        "auto",
        "auto: text at a terminal, else json.",
    ),
    Setting(
        "log_level",
        "MIGRATE_LOG_LEVEL",
        values.one_of("debug", "info", "warning", "error"),
        "info",
        "Least level that is written.",
    ),
    Setting(
        "report",
        "MIGRATE_REPORT",
        values.plain,
        None,
        "Where to write the run as one HTML file: a file, or a folder (with / at its end), where it is named after the run.",
    ),
    Setting(
        "termination_log",
        "MIGRATE_TERMINATION_LOG",
        values.plain,
        "/dev/termination-log",
        "Where a job command writes how it ended, in a few words. The default is written only where it exists: in a Kubernetes pod.",
    ),
    Setting("skip", "MIGRATE_SKIP", values.plain, None, "A reason: the run then ends with 0 and touches nothing."),
)

BY_VARIABLE: dict[str, Setting] = {setting.variable: setting for setting in SETTINGS}
BY_NAME: dict[str, Setting] = {setting.name: setting for setting in SETTINGS}
