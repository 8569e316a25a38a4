"""Turns whatever anybody writes to file descriptors 1 and 2 into JSON lines, through a small process of our own.

Why a process and not a thread: C code may write more than a pipe holds while it has the GIL; a thread of ours could
then never run to empty the pipe. Why one pipe for both and for our own events: the order of lines is then the order
in which they were written, and `job.finished` is truly the last.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn, TextIO

from alembic_job.logs.lines import Redactor, encode, timestamp

_EVENT, _PART, _SECRET, _END = b"E", b"P", b"S", b"Q"
_LONGEST = 32_768  # characters of captured text in one line of JSON
_HELD_BACK = 1024  # bytes, longer than any spelling of a secret
_FRAME = 4000  # bytes: what is below PIPE_BUF gets into the pipe in one piece, whoever else writes
_BUSY, _BUSIEST = 0.004, 0.02  # seconds between two looks where lines come fast; after many such looks
_PIPE = 65_536  # bytes that a pipe holds
_IDLE_EXIT = 137  # what a shell says of a process that was killed


class Capture:
    """While it is open, descriptors 1 and 2 lead into the writer process; `event` sends a finished line through it."""

    def __init__(self, redactor: Redactor, context: dict[str, Any]) -> None:
        """`context` are the fields every line carries (`run_id`); the writer needs them for captured text."""
        self._token = b"\x00" + os.urandom(6).hex().encode()
        self._mutex = threading.Lock()
        self._stdout = os.dup(1)
        self._stderr = os.dup(2)
        read, self._pipe = os.pipe()
        _flush()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._pipe)
            _Writer(read, self._stdout, self._token, redactor, context).run()
        os.close(read)
        os.dup2(self._pipe, 1)
        os.dup2(self._pipe, 2)
        # New objects: the old ones may remember that their descriptor was a file, and seek in what is a pipe now.
        self._streams = (sys.stdout, sys.stderr)
        sys.stdout = sys.__stdout__ = _stream(1)  # type: ignore[misc, assignment]
        sys.stderr = sys.__stderr__ = _stream(2)  # type: ignore[misc, assignment]

    def event(self, line: str) -> None:
        _flush()
        self._send(_EVENT, line)

    def secret(self, text: str) -> None:
        """Tells the writer of a secret learnt after it was started."""
        self._send(_SECRET, text.encode("utf-8", "surrogateescape").hex())

    def close(self) -> None:
        """Ends the writer after all that was written so far, and gives the descriptors back."""
        _flush()
        self._send(_END, "")
        try:
            os.waitpid(self._pid, 0)
        except ChildProcessError:  # reaped by somebody's handler of SIGCHLD
            pass
        os.dup2(self._stdout, 1)
        os.dup2(self._stderr, 2)
        sys.stdout, sys.stderr = self._streams

    def _send(self, kind: bytes, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        try:
            with self._mutex:
                while len(data) > _FRAME:
                    os.write(self._pipe, self._token + _PART + data[:_FRAME] + b"\n")
                    data = data[_FRAME:]
                os.write(self._pipe, self._token + kind + data + b"\n")
        except BrokenPipeError:
            pass


def _stream(descriptor: int) -> TextIO:
    """A text stream that writes whole lines at once and any text at all."""
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass


class _Writer:
    """The other process: reads the pipe, writes lines of JSON, ends on the end mark or when every writer is gone."""

    def __init__(self, read: int, out: int, token: bytes, redactor: Redactor, context: dict[str, Any]) -> None:
        self.read, self.out, self.token, self.redactor, self.context = read, out, token, redactor, context
        self.partial = b""
        self.parts = b""
        self.writable = True
        self.last = 0.0
        self.pause = _BUSY
        self.lines: list[bytes] = []  # to be written at once

    def run(self) -> NoReturn:
        code = 1
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # meant for the job, which then ends us
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            os.close(1)
            os.close(2)
            self._loop()
            code = 0
        finally:
            os._exit(code)

    def _loop(self) -> None:
        ended = False
        while not ended and (data := self._chunk()):
            ended = self._lines(data)
            self._write()
        if not ended:
            self._text(self.partial)
            self._killed()
            self._write()

    def _lines(self, data: bytes) -> bool:
        """Takes what was read; true when the end mark was in it."""
        lines = (self.partial + data).split(b"\n")
        self.partial = lines.pop()
        if any(self._line(line) for line in lines):
            return True
        if len(self.partial) > _LONGEST and self.token not in self.partial:
            # The end is held back: a secret may have begun there.
            self._text(self.partial[:-_HELD_BACK])
            self.partial = self.partial[-_HELD_BACK:]
        return False

    def _chunk(self) -> bytes:
        """What was written since the last look. Where lines come fast it takes many at a time: waking up for each would
        take the processor from those who write them."""
        if time.monotonic() - self.last < self.pause:
            time.sleep(self.pause)
            self.pause = min(self.pause * 1.2, _BUSIEST)
        else:
            self.pause = _BUSY
        data = os.read(self.read, _PIPE)
        self.last = time.monotonic() if len(data) < _PIPE else 0.0  # a full pipe keeps its writer waiting
        return data

    def _line(self, line: bytes) -> bool:
        """Takes one line; true when it was the end mark. Text before a mark is a line that was never ended."""
        before, mark, rest = line.partition(self.token)
        if before:
            self._text(before)
        if not mark:
            return False
        kind, payload = rest[:1], rest[1:]
        if kind == _PART:
            self.parts += payload
            return False
        payload, self.parts = self.parts + payload, b""
        if kind == _EVENT:
            self.lines.append(payload)
        elif kind == _SECRET:
            self.redactor.add(bytes.fromhex(payload.decode()).decode("utf-8", "surrogateescape"))
        return kind == _END

    def _text(self, data: bytes) -> None:
        for part in data.replace(b"\r", b"\n").split(b"\n"):
            text = self.redactor.text(part.decode("utf-8", "backslashreplace").rstrip())  # before it is cut
            for start in range(0, len(text), _LONGEST):
                self._emit("info", "output", message=text[start : start + _LONGEST])

    def _killed(self) -> None:
        """The job ended without a word (SIGKILL, out of memory, a crash in C): say so in its place."""
        hint = "it was killed from outside, ran out of memory or crashed; run again: the next run clears up after it"
        fields = {"outcome": "killed", "exit_code": _IDLE_EXIT, "error": "the job's process ended unexpectedly"}
        self._emit("error", "job.finished", **fields, hint=hint)

    def _emit(self, level: str, event: str, **fields: Any) -> None:
        line = {"timestamp": timestamp(), "level": level, "event": event, **self.context, **fields}
        self.lines.append(encode(line).encode("utf-8", "backslashreplace"))

    def _write(self) -> None:
        """Writes what was taken."""
        data = b"".join(line + b"\n" for line in self.lines)
        self.lines.clear()
        while data and self.writable:
            try:
                data = data[os.write(self.out, data) :]
            except OSError:  # nobody reads any more, or the disk is full: the migration must not suffer for it
                self.writable = False
