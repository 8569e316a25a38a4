"""Bounds how long queries of psycopg2 take on this side: a pooler or network that stalls after the login never lets the
server's own bounds be heard, and psycopg2 waits in C for ever, deaf to signals.

This module imports next to nothing: the shortest run uses it too.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` itself imports enum and re: 5 ms
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2 import extensions

_SLICE = 0.1  # seconds between two looks at signals
_HELD = {_signal.SIGTERM, _signal.SIGINT}


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """While it is open, queries of this process end after so many seconds, or when a signal waits to be let through.

    The query then raises `psycopg2.OperationalError`, and its connection is of no use any more. Not for connecting:
    there `connect_timeout` bounds each host. psycopg2 keeps one such bound for the whole process, all threads of it.
    """
    before = extensions.get_wait_callback()
    end = time.monotonic() + seconds

    def wait(connection: Any) -> None:
        while (state := connection.poll()) != extensions.POLL_OK:
            _await(connection.fileno(), state, end)

    extensions.set_wait_callback(wait)
    try:
        yield
    finally:
        extensions.set_wait_callback(before)


def _await(descriptor: int, state: int, end: float) -> None:
    """Until the connection can be read from, or written to."""
    reading = [descriptor] if state == extensions.POLL_READ else []
    writing = [descriptor] if state == extensions.POLL_WRITE else []
    while True:
        left = end - time.monotonic()
        if left <= 0:
            raise psycopg2.OperationalError("no answer from the server in time")
        if _HELD & _signal.sigpending():
            raise psycopg2.OperationalError("interrupted")
        if any(select.select(reading, writing, [], min(left, _SLICE))):
            return
