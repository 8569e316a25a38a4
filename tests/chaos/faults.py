"""What is done to a run: each fault is a function of an `Attempt` that raises `Broken` if it was not survived."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import psycopg2

from tests.chaos import pooler
from tests.chaos.check import Broken
from tests.chaos.projects import KINDS
from tests.chaos.proxy import Proxy
from tests.chaos.runner import Runner
from tests.chaos.stage import GIVES_UP_WITHIN, PAUSE, Attempt, Impossible, Missed, Stage, revive
from tests.conftest import Database

LONG = 10.0  # seconds, of `chaos.pause` where statements would outlive their run by long
LOST = (10, 13)  # exit codes of a run that lost its server
RUNNERS = 20
_CROWDED = 240.0  # seconds for so many

Act = Callable[[Attempt, int], None]


@dataclass(frozen=True)
class Fault:
    """`tries` for each kind of project; `act` takes the attempt, on a database as given, and the number of the try.

    Those with the greatest `weight` go first, so that no long one is left over at the end; a `crowd` is many runners.
    """

    name: str
    why: str
    tries: int
    act: Act
    database: Callable[[Stage], AbstractContextManager[Database]] = Stage.database
    weight: int = 1
    crowd: bool = False
    kinds: tuple[str, ...] = tuple(KINDS)


# SIGKILL and SIGTERM of the runner.


def kill_at_random(attempt: Attempt, number: int) -> None:
    """SIGKILL at a moment of the run; every fourth is in a statement that would outlive it by long."""
    moment = attempt.moment()
    if number % 4 == 3:
        attempt.let_outlive()
        runner = attempt.start(seconds=LONG)
        runner.wait_event("revision.applying")
        moment += time.monotonic() - runner.begun
    else:
        runner = attempt.start()
    _wait(runner, moment)
    _killed(attempt, runner, number)


def kill_at_event(attempt: Attempt, number: int) -> None:
    """SIGKILL as soon as the run has written its line of that number (from 1)."""
    runner = attempt.start()
    if not runner.wait_line(number):
        raise Broken(f"the run wrote fewer than {number} lines; {runner.story()}")
    _killed(attempt, runner, number)


def _wait(runner: Runner, moment: float) -> None:
    if not runner.wait_moment(moment):
        raise Missed(f"it ended before {moment:.2f} s; {runner.story()}")


def _killed(attempt: Attempt, runner: Runner, number: int) -> None:
    """Kills, then lets the next runner go on at once; in three of four it is held, and the database looked at."""
    if not runner.kill():
        raise Missed(f"it ended before it was killed; {runner.story()}")
    since, attempt.struck = time.monotonic(), True
    attempt.next_run(since, attempt.backends(), look=number % 4 != 0)


def sigterm(attempt: Attempt, number: int) -> None:
    """SIGTERM at a moment of the run: within a second nothing of it is left."""
    moment = attempt.moment()
    runner = attempt.start(seconds=LONG if number % 2 else PAUSE)
    _wait(runner, moment)
    runner.process.terminate()
    since = time.monotonic()
    attempt.expect_quiet(GIVES_UP_WITHIN, since, "after SIGTERM")
    early = () if runner.lines else (-signal.SIGTERM,)  # Python itself was still starting
    attempt.expect_ended(runner, 14, *early)
    _boundary(attempt, runner)
    attempt.next_run(time.monotonic(), set(), look=False)


def _boundary(attempt: Attempt, runner: Runner) -> None:
    """A run that ended by itself left a boundary, and said which."""
    attempt.expect_reported(runner, attempt.expect_boundary())


# The server and its backends.


def immediate_shutdown(attempt: Attempt, number: int) -> None:
    """`pg_ctl stop -m immediate` at a moment of the run (in three of four: connected), and a start a moment later."""
    moment = attempt.moment()
    runner = attempt.start()
    _wait(runner, moment)
    if number % 4:
        attempt.backend(runner, lock=False)
    attempt.database.server.stop("immediate")
    time.sleep(attempt.random.random())
    attempt.database.server.start()
    since = time.monotonic()
    _lost(attempt, runner, since, number)


def backend_crash(attempt: Attempt, number: int) -> None:
    """SIGKILL of a backend of the run: the server ends all its sessions and recovers."""
    moment = attempt.moment()
    runner = attempt.start()
    _wait(runner, moment)
    pid, _ = attempt.backend(runner, lock=attempt.random.random() < 0.3)
    os.kill(pid, signal.SIGKILL)
    attempt.struck = True
    _lost(attempt, runner, time.monotonic(), number)


def _lost(attempt: Attempt, runner: Runner, since: float, number: int, *codes: int) -> None:
    """After all connections were lost at once: the run ends (or had not begun), nothing of it is left.

    `codes` are those that it may end with besides the ones for a lost server.
    """
    code = attempt.expect_ended(runner, *LOST, *codes)
    attempt.expect_quiet(GIVES_UP_WITHIN, max(since, time.monotonic()), "after the server's crash")
    if code:
        _boundary(attempt, runner)
    attempt.next_run(time.monotonic(), set(), look=bool(number % 2))


def work_terminated(attempt: Attempt, number: int) -> None:
    """pg_terminate_backend of the connection that works, at a moment of the run."""
    _terminated(attempt, number, lock=False)


def lock_terminated(attempt: Attempt, number: int) -> None:
    """pg_terminate_backend of the connection that holds the lock, at a moment of the run."""
    _terminated(attempt, number, lock=True)


def _terminated(attempt: Attempt, number: int, *, lock: bool) -> None:
    moment = attempt.moment()
    runner = attempt.start()
    _wait(runner, moment)
    pid, _ = attempt.backend(runner, lock=lock)
    attempt.ask(f"SELECT pg_terminate_backend({pid})")
    attempt.struck = True
    _lost(attempt, runner, time.monotonic(), number)


# The network.


def reset(attempt: Attempt, number: int) -> None:
    """A TCP reset of one connection of the run, or of all, at a moment of it."""
    which = attempt.random.choice(("all", "lock", "work"))
    moment = attempt.moment()
    with Proxy(attempt.database.server.port) as proxy:
        runner = attempt.start(_through(proxy, attempt))
        _wait(runner, moment)
        _, port = attempt.backend(runner, lock=which == "lock")
        proxy.reset(None if which == "all" else port)
        attempt.struck = True
        attempt.expect_ended(runner, *LOST)
        attempt.next_run(time.monotonic(), attempt.backends(), look=bool(number % 2))


def hole_heals(attempt: Attempt, number: int) -> None:
    """No byte gets through for some seconds, then all of them: the run goes on as if nothing had been."""
    moment = attempt.moment()
    with Proxy(attempt.database.server.port) as proxy:
        runner = attempt.start(_through(proxy, attempt))
        _wait(runner, moment)
        proxy.hole()
        attempt.struck = not runner.wait_for(lambda: False, 1 + 3 * attempt.random.random()) and _is_alive(runner)
        proxy.heal()
        attempt.expect_ended(runner, *LOST)
        attempt.next_run(time.monotonic(), attempt.backends(), look=bool(number % 2))


def hole_resets(attempt: Attempt, number: int) -> None:
    """No byte gets through for some seconds, then the connections are reset."""
    moment = attempt.moment()
    with Proxy(attempt.database.server.port) as proxy:
        runner = attempt.start(_through(proxy, attempt))
        _wait(runner, moment)
        attempt.backend(runner, lock=True)
        proxy.hole()
        runner.wait_for(lambda: False, 1 + 3 * attempt.random.random())
        attempt.struck = _is_alive(runner)
        proxy.reset()
        proxy.heal()
        attempt.expect_ended(runner, *LOST)
        attempt.next_run(time.monotonic(), attempt.backends(), look=bool(number % 2))


def hole_with_deadline(attempt: Attempt, number: int) -> None:
    """No byte gets through any more: the run's own deadline ends it, and it leaves without an answer."""
    with Proxy(attempt.database.server.port) as proxy:
        runner = attempt.start(_through(proxy, attempt), env={"MIGRATE_DEADLINE": f"{attempt.course.seconds + 3:.1f}s"})
        _wait(runner, attempt.moment())
        attempt.backend(runner, lock=True)
        proxy.hole()
        attempt.expect_ended(runner, 16, *LOST, within=attempt.course.seconds + 20)
        _unreachable_ends(attempt, proxy)


def node_dies(attempt: Attempt, number: int) -> None:
    """The runner is killed where the server cannot see it; the next one waits until its sessions are given up."""
    with Proxy(attempt.database.server.port) as proxy:
        runner = attempt.start(_through(proxy, attempt))
        _wait(runner, attempt.moment())
        attempt.backend(runner, lock=True)
        proxy.hole()
        if not runner.kill():
            raise Missed("it ended before it was killed")
        attempt.struck = True
        _unreachable_ends(attempt, proxy)


def _unreachable_ends(attempt: Attempt, proxy: Proxy) -> None:
    """The server gives up the sessions of a run that is gone 2 s after the next one was started."""
    dead = attempt.backends()
    if not dead:
        raise Missed("it had no session left")
    timer = threading.Timer(2, proxy.reset)
    timer.start()
    try:
        attempt.next_run(time.monotonic() + 2, dead, look=True)
    finally:
        timer.join()


def _through(proxy: Proxy, attempt: Attempt) -> str:
    return attempt.database.url.replace(f":{attempt.database.server.port}/", f":{proxy.port}/")


def _is_alive(runner: Runner) -> bool:
    return runner.process.poll() is None


# The disk.


def full_tablespace(attempt: Attempt, number: int) -> None:
    """No room for the database's files from a moment on: that revision fails, and is done once there is room.

    In every third try there is none before the first revision either.
    """
    moment = attempt.moment()
    runner = attempt.start()
    if number % 3:
        runner.wait_event("revision.applying")
        moment = time.monotonic() - runner.begun + moment / 3
    _wait(runner, moment)
    attempt.backend(runner, lock=False)
    attempt.stage.disk.fill()
    attempt.expect_ended(runner, 23, *LOST)
    attempt.expect_quiet(GIVES_UP_WITHIN, time.monotonic(), "after the disk was full")
    if attempt.struck:
        _boundary(attempt, runner)
    attempt.stage.disk.free()
    attempt.next_run(time.monotonic(), set(), look=bool(number % 2))


def full_wal(attempt: Attempt, number: int) -> None:
    """No room for the write-ahead log: the server panics, and recovers once there is.

    Or it says so as an error, where the next segment was not yet needed for sure.
    """
    server = attempt.database.server
    moment = attempt.moment()
    runner = attempt.start()
    _wait(runner, moment)
    attempt.backend(runner, lock=True)
    attempt.stage.disk.fill()
    try:
        for _ in range(100):  # what is left of the segments that are there
            Database(server, "postgres").query("SELECT pg_logical_emit_message(false, '', 'x'), pg_switch_wal()")
        raise Broken("the write-ahead log was written though its disk is full")
    except psycopg2.Error:
        attempt.struck = True
    if attempt.random.random() < 0.5:
        runner.wait_for(lambda: False, 3)
    attempt.stage.disk.free()
    revive(server)
    _lost(attempt, runner, time.monotonic(), number, 23)


# Many runners.


def twenty_runners(attempt: Attempt, number: int) -> None:
    """Twenty at once; at five moments the one that works is killed, or another: the others do it all, once."""
    runners = [attempt.start() for _ in range(RUNNERS)]
    killed: list[Runner] = []
    for _ in range(5):
        _pick_moment(attempt, runners)
        alive = [runner for runner in runners if runner not in killed and _is_alive(runner)]
        working = [runner for runner in alive if runner.seen("revision.applying")]
        chosen = attempt.random.choice(working if working and attempt.random.random() < 0.6 else alive or runners)
        if chosen.kill():
            killed.append(chosen)
            attempt.struck = True
    for runner in runners:
        if runner not in killed:
            attempt.expect_ended(runner, within=_CROWDED)
    _expect_each_once(runners, killed)
    attempt.next_run(time.monotonic(), set(), look=False)


def _pick_moment(attempt: Attempt, runners: list[Runner]) -> None:
    """A pause of up to half a run, and at least until somebody has begun to change something."""
    working = time.monotonic() + 30
    while not any(runner.seen("revision.applying") for runner in runners) and time.monotonic() < working:
        time.sleep(0.05)
    time.sleep(attempt.moment() / 2)


def _expect_each_once(runners: list[Runner], killed: list[Runner]) -> None:
    """No two of those that lived say that they applied the same revision."""
    said = [r for runner in runners if runner not in killed for r in runner.events("job.finished")[-1]["applied"]]
    if len(said) != len(set(said)):
        raise Broken(f"revisions were applied twice: {sorted(said)}")


# Poolers.


def session_pooler(attempt: Attempt, number: int) -> None:
    """Through PgBouncer in session mode: the runner is killed (odd tries), or PgBouncer is (even ones)."""
    with _pooler(attempt, "session") as bouncer:
        moment = attempt.moment()
        runner = attempt.start(bouncer.url)
        _wait(runner, moment)
        if number % 2:
            if not runner.kill():
                raise Missed("it ended before it was killed")
        else:
            bouncer.kill()
            time.sleep(attempt.random.random())
            bouncer.start()
            attempt.expect_ended(runner, *LOST)
        attempt.struck = True
        attempt.next_run(time.monotonic(), set(), look=True, url=bouncer.url, sessions=False)


def transaction_pooler(attempt: Attempt, number: int) -> None:
    """Through PgBouncer in transaction mode: refused with 20 before anything is done; the direct way works."""
    _refused(attempt, "transaction")


def statement_pooler(attempt: Attempt, number: int) -> None:
    """Through PgBouncer in statement mode: refused with 20 before anything is done; the direct way works."""
    _refused(attempt, "statement")


def _refused(attempt: Attempt, mode: str) -> None:
    with _pooler(attempt, mode) as bouncer:
        runner = attempt.start(bouncer.url)
        if runner.end() != 20:
            raise Broken(f"in {mode} mode the run did not end with 20; {runner.story()}")
        attempt.struck = True
        if attempt.expect_boundary() != attempt.course.boundaries[0] or attempt.database.query(
            "SELECT FROM pg_namespace WHERE nspname = 'alembic_job'"
        ):
            raise Broken("the run was refused, but something had been done before")
        attempt.expect_quiet(GIVES_UP_WITHIN, time.monotonic(), "after the refusal", sessions=False)
    attempt.next_run(time.monotonic(), set(), look=True)


def _pooler(attempt: Attempt, mode: str) -> AbstractContextManager[pooler.Bouncer]:
    program = pooler.find()
    if program is None:
        raise Impossible("needs PgBouncer: apt-get install pgbouncer")
    return pooler.bouncer(program, attempt.stage.folder(), attempt.database, mode)


# Clocks.


def server_clock(attempt: Attempt, number: int) -> None:
    """The server's clock jumps twice in a run, while another waits for it.

    Only forwards: `pg_sleep`, which slows these migrations down, goes by that clock, and would last for the whole jump.
    """
    before = _wrongness(attempt)
    hours = sorted(attempt.random.sample(range(2, 9000), 2))
    _jumps(attempt, {}, [3600 * hour for hour in hours])
    attempt.struck = abs(_wrongness(attempt) - before) > 1


def runner_clock(attempt: Attempt, number: int) -> None:
    """The runners' clock jumps twice in a run, while another waits for it."""
    signs = attempt.random.choice(((1, -1), (-1, 1)))
    jumps = [sign * 3600 * attempt.random.randint(2, 9000) for sign in signs]
    first = _jumps(attempt, attempt.stage.clock().environment, jumps)
    told = [str(line["timestamp"])[:13] for line in first.events()]
    attempt.struck = len(set(told)) > 1


def _jumps(attempt: Attempt, environment: dict[str, str], jumps: list[int]) -> Runner:
    """The clock jumps to so many seconds off; both runs complete all the same. Returns the first run."""
    clock = attempt.stage.wrong
    first = attempt.start(env=environment)
    second = attempt.start(env=environment)
    for jump in jumps:
        _wait(first, first_moment(first, attempt))
        clock.jump(jump)
    for runner in (first, second):
        if attempt.expect_ended(runner) != 0:
            raise Broken(f"a jump of the clock ended the run; {runner.story()}")
    attempt.next_run(time.monotonic(), set(), look=False)
    return first


def first_moment(runner: Runner, attempt: Attempt) -> float:
    """Seconds after the start: somewhere in the half of a run that follows now."""
    return time.monotonic() - runner.begun + attempt.moment() / 3


def _wrongness(attempt: Attempt) -> float:
    """By how many seconds the server's clock is wrong."""
    [[now]] = attempt.ask("SELECT extract(epoch FROM clock_timestamp())::float8")
    return float(now) - time.time()


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill-random", "SIGKILL of the runner at a random moment", 0, kill_at_random),
        Fault("kill-event", "SIGKILL of the runner at each line it writes", 0, kill_at_event),
        Fault("sigterm", "SIGTERM at a random moment", 8, sigterm),
        Fault("immediate-shutdown", "pg_ctl stop -m immediate, and a start", 4, immediate_shutdown),
        Fault("backend-crash", "SIGKILL of a backend, so a restart of the server", 3, backend_crash),
        Fault("work-terminated", "pg_terminate_backend of what works", 3, work_terminated),
        Fault("lock-terminated", "pg_terminate_backend of what holds the lock", 3, lock_terminated),
        Fault("tcp-reset", "a TCP reset of one connection or all", 4, reset),
        Fault("hole-heals", "nothing gets through for seconds, then all", 2, hole_heals, weight=2),
        Fault("hole-resets", "nothing gets through for seconds, then a reset", 2, hole_resets, weight=2),
        Fault("hole-deadline", "nothing gets through; MIGRATE_DEADLINE", 1, hole_with_deadline, weight=3),
        Fault("node-dies", "the runner is gone, and the server is not told", 2, node_dies, weight=2),
        Fault("disk-full", "no room for tables", 3, full_tablespace, Stage.on_small_disk, 2),
        Fault("wal-full", "no room for the write-ahead log", 1, full_wal, Stage.with_small_wal, 3),
        Fault("twenty-runners", "twenty at once, five of them killed", 1, twenty_runners, crowd=True),
        Fault("pooler-session", "PgBouncer, session mode: a side is killed", 2, session_pooler),
        Fault("pooler-transaction", "PgBouncer, transaction mode: refused", 1, transaction_pooler),
        Fault("pooler-statement", "PgBouncer, statement mode: refused", 1, statement_pooler),
        Fault("clock-server", "the server's clock jumps", 2, server_clock, Stage.with_wrong_clock, 3),
        Fault("clock-runner", "the runner's clock jumps", 2, runner_clock),
    )
}
