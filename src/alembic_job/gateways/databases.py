"""Databases of a server as wholes, seen from beside them: found, made and dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import NamedTuple

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from alembic_job.dsn import Dsn
from alembic_job.errors import BackupNotWritten, JobError, LoginFailed, Refused, SettingsError
from alembic_job.gateways import postgres
from alembic_job.gateways.postgres import query
from alembic_job.logs.events import Log
from alembic_job.patience import within

_LONGEST_NAME = 63  # bytes; PostgreSQL cuts longer ones off
_DROPPING = 15.0  # seconds; a DROP DATABASE waits for a checkpoint
# Kinds of collation: PostgreSQL's letter → its name, the setting that names the locale, the first major that has it.
_PROVIDERS = {"c": ("libc", "", 15), "i": ("icu", "ICU_LOCALE", 15), "b": ("builtin", "BUILTIN_LOCALE", 17)}
# What CREATE DATABASE says of locales, collations and encodings that the server lacks or that do not go together.
_NO_SUCH_LOCALE = ("0A000", "22023", "42602", "42704", "42809", "42P17")


def at(dsn: Dsn, name: str) -> Dsn:
    """The same login at another database of the same server."""
    return Dsn({**dsn.parameters, "dbname": name}, dsn.scheme, dsn.query, dsn.password_command)


def with_suffix(name: str, suffix: str) -> str:
    """A database's name with a suffix, cut before it so that PostgreSQL takes the whole."""
    return name.encode()[: _LONGEST_NAME - len(suffix.encode())].decode(errors="ignore") + suffix


def beside(dsn: Dsn, database: str, application_name: str) -> Connection:
    """A connection to another database of the server: `postgres`, else `template1`, else that very one.

    Raises `psycopg2.OperationalError`, and `JobError` where no password can be had.
    """
    for name in ("postgres", "template1"):
        try:
            if name != database:
                return postgres.connect(at(dsn, name), application_name)
        except psycopg2.OperationalError as error:
            if postgres.connect_error(error).kind is not LoginFailed:  # it would be the same for any other
                raise
    return postgres.connect(at(dsn, database), application_name)


def exists(connection: Connection, name: str) -> bool:
    """True if the server has a database of that name."""
    return bool(query(connection, "SELECT 1 FROM pg_database WHERE datname = %s", name))


def filled(connection: Connection, text: str, *parts: sql.Composable) -> str:
    """Fills `{}` with quoted parts. Names may hold a `%`, so nothing of it goes through psycopg2's arguments."""
    return str(sql.SQL(text).format(*parts).as_string(connection))


class Rescue(NamedTuple):
    """How things are put right after a failure.

    `connect` gives a new connection beside the databases at work; after `settle` nothing interrupts any more.
    """

    connect: Callable[[], Connection]
    settle: Callable[[], None]


@contextmanager
def made(
    connection: Connection, name: str, locale: Mapping[str, str | None], rescue: Rescue, log: Log
) -> Iterator[None]:
    """An empty database, which is dropped again if what is done with it fails or is interrupted.

    Raises `Refused` (26) if the name is taken, `LoginFailed` (21), `SettingsError` (20) for a locale that the server
    lacks, `BackupNotWritten` (15: disk full).
    """
    with connection.cursor() as cursor:
        try:
            _create(connection, cursor, name, locale)
            yield
        except BaseException:
            # The server's own last word tells whether it was we who made it, also if a signal came at that moment.
            if cursor.statusmessage == "CREATE DATABASE":
                rescue.settle()
                _drop(rescue.connect, name, log)
            raise


def _create(connection: Connection, cursor: Cursor, name: str, locale: Mapping[str, str | None]) -> None:
    clauses = list(_clauses(locale, connection.server_version // 10_000))
    text = " ".join(["CREATE DATABASE {} TEMPLATE template0", *(f"{keyword} {{}}" for keyword, _ in clauses)])
    statement = filled(connection, text, sql.Identifier(name), *(sql.Literal(value) for _, value in clauses))
    try:
        cursor.execute(statement)
    except psycopg2.Error as error:
        if known := _creation_error(error, name, locale):
            raise known from error
        raise


def _clauses(locale: Mapping[str, str | None], major: int) -> Iterator[tuple[str, str]]:
    """Encoding and locale as CREATE DATABASE takes them. Raises `SettingsError` for a provider of a newer server."""
    provider, setting, since = _PROVIDERS.get(locale.get("provider") or "c", ("libc", "", 15))
    if provider != "libc" and major < since:
        raise SettingsError(
            f"the backup's database has a locale of the provider {provider}, which PostgreSQL {major} cannot make",
            hint=f"restore it on a server of major {since} or newer",
        )
    pairs = [("ENCODING", "encoding"), ("LC_COLLATE", "collate"), ("LC_CTYPE", "ctype")]
    if major >= 15:
        yield "LOCALE_PROVIDER", provider
        pairs += [(setting, "locale")] if setting else []
    yield from ((keyword, value) for keyword, key in pairs if (value := locale.get(key)))


def _creation_error(error: psycopg2.Error, name: str, locale: Mapping[str, str | None]) -> JobError | None:
    """What a failed CREATE DATABASE means; `None` for anything that is not about the database to be made."""
    code, said = error.pgcode, " ".join(str(error).split())
    if code in ("42P04", "23505"):
        return taken(name)
    if code == "42501":
        return LoginFailed(
            f"the role may not make a database: {said}",
            hint="ALTER ROLE … CREATEDB, or restore with another role in DATABASE_URL",
        )
    if code == "53100":
        return BackupNotWritten(f"the server's disk is full: {said}", hint="make room there; nothing was changed")
    if code in _NO_SUCH_LOCALE:
        wanted = ", ".join(f"{key} {value}" for key, value in locale.items() if value)
        return SettingsError(
            f"the server cannot make a database like the one that was backed up ({wanted}): {said}",
            hint="install that locale on the server and restart it, or restore on a server that has it",
        )
    return None


def taken(name: str) -> Refused:
    """The error for a database that is there already."""
    return Refused(
        f"there is a database {name} already",
        hint="restore into another one with --into, or drop it first if nobody needs it; nothing was touched",
    )


def _drop(connect: Callable[[], Connection], name: str, log: Log) -> None:
    """Drops a database with whoever is in it, by a connection of its own: the other one may be what failed."""
    try:
        with closing(connect()) as connection, within(_DROPPING):
            query(connection, filled(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", sql.Identifier(name)))
    except (psycopg2.Error, JobError) as error:
        log.warning(
            "restore.not_removed",
            database=name,
            message=f"the unfinished database {name} could not be dropped: {' '.join(str(error).split())}",
            hint=f'DROP DATABASE "{name}" WITH (FORCE)',
        )
