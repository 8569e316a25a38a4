"""What a revision would execute if it may ask the database as it is now: in the sealed child of `rendering`.

The revision gets a connection of SQLAlchemy's that leads nowhere: what it reads is asked of the parent process (see
`answers`), what would change something is written down.
"""

from __future__ import annotations

import base64
import os
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

Ask = Callable[[bytes], bytes]
QUESTION = b"?"  # begins a line of the child's that asks
_MOST, _SAME = 5000, 100  # questions and statements of one revision; the same question
_LEVEL, _DRIVER = "READ COMMITTED", "alembic_job_recorded"


class Unanswered(Exception):
    """The database cannot tell without a change."""


class Tape(Protocol):
    """See `rendering.Tape`."""

    def recorded(self, run: Callable[[], Any]) -> Any:
        """What is written while that runs."""

    def write(self, text: str, alone: bool = False) -> None:
        """A statement; `alone` if it is executed outside of a transaction."""


class Online:
    """Runs a revision's function with a connection that reads the database as it is now, and changes nothing."""

    def __init__(self, tape: Tape, context: MigrationContext, pipe: int) -> None:
        self._tape, self._context, self._pipe = tape, context, pipe
        self._run: Callable[[Callable[[], Any]], None] | None = None

    def record(self, function: Any, arguments: dict[str, Any]) -> Any:
        """What `rendering.Tape` makes of it."""
        found = self._tape.recorded(lambda: self._prepared()(lambda: function(**arguments)))
        kind, _, rest = found.reason.partition(": ")
        if found.kind == "fails":
            ours = kind in ("Sealed", Endless.__name__, Unanswered.__name__)
            return found._replace(reason=rest if ours else f"with the database as it is now: {found.reason}")
        return found if found.reason else found._replace(kind="now")

    def _prepared(self) -> Callable[[Callable[[], Any]], None]:
        if self._run is None:
            self._run = _recording(self._context, self._ask, self._tape.write)
        return self._run

    def _ask(self, question: bytes) -> bytes:
        """Asks the parent process, and waits for what it says."""
        send(self._pipe, QUESTION + base64.b64encode(question) + b"\n")
        parts: list[bytes] = []
        while not parts or not parts[-1].endswith(b"\n"):
            parts.append(os.read(self._pipe, 1 << 20))
            if not parts[-1]:
                raise EOFError("nobody answers")
        return base64.b64decode(b"".join(parts))


def send(pipe: int, data: bytes) -> None:
    """Writes all of it."""
    while data:
        data = data[os.write(pipe, data) :]


class Endless(BaseException):
    """It may wait for a change that is never made."""


class Recorder:
    """The driver's connection, as far as SQLAlchemy needs one. `write` gets each statement that would change something,
    and whether it is executed outside of a transaction."""

    closed = 0
    notices: tuple[str, ...] = ()

    def __init__(self, ask: Ask, write: Callable[[str, bool], None]) -> None:
        self._ask, self._write = ask, write
        self.renew()

    def renew(self) -> None:
        """Another revision begins."""
        self.autocommit = False
        self._left, self._asked = _MOST, Counter[bytes]()

    def execute(self, sql: str, parameters: Any) -> tuple[list[tuple[Any, ...]] | None, list[tuple[Any, ...]]]:
        """Description and rows of a query; no description of what is written down instead."""
        request = pickle.dumps((sql, parameters or None))
        self._left -= 1
        self._asked[request] += 1
        if self._left < 0 or self._asked[request] > _SAME:
            raise Endless("it goes on and on, while nothing is changed")
        if sql.startswith(("SAVEPOINT ", "RELEASE SAVEPOINT ", "ROLLBACK TO SAVEPOINT ")):
            return None, []
        kind, *found = pickle.loads(self._ask(request))
        if kind == "error":
            raise _error(*found)
        if kind == "changes":
            self._write(found[0], self.autocommit)
            return None, []
        description, rows = found
        return [(*column, None, None, None, None, None) for column in description], rows

    def cursor(self, *_: Any, **__: Any) -> Cursor:
        return Cursor(self)

    def commit(self) -> None:
        pass

    rollback = close = commit


class Cursor:
    """A driver's cursor."""

    arraysize = 1
    rowcount = 0
    lastrowid = 0

    def __init__(self, connection: Recorder) -> None:
        self.connection = connection
        self.description: list[tuple[Any, ...]] | None = None
        self._rows: list[tuple[Any, ...]] = []

    def execute(self, sql: str, parameters: Any = None) -> None:
        self.description, self._rows = self.connection.execute(sql, parameters)
        self.rowcount = len(self._rows)

    def executemany(self, sql: str, parameters: Any) -> None:
        for each in parameters:
            self.execute(sql, each)

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        taken, self._rows = self._rows[: size or 1], self._rows[size or 1 :]
        return taken

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.fetchmany(max(1, len(self._rows)))

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.fetchall())

    def close(self) -> None:
        pass


def _error(code: str | None, text: str) -> Exception:
    import psycopg2.errors

    try:
        kind: type[Exception] = psycopg2.errors.lookup(code)
    except KeyError:
        kind = psycopg2.OperationalError
    return kind(text)


def _recording(context: MigrationContext, ask: Ask, write: Callable[[str, bool], None]) -> Callable[[Any], None]:
    """What runs a function of a revision's so. Once made, `op` means its connection; listeners of others are gone."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import create_engine
    from sqlalchemy.dialects import registry
    from sqlalchemy.exc import DBAPIError, ResourceClosedError
    from sqlalchemy.pool import StaticPool

    _forget_listeners()
    recorder = Recorder(ask, write)
    registry.impls[f"postgresql.{_DRIVER}"] = _dialect
    engine: Any = create_engine(f"postgresql+{_DRIVER}://", creator=lambda: recorder, poolclass=StaticPool)
    connection = engine.connect()
    options = {**context.opts, "on_version_apply": (), "as_sql": False}
    online: Any = MigrationContext(connection.dialect, connection, options, context.environment_context)
    operations: Any = Operations(online)

    def run(function: Callable[[], Any]) -> None:
        recorder.renew()
        operations._install_proxy()
        if connection.in_transaction():
            connection.get_transaction().rollback()
        online._transaction = connection.begin()
        try:
            function()
        except ResourceClosedError as error:
            raise Unanswered("it wants to know what a statement returns that is not executed") from error
        except DBAPIError as error:
            raise (error.orig or error) from error

    return run


def _dialect() -> Any:
    """psycopg2's dialect, which makes do with a `Recorder`."""
    from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

    class Recorded(PGDialect_psycopg2):
        supports_statement_cache = True

        def on_connect(self) -> Any:
            return None

        def _hstore_oids(self, *_: Any) -> Any:
            return None

        def set_isolation_level(self, dbapi_connection: Any, level: str) -> None:
            dbapi_connection.autocommit = level == "AUTOCOMMIT"

        def reset_isolation_level(self, dbapi_connection: Any) -> None:
            dbapi_connection.autocommit = False

        def get_isolation_level(self, dbapi_connection: Any) -> Any:
            return _LEVEL

        def get_default_isolation_level(self, dbapi_conn: Any) -> Any:
            return _LEVEL

        def do_executemany(self, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
            cursor.executemany(statement, parameters)

    return Recorded


def _forget_listeners() -> None:
    """Those of the class `Engine`: they are about connections that this process does not have."""
    from sqlalchemy.engine import Dialect, Engine
    from sqlalchemy.pool import Pool

    for owner in (Engine, Dialect, Pool):
        dispatch: Any = owner.dispatch
        for name in dispatch._event_names:
            getattr(dispatch, name).clear()
