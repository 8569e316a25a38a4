"""Bare Alembic without its start-up: a process that has imported the library once forks for each command.

What runs in the fork is `alembic`'s own `main`, with a fresh working directory, environment and sys.path as the console
script gives it. It saves a hundred interpreters, a third of the time that these tests take.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

_IMPORTED = (
    "alembic.command",
    "alembic.config",
    "alembic.context",
    "alembic.op",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
    "asyncio",
    "asyncpg",
    "logging.config",
    "psycopg",
    "psycopg2",
)


def run_alembic(args: tuple[str, ...], cwd: Path, env: dict[str, str], timeout: int = 120) -> tuple[int, str, str]:
    """`alembic ARGS` in that folder and environment: exit code, stdout, stderr."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        request = {"args": args, "cwd": str(cwd), "env": env, "out": str(out), "err": str(err), "timeout": timeout}
        server = _server()
        assert server.stdin and server.stdout
        print(json.dumps(request), file=server.stdin, flush=True)
        answer = server.stdout.readline()
        return int(answer), out.read_text(errors="replace"), err.read_text(errors="replace")


@functools.cache
def _server() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _serve() -> None:
    """Answers each request on stdin with an exit code on stdout; ends with its stdin."""
    sys.path[0] = str(Path(sys.executable).parent)  # the console script's folder
    for name in _IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become_alembic(json.loads(line))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become_alembic(request: dict[str, Any]) -> None:
    code = 1
    signal.alarm(request["timeout"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    _replace(0, os.devnull, os.O_RDONLY)
    _replace(1, request["out"], os.O_WRONLY | os.O_CREAT)
    _replace(2, request["err"], os.O_WRONLY | os.O_CREAT)
    try:
        code = _exit_code(request["args"])
    finally:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _exit_code(args: list[str]) -> int:
    from alembic.config import main

    sys.argv = ["alembic", *args]
    try:
        main()
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _replace(descriptor: int, path: str, flags: int) -> None:
    opened = os.open(path, flags)
    os.dup2(opened, descriptor)
    os.close(opened)


if __name__ == "__main__":
    _serve()
