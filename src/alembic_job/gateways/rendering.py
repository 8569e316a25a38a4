"""What a revision's functions would execute, as SQL, without executing any of it.

Alembic renders SQL by running the project's Python, which may do anything: a downgrade that opened its own engine has
really dropped its table. So it runs in a forked child that has no way to any database (`seal`), with the project loaded
as it is here. The child goes through the revisions while this process migrates, and is asked for each in turn.
"""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import socket
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from io import FileIO
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from alembic_job.gateways.online import QUESTION, Online, send
from alembic_job.gateways.unfinished import spells_secret

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import Script

_PATIENCE = 10.0  # seconds in all for downgrades that wait for something
_AT_WORK = 60.0  # seconds in all, beyond those, for a child that has work to do and may only lack a processor
_OF_SERVER = ("server_version_info", "default_schema_name", "_backslash_escapes")
_NICE = 10  # the migration goes first: it waits for this one only where it has caught up
_LONGEST = 900  # seconds until the kernel ends a child whose parent is gone


class Statement(NamedTuple):
    """One text of SQL; `alone` if it is executed outside of a transaction (an autocommit block)."""

    sql: str
    alone: bool = False


class Rendered(NamedTuple):
    """One of a revision's functions as SQL, or the `reason` why it cannot be had; `kind` of reason: `missing`,
    `refuses` (NotImplementedError), `asks` (it needs the database), `fails`. `lines` are those of the script that
    wrote the statements, one each, 0 where that is not known; empty for what the history holds.
    """

    statements: tuple[Statement, ...] = ()
    reason: str = ""
    kind: str = ""
    lines: tuple[int, ...] = ()

    def as_json(self) -> list[Any]:
        """Statements, reason and kind; then the lines, if there are any."""
        lines = [list(self.lines)] if self.lines else []
        return [[list(statement) for statement in self.statements], self.reason, self.kind, *lines]

    @classmethod
    def of_json(cls, value: list[Any]) -> Rendered:
        statements, reason, kind, *lines = value
        return cls(tuple(Statement(*statement) for statement in statements), reason, kind, tuple(*lines))


class Looked(NamedTuple):
    """What the child found out of one revision; `down` and `up` only where they were asked for."""

    revision: str
    down: Rendered
    up: Rendered
    file_hash: str  # of the script; empty if it cannot be read
    source: str


class Renderer:
    """Goes through revisions in a child, which lives until it is through, or `close` is called."""

    def __init__(
        self,
        context: MigrationContext,
        scripts: Iterable[Script],
        arguments: dict[str, Any],
        *,
        up: bool,
        down: bool = True,
        reply: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """`arguments` are those that env.py gives to the revisions' functions; `up` renders upgrades, too, `down` says
        whether downgrades. With `reply` (see `answers`) upgrades that ask the database are answered by it.
        """
        self._job = (context, arguments, up, down, reply is not None)
        self._reply = reply
        self._left = deque(scripts)
        self._found: dict[str, Looked] = {}
        self._given: set[str] = set()
        self._rest = b""
        self._patience, self._at_work = _PATIENCE, _AT_WORK
        self._pipe: int | None = None
        self._start()

    def _start(self) -> None:
        read, write = self._ends()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads: the child takes none of their locks
            self._child = os.fork()
        if self._child == 0:
            _child(write, list(self._left), *self._job)
        os.close(write)
        os.set_blocking(read, False)
        self._pipe, self._rest = read, b""

    def _ends(self) -> tuple[int, int]:
        """Ours and the child's; the child can only write, unless it may ask."""
        if self._reply is None:
            return os.pipe()
        ours, other = socket.socketpair()
        return ours.detach(), other.detach()

    def upto(self, revision: str) -> Iterator[Looked]:
        """All that is known by now and was not given out, this revision's among it: it is waited for."""
        if revision in self._given:
            return
        while revision not in self._found and self._left:
            if not self._receive():
                self._pass_over(self._left[0].revision)
        found, self._found = self._found, {}
        self._given.update(found)
        yield from found.values()

    def _pass_over(self, revision: str) -> None:
        """The child has ended, or waits for something, while it looked at this one: the next goes on after it."""
        self._found[revision] = _lost(revision)
        self._left.popleft()
        self.close()
        if self._left:
            self._start()

    def _receive(self) -> bool:
        """Takes what the child has sent, or sends within its patience. False if it has ended, or takes too long."""
        assert self._pipe is not None
        while not select.select([self._pipe], [], [], self._patience)[0]:
            if self._at_work > 0 and _has_work(self._child):
                self._at_work -= self._patience
            elif not select.select([self._pipe], [], [], 0)[0]:  # nor has it sent that meanwhile
                self._patience = 0.1  # it is used up: others that wait get a moment each
                return False
        try:
            data = os.read(self._pipe, 1 << 20)
        except ConnectionResetError:  # it has ended without reading an answer
            data = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(QUESTION):
                self._answer(line.removeprefix(QUESTION))
                continue
            revision, down, up, *others = json.loads(line)
            self._found[revision] = Looked(revision, Rendered.of_json(down), Rendered.of_json(up), *others)
            self._left.popleft()
        return bool(data)

    def _answer(self, question: bytes) -> None:
        assert self._pipe is not None and self._reply is not None
        data = base64.b64encode(self._reply(base64.b64decode(question))) + b"\n"
        os.set_blocking(self._pipe, True)
        try:
            send(self._pipe, data)
        except OSError:  # the child has ended, as the next look at it will show
            return
        os.set_blocking(self._pipe, False)

    def close(self) -> None:
        """Ends the child."""
        if self._pipe is None:
            return
        os.close(self._pipe)
        self._pipe = None
        try:
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def _has_work(process: int) -> bool:
    """Whether it runs, or would if it were its turn, or reads a file. False where that cannot be told (no Linux)."""
    try:
        with FileIO(f"/proc/{process}/stat") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"R", b"D")
    except (OSError, IndexError):
        return False


def _lost(revision: str) -> Looked:
    reason = Rendered((), "it did not end in time, or ended the process, when its SQL was to be rendered", "fails")
    return Looked(revision, reason, reason, "", "")


def _child(
    pipe: int,
    scripts: list[Script],
    context: MigrationContext,
    arguments: dict[str, Any],
    up: bool,
    down: bool,
    asks: bool,
) -> NoReturn:
    try:
        import gc
        import logging

        gc.disable()
        os.nice(_NICE)
        logging.disable(logging.CRITICAL)  # handlers have locks that other threads may have held
        warnings.simplefilter("ignore")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.alarm(_LONGEST)
        from alembic_job.gateways.seal import seal

        seal(pipe)
        tape = Tape(context)
        online = Online(tape, context, pipe) if asks else None
        for script in scripts:
            looked = _look(tape, script, arguments, up=up, down=down, online=online)
            down_and_up = (looked.down.as_json(), looked.up.as_json())
            text = json.dumps([looked.revision, *down_and_up, looked.file_hash, looked.source])
            send(pipe, text.encode(errors="replace") + b"\n")
    finally:
        os._exit(0)


def _look(tape: Tape, script: Script, arguments: dict[str, Any], up: bool, down: bool, online: Online | None) -> Looked:
    back = tape.record(getattr(script.module, "downgrade", None), arguments) if down else Rendered()
    function = getattr(script.module, "upgrade", None) if up else None
    upgrade = tape.record(function, arguments) if up else Rendered()
    if online is not None and upgrade.kind in ("asks", "fails"):
        upgrade = online.record(function, arguments)
    return Looked(script.revision, back, upgrade, *read_script(script.path))


def read_script(path: str) -> tuple[str, str]:
    """Hash and text of a script; empty if it cannot be read, or is no text."""
    try:
        with FileIO(path) as file:
            data = file.readall()
        source = data.decode("utf-8-sig").replace("\0", "")
    except (OSError, UnicodeDecodeError):
        return "", ""
    return hash_of(data), source


def hash_of(data: bytes) -> str:
    """Of a file's content."""
    return blake2b(data, digest_size=16).hexdigest()


class Tape:
    """Has Alembic write what it would execute. To be used in a sealed process: it runs the project's Python."""

    def __init__(self, context: MigrationContext) -> None:
        from alembic.operations import Operations
        from alembic.runtime.migration import MigrationContext

        options = {**context.opts, "as_sql": True, "literal_binds": True, "on_version_apply": (), "starting_rev": None}
        options.pop("output_encoding", None)
        offline = MigrationContext(_dialect(context), None, options, context.environment_context)
        impl: Any = offline.impl
        impl.static_output = self.write
        connection: Any = offline.connection
        self._execute, connection.execute = connection.execute, self._asked
        self.context = offline
        self._operations = Operations(offline)
        self._operations._install_proxy()
        self._statements: list[Statement] = []
        self._lines: list[int] = []
        self._asks, self._alone, self._file = "", False, ""

    def record(self, function: Any, arguments: dict[str, Any]) -> Rendered:
        """Runs one of a revision's functions."""
        self._file = getattr(getattr(function, "__code__", None), "co_filename", "")
        self._operations._install_proxy()
        return self.recorded(None if function is None else lambda: function(**arguments))

    def recorded(self, run: Callable[[], Any] | None) -> Rendered:
        """What is written, or asked, while that runs."""
        if run is None:
            return Rendered((), "there is no such function", "missing")
        self._statements, self._lines, self._asks, self._alone = [], [], "", False
        try:
            run()
        except NotImplementedError as error:
            return Rendered((), str(error) or "it raises NotImplementedError", "refuses")
        except BaseException as error:
            return Rendered((), f"{type(error).__name__}: {' '.join(str(error).split())}"[:500], "fails")
        if self._asks:
            return Rendered((), f"it asks the database: {self._asks}"[:500], "asks")
        if any(spells_secret(statement.sql) for statement in self._statements):
            return Rendered((), "it spells out a password, which is not to be kept", "asks")
        return Rendered(tuple(self._statements), lines=tuple(self._lines))

    def write(self, text: str, alone: bool = False) -> None:
        """A statement; `alone` if the driver is in autocommit mode."""
        sql = text.strip().removesuffix(";").rstrip()
        if sql == "COMMIT":
            self._alone = True
        elif sql == "BEGIN":
            self._alone = False
        elif sql and not (sql.startswith("--") and "\n" not in sql):
            self._statements.append(Statement(sql, alone or self._alone))
            self._lines.append(_line_in(self._file))

    def _asked(self, statement: Any, *arguments: Any, **options: Any) -> Any:
        """Somebody executes on the connection, and may want to know what comes back: there is nothing."""
        text = " ".join(_text(statement).split())
        if text[:6].upper() in ("SELECT", "VALUES") or text[:4].upper() in ("WITH", "SHOW") or "RETURNING" in text:
            self._asks = self._asks or text
        return self._execute(statement, *arguments, **options)


def _text(statement: Any) -> str:
    """A statement's text; empty for what has none of its own, such as the CREATE TYPE of an Enum: DDL asks nothing."""
    try:
        return str(statement)
    except AttributeError:
        return ""


def _line_in(file: str) -> int:
    """The line of this file that is being executed: the innermost call in it; 0 if it is not among the callers."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename != file:
        if frame.f_back is None:
            return 0
        frame = frame.f_back
    return frame.f_lineno


def _dialect(context: MigrationContext) -> Any:
    """PostgreSQL's dialect of this server, without a driver's: that would double each `%`."""
    from sqlalchemy.dialects.postgresql.base import PGDialect

    dialect: Any = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]
    for name, value in vars(context.dialect).items():
        if name.startswith(("supports_", "_supports_")) or name in _OF_SERVER:
            setattr(dialect, name, value)
    return dialect
