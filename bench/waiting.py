"""`python -m bench.waiting`: what a thousand waiting pods cost the application they wait for.

An application's queries run all the time; with and without waiters, in turns. The waiters are threads of a few
processes, but each does just what a pod does: `steps.poll.poll`, a connection and a query, at the pauses of
`steps.poll.Pace`, all of them started at the same instant. In earnest their side of it runs on other machines; here it
shares the processors with the server. So the server trusts them: what SCRAM costs, it costs the client (4 ms).
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from typing import Any, NamedTuple

import psycopg2

from alembic_job import dsn
from alembic_job.errors import JobError
from alembic_job.gateways.embedded import Server
from alembic_job.steps.poll import Pace, Place, Sought, poll, spread

_CLIENTS = 4  # of the application, each with a connection of its own
_PROCESSES = 4  # for the waiters
_GROWN = 75.0  # seconds until the pauses have grown to their longest
_NAME = "bench waiter"
_spawn = multiprocessing.get_context("fork")


class Load(NamedTuple):
    """What the application got done: queries a second, and how long one took, in milliseconds."""

    throughput: float
    median: float
    late: float  # 99 of 100 were faster


class Waiters(NamedTuple):
    """What the waiters did meanwhile: polls a second, and most connections at once."""

    polls: float
    most: int


def main() -> None:
    options = _options()
    with Server(conf={"max_connections": "400"}) as server:
        _trust(server)
        _prepare(server.url())
        place = Place(dsn.parse(server.url()), (Sought("public", "alembic_version", True),))
        print(f"{options.waiters:,} waiters, {_CLIENTS} clients of the application, {os.cpu_count()} processors")
        print(f"{'':34}{'queries/s':>10}{'median ms':>11}{'99 % ms':>9}{'polls/s':>9}{'most connections':>18}")
        rounds = [_round(server.url(), place, options) for _ in range(options.rounds)]
        for name in ("the first seconds", "later"):
            _print_ratio(name, [(found["without"], found[name]) for found in rounds])


def _round(url: str, place: Place, options: argparse.Namespace) -> dict[str, Load]:
    """One turn without waiters and one with them: their first seconds, and later."""
    found = {"without": _shown("without", url, options.seconds, None)}
    with _waiting(place, options.waiters) as counter:
        found["the first seconds"] = _shown("the first seconds", url, options.seconds, counter)
        time.sleep(max(0.0, _GROWN - options.seconds))
        found["later"] = _shown("later", url, options.seconds, counter)
    return found


def _shown(name: str, url: str, seconds: float, counter: Synchronized[int] | None) -> Load:
    """Measures and prints a line."""
    before = counter.value if counter is not None else 0
    with _most_connections(url) as most:
        load = _application(url, seconds)
    waiters = Waiters((counter.value - before) / seconds if counter is not None else 0.0, most[0])
    print(
        f"  {name:<32}{load.throughput:>10,.0f}{load.median:>11.2f}{load.late:>9.2f}{waiters.polls:>9.0f}"
        f"{waiters.most:>18}",
        flush=True,
    )
    return load


def _print_ratio(name: str, pairs: list[tuple[Load, Load]]) -> None:
    """With : without, the median of the rounds."""
    ratios = [
        statistics.median(getattr(later, what) / getattr(before, what) for before, later in pairs)
        for what in Load._fields
    ]
    print(f"with : without, {name:<18}{ratios[0]:>10.2f}{ratios[1]:>11.2f}{ratios[2]:>9.2f}")


def _trust(server: Server) -> None:
    (server.data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\nlocal all all trust\n")
    server.stop()
    server.start()


def _prepare(url: str) -> None:
    """A table for the application, and a version table that is behind."""
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE alembic_version AS SELECT 'r1'::varchar(32) AS version_num")
        cursor.execute("CREATE TABLE account (id int PRIMARY KEY, balance int)")
        cursor.execute("INSERT INTO account SELECT n, 0 FROM generate_series(1, 100000) n")


# The application.


def _application(url: str, seconds: float) -> Load:
    """Clients in a process of their own, each with one connection, query after query."""
    receiver, sender = _spawn.Pipe(duplex=False)
    process = _spawn.Process(target=_serve, args=(url, seconds, sender))
    process.start()
    latencies: list[float] = receiver.recv()
    process.join()
    late = statistics.quantiles(latencies, n=100)[98]
    return Load(len(latencies) / seconds, statistics.median(latencies) * 1000, late * 1000)


def _serve(url: str, seconds: float, sender: Any) -> None:
    latencies: list[float] = []
    clients = [threading.Thread(target=_client, args=(url, number, seconds, latencies)) for number in range(_CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    sender.send(latencies)


def _client(url: str, number: int, seconds: float, latencies: list[float]) -> None:
    """Three reads and a write, with the pause that an application takes between requests."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        end = time.perf_counter() + seconds
        count = 0
        while (begun := time.perf_counter()) < end:
            count += 1
            key = (count * 7919 + number) % 100_000 + 1
            if count % 4:
                cursor.execute("SELECT balance FROM account WHERE id = %s", (key,))
            else:
                cursor.execute("UPDATE account SET balance = balance + 1 WHERE id = %s", (key,))
            latencies.append(time.perf_counter() - begun)
            time.sleep(0.002)


# The waiters.


@contextmanager
def _waiting(place: Place, number: int) -> Iterator[Synchronized[int]]:
    """While it is open, so many wait; gives the count of their polls."""
    counter: Synchronized[int] = _spawn.Value("q", 0)
    go, stop = _spawn.Event(), _spawn.Event()
    each = [number // _PROCESSES + (rest < number % _PROCESSES) for rest in range(_PROCESSES)]
    processes = [_spawn.Process(target=_crowd, args=(place, count, counter, go, stop)) for count in each]
    for process in processes:
        process.start()
    time.sleep(1 + number / 1000)  # until every thread is there
    go.set()
    try:
        yield counter
    finally:
        stop.set()
        for process in processes:
            process.join()


def _crowd(place: Place, number: int, counter: Synchronized[int], go: Event, stop: Event) -> None:
    threading.stack_size(256 * 1024)
    start = threading.Event()
    waiters = [threading.Thread(target=_wait, args=(place, counter, start), daemon=True) for _ in range(number)]
    for waiter in waiters:
        waiter.start()
    go.wait()
    start.set()
    stop.wait()
    os._exit(0)  # threads that wait for the server have nothing to finish


def _wait(place: Place, counter: Synchronized[int], start: threading.Event) -> None:
    """One pod, from its first look on."""
    start.wait()
    time.sleep(spread())
    pace = Pace()
    while True:
        begun, took = time.monotonic(), 0.0
        with contextlib.suppress(JobError):  # too many connections: a pod tries again, too
            poll(place, _NAME)
            took = time.monotonic() - begun
        with counter.get_lock():
            counter.value += 1
        time.sleep(pace.pause(took))


@contextmanager
def _most_connections(url: str) -> Iterator[list[int]]:
    """While it is open, counts the waiters' connections, often; the most at once is in the list afterwards."""
    most, over = [0], threading.Event()

    def count() -> None:
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not over.wait(0.02):
                # Also those that have not said their name yet.
                cursor.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
                    " OR (backend_type = 'client backend' AND application_name = '' AND state IS NULL)",
                    (_NAME,),
                )
                most[0] = max(most[0], *(cursor.fetchone() or (0,)))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.waiting", description=__doc__.partition("\n")[0])
    parser.add_argument("--waiters", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="for each measurement")
    return parser.parse_args()


if __name__ == "__main__":
    main()
