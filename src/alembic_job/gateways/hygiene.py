"""What every session needs before it may work for minutes: no timeout that somebody set for short queries, a name, a
way to notice that the other end is gone; and the role and search_path that the settings name.

What the project sets for itself (in its URL, in connect_args, by SET) wins: `pg_settings.source` tells it from what a
role, a database or the server's configuration brings along.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from alembic_job.errors import LoginFailed
from alembic_job.gateways.engines import drivers_own, execute, is_postgresql
from alembic_job.gateways.postgres import LIVELINESS, sqlstate
from alembic_job.settings import values

Ask = Callable[[str], tuple[Any, ...]]  # one query → its first row

_TIMEOUTS = (
    "statement_timeout",
    "transaction_timeout",  # PostgreSQL 17
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
    "lock_timeout",
)
_OWN = "source IN ('client', 'session')"
# The client's side of the same; seconds, milliseconds for the last.
_SOCKET = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 20_000}


class Lifted(NamedTuple):
    """A timeout that was taken away: its name, its value with unit, and where it came from (`user`, `database`, …)."""

    name: str
    value: str
    source: str


class Settled(NamedTuple):
    """What a connection became: `lifted`, and names in its search_path for which there is no schema."""

    lifted: tuple[Lifted, ...]
    missing: tuple[str, ...]


def settle(
    connection: Any, application_name: str, role: str | None, search_path: str | None, *, keep: tuple[str, ...] = ()
) -> Settled:
    """Prepares a driver's connection that nothing was done with yet; all of it outlasts rollbacks.

    Timeouts in `keep` stay as they are.

    Not through a pooler that loses sessions: others would inherit it. One in session mode resets it (DISCARD ALL) when
    the connection is handed back. Raises `LoginFailed` (21) where the role is missing or may not be taken.
    """
    _keep_alive(connection)
    lifted, _ = execute(connection, _settling(application_name, keep))
    found = tuple(Lifted(*entry) for entry in json.loads(lifted or "[]"))
    return Settled(found, _take(lambda sql: execute(connection, sql), role, search_path))


def _settling(application_name: str, keep: tuple[str, ...]) -> str:
    """One query that lifts timeouts and names the session. One row: what was lifted, as JSON; how many were set."""
    timeouts = ", ".join(f"'{name}'" for name in _TIMEOUTS if name not in keep)
    wanted = ", ".join(f"('{name}', '{value}')" for name, value in LIVELINESS.items())
    return (
        # Read once: the view is a list of hundreds, made anew each time.
        "WITH before AS MATERIALIZED (SELECT name, setting, unit, source FROM pg_catalog.pg_settings)"
        " SELECT (SELECT CAST(json_agg(json_build_array(name, setting || coalesce(unit, ''), source)) AS text) FROM"
        " (SELECT name, setting, unit, source, set_config(name, '0', false) AS now FROM before"
        f" WHERE name IN ({timeouts}) AND setting <> '0' AND NOT {_OWN}) lifted WHERE now = '0'),"
        f" (SELECT count(set_config(name, value, false)) FROM before JOIN (VALUES {wanted},"
        f" ('application_name', {_text(application_name[:63])})) wanted (name, value) USING (name)"
        " WHERE CASE name WHEN 'application_name' THEN setting = '' OR NOT " + _OWN + " WHEN"
        f" 'client_connection_check_interval' THEN setting = '0' AND NOT {_OWN} ELSE source = 'default' END)"
    )


def _take(ask: Ask, role: str | None, search_path: str | None, *, local: bool = False) -> tuple[str, ...]:
    """Takes the role, then the search_path; `local`: for one transaction. Returns schemas that are not there."""
    if role is not None:
        _take_role(ask, role, local)
    if search_path is None:
        return ()
    names = dict.fromkeys(name for name in values.schemas(search_path) if name not in ("$user", "pg_temp"))
    listed = ", ".join(f"({number}, {_text(name)})" for number, name in enumerate(names)) or "(0, 'pg_catalog')"
    [_, missing] = ask(
        f"SELECT set_config('search_path', {_text(search_path)}, {local}), (SELECT CAST(json_agg(number) AS text)"
        f" FROM (VALUES {listed}) wanted (number, name)"
        " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = wanted.name))"
    )
    return tuple(list(names)[number] for number in json.loads(missing or "[]"))


def _take_role(ask: Ask, role: str, local: bool) -> None:
    """SET ROLE. Raises `LoginFailed` (21), with the GRANT that is missing."""
    login, there, member = ask(
        "SELECT CAST(session_user AS text), oid IS NOT NULL, coalesce(pg_has_role(session_user, oid, 'MEMBER'), false)"
        f" FROM (SELECT 1) one LEFT JOIN pg_catalog.pg_roles ON rolname = {_text(role)}"
    )
    if not there:
        raise LoginFailed(
            f"MIGRATE_ROLE: there is no role {_quoted(role)}",
            hint=f"CREATE ROLE {_quoted(role)}; GRANT {_quoted(role)} TO {_quoted(login)}; or correct MIGRATE_ROLE "
            "(it is taken as it is, without quotes)",
        )
    try:
        ask(f"SELECT set_config('role', {_text(role)}, {local})")
    except Exception as error:
        if sqlstate(error) != "42501":
            raise
        option = " WITH SET TRUE" if member else ""
        raise LoginFailed(
            f"MIGRATE_ROLE: {_quoted(login)} may not take the role {_quoted(role)}",
            hint=f"as its owner or a superuser: GRANT {_quoted(role)} TO {_quoted(login)}{option}",
        ) from error


def to_read_as(role: str, *, local: bool) -> str:
    """A query that takes the role if the login is a member that does not inherit what the role may do.

    For connections of our own, which otherwise stay as the login: the role may be the only one to read what it owns.
    """
    return _if_member(role, local, " AND NOT pg_has_role(session_user, oid, 'USAGE')")


@contextmanager
def looking(role: str | None, search_path: str | None, *, strictly: bool) -> Iterator[None]:
    """While it is open, engines look with this role and search_path; nothing else is set, nobody inherits it.

    Behind a pooler they hold for one transaction each. A role that cannot be taken is an error only `strictly`: the
    login may be able to read all the same.
    """
    if role is None and search_path is None:
        yield
        return
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    proxied: list[bool] = []

    def take(ask: Ask, local: bool) -> None:
        if strictly:
            _take(ask, role, search_path, local=local)
            return
        if role is not None:
            ask(_if_member(role, local))
        _take(ask, None, search_path, local=local)

    def connect(connection: Any, _record: Any) -> None:
        if not is_postgresql(connection):
            return
        [pid] = execute(connection, "SELECT pg_backend_pid()")
        if pid != _pid(connection):
            proxied.append(True)
        else:
            take(lambda sql: execute(connection, sql), False)

    def begin(connection: Any) -> None:
        if proxied and connection.dialect.name == "postgresql":
            take(lambda sql: tuple(connection.exec_driver_sql(sql).fetchone()), True)

    event.listen(Engine, "connect", connect)
    event.listen(Engine, "begin", begin)
    try:
        yield
    finally:
        event.remove(Engine, "connect", connect)
        event.remove(Engine, "begin", begin)


def _if_member(role: str, local: bool, condition: str = "") -> str:
    """A query of one row that takes the role if that can be done, and the condition holds."""
    return (
        f"SELECT (SELECT set_config('role', rolname, {local}) FROM pg_catalog.pg_roles WHERE rolname = {_text(role)}"
        f" AND pg_has_role(session_user, oid, 'MEMBER'){condition})"
    )


def _text(value: str) -> str:
    """A text as an SQL expression that no driver takes a parameter from, whatever the session's encoding."""
    return f"convert_from(decode('{value.encode('utf-8', 'surrogateescape').hex()}', 'hex'), 'UTF8')"


def _quoted(name: str) -> str:
    """An identifier as it is typed."""
    plain = name.isascii() and name.isidentifier() and name == name.lower()
    return name if plain else '"' + name.replace('"', '""') + '"'


def _pid(connection: Any) -> int | None:
    """The backend's number as the login named it; a pooler makes one up."""
    own = drivers_own(connection)
    for name in ("get_backend_pid", "get_server_pid"):  # psycopg2, asyncpg
        if callable(method := getattr(own, name, None)):
            return int(method())
    pid = getattr(getattr(own, "info", None), "backend_pid", None)  # psycopg 3
    return pid if isinstance(pid, int) else None


def is_proxied(connection: Any) -> bool:
    """True if something between the driver and the server made up the backend's number; false if that is not known."""
    known = _pid(connection)
    return known is not None and execute(connection, "SELECT pg_backend_pid()") != (known,)


def _keep_alive(connection: Any) -> None:
    """TCP keepalives on our end, where neither the project nor the system has other ideas; without them nothing."""
    own = drivers_own(connection)
    try:
        number = _descriptor(own)
        with socket.socket(fileno=os.dup(number)) as sock:
            if sock.family not in (socket.AF_INET, socket.AF_INET6):
                return
            libpq = hasattr(own, "fileno")  # turns them on, unless it was told not to
            if libpq and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
                return
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            _set_unset(sock)
    except (OSError, AttributeError, TypeError, ValueError):
        return


def _set_unset(sock: socket.socket) -> None:
    """Sets each bound that is still the system's default."""
    with socket.socket(sock.family, socket.SOCK_STREAM) as fresh:
        for name, value in _SOCKET.items():
            option = getattr(socket, name, None)
            if option is None:
                continue
            if sock.getsockopt(socket.IPPROTO_TCP, option) == fresh.getsockopt(socket.IPPROTO_TCP, option):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _descriptor(own: Any) -> int:
    """The socket of a driver's connection: psycopg's, asyncpg's or pg8000's."""
    if hasattr(own, "fileno"):
        return int(own.fileno())
    if hasattr(own, "_transport"):
        return int(own._transport.get_extra_info("socket").fileno())
    return int(own._usock.fileno())
