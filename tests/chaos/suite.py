"""The cases, and the processes that try them."""

from __future__ import annotations

import multiprocessing
import queue
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

from tests.chaos.check import Broken
from tests.chaos.faults import FAULTS
from tests.chaos.projects import KINDS
from tests.chaos.stage import Attempt, Course, Impossible, Missed, Stage

KILLS = ("kill-random", "kill-event")
_APART = 20  # tries between two that overload the machine
_ALONE = 3  # how often a case that was late must be in time
_MISSES = 6  # how often a moment after the end of the run is drawn anew


@dataclass(frozen=True)
class Case:
    """One try: its name is FAULT/KIND/NUMBER, and with the seed it says all that is done."""

    fault: str
    kind: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.fault}/{self.kind}/{self.number}"


@dataclass(frozen=True)
class Result:
    """How a try went: `struck` if the fault hit a run, `error` why it was not survived, `impossible` why not tried.

    `late` if all that is wrong is that something took too long; `slowness` by how much the bounds were stretched.
    """

    case: Case
    struck: bool
    error: str
    late: bool
    impossible: str
    goes_on: float | None
    seconds: float
    slowness: float


def cases(courses: dict[str, Course], kills: int, only: str = "") -> list[Case]:
    """All tries, `kills` of them SIGKILLs: one for each line that a run writes, the others at random moments.

    `only` is the beginning of the names wanted, whole words between the slashes.
    """
    found: list[Case] = []
    for kind in KINDS:
        share = kills // len(KINDS) + (list(KINDS).index(kind) < kills % len(KINDS))
        events = min(courses[kind].lines - 2, share // 2) if kind in courses else 0
        found += [Case("kill-event", kind, number) for number in range(1, events + 1)]
        found += [Case("kill-random", kind, number) for number in range(1, share - events + 1)]
    for fault in FAULTS.values():
        found += [Case(fault.name, kind, number) for kind in fault.kinds for number in range(1, fault.tries + 1)]
    return [case for case in found if is_wanted(case.name, only)]


def is_wanted(name: str, only: str) -> bool:
    wanted = only.split("/") if only else []
    return name.split("/")[: len(wanted)] == wanted


def perform(stage: Stage, course: Course, case: Case, seed: int, *, patient: bool = False) -> Result:
    """Tries one case on a fresh database.

    With `patient` the bounds on time are as many times longer as the machine is found too slow when one was missed.
    """
    begun = time.monotonic()
    attempt: Attempt | None = None
    error = impossible = ""
    for again in range(_MISSES):
        error = impossible = ""
        generator = random.Random(f"{seed}/{case.name}/{again}")
        try:
            with (
                FAULTS[case.fault].database(stage) as database,
                closing(Attempt(stage, course, database, generator, 0.7**again)) as attempt,
            ):
                FAULTS[case.fault].act(attempt, case.number)
        except Missed as missed:
            error = f"the fault never hit a run: {missed}"
            continue
        except Impossible as reason:
            impossible = str(reason)
        except Broken as broken:
            error = str(broken)
        except Exception:
            error = traceback.format_exc()
        break
    took = time.monotonic() - begun
    if attempt is None:
        return Result(case, False, error, False, impossible, None, took, 1.0)
    slowness = stage.slowness(KINDS[case.kind]) if patient and attempt.late else 1.0
    late = [str(late) for late in attempt.late if late.took > late.within * slowness]
    only_late = bool(late and not error and not impossible)
    text = error or "; ".join(late)
    return Result(case, attempt.struck, text, only_late, impossible, attempt.goes_on, took, slowness)


def run(seed: int, kills: int, only: str, processes: int) -> Iterator[Result]:
    """Tries all cases in several processes, each with a server of its own; results come as they end.

    What was too late is tried again when no other try runs: the bounds are for a machine that is not overloaded.
    """
    with _Workers(seed, processes) as workers:
        kinds = sorted({case.kind for case in cases({}, max(kills, len(KINDS)), "") if _may_be_wanted(case, only)})
        courses = {course.kind: course for course in workers.map([("course", kind) for kind in kinds])}
        workers.share(courses)
        chosen = [case for case in cases(courses, kills, only) if case.kind in courses]
        late: list[Case] = []
        for result in workers.map([("case", case) for case in _ordered(chosen)]):
            if result.late:
                late.append(result.case)
            else:
                yield result
        for case in late:
            yield _alone(workers, case)


def _alone(workers: _Workers, case: Case) -> Result:
    """Whether a case that was late among others is so alone: it must be in time three times over.

    What else the machine does, is allowed for.
    """
    result: Result
    for _ in range(_ALONE):
        [result] = workers.map([("case again", case)])
        if result.error:
            break
    return result


def _ordered(chosen: list[Case]) -> list[Case]:
    """The long ones first, so that none is left over at the end; those with many runners far from each other."""
    crowds = [case for case in chosen if FAULTS[case.fault].crowd]
    ordered = sorted(set(chosen) - set(crowds), key=lambda case: (-FAULTS[case.fault].weight, chosen.index(case)))
    for place, case in enumerate(crowds):
        ordered.insert(place * _APART, case)
    return ordered


def _may_be_wanted(case: Case, only: str) -> bool:
    """Whether a case of that kind can be among those wanted; kill-event's numbers are not known yet."""
    parts = only.split("/")
    return len(parts) < 2 or case.kind == parts[1]


class _Workers:
    """Processes that take tasks from one queue. One that dies ends the suite with an error."""

    def __init__(self, seed: int, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._tasks: Any = context.Queue()
        self._results: Any = context.Queue()
        self._courses = context.Manager().dict()
        self._processes: list[BaseProcess] = [
            context.Process(target=_work, args=(self._tasks, self._results, self._courses, seed))
            for _ in range(processes)
        ]

    def __enter__(self) -> _Workers:
        for process in self._processes:
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(30)

    def share(self, courses: dict[str, Course]) -> None:
        self._courses.update(courses)

    def map(self, tasks: Sequence[tuple[str, Any]]) -> Iterator[Any]:
        for task in tasks:
            self._tasks.put(task)
        for _ in tasks:
            yield self._next()

    def _next(self) -> Any:
        while True:
            try:
                result = self._results.get(timeout=5)
            except queue.Empty:
                if not all(process.is_alive() for process in self._processes):
                    raise SystemExit("a process of the suite has died") from None
                continue
            if isinstance(result, BaseException):
                raise SystemExit(f"the suite itself failed: {result}")
            return result


def _work(tasks: Any, results: Any, courses: Any, seed: int) -> None:
    """A worker: a server, and tasks until it is ended by SIGTERM, which removes the server."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with Stage() as stage:
        while True:
            what, value = tasks.get()
            try:
                if what == "course":
                    results.put(stage.course(KINDS[value]))
                else:
                    patient = what == "case again"
                    results.put(perform(stage, courses[value.kind], value, seed, patient=patient))
            except Exception as error:
                results.put(RuntimeError(f"{value}: {error}"))
