"""Messages to people's services through Apprise, from a process of their own.

Apprise takes half a second to import, knows a hundred services, and may hang in any of them: none of that may reach
the run, nor what it logs, in which URLs are spelled out. So a child does it, and is ended when its time is over. The
URLs go through its standard input, where `ps` does not see them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any, NamedTuple

_CHILD = """
import json, sys
asked = json.load(sys.stdin)
sys.path[:] = asked["path"]
from alembic_job.gateways.notifier import send_all
send_all(asked)
"""
# What went wrong, by what Apprise logs: its own words may hold the URL, so they are only looked at.
_REASONS = (
    ("Connection refused", "the connection was refused"),
    ("timed out", "it did not answer in time"),
    ("Timeout", "it did not answer in time"),
    ("Name or service not known", "its host name is unknown"),
    ("name resolution", "its host name is unknown"),
    ("nodename nor servname", "its host name is unknown"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted"),
    ("Authentication", "the login was refused"),
    ("Connection reset", "the connection was closed"),
    ("Connection aborted", "the connection was closed"),
)
_UNKNOWN = "Apprise does not understand its URL"
_MISSING = "Apprise is not installed: pip install 'alembic-job[notify]'"


class Message(NamedTuple):
    """What is to be said; `kind` as Apprise has it: info, success, warning or failure."""

    about: str
    title: str
    body: str
    kind: str


class Answer(NamedTuple):
    """What became of a message at the service of the `number`th URL, from 1 on; `problem` is `None` if it was taken."""

    number: int
    service: str
    problem: str | None


class Sending:
    """A message on its way to several URLs."""

    def __init__(self, urls: tuple[str, ...], message: Message, path: list[str], seconds: float) -> None:
        """Sends it, and returns at once. `path` is where modules are looked for. Raises `OSError`."""
        self.message, self._urls, self._seconds = message, urls, seconds
        self._end = time.monotonic() + seconds
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at a terminal is for the run
        )
        asked = {"path": path, "urls": urls, **message._asdict()}
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended already: then it has no answer either
            self._process.stdin.write(json.dumps(asked).encode())
            self._process.stdin.close()
        self._process.stdin = None

    def answers(self) -> list[Answer]:
        """Waits for those that are not there yet, at most until the seconds are over; then it is given up."""
        try:
            out, _ = self._process.communicate(timeout=max(0.0, self._end - time.monotonic()))
            missing = "it could not be sent"
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # those that it started too
            out, _ = self._process.communicate()
            missing = f"there was no answer within {self._seconds:g} s"
        given = {answer.number: answer for line in out.splitlines() if (answer := _answer(line)) is not None}
        return [
            given.get(number, Answer(number, scheme_of(url), missing)) for number, url in enumerate(self._urls, start=1)
        ]


def _answer(line: bytes) -> Answer | None:
    with suppress(ValueError, TypeError):
        return Answer(*json.loads(line))
    return None


def scheme_of(url: str) -> str:
    """What can be said of a URL without a secret."""
    return url.partition("://")[0]


# In the child.


def send_all(asked: dict[str, Any]) -> None:
    """Sends to all URLs at once, each from a process of its own; writes an answer a line, as soon as it is there."""
    try:
        import apprise

        apprise.Apprise.instantiate("json://localhost")  # loads all that it knows, once for all
    except ImportError:
        pass
    for number, url in enumerate(asked["urls"], start=1):
        if os.fork() == 0:
            service, problem = _send(url, asked)
            os.write(1, (json.dumps([number, service, problem]) + "\n").encode())
            os._exit(0)
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _send(url: str, asked: dict[str, Any]) -> tuple[str, str | None]:
    """Returns the service's name, and what went wrong, if anything."""
    try:
        import apprise
    except ImportError:
        return scheme_of(url), _MISSING
    said = _listen()
    try:
        everybody = apprise.Apprise(asset=apprise.AppriseAsset(app_id="alembic-job", app_desc="migrations", app_url=""))
        if not everybody.add(url):
            return scheme_of(url), _UNKNOWN
        taken = everybody.notify(
            body=asked["body"], title=asked["title"], notify_type=asked["kind"], body_format=apprise.NotifyFormat.TEXT
        )
        return str(everybody[0].service_name), None if taken else _reason("\n".join(said))
    except Exception as error:  # a service's own defect
        return scheme_of(url), f"it could not be sent ({type(error).__name__})"


def _listen() -> list[str]:
    """What Apprise logs from now on."""
    import logging

    said: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger = logging.getLogger("apprise")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(Kept())
    return said


def _reason(text: str) -> str:
    """Why it failed, in our words."""
    import re

    if status := re.search(r"error=(\d{3})\b", text):
        return f"it answered with the status {status[1]}"
    return next((reason for sign, reason in _REASONS if sign in text), "it was not taken")
