"""What reaches every SQLAlchemy engine of the project, async ones too: events on the class `Engine`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from alembic_job.dsn import Dsn
from alembic_job.gateways.postgres import forget, is_refused, with_password

_NAMES = {"database": "dbname", "ssl": "sslmode"}


class EngineHooks(Protocol):
    """What a run does with the project's connections; all of it may raise, and so end the run."""

    def connecting(self, dsn: Dsn) -> Dsn:
        """Before the project connects: the place, or another that it shall connect to instead.

        If it has a `password_command` it has that command's password too.
        """

    def connected(self, connection: Any, dsn: Dsn) -> None:
        """After the project has connected, before it can do anything: `connection` is the driver's."""

    def statement(self, sql: str) -> None:
        """Before each statement."""

    def executing(self, context: Any, sql: str, parameters: Any, run: Callable[[], None]) -> bool:
        """Instead of executing a statement: true if it was executed here, by `run` or in vain.

        `context` is SQLAlchemy's own, of this execution.
        """

    def ended(self, connection: Any, committed: bool) -> None:
        """A transaction of this SQLAlchemy connection is about to end."""

    def savepoint(self, connection: Any, name: str, back: bool) -> None:
        """A savepoint is set, or gone back to."""


@contextmanager
def hooked(hooks: EngineHooks) -> Iterator[None]:
    """While it is open, every engine in this process calls the hooks."""
    logins = _Logins()

    def do_connect(dialect: Any, _record: Any, args: Any, parameters: dict[str, Any]) -> Any:
        if dialect.name != "postgresql":
            return None
        before = logins.seen(place_of(args, parameters))
        after = hooks.connecting(before)
        if after.place != before.place:
            _redirect(parameters, after)
        if not after.password_command:
            return None
        logins.give(parameters, after)
        if [*dialect.dispatch.do_connect][-1] is not do_connect:  # others of the project's have a say after us
            return None
        try:
            return dialect.connect(*args, **parameters)
        except Exception as error:
            if not logins.give_anew(parameters, after, error, lambda: hooks.connecting(before)):
                raise
        return dialect.connect(*args, **parameters)

    def connect(connection: Any, record: Any) -> None:
        if is_postgresql(connection):
            hooks.connected(connection, logins.seen(_established(connection)))

    def before_cursor_execute(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        hooks.statement(statement)

    with _listening(
        do_connect=do_connect,
        connect=connect,
        before_cursor_execute=before_cursor_execute,
        **_executions(hooks),
        commit=lambda connection: hooks.ended(connection, True),
        rollback=lambda connection: hooks.ended(connection, False),
        savepoint=lambda connection, name: hooks.savepoint(connection, name, False),
        rollback_savepoint=lambda connection, name, _: hooks.savepoint(connection, name, True),
    ):
        yield


def _executions(hooks: EngineHooks) -> dict[str, Callable[..., bool]]:
    """SQLAlchemy's three events in place of an execution, by name."""

    def do_execute(cursor: Any, sql: str, parameters: Any, context: Any) -> bool:
        return hooks.executing(
            context, sql, parameters, lambda: context.dialect.do_execute(cursor, sql, parameters, context)
        )

    def do_execute_no_params(cursor: Any, sql: str, context: Any) -> bool:
        return hooks.executing(context, sql, None, lambda: context.dialect.do_execute_no_params(cursor, sql, context))

    def do_executemany(cursor: Any, sql: str, parameters: Any, context: Any) -> bool:
        return hooks.executing(
            context, sql, parameters, lambda: context.dialect.do_executemany(cursor, sql, parameters, context)
        )

    return {
        "do_execute": do_execute,
        "do_execute_no_params": do_execute_no_params,
        "do_executemany": do_executemany,
    }


@contextmanager
def logged_in(login: Callable[[Dsn], Dsn]) -> Iterator[None]:
    """While it is open, engines connect with the password that a command gives, where `login` adds one to a place."""
    hooks = _Question(login)
    with hooked(hooks):
        yield


class Uninvolved:
    """For hooks of those who leave the project's statements and transactions alone."""

    def statement(self, sql: str) -> None:
        pass

    def executing(self, context: Any, sql: str, parameters: Any, run: Callable[[], None]) -> bool:
        return False

    def ended(self, connection: Any, committed: bool) -> None:
        pass

    def savepoint(self, connection: Any, name: str, back: bool) -> None:
        pass


class _Question(Uninvolved):
    """A question leaves the project's connections as they are, but for the password."""

    def __init__(self, login: Callable[[Dsn], Dsn]) -> None:
        self._login = login

    def connecting(self, dsn: Dsn) -> Dsn:
        return with_password(self._login(dsn))

    def connected(self, connection: Any, dsn: Dsn) -> None:
        pass


class _Logins:
    """The passwords that commands gave to engines; SQLAlchemy keeps them among the next connection's arguments."""

    def __init__(self) -> None:
        self._commands: dict[str, tuple[str, ...]] = {}

    def seen(self, dsn: Dsn) -> Dsn:
        """A place with its command instead of a password that came from one."""
        return dsn.asking(self._commands[dsn.password]) if dsn.password in self._commands else dsn

    def give(self, parameters: dict[str, Any], dsn: Dsn) -> None:
        self._commands[dsn.password] = dsn.password_command
        parameters["password"] = dsn.password

    def give_anew(
        self, parameters: dict[str, Any], refused: Dsn, error: BaseException, again: Callable[[], Dsn]
    ) -> bool:
        """After a failed attempt: true if the password was refused, and the command now gives another."""
        if not is_refused(error):
            return False
        forget(refused)
        dsn = again()
        self.give(parameters, dsn)
        return dsn.password != refused.password


@contextmanager
def _listening(**functions: Callable[..., Any]) -> Iterator[None]:
    """While it is open, these are called at events of the class `Engine`."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    listeners = functions.items()
    for name, function in listeners:
        event.listen(Engine, name, function)
    try:
        yield
    finally:
        for name, function in listeners:
            event.remove(Engine, name, function)


def place_of(args: Any, parameters: dict[str, Any]) -> Dsn:
    """Where a driver's connect arguments lead, as libpq's parameters; unknown ones are left out."""
    if args and isinstance(args[0], str) and "=" in args[0]:
        from psycopg2.extensions import parse_dsn

        return Dsn({**parse_dsn(args[0]), **_texts(parameters)})
    return Dsn(_texts(parameters))


def _texts(parameters: dict[str, Any]) -> dict[str, str]:
    wanted = ("host", "port", "user", "password", "database", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey")
    found: dict[str, str] = {}
    for key in wanted:
        value = parameters.get(key)
        if isinstance(value, list | tuple):
            value = ",".join(str(item) for item in value)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            found[_NAMES.get(key, key)] = str(value)
    return found


def _redirect(parameters: dict[str, Any], dsn: Dsn) -> None:
    """Changes host, port and database of a driver's connect arguments."""
    database = "database" if "database" in parameters else "dbname"
    host, port, name = dsn.place
    parameters.update({"host": host, "port": int(port) if port.isdigit() else port, database: name})


def is_postgresql(connection: Any) -> bool:
    """True if this driver connection talks to PostgreSQL, by the module that made it."""
    module = type(connection).__module__
    return module.startswith(("psycopg", "asyncpg", "pg8000", "sqlalchemy.dialects.postgresql"))


def drivers_own(connection: Any) -> Any:
    """The driver's connection itself, out of SQLAlchemy's wrapper around that of an async driver."""
    return getattr(connection, "driver_connection", None) or getattr(connection, "_connection", connection)


def _established(connection: Any) -> Dsn:
    """Where an established driver connection leads, with its password, so that ours can follow it there."""
    inner = drivers_own(connection)
    info = getattr(inner, "info", None)
    if info is not None and hasattr(info, "dsn_parameters"):  # psycopg2
        found = dict(info.dsn_parameters)
        return Dsn({**_texts(found), **({"password": info.password} if info.password else {})})
    if info is not None and hasattr(info, "get_parameters"):  # psycopg 3
        found = dict(info.get_parameters())
        return Dsn({**_texts(found), **({"password": info.password} if info.password else {})})
    address, parameters = getattr(inner, "_addr", None), getattr(inner, "_params", None)
    if address is not None and parameters is not None:  # asyncpg
        host, port = address if isinstance(address, tuple) else (address.rpartition("/")[0], address.rpartition(".")[2])
        login = {name: getattr(parameters, name, None) for name in ("user", "password", "database")}
        return Dsn(_texts({**login, "host": host, "port": port}))
    return Dsn({})


def execute(connection: Any, sql: str) -> tuple[Any, ...]:
    """Runs one query on a driver's connection (DBAPI) that nothing was done with yet, and keeps what it set."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
        row: tuple[Any, ...] = tuple(cursor.fetchone())
    finally:
        cursor.close()
    connection.commit()
    return row


def map_plain_scheme() -> None:
    """Lets `postgresql://` and `postgres://` find a driver that is there, in sync and async engines.

    SQLAlchemy 2.1 reads `postgresql://` as psycopg 3, earlier ones as psycopg2, none knows `postgres://`; each fails
    where that one driver is absent.
    """
    from sqlalchemy.dialects import registry

    def load() -> Any:
        return _plain_dialect()

    for name in ("postgresql", "postgres"):
        registry.impls[name] = load


def _plain_dialect() -> Any:
    """The dialect of an address without a driver: the default driver, or its neighbour where it cannot be imported.

    Which one is looked at when an engine is made; only to know what arguments an Index takes no driver is imported.
    """
    from sqlalchemy.dialects import registry
    from sqlalchemy.dialects.postgresql.base import PGDialect

    class Plain(PGDialect):
        """`postgresql://` without a driver in its name."""

        supports_statement_cache = True

        @classmethod
        def get_dialect_cls(cls, url: Any) -> Any:
            return registry.load(f"postgresql.{_first_importable(_sync_order())}").get_dialect_cls(url)

        @classmethod
        def get_async_dialect_cls(cls, url: Any) -> Any:
            name = _first_importable(("psycopg", "asyncpg") if _version() >= (2, 1) else ("asyncpg", "psycopg"))
            return registry.load(f"postgresql.{name}").get_async_dialect_cls(url)

    return Plain


def _first_importable(names: tuple[str, ...]) -> str:
    """The first driver that can be imported, else the first, whose absence is then reported by name."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        return name
    return names[0]


def _sync_order() -> tuple[str, ...]:
    """The drivers in the order in which this SQLAlchemy prefers them."""
    if _version() >= (2, 1):
        return ("psycopg", "psycopg2")
    return ("psycopg2", "psycopg") if _version() >= (2, 0) else ("psycopg2",)


def _version() -> tuple[int, ...]:
    import sqlalchemy

    return tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2])
