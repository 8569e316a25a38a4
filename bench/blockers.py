"""What stands in a migration's way: `place` puts it there, `ended` waits until it is gone and says when that was."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import psycopg2
import psycopg2.errors
import psycopg2.extensions

_AUTOVACUUM = """\
SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l USING (pid)
WHERE a.backend_type = 'autovacuum worker' AND l.relation = %s::regclass
 AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted
 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Blocker(Protocol):
    """Moments are seconds of the monotonic clock."""

    def place(self) -> None:
        """Returns once it stands in the way (or is ready to, where it comes later)."""
        ...

    def ended(self) -> float | None:
        """To be called when the migration is over: waits until it is gone; None: there was none."""
        ...


class Nobody:
    """No blocker at all."""

    def place(self) -> None:
        pass

    def ended(self) -> None:
        return None


class Idle:
    """A session that executes one statement and then sits idle in its transaction, `hold` seconds in all."""

    def __init__(self, url: str, statement: str, hold: float) -> None:
        self._url, self._statement, self._hold = url, statement, hold
        self._ended: float | None = None
        self._over = threading.Event()  # the migration is over: who has not come yet stays away
        self._thread = threading.Thread(target=self._sit, daemon=True)
        self._connection: psycopg2.extensions.connection | None = None

    def place(self) -> None:
        self._enter()
        self._thread.start()

    def ended(self) -> float | None:
        self._over.set()
        self._thread.join()
        return self._ended

    def _enter(self) -> None:
        self._connection = psycopg2.connect(self._url)
        with self._connection.cursor() as cursor:
            cursor.execute(self._statement)

    def _sit(self) -> None:
        time.sleep(self._hold)
        assert self._connection
        self._connection.commit()
        self._ended = time.monotonic()
        self._connection.close()


class Late(Idle):
    """An idle session that comes in the middle of a revision, which says when: see `meeting`.

    Its statement must not wait (LOCK TABLE … NOWAIT). Where it is refused, the revision held that lock from its
    beginning, and nothing was ever in the way.
    """

    def __init__(self, url: str, statement: str, hold: float, folder: Path) -> None:
        super().__init__(url, statement, hold)
        self._between, self._came = folder / "between", folder / "came"

    def _enter(self) -> None:
        self._connection = psycopg2.connect(self._url)

    def _sit(self) -> None:
        while not self._between.exists():
            if self._over.wait(0.001):
                return
        assert self._connection
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(self._statement)
            except psycopg2.errors.LockNotAvailable:
                self._hold = 0.0
        self._came.touch()
        super()._sit()


def running(folder: Path) -> str:
    """Python for the beginning of a revision: makes the file `running` in that folder when it is really run."""
    return f"""\
from pathlib import Path
if not op.get_context().as_sql:
    Path({str(folder / "running")!r}).touch()
"""


def meeting(folder: Path) -> str:
    """Python for the middle of a revision: lets the `Late` of the same folder in, the first time it is really run."""
    return f"""\
if not op.get_context().as_sql:
    Path({str(folder / "between")!r}).touch()
    while not Path({str(folder / "came")!r}).exists():
        time.sleep(0.001)
"""


class Autovacuum:
    """A real autovacuum of one table, which is made ready for it but for `autovacuum_enabled`.

    Raises `RuntimeError` if the server's autovacuum does not come to the table within 30 s.
    """

    def __init__(self, url: str, table: str) -> None:
        self._url, self._table = url, table
        self._ended = 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._found: list[Any] = []

    def place(self) -> None:
        with closing(psycopg2.connect(self._url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(f"ALTER TABLE {self._table} SET (autovacuum_enabled = on)")
            end = time.monotonic() + 30
            while not self._found:
                if time.monotonic() > end:
                    raise RuntimeError("no autovacuum within 30 s")
                time.sleep(0.05)
                cursor.execute(_AUTOVACUUM, (self._table,))
                self._found = cursor.fetchall()
        self._thread.start()

    def ended(self) -> float | None:
        self._thread.join()
        return self._ended

    def _watch(self) -> None:
        with closing(psycopg2.connect(self._url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            found = self._found
            while self._found[0] in found:
                time.sleep(0.01)
                cursor.execute(_AUTOVACUUM, (self._table,))
                found = cursor.fetchall()
        self._ended = time.monotonic()
