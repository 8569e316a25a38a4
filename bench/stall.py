"""`python -m bench.stall`: how long a migration makes the application wait while something is in the way.

An application's clients send short queries all the time and record how long each took. Something sits on the table;
the migration is run by alembic-job with default settings, by bare Alembic, and by bare Alembic with `lock_timeout` 1 s
in a loop, in turns. Shown is the longest query that was under way while the migration ran, beside the longest of an
undisturbed period just before, and how long after the blocker's end the migration was through.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg2
from tests.conftest import roomy_memory

from alembic_job.gateways.embedded import Server
from bench import rewrite
from bench.cases import CASES, VERSION, Case, Scene, queries, table
from bench.database import query
from bench.load import Application, Query, Span, Watch
from bench.runners import CONTENDERS, JOB, Contender, Run, said

STALL = 0.050  # seconds an application's query may take longer than the migration's own statements do
LAG = 0.5  # seconds between the blocker's end and the migration's
_SETTLED = 11.0  # seconds: with a younger server the job makes sure that it is not initdb's temporary one
_numbers = itertools.count(1)


class Outcome(NamedTuple):
    """What one contender did in one case. Seconds, but for `codes`: the exit code of each try."""

    case: Case
    contender: Contender
    own: float  # what the statements alone take where nobody else is
    quiet: float  # the longest query before there was a blocker
    elsewhere: float  # the longest during the run on a table that nobody migrates: what the machine makes queries wait
    reads: float  # the longest that was under way during the run
    writes: float
    waited: float  # the longest wait for a table lock that the server showed meanwhile
    queued: float  # the longest wait that both the application and the server saw until the blocker's end
    took: float  # from the runner's start to its end
    lag: float | None  # from the blocker's end to the runner's; None: there was no blocker
    codes: list[int]
    output: str

    @property
    def stall(self) -> float:
        return max(self.reads, self.writes)

    @property
    def allowed(self) -> float:
        """The bound for `stall`."""
        return self.own + STALL

    @property
    def disturbed(self) -> bool:
        """True if a bound is broken and the machine, busy with other things, may be the cause, rather than a lock."""
        unexplained = self.stall > self.waited + 0.04  # a wait that long would have been seen
        return bool(self.broken()) and self.waited <= self.allowed and (unexplained or self.elsewhere > STALL / 2)

    def broken(self) -> list[str]:
        """The bounds that do not hold, as text."""
        found = [f"exit code {self.codes[-1]}"] if self.codes[-1] else []
        if self.stall > self.allowed:
            found.append(f"longest stall {self.stall * 1000:.0f} ms > {self.allowed * 1000:.0f} ms")
        if not self.codes[-1] and self.lag is not None and self.lag > LAG:
            found.append(f"done {self.lag:.2f} s after the blocker's end > {LAG} s")
        return found


def play(server: Server, case: Case, contender: Contender, hold: float = 8.0, quiet: float = 3.0) -> Outcome:
    """One contender in one case, in a database of its own. `hold` of the blocker and `quiet` before it in seconds."""
    with _database(server) as name, tempfile.TemporaryDirectory(prefix="alembic-job-bench-") as root, ExitStack() as on:
        scene = Scene(server.url(name), Path(root), hold, server.bin)
        query(scene.url, *VERSION, *table("elsewhere"), *case.setup)
        own = _own_time(scene.url, case.statements)
        watch = on.enter_context(Watch(scene.url))
        run = Run(contender, case.project(scene.folder), server.url(name, case.driver))
        load, blocker = case.load(scene), case.blocker(scene)
        control = Application(scene.url, queries("elsewhere"), clients=1)
        for each in (load, control):
            on.callback(each.stop)
            each.start()
        begun = time.monotonic()
        time.sleep(quiet)
        before = Span(begun, time.monotonic())
        blocker.place()
        run.start()
        run.wait()
        ended = blocker.ended()
        return _outcome(case, contender, own, before, run, ended, load.stop(), control.stop(), watch)


def _outcome(
    case: Case,
    contender: Contender,
    own: float,
    before: Span,
    run: Run,
    ended: float | None,
    queries: list[Query],
    elsewhere: list[Query],
    watch: Watch,
) -> Outcome:
    during = Span(run.begun, run.ended)
    blocked = Span(run.begun, run.ended if ended is None else ended)
    return Outcome(
        case=case,
        contender=contender,
        own=own,
        quiet=before.longest(queries),
        elsewhere=during.longest(elsewhere),
        reads=during.longest(queries, "read"),
        writes=during.longest(queries, "write"),
        waited=watch.longest(during),
        queued=min(watch.longest(blocked), blocked.longest(queries)),
        took=run.ended - run.begun,
        lag=run.ended - ended if ended is not None else None,
        codes=run.codes,
        output=run.output,
    )


def _own_time(url: str, statements: tuple[str, ...]) -> float:
    """What the statements take where nobody is in their way: the median of five times, each rolled back."""
    took = []
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        for _ in range(5):
            begun = time.perf_counter()
            for statement in statements:
                cursor.execute(statement)
            took.append(time.perf_counter() - begun)
            connection.rollback()
    return statistics.median(took)


@contextmanager
def _database(server: Server) -> Iterator[str]:
    """A fresh database, and its name."""
    name = f"stall_{next(_numbers)}"
    query(server.url(), f"CREATE DATABASE {name}")
    try:
        yield name
    finally:
        query(server.url(), f"DROP DATABASE {name} WITH (FORCE)")


# What is shown.


def _cells(texts: Sequence[str]) -> str:
    return "".join(text.rjust(width) for text, width in zip(texts, (9, 8, 8, 8, 11, 7, 7), strict=True))


_EXPLAINED = """\
{cpus} processors, load {load:.1f}, PostgreSQL 18; an idle blocker holds {hold:g} s. Milliseconds:
longest    query under way during the run: all, reads, writes
waited     for a table lock, as the server showed it meanwhile (looked at every 20 ms)
elsewhere  longest query meanwhile on a table that nobody migrates
quiet      longest query before there was a blocker
alone      what the migration's statements take where nobody else is
"""
_HEADINGS = ("longest", "reads", "writes", "waited", "elsewhere", "quiet", "alone")
_HEAD = f"{'':36}{_cells(_HEADINGS)}{'run':>9}{'after blocker':>15}{'tries':>7}  exit codes"


def show(outcome: Outcome) -> str:
    """One line: milliseconds, then seconds."""
    seconds = (
        outcome.stall,
        outcome.reads,
        outcome.writes,
        outcome.waited,
        outcome.elsewhere,
        outcome.quiet,
        outcome.own,
    )
    lag = "-" if outcome.lag is None else f"{outcome.lag:.2f} s"
    codes = ", ".join(f"{code} ×{len(list(same))}" for code, same in itertools.groupby(outcome.codes))
    cells = _cells([f"{value * 1000:,.0f}" for value in seconds])
    return f"  {outcome.contender.name:<34}{cells}{outcome.took:>7.2f} s{lag:>15}{len(outcome.codes):>7}  {codes}"


def verdicts(outcomes: list[Outcome]) -> list[str]:
    """A line a case: whether alembic-job kept the bounds in every round, and how the others' stalls compare."""
    lines = []
    for case in dict.fromkeys(outcome.case for outcome in outcomes):
        meant = [outcome for outcome in outcomes if outcome.case is case]
        ours = [outcome for outcome in meant if outcome.contender is JOB]
        broken = sorted({text for outcome in ours for text in outcome.broken()})
        worst = max(outcome.stall for outcome in ours)
        others = [
            f"{contender.name}: {max(o.stall for o in meant if o.contender is contender) / worst:,.1f} times that"
            for contender in CONTENDERS
            if contender is not JOB
        ]
        found = "; ".join(broken) or f"longest stall {worst * 1000:.0f} ms"
        lines.append(f"{'MISSED' if broken else 'met':<7} {case.name}: {found}; {'; '.join(others)}")
    return lines


# The program.


def main() -> None:
    options = _options()
    lines = _experiment(options) if options.cases else []
    if options.rewrite:
        lines += rewrite.run(options.size * 2**30)
    if options.cases:
        bounds = f"longest ≤ alone + {STALL * 1000:.0f} ms, done ≤ {LAG} s after the blocker's end, exit code 0"
        print(f"\nalembic-job: {bounds}:")
    print("\n".join(lines))
    sys.exit(any(line.startswith("MISSED") for line in lines))


def _experiment(options: argparse.Namespace) -> list[str]:
    """All cases and rounds, printed as they go; the verdicts."""
    print(_EXPLAINED.format(cpus=os.cpu_count(), load=os.getloadavg()[0], hold=options.hold))
    print(_HEAD, flush=True)
    outcomes: list[Outcome] = []
    with _servers(options.cases) as servers:
        for _ in range(options.rounds):
            for case in options.cases:
                print(f"{case.name}: {case.title}", flush=True)
                outcomes += [_shown(servers[case.autovacuum], case, contender, options) for contender in CONTENDERS]
    return verdicts(outcomes)


def _shown(server: Server, case: Case, contender: Contender, options: argparse.Namespace) -> Outcome:
    """Plays it and prints a line; once more (up to twice) where the machine was busy with other things."""
    for more in (2, 1, 0):
        outcome = play(server, case, contender, options.hold, options.quiet)
        repeat = contender is JOB and outcome.disturbed and more > 0
        print(show(outcome) + ("  (disturbed: once more)" if repeat else ""), flush=True)
        if not repeat:
            break
    if contender is JOB and outcome.codes[-1]:
        print(f"    {said(outcome.output)}")
    return outcome


@contextmanager
def _servers(cases: list[Case]) -> Iterator[dict[bool, Server]]:
    """One without autovacuum, whose work would be noise, and one with, as the cases need them."""
    confs = {False: {"autovacuum": "off"}, True: {"autovacuum_naptime": "1s"}}
    with ExitStack() as stack:
        needed = sorted({case.autovacuum for case in cases})
        servers = {slow: stack.enter_context(Server(conf=confs[slow], folder=roomy_memory())) for slow in needed}
        time.sleep(_SETTLED)
        yield servers


def _options() -> argparse.Namespace:
    names = [*(case.name for case in CASES), "rewrite"]
    parser = argparse.ArgumentParser(prog="python -m bench.stall", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--case", action="append", choices=names, help="only this one; may be repeated  [default all]")
    parser.add_argument("--rounds", type=int, default=1, help="[default 1]")
    parser.add_argument("--hold", type=float, default=8.0, help="seconds an idle session holds  [default 8]")
    parser.add_argument("--quiet", type=float, default=3.0, help="seconds of the undisturbed period  [default 3]")
    parser.add_argument("--size", type=float, default=2.0, help="of the table to rewrite, in GiB  [default 2]")
    options = parser.parse_args()
    options.rewrite = "rewrite" in (options.case or names)
    options.cases = [case for case in CASES if case.name in (options.case or names)]
    return options


if __name__ == "__main__":
    main()
