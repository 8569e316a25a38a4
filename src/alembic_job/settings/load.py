"""Settings from flags, the environment and files: flag over environment over alembic.ini, each with its origin."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alembic_job import dsn, dump_arguments
from alembic_job.dsn import Dsn
from alembic_job.errors import SettingsError
from alembic_job.settings.table import BY_VARIABLE, SETTINGS, Setting

# What Kubernetes injects for a Service called migrate or migrate-…
_SERVICE_LINK = re.compile(
    r"(_SERVICE_HOST|_SERVICE_PORT(_[A-Z0-9_]+)?|_PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)$"
)
EMBEDDED = "embedded"  # as MIGRATE_REHEARSAL_URL
_LIBPQ_PLACE = ("PGHOST", "PGHOSTADDR", "PGDATABASE", "PGSERVICE")


class Settings:
    """What is in force. One attribute a row of `settings.table`, e.g. `settings.wait_timeout` (seconds).

    `origins` says where each came from, `warnings` what looked odd. Build it with `Settings.load`, or in a program
    with keyword arguments of parsed values: `Settings(database_url="postgresql://…", wait_timeout=30)`.
    """

    database_url: str | None
    database_direct_url: str | None
    password_command: tuple[str, ...] | None
    config_file: str | None
    to: str | None
    section: str | None
    x: tuple[str, ...] | None
    tag: str | None
    wait_timeout: float
    login_grace: float
    run_lock_timeout: float
    image: str | None
    lock_policy: str
    table_lock_timeout: float
    max_lock_hold: float | None
    terminate_blockers: float | None
    log_queries: str
    heartbeat: float
    server_disk: int | None
    role: str | None
    search_path: str | None
    migrations_timeout: float
    deadline: float | None
    transaction: str
    backup: str
    backup_url: str | None
    backup_verify: str
    backup_jobs: int
    backup_compress: str | None
    backup_args: tuple[str, ...] | None
    backup_keep: int | None
    backup_keep_for: float | None
    backup_encrypt_to: tuple[str, ...] | None
    backup_identity: str | None
    rehearsal_url: str | None
    pg_bindir: str | None
    when_ahead: str
    archive: str
    when_edited: str
    lint: str
    foreign: tuple[str, ...] | None
    new_database: str
    history: str
    history_schema: str
    before: tuple[str, ...] | None
    before_when: str
    after: tuple[str, ...] | None
    seed: tuple[str, ...] | None
    production: str
    development_hosts: tuple[str, ...]
    notify: tuple[str, ...] | None
    notify_on: frozenset[str]
    log_format: str
    log_level: str
    termination_log: str
    report: str | None
    skip: str | None

    def __init__(self, **given: Any) -> None:
        self.origins: dict[str, str] = {}
        self.warnings: list[str] = []
        for setting in SETTINGS:
            value = setting.parse(setting.default) if setting.default is not None else None
            self.origins[setting.name] = "argument" if setting.name in given else "default"
            setattr(self, setting.name, given.pop(setting.name, value))
        if given:
            raise TypeError(f"unknown settings: {', '.join(sorted(given))}")

    @classmethod
    def load(cls, flags: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
        """Reads flags (setting name → text) over the environment. Raises `SettingsError` naming what is wrong."""
        environ = os.environ if environ is None else environ
        settings = cls()
        settings.warnings = check_variables(environ)
        for setting in SETTINGS:
            text, origin = _find(setting, flags or {}, environ)
            if text is not None:
                setattr(settings, setting.name, _parse(setting, text, origin))
                settings.origins[setting.name] = origin
        settings._check()
        return settings

    def but(self, **changed: Any) -> Settings:
        """The same settings with other values for some."""
        other = copy.copy(self)
        vars(other).update(changed)
        return other

    def _check(self) -> None:
        for name in ("database_url", "database_direct_url", "rehearsal_url"):
            if (url := getattr(self, name)) not in (None, EMBEDDED):
                parse_url(url, self.origins[name])
        dump_arguments.check(self.backup_args or ())
        if self.backup == "required" and not self.backup_url:
            raise SettingsError(
                "MIGRATE_BACKUP=required, but MIGRATE_BACKUP_URL is not set",
                hint="set MIGRATE_BACKUP_URL to the folder that backups go to",
            )

    @property
    def database(self) -> Dsn | None:
        """Where DATABASE_URL, or PG* variables in its absence, lead; `None` leaves it to the project."""
        if self.database_url is not None:
            return self._asking(parse_url(self.database_url, self.origins["database_url"]))
        if any(os.environ.get(name) for name in _LIBPQ_PLACE):
            return self._asking(Dsn({}))
        return None

    @property
    def direct(self) -> Dsn | None:
        """The way around a pooler, complete: what DATABASE_DIRECT_URL leaves out is taken from DATABASE_URL."""
        if self.database_direct_url is None:
            return None
        url = parse_url(self.database_direct_url, self.origins["database_direct_url"])
        return self._asking(self.database.at(url) if self.database else url)

    @property
    def rehearsal(self) -> Dsn | None:
        """The other server that MIGRATE_REHEARSAL_URL names; `None` for the database's own and for an embedded one."""
        if self.rehearsal_url in (None, EMBEDDED):
            return None
        return parse_url(str(self.rehearsal_url), self.origins["rehearsal_url"])

    def own(self) -> Dsn | None:
        """Where the job's own connections go."""
        return self.direct or self.database

    def login(self, dsn: Dsn) -> Dsn:
        """A connection of the project's, with the password command if it leads to the database as the same user.

        Where no DATABASE_URL names the database: also if it has no password of its own.
        """
        ours = [place for place in (self.database, self.direct) if place is not None]
        unnamed = self.database_url is None and not dsn.password
        if self.password_command and (unnamed or any(dsn.is_login_of(place, os.environ) for place in ours)):
            return dsn.asking(self.password_command)
        return dsn

    def _asking(self, dsn: Dsn) -> Dsn:
        return dsn.asking(self.password_command) if self.password_command else dsn


def _find(setting: Setting, flags: Mapping[str, str], environ: Mapping[str, str]) -> tuple[str | None, str]:
    if flags.get(setting.name) is not None:
        return flags[setting.name], f"flag {setting.option}"
    file = environ.get(f"{setting.variable}_FILE")
    if file:
        if environ.get(setting.variable):
            raise SettingsError(
                f"both {setting.variable} and {setting.variable}_FILE are set",
                hint=f"keep one: unset {setting.variable} to read it from the file",
            )
        return _read(setting, file), f"file {file} ({setting.variable}_FILE)"
    value = environ.get(setting.variable)
    # An empty variable counts as unset: compose files and charts render an absent value so.
    return (value, f"environment {setting.variable}") if value else (None, "default")


def _read(setting: Setting, file: str) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(
            f"{setting.variable}_FILE={file} cannot be read: {reason}",
            hint="check that the secret is mounted there and readable by this user",
        ) from error
    if not text:
        raise SettingsError(
            f"{setting.variable}_FILE={file} is empty", hint="put the value into that file, or unset the variable"
        )
    return text


def _parse(setting: Setting, text: str, origin: str) -> Any:
    try:
        return setting.parse(text)
    except ValueError as error:
        shown = "" if setting.secret else f"={text!r}"
        where = setting.option if origin.startswith("flag") else setting.variable
        raise SettingsError(f"{where}{shown} is not {error}", hint=f"give {where} {error}") from error


def parse_url(url: str, origin: str) -> Dsn:
    """A URL from this origin as a `Dsn`. Raises `SettingsError`, which never repeats the URL."""
    try:
        return dsn.parse(url)
    except dsn.MalformedUrl as error:
        # `from None`: the traceback's locals and chain must not lead to the URL.
        name = origin.rsplit(maxsplit=1)[-1].strip("()")
        raise SettingsError(
            f"the database URL from {origin} cannot be used: {error}",
            hint=f"correct {name}; `@`, `:`, `/` and `%` in a password are written %40, %3A, %2F and %25",
        ) from None


def check_variables(environ: Mapping[str, str]) -> list[str]:
    """Finds misspelt settings: near a known name → `SettingsError`; far from all → one warning for all of them."""
    from difflib import get_close_matches

    unknown = [name for name in environ if name.startswith("MIGRATE_") and not _known(name, environ[name])]
    names = [*BY_VARIABLE, *(f"{name}_FILE" for name in BY_VARIABLE)]
    for name in sorted(unknown):
        if near := get_close_matches(name, names, n=1, cutoff=0.84):
            raise SettingsError(f"unknown variable {name}", hint=f"did you mean {near[0]}?")
    if not unknown:
        return []
    return [f"unknown variables are ignored: {', '.join(sorted(unknown))}"]


def _known(name: str, value: str) -> bool:
    if name in BY_VARIABLE or name.removesuffix("_FILE") in BY_VARIABLE:
        return True
    return _SERVICE_LINK.search(name) is not None or value.startswith(("tcp://", "udp://", "sctp://"))
