"""Leads whatever a project connects to PostgreSQL with into a scratch database, and refuses everything else.

It works in the drivers, below SQLAlchemy: an engine's `creator`, a pool of the project's own and a plain
`psycopg2.connect` land there too. Only for a process of its own, which ends afterwards: nothing is put back.
"""

from __future__ import annotations

import importlib
import multiprocessing.util
import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import PurePath
from typing import Any, NamedTuple

import psycopg2
import psycopg2.extensions

from alembic_job import dsn as dsns
from alembic_job.dsn import Dsn
from alembic_job.errors import JobError, Refused
from alembic_job.gateways import engines, postgres
from alembic_job.gateways.programs import ENVIRONMENT

_PLACE = ("host", "hostaddr", "port", "dbname", "user", "password", "service")
_DRIVERS = ("psycopg2", "psycopg", "psycopg_async", "asyncpg")  # as SQLAlchemy calls them
_ONE = "a rehearsal is of one database: let DATABASE_URL and env.py name the same one"
_BY_HAND = "make a copy with `alembic-job restore`, and migrate that with a DATABASE_URL of its own"
_SESSION = ("options", "client_encoding", "application_name", "connect_timeout")  # not where a connection leads
# Programs that do not connect to a database: what Python's own library starts, and what secrets are fetched with.
_HARMLESS = frozenset(
    "uname ldconfig gcc cc ld objdump readelf file getconf hostname id whoami lsb_release sw_vers sysctl lscpu nproc"
    " ifconfig ip arp which locale timedatectl git date echo cat true aws gcloud az vault op".split()
)
_ASKED = f"SELECT ({postgres.IDENTITY}) AS identity"


class Scratch(NamedTuple):
    """The scratch database: `dsn` with the login of whoever made it, its `identity`.

    `own_login`: the project's user and password count there too, since it is on the same server. `passwords` are those
    that users were given there, by name: on a server that was made for the rehearsal.
    """

    dsn: Dsn
    identity: str
    own_login: bool
    passwords: Mapping[str, str]


class Found(BaseException):
    """Ends env.py when all that is wanted is to know where it would connect to; no driver was asked to."""


class Redirect:
    """From a database, the one with the identity `source`, to a scratch database.

    `known` are places that are known to be that database. `login` adds a password command to a place; see
    `Settings.login`. `command` is one that may be started. `refusal` is the first connection or program that was
    refused, also if env.py swallowed that.
    """

    def __init__(
        self,
        source: str,
        known: list[Dsn],
        scratch: Scratch,
        login: Callable[[Dsn], Dsn],
        command: tuple[str, ...],
    ) -> None:
        self._source, self.scratch, self._login, self.command = source, scratch, login, command
        self._known = {place.place for place in known if _is_plain(place)}
        self._mutex = threading.Lock()
        self.refusal: Refused | None = None

    def lead(self, given: Mapping[str, str]) -> dict[str, str]:
        """libpq's parameters of a connection that is asked for → those of one to the scratch database.

        Raises `Refused` (26) for any other database than the one that is rehearsed, and `JobError` where no password
        can be had.
        """
        wanted = _completed(given)
        scratch = self.scratch.dsn.parameters
        if wanted.place == self.scratch.dsn.place:
            return dict(wanted.parameters)
        with self._mutex:
            if not (_is_plain(wanted) and wanted.place in self._known):
                self._look(wanted)
                self._known.add(wanted.place)
        place = {name: scratch[name] for name in ("host", "port", "dbname") if name in scratch}
        if not self.scratch.own_login:
            own = {name: value for name, value in wanted.parameters.items() if name in _SESSION}
            user = wanted.parameters.get("user", "")
            if user in self.scratch.passwords:
                return own | place | {"user": user, "password": self.scratch.passwords[user]}
            return scratch | own
        login = postgres.with_password(self._login(wanted)).parameters
        left_out = ("host", "hostaddr", "port", "dbname", "service", "target_session_attrs")
        kept = {name: value for name, value in login.items() if name not in left_out}
        if "password" not in kept and kept.get("user") == scratch.get("user") and "password" in scratch:
            kept["password"] = scratch["password"]  # from a file that names databases, perhaps
        return kept | place

    def _look(self, wanted: Dsn) -> None:
        """Asks an unknown place which database it is. Raises `Refused` unless it is the one that is rehearsed."""
        try:
            with _unled():
                connection = postgres.attach(self._login(wanted), "alembic-job rehearsal", 5)
            try:
                identity = postgres.identity(connection)
            finally:
                connection.close()
        except psycopg2.Error as error:
            raise self.refuse(
                f"env.py connects to {wanted.redacted()}, which cannot be told to be the database that is rehearsed:"
                f" {' '.join(str(error).split())}"
            ) from error
        if identity != self._source:
            raise self.refuse(f"env.py connects to {wanted.redacted()}, which is not the database that is rehearsed")

    def refuse(self, message: str, hint: str = _ONE) -> Refused:
        """The error, also kept for the end."""
        error = Refused(f"{message}; nothing was done there", hint=hint)
        self.refusal = self.refusal or error
        return error

    def check(self, identity: Any) -> None:
        """What a connection that was made says of itself. Raises `Refused` unless it leads to the scratch database."""
        if identity != self.scratch.identity:
            raise self.refuse(f"a connection of env.py's leads to another database ({identity})")


class Anywhere(Redirect):
    """Leads to a scratch database that is no copy: the one place that is connected to, whatever it is, is not asked."""

    def __init__(self, scratch: Scratch) -> None:
        super().__init__("", [], scratch, lambda dsn: dsn, ())
        self._first: tuple[str, str, str] | None = None

    def lead(self, given: Mapping[str, str]) -> dict[str, str]:
        """As `Redirect.lead`. Raises `Refused` (26) for a second place."""
        place = _completed(given)
        with self._mutex:
            self._first = self._first or place.place
        if place.place != self._first:
            raise self.refuse(f"env.py connects to {place.redacted()} as well as to another database")
        return super().lead(given)

    def _look(self, wanted: Dsn) -> None:
        """Nothing is asked there."""


class Finder:
    """In place of a `Redirect`: notes the first place that env.py would connect to, and ends env.py there."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self.place: Dsn | None = None
        self.command = command

    def lead(self, given: Mapping[str, str]) -> dict[str, str]:
        self.place = self.place or _completed(given)
        raise Found

    def check(self, identity: Any) -> None:
        raise Found

    def refuse(self, message: str, hint: str = _ONE) -> Refused:
        return Refused(message, hint=hint)


_ours = threading.local()


class _unled:
    """Inside, this thread's psycopg2 connects as it is told."""

    def __enter__(self) -> None:
        _ours.unled = True

    def __exit__(self, *_: object) -> None:
        _ours.unled = False


_own_programs: set[str] = set()


@contextmanager
def own_program(path: str) -> Iterator[None]:
    """Inside, any thread may start this program: for what is our own, while no code of the project's runs."""
    _own_programs.add(path)
    try:
        yield
    finally:
        _own_programs.discard(path)


def prepare() -> None:
    """Imports the drivers there are, so that the processes forked from this one need not."""
    for name in ("psycopg", "asyncpg"):
        with suppress(ImportError):
            importlib.import_module(name)


def install(redirect: Redirect | Finder) -> None:
    """From now on every connection of this process is led. Programs cannot be: all but harmless ones are refused."""
    _install_psycopg2(redirect)
    with suppress(ImportError):
        _install_psycopg(redirect)
    with suppress(ImportError):
        _install_asyncpg(redirect)
    _install_sqlalchemy(redirect)
    sys.addaudithook(lambda event, arguments: _audit(redirect, event, arguments))

    def spawn(*_: Any) -> Any:
        raise redirect.refuse(
            "the project starts a process by multiprocessing, which a rehearsal cannot lead", _BY_HAND
        )

    util: Any = multiprocessing.util
    util.spawnv_passfds = spawn  # raises no audit event; forked ones are led as this one is


def _install_psycopg2(redirect: Redirect | Finder) -> None:
    original = psycopg2._connect

    def connect(dsn: str, *args: Any, **options: Any) -> Any:
        if getattr(_ours, "unled", False):
            return original(dsn, *args, **options)
        if options.get("async") or options.get("async_"):
            raise redirect.refuse("env.py connects by psycopg2's asynchronous mode, which a rehearsal cannot lead")
        led = redirect.lead(psycopg2.extensions.parse_dsn(dsn))
        connection = original(psycopg2.extensions.make_dsn(**_unambiguous(led)), *args, **options)
        return _checked(redirect, connection)

    psycopg2._connect = connect


def _checked(redirect: Redirect | Finder, connection: Any) -> Any:
    """A connection of psycopg's, old or new, once it has said where it leads."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(_ASKED)
            row = cursor.fetchone()
        connection.rollback()
        redirect.check(row[0] if isinstance(row, tuple) else next(iter(row.values())) if row else None)
    except BaseException:
        connection.close()
        raise
    return connection


def _install_psycopg(redirect: Redirect | Finder) -> None:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.rows import tuple_row

    def led(conninfo: str, options: dict[str, Any]) -> dict[str, Any]:
        """All that goes to the driver, its own options (autocommit, row_factory …) as they are."""
        own = {name: options.pop(name) for name in _PSYCOPG_OWN & options.keys()}
        given = conninfo_to_dict(conninfo, **options)
        texts = {name: str(value) for name, value in given.items() if value is not None}
        return {**_unambiguous(redirect.lead(texts)), **own}

    sync, asynchronous = (kind.__dict__["connect"].__func__ for kind in (psycopg.Connection, psycopg.AsyncConnection))

    def connect(cls: Any, /, conninfo: str = "", **options: Any) -> Any:
        connection = sync(cls, "", **led(conninfo, options))
        try:
            with connection.cursor(row_factory=tuple_row) as cursor:
                row = cursor.execute(_ASKED).fetchone()
            connection.rollback()
            redirect.check(row[0])
        except BaseException:
            connection.close()
            raise
        return connection

    async def connect_async(cls: Any, /, conninfo: str = "", **options: Any) -> Any:
        connection = await asynchronous(cls, "", **led(conninfo, options))
        try:
            async with connection.cursor(row_factory=tuple_row) as cursor:
                row = await (await cursor.execute(_ASKED)).fetchone()
            await connection.rollback()
            redirect.check(row[0])
        except BaseException:
            await connection.close()
            raise
        return connection

    kinds: Any = psycopg
    kinds.Connection.connect = classmethod(connect)
    kinds.AsyncConnection.connect = classmethod(connect_async)
    kinds.connect = kinds.Connection.connect


_PSYCOPG_OWN = {"autocommit", "prepare_threshold", "context", "row_factory", "cursor_factory"}


def _install_asyncpg(redirect: Redirect | Finder) -> None:
    import asyncpg

    original = asyncpg.connection.connect

    async def connect(dsn: str | None = None, **options: Any) -> Any:
        given = dsns.parse(dsn).parameters if dsn else {}
        place = engines.place_of((), options).parameters
        if isinstance(ssl := options.get("ssl"), str):
            place["sslmode"] = ssl
        led = redirect.lead({**given, **place})
        changed = {"host": led.get("host"), "port": int(led.get("port", "5432")), "database": led.get("dbname")}
        changed |= {name: led[name] for name in ("user", "password") if name in led}
        if "sslmode" not in led and "ssl" in options and not _is_own(redirect):
            changed["ssl"] = None
        connection = await original(dsn, **{**options, **changed})
        try:
            redirect.check(await connection.fetchval(_ASKED))
        except BaseException:
            await connection.close()
            raise
        return connection

    module: Any = asyncpg
    module.connect = module.connection.connect = connect


def _is_own(redirect: Redirect | Finder) -> bool:
    return isinstance(redirect, Redirect) and redirect.scratch.own_login


def _install_sqlalchemy(redirect: Redirect | Finder) -> None:
    """Drivers that are not led are refused; and whatever an engine got, by whichever way, is asked where it leads."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def do_connect(dialect: Any, *_: Any) -> None:
        if dialect.name == "postgresql" and dialect.driver not in _DRIVERS:
            raise redirect.refuse(f"env.py connects by {dialect.driver}, which a rehearsal cannot lead", _BY_HAND)

    def connect(connection: Any, _record: Any) -> None:
        if engines.is_postgresql(connection):
            redirect.check(engines.execute(connection, _ASKED)[0])

    event.listen(Engine, "do_connect", do_connect)
    event.listen(Engine, "connect", connect)


def _audit(redirect: Redirect | Finder, event: str, arguments: tuple[Any, ...]) -> None:
    """Python's audit events of programs that are started: a program finds its own way to a database."""
    if event not in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"):
        return
    path, argv = arguments[event == "os.spawn" :][:2] if event != "os.system" else ("sh", ["sh", "-c", arguments[0]])
    words = [os.fsdecode(word) for word in (path, *argv[1:])]
    name = PurePath(_program(words)).name
    if tuple(words) != redirect.command and name not in _HARMLESS and words[0] not in _own_programs:
        raise redirect.refuse(f"the project starts {name}, which a rehearsal cannot lead", _BY_HAND)


def _program(argv: list[str]) -> str:
    """What is started, also by a shell that is given one plain command; else the shell."""
    first = argv[0] if argv else ""
    if PurePath(first).name not in ("sh", "bash") or len(argv) < 3 or argv[1] != "-c":
        return first
    if set(argv[2]) & set(";|&`$()<>\n"):
        return first
    return (shlex.split(argv[2]) or [first])[0]


def _completed(given: Mapping[str, str]) -> Dsn:
    """With what libpq takes from the environment where it is not given."""
    variables = {name: os.environ[ENVIRONMENT[name]] for name in _PLACE if os.environ.get(ENVIRONMENT[name])}
    if given.get("service"):
        variables = {"password": variables["password"]} if "password" in variables else {}
    if given.get("host"):
        variables.pop("hostaddr", None)
    return Dsn({**variables, **{name: value for name, value in given.items() if value}})


def _is_plain(place: Dsn) -> bool:
    """True if host, port and database say where it leads."""
    return "service" not in place.parameters and "hostaddr" not in place.parameters and bool(place.place[2])


def _unambiguous(led: dict[str, str]) -> dict[str, str]:
    """Nothing is left for libpq to take from the environment that would lead elsewhere."""
    return {"hostaddr": "", **led}


__all__ = ["Anywhere", "Finder", "Found", "JobError", "Redirect", "Scratch", "install", "own_program"]
