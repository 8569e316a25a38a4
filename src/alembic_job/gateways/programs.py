"""PostgreSQL's own programs: where they are, and how they run without a password on their command line."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from alembic_job.dsn import Dsn
from alembic_job.errors import SettingsError

_PIECE = 1 << 20  # bytes
_PIECES = 16  # of what a program says
_ENVIRONMENT = {
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


def environment(dsn: Dsn) -> dict[str, str]:
    """The environment that leads libpq to the database: `ps` shows a command line to everybody, this to nobody."""
    given = {_ENVIRONMENT[key]: value for key, value in dsn.parameters.items() if key in _ENVIRONMENT}
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
    argv: list[str], dsn: Dsn | None = None, tick: Callable[[], None] | None = None, every: float = 5.0
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end with its output kept; it is killed if we are interrupted meanwhile.

    `tick` is called every so many seconds as long as it runs.
    """
    process = subprocess.Popen(
        argv,
        env=environment(dsn) if dsn else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        start_new_session=True,
    )
    try:
        while True:
            try:
                out, err = process.communicate(timeout=every if tick else None)
                break
            except subprocess.TimeoutExpired:
                assert tick is not None
                tick()
    except BaseException:
        end(process)
        raise
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


def read_out(argv: list[str], each: Callable[[bytes], None]) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end and hands on its output piece by piece; only what it says to stderr is kept.

    A thread reads that: a file would need a folder that can be written to, which a container may lack.
    """
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        bufsize=0,
    )
    assert process.stdout is not None and process.stderr is not None
    said: list[bytes] = []
    listener = threading.Thread(target=_keep_last, args=(process.stderr, said), daemon=True)
    listener.start()
    try:
        while piece := process.stdout.read(_PIECE):
            each(piece)
        process.wait()
    except BaseException:
        end(process)
        raise
    finally:
        listener.join(timeout=5)
        process.stdout.close()
        process.stderr.close()
    return subprocess.CompletedProcess(argv, process.returncode, "", b"".join(said).decode(errors="backslashreplace"))


def _keep_last(stream: IO[bytes], kept: list[bytes]) -> None:
    """Reads a stream to its end, and keeps the last pieces of it."""
    while piece := stream.read(4096):
        kept.append(piece)
        del kept[:-_PIECES]


def end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Asks a child process, started as leader of its own session, and its children to end, and makes them a moment
    later."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=0.25)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
