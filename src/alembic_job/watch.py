"""Ends a run from outside of it: on a signal, at the deadline, or when the lock is lost.

Python runs signal handlers only between bytecodes, so not while a driver waits in C for the server. A thread gets the
signal through a pipe (`signal.set_wakeup_fd`), cancels the work on the server from a connection of its own, again
until the run ends, then ends its backends, then the process.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from alembic_job.errors import ConnectionLost, DeadlineExceeded, Interrupted, JobError

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_NUDGE = getattr(signal, "SIGRTMAX", signal.SIGUSR2)  # from our thread to the main one: projects do not use it
_CANCEL_EVERY = 0.1  # seconds; a migration may swallow the cancellation and go on
_TERMINATE_AFTER = 0.3
_LEAVE_AFTER = 0.6
_LEAVE_AT_ALL = 1.0


class Stop(KeyboardInterrupt):
    """Raised in the main thread to unwind it; `except Exception` does not catch it, asyncio lets it through."""


class Watch:
    """Watches a run. `stopped` is the reason once there is one.

    `cancel(terminate)` ends what the run executes on servers; `leave(error)` ends the process when nothing else helps.
    Both are set by whoever knows how, and are called from the watching thread.
    """

    def __init__(self, deadline: float | None = None, *, signals: bool = True) -> None:
        """`deadline` in seconds from now. Without `signals` the process' handlers are left alone (library use)."""
        self._signals = signals and threading.current_thread() is threading.main_thread()
        self.started = time.monotonic()
        self.deadline = None if deadline is None else self.started + deadline
        self.stopped: JobError | None = None
        self.cancel: Callable[[bool], None] = lambda terminate: None
        self.leave: Callable[[JobError], None] | None = None
        self.leave_after = _LEAVE_AFTER  # seconds from the reason to end until the process is left
        self.progress: Callable[[], Any] | None = None  # the run's report so far, for whoever leaves
        self._raised = self._settled = self._over = False
        self._handlers: dict[int, Any] = {}
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._thread = threading.Thread(target=self._run, name="alembic-job-watch", daemon=True)

    def __enter__(self) -> Watch:
        if self._signals:
            self._handlers = {number: signal.signal(number, self._on_signal) for number in (*_SIGNALS, _NUDGE)}
            self._old_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._thread.start()
        if self._signals:
            release_signals()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        if self._handlers:
            signal.set_wakeup_fd(self._old_wakeup)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
        self._wake(b"\0")
        self._thread.join()
        os.close(self._read)
        os.close(self._write)

    def set_deadline(self, seconds: float | None) -> None:
        """Bounds the run, counted from when the watch was made."""
        if seconds is not None:
            self.deadline = self.started + seconds
            self._wake(b"\0")

    def check(self) -> None:
        """Raises `Stop` once the run is to end: called before every statement, in case an earlier one was swallowed."""
        if self.stopped is not None and not self._settled:
            raise Stop

    def settle(self) -> None:
        """From here on the run only tidies up: nothing is raised into it any more."""
        self._settled = True

    def resume(self) -> None:
        """The run goes on after a part of it was tidied up. Raises `Stop` if it is to end by now."""
        self._settled = False
        self.check()

    def stop(self, reason: JobError) -> None:
        """Ends the run for this reason; safe from any thread."""
        if self.stopped is None and not self._over:
            self.stopped = reason
            self._wake(b"\0")

    def left(self, budget: float) -> float:
        """A budget in seconds, cut to what the deadline leaves."""
        if self.deadline is None:
            return budget
        return max(0.0, min(budget, self.deadline - time.monotonic()))

    def _wake(self, data: bytes) -> None:
        try:
            os.write(self._write, data)
        except (BlockingIOError, OSError):
            pass

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """In the main thread. The waking thread may not have run yet, so the reason is noted here too."""
        if self.stopped is None:
            self.stopped = _interrupted(number)
        if not self._raised and not self._settled:
            self._raised = True
            raise Stop

    def _run(self) -> None:
        signals = 0
        while not self._over:
            timeout = None if self.deadline is None else max(0.0, self.deadline - time.monotonic())
            ready, _, _ = select.select([self._read], [], [], timeout)
            data = self._drain() if ready else b""
            numbers = [number for number in data if number in _SIGNALS]
            signals += len(numbers)
            if numbers and self.stopped is None:
                self.stopped = _interrupted(numbers[0])
            elif self.stopped is None and self.deadline is not None and time.monotonic() >= self.deadline:
                self.stopped = DeadlineExceeded()
            if self.stopped is not None and not self._over:
                self._end(self.stopped, signals)
                return

    def _end(self, reason: JobError, signals: int) -> None:
        """Nudges the main thread, cancels, terminates, then leaves; over as soon as the run is."""
        begun = time.monotonic()
        terminated = False
        self._nudge()
        while not self._over:
            elapsed = time.monotonic() - begun
            if elapsed >= self.leave_after or signals > 1:
                if self.leave is not None:
                    # Should even the last line not get out because nobody reads: go without it.
                    threading.Timer(_LEAVE_AT_ALL, os._exit, (reason.exit_code,)).start()
                    self.leave(reason)
                return
            if not terminated:
                terminated = elapsed >= _TERMINATE_AFTER
                self._cancel(terminated)
            select.select([self._read], [], [], _CANCEL_EVERY)
            signals += sum(number in _SIGNALS for number in self._drain())

    def _cancel(self, terminate: bool) -> None:
        try:
            self.cancel(terminate)
        except Exception:  # the server may be gone: leaving ends the run all the same
            pass

    def _drain(self) -> bytes:
        try:
            return os.read(self._read, 4096)
        except BlockingIOError:
            return b""

    def _nudge(self) -> None:
        """Runs the handler in the main thread, waking it from sleep; through a signal, because only that does."""
        if self._handlers and not self._raised:
            signal.pthread_kill(threading.main_thread().ident or 0, _NUDGE)


def release_signals() -> None:
    """Lets the signals through that `main` has held back since the process began."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _interrupted(number: int) -> JobError:
    return Interrupted(f"interrupted by {signal.Signals(number).name}", signal=signal.Signals(number).name)


def lock_lost() -> JobError:
    """The reason when the connection that holds the lock is gone."""
    return ConnectionLost(
        "the connection that held the lock was lost", hint="run again: what was committed stays, nothing else was done"
    )
