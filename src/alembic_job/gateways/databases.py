"""Databases of a server as wholes, seen from beside them: made, dropped, renamed, and what belongs to one of them
without being inside it: its owner, privileges, settings, comment and limit."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import NamedTuple

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from alembic_job.dsn import Dsn
from alembic_job.errors import BackupNotWritten, JobError, LoginFailed, Refused, RunLocked, SettingsError, TableLocked
from alembic_job.gateways import locks, postgres
from alembic_job.gateways.postgres import query
from alembic_job.logs.events import Log
from alembic_job.patience import within

_LONGEST_NAME = 63  # bytes; PostgreSQL cuts longer ones off
_PATIENCE = 10.0  # seconds: for sessions to end before a swap, and to put things back after one that failed
_DROPPING = 15.0  # seconds; a DROP DATABASE waits for a checkpoint
# Kinds of collation: PostgreSQL's letter → its name, the setting that names the locale, the first major that has it.
_PROVIDERS = {"c": ("libc", "", 15), "i": ("icu", "ICU_LOCALE", 15), "b": ("builtin", "BUILTIN_LOCALE", 17)}
# What CREATE DATABASE says of locales, collations and encodings that the server lacks or that do not go together.
_NO_SUCH_LOCALE = ("0A000", "22023", "42602", "42704", "42809", "42P17")
# Stored as a list of identifiers, quoted where necessary; all others as they were given.
_LISTS = ("local_preload_libraries", "search_path", "session_preload_libraries", "temp_tablespaces")


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


def _statement(connection: Connection, text: str, *parts: sql.Composable) -> str:
    """Fills `{}` with quoted parts. Names may hold a `%`, so nothing of it goes through psycopg2's arguments."""
    return str(sql.SQL(text).format(*parts).as_string(connection))


class Rescue(NamedTuple):
    """How things are put right after a failure.

    `connect` gives a new connection beside the databases at work; after `settle` nothing interrupts any more.
    """

    connect: Callable[[], Connection]
    settle: Callable[[], None]


# Make and drop.


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
    statement = _statement(connection, text, sql.Identifier(name), *(sql.Literal(value) for _, value in clauses))
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
            query(connection, _statement(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", sql.Identifier(name)))
    except (psycopg2.Error, JobError) as error:
        log.warning(
            "restore.not_removed",
            database=name,
            message=f"the unfinished database {name} could not be dropped: {' '.join(str(error).split())}",
            hint=f'DROP DATABASE "{name}" WITH (FORCE)',
        )


# What an archive does not carry.


class _Property(NamedTuple):
    """Something that a database has from outside: what it is, for people, and the statements that give it."""

    what: str
    statements: str


def take_over(connection: Connection, source: str, target: str, log: Log) -> None:
    """Gives a database the owner, privileges, settings, comment and connection limit that another one has.

    Privileges that somebody else than the owner had granted are granted by the owner. What this role may not do is
    warned of. Raises `psycopg2.Error` only if the connection is lost or the statement was cancelled.
    """
    for each in _properties(connection, source, target):
        _attempt(connection, target, each, log)


def analyze(connection: Connection, target: str, log: Log) -> None:
    """Gathers the planner's statistics of a database, from within it: without them its first queries are slow.

    Raises as `take_over`.
    """
    _attempt(connection, target, _Property("statistics", "ANALYZE"), log)


def _attempt(connection: Connection, target: str, wanted: _Property, log: Log) -> None:
    try:
        query(connection, wanted.statements)
    except psycopg2.Error as error:
        if error.pgcode == "57014" or postgres.is_connection_lost(error):
            raise
        log.warning(
            "restore.setting_skipped",
            database=target,
            setting=wanted.what,
            message=f"{target} does not get its {wanted.what}: {' '.join(str(error).split())}",
            sql=wanted.statements,
        )


def _properties(connection: Connection, source: str, target: str) -> Iterator[_Property]:
    """In an order in which one does not undo another: the owner first, whose privileges change with him."""

    def made_of(what: str, text: str, *parts: sql.Composable) -> _Property:
        return _Property(what, _statement(connection, text, *parts))

    name = sql.Identifier(target)
    [[oid, owner, limit, comment]] = query(
        connection,
        "SELECT oid, pg_get_userbyid(datdba), datconnlimit, shobj_description(oid, 'pg_database')"
        " FROM pg_database WHERE datname = %s",
        source,
    )
    yield made_of("owner", "ALTER DATABASE {} OWNER TO {}", name, sql.Identifier(owner))
    if grants := _grants(connection, oid, owner, name):
        yield _Property("privileges", grants)
    for role, setting in query(
        connection,
        "SELECT rolname, entry FROM pg_db_role_setting LEFT JOIN pg_roles r ON r.oid = setrole,"
        " unnest(setconfig) WITH ORDINALITY AS given (entry, place)"
        " WHERE setdatabase = %s AND (setrole = 0 OR rolname IS NOT NULL) ORDER BY setrole <> 0, rolname, place",
        oid,
    ):
        parameter, _, value = setting.partition("=")
        who = "ALTER DATABASE {}" if role is None else "ALTER ROLE {} IN DATABASE {}"
        parts = [name] if role is None else [sql.Identifier(role), name]
        what = parameter if role is None else f"{parameter} of the role {role}"
        yield made_of(what, who + " SET {} TO {}", *parts, sql.Identifier(parameter), _value(parameter, value))
    if comment is not None:
        yield made_of("comment", "COMMENT ON DATABASE {} IS {}", name, sql.Literal(comment))
    if limit >= 0:
        yield made_of("connection limit", "ALTER DATABASE {} CONNECTION LIMIT {}", name, sql.Literal(limit))


def _grants(connection: Connection, oid: int, owner: str, name: sql.Identifier) -> str | None:
    """The statements, to be run as one, that make a new database's privileges these; `None` for the default ones."""
    [[is_default]] = query(connection, "SELECT datacl IS NULL FROM pg_database WHERE oid = %s", oid)
    if is_default:
        return None
    made = [
        _statement(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", name),
        _statement(connection, "REVOKE ALL ON DATABASE {} FROM {}", name, sql.Identifier(owner)),
    ]
    for grantee, privilege, grantable in query(
        connection,
        "SELECT DISTINCT CASE grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(grantee) END, privilege_type, is_grantable"
        " FROM pg_database, aclexplode(datacl) WHERE pg_database.oid = %s ORDER BY 1, 2, 3",
        oid,
    ):
        whom = sql.SQL("PUBLIC") if grantee is None else sql.Identifier(grantee)
        option = sql.SQL(" WITH GRANT OPTION" if grantable else "")
        made.append(_statement(connection, "GRANT {} ON DATABASE {} TO {}{}", sql.SQL(privilege), name, whom, option))
    return "; ".join(made)


def _value(parameter: str, value: str) -> sql.Composable:
    """A stored setting as SET takes it: a list's elements one by one, anything else as one text."""
    if parameter.lower() not in _LISTS:
        return sql.Literal(value)
    found = re.findall(r'"((?:[^"]|"")*)"|([^\s,"]+)', value) or [("", "")]
    return sql.SQL(", ").join(sql.Literal(bare or quoted.replace('""', '"')) for quoted, bare in found)


# Swap.


class Swap(NamedTuple):
    """`original` becomes `before`, and `new` becomes `original`."""

    original: str
    new: str
    before: str


def check_swap(connection: Connection, database: str) -> None:
    """Finds out before a long restore whether a swap can be made at its end.

    Raises `Refused` (26) if there is no such database or no other one to do it from, `LoginFailed` (21) if the role
    may not rename it, `RunLocked` (11) while a run holds the job's lock on it.
    """
    if not exists(connection, database):
        raise Refused(
            f"there is no database {database} to swap with", hint=f"without --swap: --into {database} makes it"
        )
    if connection.info.dbname == database:
        raise Refused(
            f"--swap needs a connection to another database than {database}, which cannot be renamed from within",
            hint="let the role connect to the database postgres or template1, or rename by hand afterwards",
        )
    [[may]] = query(
        connection,
        "SELECT rolsuper OR (rolcreatedb AND pg_has_role(rolname, datdba, 'USAGE')) FROM pg_roles, pg_database"
        " WHERE rolname = current_user AND datname = %s",
        database,
    )
    if not may:
        raise LoginFailed(
            f"the role may not rename the database {database}: it needs to own it and to have CREATEDB",
            hint="restore with the owner's role or a superuser's, or without --swap and let somebody else rename",
        )
    refuse_runners(connection, database)


def refuse_runners(connection: Connection, database: str) -> None:
    """Raises `RunLocked` (11) while a run holds any of the job's locks in a database."""
    rows = query(
        connection,
        "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND classid = %s"
        " AND database = (SELECT oid FROM pg_database WHERE datname = %s)",
        locks.LOCK_CLASS,
        database,
    )
    if sessions := locks.describe(connection, [pid for [pid] in rows]):
        names = ", ".join(f"{each.application_name or 'a run'} (pid {each.pid})" for each in sessions)
        raise RunLocked(
            f"{names} is at work on {database}: it is not swapped under its hands",
            hint="wait until it has ended, or end it; `alembic-job status` shows what it does",
        )


def swap(connection: Connection, names: Swap, check: Callable[[], None], rescue: Rescue) -> float:
    """Swaps two databases, and ends their sessions for it; returns for how many seconds nobody could connect.

    `connection` leads to a third one. `check` raises if the run is to end. Raises `TableLocked` (12) if sessions do not
    end in time, `LoginFailed` (21), `RunLocked` (11), `psycopg2.Error`; then all is as before.
    """
    [[oid, allowed]] = query(connection, "SELECT oid, datallowconn FROM pg_database WHERE datname = %s", names.original)
    begun = time.monotonic()
    try:
        query(connection, _allowing(connection, names.original, False))
        refuse_runners(connection, names.original)
        _rename(connection, names, allowed, check)
    except BaseException as error:
        rescue.settle()
        if not _is_swapped(rescue.connect, names, oid, allowed):
            if known := _swap_error(error):
                raise known from error
            raise
    return time.monotonic() - begun


def _allowing(connection: Connection, database: str, allowed: bool) -> str:
    return _statement(
        connection, "ALTER DATABASE {} ALLOW_CONNECTIONS {}", sql.Identifier(database), sql.Literal(allowed)
    )


def _rename(connection: Connection, names: Swap, allowed: bool, check: Callable[[], None]) -> None:
    """Ends the sessions and renames, again and again as long as somebody is in there. Raises `psycopg2.Error`."""
    end = time.monotonic() + _PATIENCE
    statement = "; ".join(
        (
            # One simple query is one transaction, so there is no moment at which neither has the name.
            _renaming(connection, names.original, names.before),
            _renaming(connection, names.new, names.original),
            _allowing(connection, names.before, allowed),
        )
    )
    while True:
        check()
        _end_sessions(connection, names)
        try:
            query(connection, statement)
            return
        except psycopg2.errors.ObjectInUse:
            if time.monotonic() > end:
                raise


def _renaming(connection: Connection, name: str, other: str) -> str:
    return _statement(connection, "ALTER DATABASE {} RENAME TO {}", sql.Identifier(name), sql.Identifier(other))


def _end_sessions(connection: Connection, names: Swap) -> None:
    """Ends who is in one of the databases, and waits a moment until they are gone."""
    end = time.monotonic() + 1
    while pids := _sessions(connection, names):
        for pid in pids:
            query(connection, "SELECT pg_terminate_backend(%s)", pid)
        if time.monotonic() > end:
            return  # RENAME says who is still there, after a look of its own
        time.sleep(0.01)


def _sessions(connection: Connection, names: Swap) -> list[int]:
    rows = query(
        connection,
        # Autovacuum, which belongs to nobody, makes way for RENAME by itself.
        "SELECT pid FROM pg_stat_activity WHERE datname IN (%s, %s) AND usesysid IS NOT NULL",
        names.original,
        names.new,
    )
    return [pid for [pid] in rows]


def _is_swapped(connect: Callable[[], Connection], names: Swap, oid: int, allowed: bool) -> bool:
    """Looks, by a new connection, whether a swap that ended badly was made; if not, the original is let in again.

    Nobody can connect to the original until that is done, so it is tried for a while. Raises `LoginFailed` (21) with
    the statement if it cannot be done.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            with closing(connect()) as connection, within(_PATIENCE):
                [[name]] = query(connection, "SELECT datname FROM pg_database WHERE oid = %s", oid)
                if name != names.original:
                    return True
                query(connection, _allowing(connection, names.original, allowed))
                return False
        except (psycopg2.Error, JobError) as error:
            if time.monotonic() > end:
                raise LoginFailed(
                    f"{names.original} may still refuse all connections: {' '.join(str(error).split())}",
                    hint=f'do this at once, as its owner: ALTER DATABASE "{names.original}" ALLOW_CONNECTIONS true',
                ) from error
        time.sleep(0.5)


def _swap_error(error: BaseException) -> JobError | None:
    """The error for a swap that the server refused; `None` for anything else."""
    code, said = getattr(error, "pgcode", None), " ".join(str(error).split())
    if code == "55006":
        return TableLocked(
            f"sessions could not be ended within {_PATIENCE:g} s: {said}",
            hint="find them in pg_stat_activity, end prepared transactions (pg_prepared_xacts), then try again",
        )
    if code == "42501":
        return LoginFailed(
            f"the role may not end the sessions or rename: {said}",
            hint="GRANT pg_signal_backend TO …; sessions of superusers only a superuser ends",
        )
    return None
