"""The way through revisions in a scratch database: each up, down and up again; after a failure the rest goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial

from alembic_job.dsn import Dsn
from alembic_job.errors import ProjectError, Refused
from alembic_job.gateways import programs, roles, scratch
from alembic_job.gateways.redirected import Redirect
from alembic_job.gateways.schema_dump import schema_of
from alembic_job.logs.events import Log
from alembic_job.pipeline import testing_leg
from alembic_job.pipeline.scratch_work import ScratchWork, Server
from alembic_job.pipeline.testing_leg import Course, Script, Table, Walked
from alembic_job.pipeline.testing_verdicts import UPWARD, Step, Verdicts
from alembic_job.rules.row_changes import Rows
from alembic_job.rules.schema_text import Comparison, compare
from alembic_job.settings import Settings
from alembic_job.watch import Watch

PATIENT = ("--lock-wait-timeout=60s",)  # of pg_dump: what env.py has left open must not hold it up for ever
_MOST_ROLES = 100
_TRIED = ("up", "down", "again")


class Walking(ScratchWork):
    """What tries revisions: where, and what came of it."""

    name = "alembic-job test"
    what = "the test"
    on_rows = False  # whether there are people's rows, which are looked at and never told
    _where: Server
    _place: Dsn
    _mine: Settings
    _bins: programs.Programs

    def __init__(
        self, settings: Settings, log: Log, watch: Watch, learn_secret: Callable[[str], None], progress: bool
    ) -> None:
        super().__init__(settings, log, watch, learn_secret)
        self._progress = progress
        self._locale: dict[str, str | None] = {}
        self._verdicts = Verdicts()
        self._applied: list[str] = []
        self._unreached: dict[str, str] = {}  # by revision: the one that fails below it
        self._tables: tuple[Table, ...] = ()
        self._roles: dict[str, None] = {}  # made on an embedded server

    def _lead(self) -> Redirect:
        """Leads the project to the scratch database."""
        raise NotImplementedError

    def _look(self) -> str:
        """The schema there, without version tables."""
        without = [(table.schema, table.name) for table in self._tables]
        return schema_of(self._bins, self._place, self._settings.history_schema, without, PATIENT)

    def _count(self) -> dict[str, Rows]:
        """The rows there; asked for where there are some."""
        return {}

    def _refill(self) -> None:
        """Puts into the empty scratch database what is there before the first revision."""

    def _course(self, scripts: tuple[Script, ...], below: frozenset[str]) -> list[Step]:
        course = []
        for script in scripts:
            ways = ("apply",) if script.revision in below else _TRIED if script.has_way_back else ("once",)
            course += [Step(script.revision, way) for way in ways]
            if not script.has_way_back:
                self._verdicts.one_way[script.revision] = "it has no downgrade()"
        return course

    def _go(self, scripts: tuple[Script, ...], course: list[Step]) -> None:
        while course:
            begun = len(self._verdicts.done)
            walked = self._walked(tuple(course)) if self._divisible else self._step(course[0])
            done = self._verdicts.done[begun:]
            if not done and walked.error is None:
                raise ProjectError("env.py went no step", hint="let it call run_migrations")
            self._applied += [step.revision for step in done if step.way in UPWARD]
            course = course[len(done) :]
            if walked.error is not None and self._gave_role(walked):
                self._ready_for(course[0])
            elif walked.error is not None:
                course = self._after_failure(scripts, walked, course)
            elif self._verdicts.broken and (course or not self.on_rows):
                self._anew()

    @property
    def _divisible(self) -> bool:
        """True if one process can go through many revisions, and look at the schema in between."""
        return len(self._tables) == 1 and self._tables[0].divisible

    def _step(self, step: Step) -> Walked:
        """One step in a process of its own, after which the schema is looked at."""
        if self._verdicts.before is None and step.way != "apply":
            self._verdicts.before, self._verdicts.data = self._look(), self._count()
        walked = self._walked((step,))
        if walked.error is None:
            self._verdicts.saw(step, *((None, {}) if step.way == "apply" else (self._look(), self._count())))
        return walked

    def _walked(self, steps: tuple[Step, ...]) -> Walked:
        """A process of the project's. Raises what ended it, unless that is a finding."""
        look = self._look if self._divisible else None
        told = _Progress(len(steps)) if self._progress else _silent
        rows = self._count if self.on_rows else None
        course = Course(steps, look, self._bins.path("pg_dump"), told, rows=rows)
        walked: Walked = self._apart(
            partial(testing_leg.walk, self._mine, self._log, self._lead(), course, self._verdicts)
        )
        for secret in walked.secrets:
            self._learn_secret(secret)
        if walked.at is None and walked.verdicts.done == self._verdicts.done and self._gave_role(walked):
            return self._walked(steps)
        if walked.error is not None and (isinstance(walked.error, Refused) or walked.at is None):
            raise walked.error
        self._verdicts = walked.verdicts
        return walked

    def _gave_role(self, walked: Walked) -> bool:
        """True if it failed for a role, which now is there: on an embedded server without another's, once for each."""
        name, where = walked.role, self._where
        if name is None or where.programs is None or where.passwords is not None:
            return False
        if name in self._roles or len(self._roles) == _MOST_ROLES:
            return False
        roles.make(where.beside, name)
        self._roles[name] = None
        return True

    def _ready_for(self, step: Step) -> None:
        """A step has failed, and is to be tried again: puts the database where it was before it."""
        verdicts, rows = self._verdicts, self._verdicts.rows
        schema, name = (verdicts.after, "after") if step.way == "down" else (verdicts.before, "before")
        if not self._is(schema, rows.get(name)):
            known = (verdicts.before, verdicts.data) if step.way == "down" else (None, {})
            self._anew()
            self._verdicts.before, self._verdicts.data = known

    def _after_failure(self, scripts: tuple[Script, ...], walked: Walked, course: list[Step]) -> list[Step]:
        """Notes it, and puts the database where the rest of the course, which is returned, can begin."""
        step, verdicts = walked.at, self._verdicts
        assert step is not None
        if walked.one_way is not None:
            verdicts.one_way[step.revision] = walked.one_way
        else:
            verdicts.failed(step, str(walked.error), walked.statement)
        gone = {step.revision}
        if step.way in UPWARD:
            above = _above(scripts, step.revision)
            self._unreached |= dict.fromkeys(above, step.revision)
            gone |= above
            wanted, rows = verdicts.before, verdicts.rows.get("before")
        else:
            wanted, rows = verdicts.after, verdicts.rows.get("after")
            verdicts.next()
        rest = [each for each in course if each.revision not in gone]
        if rest and not self._is(wanted, rows):
            self._anew()
        return rest

    def _is(self, schema: str | None, rows: tuple[str, ...] | None) -> bool:
        """True if it is certain that the database has this schema, and its version table these rows."""
        if schema is None or rows is None or not self._divisible or self.on_rows:
            return False
        with closing(self._connected(self._place)) as inside:
            found = scratch.version_rows(inside)
        return found == [rows] and compare(schema, self._look()) == Comparison((), ())

    def _anew(self) -> None:
        """The database is made again, and what was applied is applied."""
        self._remade(self._where.beside, self._place, self._locale)
        self._refill()
        self._verdicts.before, self._verdicts.broken = None, False
        steps = [Step(revision, "apply") for revision in self._applied]
        walks: list[tuple[Step, ...]] = [tuple(steps)] if self._divisible else [(step,) for step in steps] or [()]
        for each in walks:
            walked = self._walked(each)
            if walked.error is not None:
                raise walked.error


def _above(scripts: tuple[Script, ...], revision: str) -> set[str]:
    """What builds upon a revision."""
    found = {revision}
    for script in scripts:
        if script.follows & found:
            found.add(script.revision)
    return found - {revision}


def _silent(step: Step) -> None:
    """Nobody watches."""


class _Progress:
    """A line on stderr that is written over and over."""

    def __init__(self, steps: int) -> None:
        self._steps, self._begun = steps, 0

    def __call__(self, step: Step) -> None:
        self._begun += 1
        end = "\r" if self._begun < self._steps else "\r\x1b[K"
        print(f"\r\x1b[K{self._begun}/{self._steps} {step.revision} {step.way}", end=end, file=sys.stderr, flush=True)
