"""Runs a function in a process of its own: what it imports, connects and leaves behind goes with that process."""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

_SLACK = 5  # seconds after which the process ends itself, should nobody be left to end it


class TookTooLong(Exception):
    """The function did not return in time."""


def apart(function: Callable[[], Any], seconds: float) -> Any:
    """Returns what the function returns in a forked process, or raises what it raised; both must be picklable.

    Its output goes where ours goes. The process is gone when this ends, however it ends. Raises `TookTooLong`.
    """
    read, write = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with warnings.catch_warnings():
        # The other threads only wait for signals and for lines to write; the child takes nothing over from them.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(read)
        _child(function, write, seconds)
    try:
        os.close(write)
        succeeded, value = pickle.loads(_all(read, time.monotonic() + seconds))
    finally:
        os.close(read)
        _end(pid)
    if not succeeded:
        raise value
    return value


def _child(function: Callable[[], Any], write: int, seconds: float) -> NoReturn:
    """Signals end this process in the ordinary way: the run's own handling of them belongs to the parent."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(seconds) + _SLACK)
        try:
            answer = (True, function())
        except BaseException as error:
            answer = (False, error)
        data = pickle.dumps(answer)
        while data:
            data = data[os.write(write, data) :]
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(0)


def _all(read: int, end: float) -> bytes:
    """Everything until the other end is closed."""
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([read], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise TookTooLong
        part = os.read(read, 65_536)
        if not part:
            break
        parts.append(part)
    if not parts:
        raise EOFError("the process ended without an answer")
    return b"".join(parts)


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):  # reaped by somebody's handler of SIGCHLD
        pass
