"""A connection whose loss must be noticed at once: the one that holds the lock."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

from psycopg2.extensions import connection as Connection

from alembic_job.gateways.postgres import query

_EVERY = 3.0  # seconds between two questions on a quiet connection


class Keeper:
    """Watches a connection from a thread of its own and calls `lost` once when it is gone.

    The main thread may use the connection meanwhile: psycopg2 lets one statement at a time through.
    """

    def __init__(self, connection: Connection, lost: Callable[[], None], look: Callable[[], None]) -> None:
        """`look` is called every few seconds while the connection is quiet; it may use the connection."""
        self._connection = connection
        self._lost = lost
        self._look = look
        self._read, self._write = os.pipe()
        self._discarded = False
        self._thread = threading.Thread(target=self._run, name="alembic-job-keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops watching; the connection stays open."""
        try:
            os.write(self._write, b"\0")
        except OSError:  # the thread has ended already
            pass
        self._thread.join(timeout=1)
        self.discard()

    def discard(self) -> None:
        """Gives up the pipe's end by which the thread is told to stop."""
        if not self._discarded:
            self._discarded = True
            os.close(self._write)

    def _run(self) -> None:
        try:
            self._watch()
        finally:
            os.close(self._read)

    def _watch(self) -> None:
        descriptor = self._connection.fileno()
        while True:
            ready, _, _ = select.select([self._read, descriptor], [], [], _EVERY)
            if self._read in ready:
                return
            try:
                query(self._connection, "SELECT 1")
                if not ready:
                    self._look()
            except Exception:
                if not select.select([self._read], [], [], 0)[0]:
                    self._lost()
                return
