"""MIGRATE_PASSWORD_COMMAND: a command whose output is the database's password, asked anew for new connections.

For tokens of a cloud that expire, and for files that are rotated. What it gave is remembered for a minute, so that
connections opened one after the other do not each run it; a password that the server refuses is forgotten at once.
"""

from __future__ import annotations

import errno
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg2

from alembic_job import errors
from alembic_job.gateways import children
from alembic_job.logs import events
from alembic_job.logs.lines import Redactor

T = TypeVar("T")

VARIABLE = "MIGRATE_PASSWORD_COMMAND"
_REMEMBERED = 60.0  # seconds
_LIMIT = 30.0  # seconds for the command
_SOON = 5.0  # seconds, where the ordinary way would follow
_LOOK = 0.05  # seconds between two looks whether it is to end
_LONGEST = 65_535  # bytes, what PostgreSQL takes at most
_LINES = 50  # of stderr, the last ones
_TALK = 1 << 20  # bytes of stderr
_TELLING = 8  # characters; a shorter line of what was written is too common a word to be masked everywhere
# No such program, not executable, a folder, a script without #!.
_NOT_STARTABLE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENOEXEC)
_HINT = (
    "what it wrote to stderr is in the lines above (password_command.output); run it by hand in this image and as this "
    "user to see what it lacks"
)


class NoPassword(errors.DatabaseUnreachable, psycopg2.OperationalError):  # type: ignore[misc]
    """The password command failed; a service it asks may be back in a moment."""

    hint = _HINT


class UnusablePassword(errors.LoginFailed, psycopg2.OperationalError):  # type: ignore[misc]
    """The password command ended well, but what it wrote is no password."""

    hint = "its standard output must be the password and nothing else"


def current(words: tuple[str, ...]) -> str:
    """The password that the command gives now, or gave a moment ago.

    Raises `NoPassword` (10), `UnusablePassword` (21) or `SettingsError` (20: no such program).
    """
    return _of(words).take(_REMEMBERED, _LIMIT)[0]


def forget(words: tuple[str, ...], password: str) -> None:
    """The server refused this password: the next one is asked for anew."""
    _of(words).forget(password)


def used(
    words: tuple[str, ...],
    connect: Callable[[str], T],
    refused: Callable[[BaseException], bool],
    hurry: float | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> T:
    """Connects with the password, once more with a new one where the server refuses one that was remembered.

    In a `hurry` the last one will do, however old, and the command gets only so many seconds; it is also ended when
    `stop` says so.
    """
    source = _of(words)
    age = _REMEMBERED if hurry is None else float("inf")
    for last in (False, True):
        password, remembered = source.take(age, hurry or _LIMIT, stop)
        try:
            return connect(password)
        except psycopg2.Error as error:
            if not refused(error):
                raise
            source.forget(password)
            if last or not remembered:
                raise
    raise AssertionError


def connect_soon(text: str, login: dict[str, str]) -> Any:
    """For the short cut: connects with the password of a command as it stands in the environment, without patience.

    A signal that waits to be let through (`main.hold_signals`) ends the command. Whatever goes wrong is a
    `psycopg2.OperationalError`: the ordinary way finds it too, and says it.
    """
    from alembic_job.gateways.postgres import is_refused

    held = {signal.SIGTERM, signal.SIGINT}
    try:
        return used(
            tuple(shlex.split(text)),
            lambda given: psycopg2.connect("", **{**login, "password": given}),
            is_refused,
            _SOON,
            lambda: bool(held & signal.sigpending()),
        )
    except (errors.JobError, ValueError, IndexError) as error:
        raise psycopg2.OperationalError(str(error)) from error


def unsaid(text: str) -> list[str]:
    """Lines that this command wrote to stderr while nobody listened (`logs.events.hear`), without the password."""
    return _of(tuple(shlex.split(text))).unsaid


_sources: dict[tuple[str, ...], _Source] = {}


def _of(words: tuple[str, ...]) -> _Source:
    return _sources.setdefault(words, _Source(words))


class _Source:
    """One command and what it gave last; asked from any thread."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words
        self.unsaid: list[str] = []
        self._known: tuple[str, float] | None = None  # the password and when it was given
        self._mutex = threading.Lock()

    def take(self, age: float, limit: float, stop: Callable[[], bool] = lambda: False) -> tuple[str, bool]:
        """The password, and whether it was remembered: one of at most this age (seconds), else a new one."""
        password = self._young(age)  # not behind the lock: who is in a hurry must not wait for a command that hangs
        remembered = password is not None
        try:
            if password is None:
                password, remembered = self._new(age, limit, stop)
            _learn(password)
            return password, remembered
        finally:
            self._say()

    def _new(self, age: float, limit: float, stop: Callable[[], bool]) -> tuple[str, bool]:
        """From the command, unless another thread has just asked it."""
        if not self._mutex.acquire(timeout=limit):
            raise self._failed(f"did not answer within {limit:g} s")
        try:
            if password := self._young(age):
                return password, True
            password = self._ask(limit, stop)
            self._known = password, time.monotonic()
            return password, False
        finally:
            self._mutex.release()

    def forget(self, password: str) -> None:
        if self._known is not None and self._known[0] == password:
            self._known = None

    def _young(self, age: float) -> str | None:
        known = self._known
        return known[0] if known is not None and time.monotonic() - known[1] < age else None

    def _say(self) -> None:
        ear = events.heard()
        while ear and self.unsaid:
            ear.log.info("password_command.output", message=self.unsaid.pop(0))

    def _ask(self, limit: float, stop: Callable[[], bool]) -> str:
        """Runs the command."""
        begun = time.monotonic()
        status, out, err = self._run(limit, stop)
        text = _text(out)
        lines = [line for line in (text or "").splitlines() if len(line.strip()) >= _TELLING]
        masked = Redactor([text or "", (text or "").strip(), *lines])
        said = [masked.text(line) for line in err.decode("utf-8", "backslashreplace").splitlines() if line.strip()]
        self.unsaid += said[-_LINES:]
        if ear := events.heard():
            seconds = round(time.monotonic() - begun, 3)
            ear.log.debug("password_command.finished", exit_status=status, duration_seconds=seconds)
        if status != 0:
            raise self._failed(f"{_ending(status)}: {said[-1] if said else 'it said nothing on stderr'}")
        return self._checked(out, text)

    def _checked(self, out: bytes, text: str | None) -> str:
        if not text:
            what = "wrote nothing to its standard output" if text == "" else "wrote something that is not UTF-8 text"
            raise UnusablePassword(f"{VARIABLE} ({self.words[0]}) {what}")
        if (lines := len(text.splitlines())) > 1:
            raise UnusablePassword(f"{VARIABLE} ({self.words[0]}) wrote {lines} lines, so which is the password?")
        if len(out) > _LONGEST or "\0" in text:
            raise UnusablePassword(f"{VARIABLE} ({self.words[0]}) wrote {len(out)} bytes that cannot be a password")
        return text

    def _run(self, limit: float, stop: Callable[[], bool]) -> tuple[int, bytes, bytes]:
        """Exit status, stdout and stderr. The command leads a process group, which is ended if it takes too long."""
        pipe = subprocess.PIPE
        try:
            # No shell; the job's environment and working directory.
            process = children.start(self.words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
        except OSError as error:
            raise self._cannot_start(error) from error
        with process:
            try:
                return self._collect(process, limit, stop)
            except BaseException:
                children.end(process)
                raise

    def _collect(
        self, process: subprocess.Popen[bytes], limit: float, stop: Callable[[], bool]
    ) -> tuple[int, bytes, bytes]:
        end = time.monotonic() + limit
        while True:
            ended = process.poll() is not None
            try:
                out, err = process.communicate(timeout=_LOOK)
            except subprocess.TimeoutExpired as waiting:
                out, err = waiting.output or b"", waiting.stderr or b""
                if not ended:  # else something that it left behind has its output open
                    self._check(out, err, time.monotonic() > end, limit, stop)
                    continue
            return process.returncode, out, err

    def _check(self, out: bytes, err: bytes, late: bool, limit: float, stop: Callable[[], bool]) -> None:
        """Raises what ends a command that still runs."""
        if late:
            raise self._failed(f"took longer than {limit:g} s and was ended")
        if stop():
            raise self._failed("was interrupted")
        if len(out) > _LONGEST:
            raise UnusablePassword(f"{VARIABLE} ({self.words[0]}) writes too much for a password, and was ended")
        if len(err) > _TALK:
            raise self._failed("writes without end to stderr, and was ended")

    def _failed(self, how: str) -> NoPassword:
        return NoPassword(f"{VARIABLE} ({self.words[0]}) {how}")

    def _cannot_start(self, error: OSError) -> errors.JobError:
        what = f"cannot be started: {error.strerror}"
        if error.errno in _NOT_STARTABLE:
            return errors.SettingsError(
                f"{VARIABLE} ({self.words[0]}) {what}",
                hint=f"{VARIABLE} is split as by a shell, but runs without one: name a program that is in this image, "
                "on PATH or by its path",
            )
        return self._failed(what)


def _learn(password: str) -> None:
    """Everybody who writes learns it before anybody can use it."""
    if ear := events.heard():
        for secret in {password, password.strip()}:
            ear.learn_secret(secret)


def _text(out: bytes) -> str | None:
    """What was written, without the line's end; none if it is no text."""
    try:
        text = out.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text[:-1].removesuffix("\r") if text.endswith("\n") else text


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with {status}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was killed by {names.get(-status, -status)}"
