"""A run of the job as a process that is watched and disturbed."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from tests.chaos.check import Broken
from tests.conftest import start_job

_TOO_LONG = 120.0  # seconds; no run of the suite takes that long


class Runner:
    """`alembic-job migrate` in a process; threads read what it writes, so that it never waits for its reader."""

    def __init__(self, project: Path, url: str, env: dict[str, str] | None = None) -> None:
        self.begun = time.monotonic()
        self.lines: list[tuple[float, dict[str, Any]]] = []  # monotonic time, event
        self.noise = ""  # stderr, and what on stdout is no JSON object
        self._news = threading.Condition()
        self._closed = False
        self.process = start_job("migrate", cwd=project, url=url, env={"MIGRATE_LOG_LEVEL": "debug", **(env or {})})
        assert self.process.stdout is not None and self.process.stderr is not None
        self._threads = [
            threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._listen, args=(self.process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: IO[str]) -> None:
        for text in stream:
            with self._news:
                try:
                    self.lines.append((time.monotonic(), dict(json.loads(text))))
                except ValueError:
                    self.noise += text
                self._news.notify_all()
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _listen(self, stream: IO[str]) -> None:
        for text in stream:
            self.noise += text

    def events(self, *names: str) -> list[dict[str, Any]]:
        return [line for _, line in list(self.lines) if not names or line["event"] in names]

    def seen(self, *names: str) -> float | None:
        """Seconds from the start to the first of these events, if one came."""
        return next((at - self.begun for at, line in list(self.lines) if line["event"] in names), None)

    def wait_for(self, condition: Callable[[], bool], timeout: float = _TOO_LONG) -> bool:
        """Waits until the lines make the condition true; false if the run ended, or the time, without."""
        with self._news:
            self._news.wait_for(lambda: condition() or self._closed, timeout)
            return condition()

    def wait_event(self, *names: str, timeout: float = _TOO_LONG) -> bool:
        return self.wait_for(lambda: self.seen(*names) is not None, timeout)

    def wait_line(self, number: int) -> bool:
        """Waits for the line with that number, from 1."""
        return self.wait_for(lambda: len(self.lines) >= number)

    def wait_moment(self, seconds: float) -> bool:
        """Waits until that long after the start; false if the run ended before."""
        try:
            self.process.wait(max(0.0, self.begun + seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            return True
        return False

    def kill(self) -> bool:
        """SIGKILL; false if the run had ended before."""
        alive = self.process.poll() is None
        self.process.kill()
        self.process.wait()
        return alive and self.process.returncode == -signal.SIGKILL

    def end(self, timeout: float = _TOO_LONG) -> int:
        """Waits for the end and returns the exit code. Raises `Broken` after `timeout` seconds."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.abandon()
            raise Broken(f"the run did not end within {timeout:g} s; {self.story()}") from None
        for thread in self._threads:
            thread.join(10)
        return self.process.returncode

    def abandon(self) -> None:
        """Ends the process whatever it does: nothing outlives a try."""
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(10)
        for stream, thread in zip((self.process.stdout, self.process.stderr), self._threads, strict=True):
            if stream is not None and not thread.is_alive():  # closing waits for who reads
                stream.close()

    def story(self) -> str:
        """What the run said, in short, for the report of a failure."""
        told = [
            f"{at - self.begun:.2f} {line['event']} {_short(line)}"
            for at, line in self.lines
            if line["level"] != "debug"
        ]
        return "the run said:\n  " + "\n  ".join(told[-12:]) + (f"\n  {self.noise[-500:]}" if self.noise else "")


def _short(line: dict[str, Any]) -> str:
    wanted = ("revision", "message", "exit_code", "applied", "error", "pid", "reason")
    return " ".join(f"{name}={line[name]!s:.300}" for name in wanted if line.get(name) not in (None, ""))
