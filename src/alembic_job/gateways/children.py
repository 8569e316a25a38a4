"""The programs that a run has started: none outlives it, however early or late a signal raises its exception."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

_ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT
_MOMENT = 0.25  # seconds that a program has for ending by itself
_STARTED = 1.0  # seconds that one has for having been started

_starting: set[threading.Event] = set()  # of each that is being started, set when that is over
_started: set[subprocess.Popen[Any]] = set()


def start(argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """`subprocess.Popen` as the leader of a session of its own. Raises `OSError`.

    A thread does it: a signal's exception in the midst of Popen would leave a process that nobody knows of.
    """
    made: list[subprocess.Popen[Any]] = []
    failed: list[BaseException] = []

    def begin() -> None:
        try:
            process = subprocess.Popen(argv, start_new_session=True, **options)
        except BaseException as error:
            failed.append(error)
        else:
            _started.difference_update([other for other in _started if other.returncode is not None])
            _started.add(process)
            made.append(process)
        finally:
            over.set()

    over = threading.Event()  # a thread whose join() an exception leaves counts as ended though it runs (bpo-45274)
    _starting.add(over)
    threading.Thread(target=begin, name="alembic-job-start", daemon=True).start()
    over.wait()
    _starting.discard(over)
    if failed:
        raise failed[0]
    return made[0]


def end(process: subprocess.Popen[Any]) -> None:
    """Asks a program that was started here, and those that it started, to end, and makes them a moment later."""
    _started.discard(process)
    if process.poll() is not None:
        return
    late = time.monotonic() + _MOMENT
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGTERM)
        # Not reaped before the second kill: its number must not become another group's meanwhile.
        while time.monotonic() < late and os.waitid(os.P_PID, process.pid, _ENDED) is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_all() -> None:
    """Ends all that still run; for the end of the process."""
    for over in list(_starting):
        over.wait(_STARTED)
    for process in list(_started):
        end(process)
