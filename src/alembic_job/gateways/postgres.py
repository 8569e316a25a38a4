"""Our own connections to PostgreSQL (psycopg2, autocommit) and what the server's errors mean for a run."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor

from alembic_job import errors
from alembic_job.dsn import Dsn

_KEEPALIVE = {"keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "20000"}
# How the server notices that a client is gone whose node died: idle (keepalives) or in the middle of a statement.
LIVELINESS = {
    "client_connection_check_interval": "2s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
# A role's or database's defaults must not end an idle lock connection or a long look.
_UNBOUNDED = ("idle_session_timeout", "idle_in_transaction_session_timeout", "statement_timeout", "transaction_timeout")


def connect(dsn: Dsn, application_name: str, timeout: float = 10, *, hurry: bool = False) -> Connection:
    """Opens a connection of our own, in autocommit mode; `timeout` (seconds, at least 1) bounds each host's attempt.

    Where a command gives the password it is asked, or was a moment ago; in a `hurry` the last password will do, and the
    command gets no more than `timeout`. Raises `psycopg2.OperationalError`; `connect_error` says what it means.
    """
    return _logged_in(dsn, lambda login: _connect(login, application_name, timeout), timeout if hurry else None)


def _logged_in(dsn: Dsn, opened: Callable[[dict[str, str]], Connection], hurry: float | None = None) -> Connection:
    """Connects with the parameters, and with the password that the command gives where there is one."""
    if not dsn.password_command:
        return opened(dsn.parameters)
    from alembic_job.gateways import password

    return password.used(
        dsn.password_command, lambda given: opened({**dsn.parameters, "password": given}), is_refused, hurry
    )


def with_password(dsn: Dsn) -> Dsn:
    """The same with the password that its command gives now, for a driver or program of somebody else's."""
    if not dsn.password_command:
        return dsn
    from alembic_job.gateways import password

    given = {**dsn.parameters, "password": password.current(dsn.password_command)}
    return Dsn(given, dsn.scheme, dsn.query, dsn.password_command)


def forget(dsn: Dsn) -> None:
    """A server refused the password that `with_password` gave: the next one is asked for anew."""
    from alembic_job.gateways import password

    password.forget(dsn.password_command, dsn.password)


def _connect(login: dict[str, str], application_name: str, timeout: float) -> Connection:
    parameters = dict(login)
    if "," in parameters.get("host", "") and "target_session_attrs" not in parameters:
        parameters["target_session_attrs"] = "read-write"
    connection = _attach(parameters, application_name, timeout)
    if not is_proxied(connection):
        unbound(connection)
    return connection


def attach(dsn: Dsn, application_name: str, timeout: float) -> Connection:
    """Opens a connection as it comes, for one short look: nothing is asked or set, and any server will do.

    Otherwise as `connect`.
    """
    return _logged_in(dsn, lambda login: _attach(login, application_name, timeout))


def _attach(login: dict[str, str], application_name: str, timeout: float) -> Connection:
    parameters: dict[str, str] = {**_KEEPALIVE, **login, "application_name": application_name[:63]}
    parameters["connect_timeout"] = str(max(2, int(timeout)))
    connection: Connection = psycopg2.connect("", **parameters)
    connection.autocommit = True
    return connection


def sign(connection: Connection, image: str | None) -> None:
    """Lets every statement of this connection begin with the image's name, where others see it; see `signature`."""
    if image is None:
        return
    prefix = f"/* image: {re.sub(r'[^A-Za-z0-9_./:@-]', '', image)[:200]} */ "

    class Signed(cursor):  # type: ignore[misc]
        def execute(self, sql: Any, arguments: Any = None) -> None:
            super().execute(prefix.encode() + sql if isinstance(sql, bytes) else prefix + sql, arguments)

    connection.cursor_factory = Signed


def signature(statement: str | None) -> str | None:
    """The image that a statement was signed with."""
    found = re.match(r"/\* image: (\S+) \*/", statement or "")
    return found[1] if found else None


def unbound(connection: Connection) -> None:
    """Lets no timeout of the role's or database's end this session, but lets the server end it when we are gone.

    Not through a pooler that loses sessions: others would inherit it.
    """
    wanted = ", ".join(
        f"('{name}', '{value}')" for name, value in (dict.fromkeys(_UNBOUNDED, "0") | LIVELINESS).items()
    )
    query(
        connection,
        "SELECT set_config(name, value, false) FROM pg_catalog.pg_settings"
        f" JOIN (VALUES {wanted}) wanted (name, value) USING (name)",
    )


def is_proxied(connection: Connection) -> bool:
    """True if something between us and the server answered the login: it made up the backend's number."""
    [[pid]] = query(connection, "SELECT pg_backend_pid()")
    return bool(pid != connection.info.backend_pid)


def query(connection: Connection, sql: str, *args: Any) -> list[tuple[Any, ...]]:
    """Runs one statement and returns its rows. Raises `psycopg2.Error`."""
    with connection.cursor() as cursor:
        cursor.execute(sql, args or None)
        return cursor.fetchall() if cursor.description else []


class ServerState(NamedTuple):
    """What decides whether a server can be migrated: read in one query."""

    version: int
    in_recovery: bool
    read_only: bool
    age_seconds: float
    backend_pid: int
    started: str


def server_state(connection: Connection) -> ServerState:
    """Looks at the server behind a connection. Raises `psycopg2.Error`."""
    [row] = query(
        connection,
        "SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),"
        " current_setting('transaction_read_only')::bool,"
        " extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8, pg_backend_pid(),"
        " pg_postmaster_start_time()::text",
    )
    return ServerState(*row)


def identity(connection: Connection) -> str:
    """Names this very database: system identifier, oid and name. A copy of it elsewhere has another identity."""
    [[text]] = query(connection, IDENTITY)
    return str(text)


IDENTITY = (
    "SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()), oid, datname)"
    " FROM pg_database WHERE datname = current_database()"
)

# libpq reports a refused connection without SQLSTATE, so its text is all there is.
_CONNECT_PATTERNS: tuple[tuple[str, type[errors.JobError], str], ...] = (
    (r"starting up|57P03", errors.DatabaseUnreachable, "starting up"),
    (r"shutting down", errors.DatabaseUnreachable, "shutting down"),
    (
        r"in recovery|session is (read-only|not read-write)|server is in hot standby",
        errors.DatabaseUnreachable,
        "in recovery",
    ),
    (
        r"too many (clients|connections)|remaining connection slots|connection limit exceeded",
        errors.DatabaseUnreachable,
        "too many connections",
    ),
    (
        r"password authentication failed|no password supplied|no pg_hba\.conf entry|authentication failed|role \".*\" (does not exist|is not permitted to log in)|permission denied for database",
        errors.LoginFailed,
        "login refused",
    ),
    (r"database \".*\" does not exist|is not currently accepting connections", errors.LoginFailed, "no such database"),
    (
        r"invalid (connection option|sslmode value|port number|integer value)|root certificate file|certificate file .* does not exist|private key file|missing \"=\" after|does not support SSL|certificate verify failed|does not match host name|SSL error: (?!.*timeout)",
        errors.SettingsError,
        "connection settings",
    ),
    (
        r"could not translate host name|Name or service not known|nodename nor servname",
        errors.DatabaseUnreachable,
        "host name unknown",
    ),
    (r"[Tt]imeout expired|timed out", errors.DatabaseUnreachable, "timeout"),
    (r"[Cc]onnection refused|No such file or directory", errors.DatabaseUnreachable, "refused"),
    (r"server closed the connection unexpectedly|[Cc]onnection reset", errors.DatabaseUnreachable, "closed"),
)


class ConnectProblem(NamedTuple):
    """Why a connection could not be made: the error to end with, a word for the log, a hint if the error's is not it."""

    kind: type[errors.JobError]
    reason: str
    message: str
    hint: str = ""


def connect_error(error: BaseException) -> ConnectProblem:
    """Classifies a failed connection attempt; what is not known counts as unreachable, which is tried again."""
    message = " ".join(str(error).split())
    if isinstance(error, errors.JobError):  # gateways.password
        refused = isinstance(error, errors.LoginFailed)
        end: type[errors.JobError] = errors.LoginFailed if refused else errors.DatabaseUnreachable
        return ConnectProblem(end, "password command", message, error.hint)
    for pattern, kind, reason in _CONNECT_PATTERNS:
        if re.search(pattern, message):
            return ConnectProblem(kind, reason, message)
    return ConnectProblem(errors.DatabaseUnreachable, "unreachable", message)


def is_refused(error: BaseException) -> bool:
    """True if a server refused the login, in whichever driver's words."""
    if isinstance(error, errors.JobError):
        return False
    code = sqlstate(error)
    return code[:2] == "28" if code else connect_error(error).reason == "login refused"


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE of an error of SQLAlchemy, psycopg2, psycopg 3, asyncpg or pg8000, if it has one."""
    for link in chain(error):
        for name in ("pgcode", "sqlstate"):
            code = getattr(link, name, None)
            if isinstance(code, str) and len(code) == 5:
                return code
    return None


def chain(error: BaseException) -> list[BaseException]:
    """An error with what it wraps: `orig` (SQLAlchemy), then its causes."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        orig = getattr(link, "orig", None)
        link = orig if isinstance(orig, BaseException) else link.__cause__ or link.__context__
    return links


def is_connection_lost(error: BaseException) -> bool:
    """True if the error means that the connection itself is gone, not that a statement was refused."""
    code = sqlstate(error)
    if code is not None:
        return code[:2] == "08" or code in ("57P01", "57P02", "57P03", "25P03", "57P05")
    for link in chain(error):
        if getattr(link, "connection_invalidated", False):
            return True
        text = str(link)
        if re.search(r"server closed the connection|connection (was closed|already closed|is closed|is lost)", text):
            return True
        if isinstance(link, psycopg2.InterfaceError) and "cursor already closed" in text:  # by a loss that another saw
            return True
        if re.search(
            r"SSL connection has been closed|[Cc]onnection reset by peer|Connection timed out|EOF detected", text
        ):
            return True
    return False
