"""PostgreSQL's own programs: where they are, and how they run without a password on their command line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from alembic_job.dsn import Dsn
from alembic_job.errors import SettingsError
from alembic_job.gateways import children

_PIECE = 1 << 20  # bytes
_POURED = 10.0  # seconds that what feeds a program gets to notice that it failed
_PIECES = 16  # of what a program says
ENVIRONMENT = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "service": "PGSERVICE",
    "options": "PGOPTIONS",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}

Feed = Callable[[Callable[[bytes], None]], None]  # writes all that a program is to read, by the function given


def environment(dsn: Dsn) -> dict[str, str]:
    """The environment that leads libpq to the database: `ps` shows a command line to everybody, this to nobody."""
    given = {ENVIRONMENT[key]: value for key, value in dsn.parameters.items() if key in ENVIRONMENT}
    return {**os.environ, "PGAPPNAME": "alembic-job backup", "PGCONNECT_TIMEOUT": "10", "LC_ALL": "C", **given}


class Programs:
    """`pg_dump` and `pg_restore` of one PostgreSQL major, in one folder."""

    def __init__(self, folder: Path, major: int) -> None:
        self.folder, self.major = folder, major

    def path(self, name: str) -> str:
        return str(self.folder / name)


def find_programs(bindir: str | None, server_major: int) -> Programs:
    """The newest pg_dump that is at least as new as the server (it refuses newer servers). Raises `SettingsError`."""
    found = [programs for folder in _folders(bindir) if (programs := _look(folder)) is not None]
    if not found:
        where = bindir or "PATH"
        raise SettingsError(
            f"no pg_dump and pg_restore in {where}",
            hint=f"install PostgreSQL's client programs, major {server_major} or newer, or name their folder in "
            "MIGRATE_PG_BINDIR",
        )
    newest = max(found, key=lambda programs: programs.major)
    if newest.major < server_major:
        raise SettingsError(
            f"pg_dump {newest.major} cannot dump a server of major {server_major}: it is older",
            hint=f"use an image with client programs of major {server_major} or newer (MIGRATE_PG_BINDIR)",
        )
    return newest


def _folders(bindir: str | None) -> Iterator[Path]:
    if bindir:
        yield Path(bindir)
        return
    on_path = shutil.which("pg_dump")
    if on_path:
        yield Path(on_path).parent
    for pattern in ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin"):
        yield from Path("/").glob(pattern)


def _look(folder: Path) -> Programs | None:
    """The programs in a folder with their major, as pg_dump itself says (a wrapper may choose another)."""
    if not all(os.access(folder / name, os.X_OK) for name in ("pg_dump", "pg_restore")):
        return None
    said = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"\) (\d+)", said)
    return Programs(folder, int(match[1])) if match else None


def run(
    argv: list[str],
    dsn: Dsn | None = None,
    tick: Callable[[], None] | None = None,
    every: float = 5.0,
    feed: Feed | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end with its output kept; it is killed if we are interrupted meanwhile.

    `tick` is called every so many seconds as long as it runs. Raises what `feed` raises.
    """
    process = children.start(
        argv,
        env=environment(dsn) if dsn else None,
        stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
    )
    poured = _Poured(process, feed) if feed else None
    try:
        while True:
            try:
                out, err = process.communicate(timeout=every if tick else None)
                break
            except subprocess.TimeoutExpired:
                assert tick is not None
                tick()
        if poured:
            poured.join()
    except BaseException:
        children.end(process)
        raise
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


class _Poured:
    """A thread that feeds a program by its stdin."""

    def __init__(self, process: subprocess.Popen[str], feed: Feed) -> None:
        assert process.stdin is not None
        self._process, self._feed = process, feed
        self._stdin: IO[bytes] = process.stdin.buffer  # type: ignore[attr-defined] # of a TextIOWrapper
        self._text, process.stdin = process.stdin, None  # `communicate` would close it
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="alembic-job-feed", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """After the program's end: raises what feeding it raised, but that it failed itself."""
        self._thread.join(_POURED if self._process.returncode else None)
        if self._failure is not None and not isinstance(self._failure, BrokenPipeError):
            raise self._failure

    def _run(self) -> None:
        try:
            self._feed(self._write)
        except BaseException as error:
            self._failure = error
        finally:
            with suppress(OSError):
                self._text.close()

    def _write(self, piece: bytes) -> None:
        """What a program does not read any more is passed over, so that a feed sees its own end; not if it failed."""
        if self._process.poll():
            raise BrokenPipeError
        with suppress(BrokenPipeError):
            self._stdin.write(piece)


class Flowing:
    """A program that runs while we read its stdout; `with` it, so that it ends when we do."""

    def __init__(self, argv: list[str], dsn: Dsn | None = None, *, fed: bool = False) -> None:
        """If `fed`, it reads what `write` is given."""
        self._argv = argv
        self._process = children.start(
            argv,
            env=environment(dsn) if dsn else None,
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        self._stdout, self._stderr, self._stdin = self._process.stdout, self._process.stderr, self._process.stdin
        self._said: list[bytes] = []
        self._listener = threading.Thread(target=_keep_last, args=(self._stderr, self._said), daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            children.end(self._process)
        self._listener.join(timeout=5)
        for stream in (self._stdin, self._stdout, self._stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def pieces(self) -> Iterator[bytes]:
        """What it writes."""
        while piece := self._stdout.read(_PIECE):
            yield piece

    def write(self, piece: bytes) -> None:
        """Gives it something to read; nothing happens once it reads no more."""
        assert self._stdin is not None
        rest = memoryview(piece)
        while rest and not self._stdin.closed:
            try:
                rest = rest[self._stdin.write(rest) :]
            except BrokenPipeError:
                self.no_more()

    def no_more(self) -> None:
        """That was all it gets to read."""
        assert self._stdin is not None
        with suppress(BrokenPipeError):
            self._stdin.close()

    def done(self) -> subprocess.CompletedProcess[str]:
        """Waits for its end; of what it said to stderr the last is kept."""
        self._process.wait()
        self._listener.join(timeout=5)
        said = b"".join(self._said).decode(errors="backslashreplace")
        return subprocess.CompletedProcess(self._argv, self._process.returncode, "", said)


class Fed(Flowing):
    """A program that we write to, while a thread hands on what it writes to `each`."""

    def __init__(self, argv: list[str], each: Callable[[bytes], None]) -> None:
        super().__init__(argv, fed=True)
        self._each = each
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._hand_on, name="alembic-job-output", daemon=True)
        self._thread.start()

    def done(self) -> subprocess.CompletedProcess[str]:
        """Lets it come to its end. Raises what `each` raised."""
        self.no_more()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return super().done()

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            children.end(self._process)
        self._thread.join(timeout=5)
        super().__exit__(*error)

    def _hand_on(self) -> None:
        for piece in self.pieces():
            if self._failure is None:
                try:
                    self._each(piece)
                except BaseException as error:
                    self._failure = error


def read_out(argv: list[str], each: Callable[[bytes], None]) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end and hands on its output piece by piece; only what it says to stderr is kept.

    A thread reads that: a file would need a folder that can be written to, which a container may lack.
    """
    with Flowing(argv) as program:
        for piece in program.pieces():
            each(piece)
        return program.done()


def _keep_last(stream: IO[bytes], kept: list[bytes]) -> None:
    """Reads a stream to its end, and keeps the last pieces of it."""
    while piece := stream.read(4096):
        kept.append(piece)
        del kept[:-_PIECES]
