"""Runs a function in a process of its own: what it imports, connects and leaves behind goes with that process."""

from __future__ import annotations

import os
import pickle
import select
import signal
import struct
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

_LENGTH = "!Q"
_GRACE = 0.3  # seconds between asking a process to end and making it
_SLACK = 5  # seconds after which the process ends itself, should nobody be left to end it


class TookTooLong(Exception):
    """The function did not return in time."""


class Killed(Exception):
    """The process was ended from outside, by the kernel short of memory perhaps."""


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
        data = _all(read, time.monotonic() + seconds)
    finally:
        os.close(read)
        status = _end(pid)
    if data is None:
        if status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGTERM:
            raise Killed(f"its process was killed by {signal.Signals(os.WTERMSIG(status)).name}")
        raise EOFError("the process ended without an answer")
    succeeded, value = pickle.loads(data)
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
        data = struct.pack(_LENGTH, len(data)) + data
        while data:
            data = data[os.write(write, data) :]
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(0)


def _all(read: int, end: float) -> bytes | None:
    """The answer; none if the process ended without one. Not until the end of file: what env.py has started may live
    on and keep the other end open."""
    head = _bytes(read, struct.calcsize(_LENGTH), end)
    return None if head is None else _bytes(read, struct.unpack(_LENGTH, head)[0], end)


def _bytes(read: int, count: int, end: float) -> bytes | None:
    parts: list[bytes] = []
    while count:
        ready, _, _ = select.select([read], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise TookTooLong
        part = os.read(read, min(count, 65_536))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _end(pid: int) -> int | None:
    """Asks the process to end, then makes it; how it ended, where that can be known."""
    limit = time.monotonic() + _GRACE
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            os.kill(pid, signal.SIGTERM)
        while not ended and time.monotonic() < limit:
            time.sleep(0.01)
            ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        return status
    except (ProcessLookupError, ChildProcessError):  # reaped by somebody's handler of SIGCHLD
        return None
