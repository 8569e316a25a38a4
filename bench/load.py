"""An application at work, and what it had to wait for: by its own records, and by the server's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol

import psycopg2

CLIENTS = 4
ROWS = 1000  # of a table that belong to one client: clients never wait for each other's rows
NAME = "bench-application"
_CLIENT = Path(__file__).with_name("client.py")
_WAITS = """\
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - l.waitstart)), 0)::float8
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND l.locktype = 'relation' AND a.application_name = %s"""


class Query(NamedTuple):
    """One query of the application: `read` or `write`, when it began, how long it took (seconds, monotonic clock)."""

    kind: str
    begun: float
    took: float


class Span(NamedTuple):
    """From one moment of the monotonic clock to another."""

    begin: float
    end: float

    def longest(self, queries: Iterable[Query], kind: str = "") -> float:
        """The longest of the queries (of that kind) that were under way in this span, in seconds; 0 without any."""
        meant = (query for query in queries if kind in ("", query.kind))
        return max((q.took for q in meant if q.begun < self.end and q.begun + q.took > self.begin), default=0.0)


class Load(Protocol):
    """Queries that run all the time."""

    def start(self) -> None:
        """Returns once every client works."""
        ...

    def stop(self) -> list[Query]:
        """Lets every client finish its query; what they did. A second time: nothing."""
        ...


class Application:
    """Clients in processes of their own: short queries on their own rows, 2 to 5 ms between them.

    `queries` are pairs of a kind and SQL with `%(key)s`, taken in turn. `stop` raises `RuntimeError` if a client ended
    before; it says why on stderr.
    """

    def __init__(self, url: str, queries: Sequence[tuple[str, str]], clients: int = CLIENTS) -> None:
        self._settings = {"url": f"{url}?application_name={NAME}", "queries": queries, "rows": ROWS}
        self._number = clients
        self._clients: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        for number in range(self._number):
            client = subprocess.Popen(
                [sys.executable, "-I", str(_CLIENT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self._clients.append(client)
            assert client.stdin
            client.stdin.write(json.dumps(self._settings | {"number": number}) + "\n")
            client.stdin.flush()
        for client in self._clients:
            assert client.stdout
            if client.stdout.readline() != "ready\n":
                raise RuntimeError("a client of the application did not start")

    def stop(self) -> list[Query]:
        clients, self._clients = self._clients, []
        for client in clients:
            assert client.stdin
            client.stdin.close()
        texts = [client.stdout.read() for client in clients if client.stdout]
        codes = [client.wait() for client in clients]
        if any(codes):
            raise RuntimeError("a client of the application failed")
        return [Query(kind, *each) for text in texts for kind, found in json.loads(text).items() for each in found]


class Pgbench:
    """`pgbench` at full speed: each of its transactions counts as a query (a write)."""

    def __init__(self, program: Path, url: str, script: str, folder: Path, clients: int = 8) -> None:
        file = folder / "pgbench.sql"
        file.write_text(script)
        self._folder = folder
        self._argv = [str(program), "-n", "-c", str(clients), "-j", "1", "-T", "600", "-l", "-f", str(file)]
        self._argv += [f"--log-prefix={folder / 'pgbench_log'}", f"{url}?application_name={NAME}"]
        self._process: subprocess.Popen[bytes] | None = None
        self._epoch = 0.0

    def start(self) -> None:
        self._epoch = time.time() - time.monotonic()
        self._process = subprocess.Popen(self._argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)  # it connects its clients before it begins

    def stop(self) -> list[Query]:
        if self._process is None:
            return []
        self._process.send_signal(signal.SIGALRM)  # the end of -T, early: it finishes its transactions and its log
        code = self._process.wait()
        self._process = None
        if code:
            raise RuntimeError(f"pgbench failed: exit code {code}")
        return [self._query(line) for file in self._folder.glob("pgbench_log.*") for line in file.open()]

    def _query(self, line: str) -> Query:
        """Of a line: client, transaction, µs it took, script, seconds and µs of the epoch when it ended."""
        _, _, took, _, seconds, micros = line.split()[:6]
        ended = int(seconds) + int(micros) / 1e6 - self._epoch
        return Query("write", ended - int(took) / 1e6, int(took) / 1e6)


class Watch:
    """While it is open, looks every 20 ms how long clients of the application have been waiting for a table lock.

    What the application's records cannot tell: whether a query was slow or had to wait. Waits shorter than the pause
    may go unseen.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def longest(self, span: Span) -> float:
        """The longest wait in seconds, as far as it lay in this span."""
        return max((min(took, at - span.begin) for at, took in self._seen if span.begin < at <= span.end), default=0.0)

    def _look(self) -> None:
        with closing(psycopg2.connect(self._url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not self._over.wait(0.02):
                cursor.execute(_WAITS, (NAME,))
                [took] = cursor.fetchone() or (0.0,)
                if took > 0:
                    self._seen.append((time.monotonic(), took))
