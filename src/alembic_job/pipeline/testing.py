"""`test`: each revision up, down and up again in an empty scratch database, then the models against what came of it.

No database need run: the server is an embedded one, unless MIGRATE_REHEARSAL_URL names another.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from psycopg2 import sql

from alembic_job import dsn as dsns
from alembic_job.dsn import Dsn
from alembic_job.errors import ProjectError, Refused
from alembic_job.gateways import databases, postgres, programs, scratch
from alembic_job.gateways.postgres import query
from alembic_job.gateways.redirected import Anywhere, Scratch
from alembic_job.gateways.schema_dump import schema_of
from alembic_job.logs.events import Log
from alembic_job.pipeline import rehearsal_leg, testing_leg
from alembic_job.pipeline.scratch_work import ScratchWork, Server, reworded
from alembic_job.pipeline.testing_leg import Course, Script, Table, Walked
from alembic_job.pipeline.testing_report import report_of
from alembic_job.pipeline.testing_verdicts import UPWARD, Step, Verdicts
from alembic_job.rules.schema_text import Comparison, compare
from alembic_job.settings import Settings
from alembic_job.watch import Watch

_EMBEDDED = 18  # the newest major that is carried
_TRIED = ("up", "down", "again")
_PATIENT = ("--lock-wait-timeout=60s",)  # what env.py has left open must not hold it up for ever


class Asked(NamedTuple):
    """`first` is the first revision to be tried: what it builds upon is only applied. `progress` goes to stderr."""

    first: str | None = None
    progress: bool = False


def test(settings: Settings, log: Log, learn_secret: Callable[[str], None], asked: Asked) -> dict[str, Any]:
    """What came of each revision. Findings are no errors.

    Raises `ProjectError` (22) where the project cannot be loaded, `SettingsError` (20) where there is no server to be
    had, `Refused` (26) where env.py leads to several databases.
    """
    with Watch(settings.deadline) as watch:
        try:
            return _Test(settings, log, watch, learn_secret, asked).run()
        except BaseException as error:
            watch.settle()
            raise reworded(watch.stopped or error) from error


def chosen(settings: Settings, log: Log, first: str | None) -> tuple[tuple[Script, ...], frozenset[str]]:
    """The revisions in the order in which they are applied, and those that are only applied. Raises `JobError`."""
    scripts = testing_leg.scripts(settings, log, settings.to or "heads")
    if first is None:
        return scripts, frozenset()
    begins = set(testing_leg.ids(settings, log, first))
    below = _below(scripts, begins)
    return tuple(sorted(scripts, key=lambda script: script.revision not in below)), frozenset(below)


def _below(scripts: tuple[Script, ...], revisions: set[str]) -> set[str]:
    """What these build upon, without them."""
    found = set(revisions)
    for script in reversed(scripts):
        if script.revision in found:
            found |= script.follows
    return found - revisions


class _Test(ScratchWork):
    """One test of a project: what its steps share."""

    name = "alembic-job test"
    what = "the test"

    def __init__(
        self, settings: Settings, log: Log, watch: Watch, learn_secret: Callable[[str], None], asked: Asked
    ) -> None:
        super().__init__(settings, log, watch, learn_secret)
        self._asked = asked
        self._verdicts = Verdicts()
        self._applied: list[str] = []
        self._unreached: dict[str, str] = {}  # by revision: the one that fails below it
        self._tables: tuple[Table, ...] = ()
        self._server: Server
        self._place: Dsn
        self._mine: Settings
        self._bins: programs.Programs

    def run(self) -> dict[str, Any]:
        """The sentence: make an empty database, go through the revisions, compare the models."""
        rehearsal_leg.prepare()
        scripts, below = self._apart(partial(chosen, self._settings, self._log, self._asked.first))
        with scratch.folder(self._log) as folder, self._made(folder):
            self._tables = self._walked(()).tables
            self._go(scripts, self._course(scripts, below))
            differences = self._models(scripts)
            words = {"server": self._server.words, "server_version": self._server.beside.server_version}
        return report_of(scripts, below, self._verdicts, self._unreached, differences, words)

    @contextmanager
    def _made(self, folder: Path) -> Iterator[None]:
        """The server and the scratch database."""
        with ExitStack() as stack:
            dsn = self._settings.rehearsal
            other = self._other_server(dsn, stack) if dsn else self._embedded_server(_EMBEDDED, folder, stack)
            self._server, self._bins = other, self._programs(other)
            scratch.check_may(other.beside, other.words, "for the test")
            scratch.clear_abandoned(other.beside, self._log)
            self._place = stack.enter_context(self._database(other, {}))
            self._mine = self._led(self._settings)
            yield

    def _led(self, settings: Settings) -> Settings:
        """These settings for an empty database: what is not set leads there by itself, what is set is led there."""
        url = settings.database_url or dsns.sqlalchemy_url(self._place, "postgresql")
        return settings.but(
            database_url=url, transaction="per-revision", role=None, password_command=None, database_direct_url=None
        )

    # The way through.

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
            if walked.error is not None:
                course = self._after_failure(scripts, walked, course)
            elif self._verdicts.broken:
                self._anew()

    @property
    def _divisible(self) -> bool:
        """True if one process can go through many revisions, and look at the schema in between."""
        return len(self._tables) == 1 and self._tables[0].divisible

    def _step(self, step: Step) -> Walked:
        """One step in a process of its own, after which the schema is looked at."""
        if self._verdicts.before is None and step.way != "apply":
            self._verdicts.before = self._schema()
        walked = self._walked((step,))
        if walked.error is None:
            self._verdicts.saw(step, None if step.way == "apply" else self._schema())
        return walked

    def _walked(self, steps: tuple[Step, ...]) -> Walked:
        """A process of the project's. Raises what ended it, unless that is a finding."""
        look = self._schema if self._divisible else None
        course = Course(
            steps, look, self._bins.path("pg_dump"), _Progress(len(steps)) if self._asked.progress else _silent
        )
        walked: Walked = self._apart(
            partial(testing_leg.walk, self._mine, self._log, self._redirect(), course, self._verdicts)
        )
        for secret in walked.secrets:
            self._learn_secret(secret)
        if walked.error is not None and (isinstance(walked.error, Refused) or walked.at is None):
            raise walked.error
        self._verdicts = walked.verdicts
        return walked

    def _redirect(self) -> Anywhere:
        with closing(self._connected(self._place)) as inside:
            return Anywhere(Scratch(self._place, postgres.identity(inside), False, {}))

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
        if schema is None or rows is None or not self._divisible:
            return False
        with closing(self._connected(self._place)) as inside:
            found = scratch.version_rows(inside)
        return found == [rows] and compare(schema, self._schema()) == Comparison((), ())

    def _anew(self) -> None:
        """The database is made again, and what was applied is applied."""
        beside = self._server.beside
        query(beside, databases.filled(beside, "DROP DATABASE {} WITH (FORCE)", sql.Identifier(self._name)))
        with databases.made(beside, self._name, {}, self._rescue(self._place, beside), self._log):
            pass
        self._verdicts.before, self._verdicts.broken = None, False
        steps = [Step(revision, "apply") for revision in self._applied]
        walks: list[tuple[Step, ...]] = [tuple(steps)] if self._divisible else [(step,) for step in steps] or [()]
        for each in walks:
            walked = self._walked(each)
            if walked.error is not None:
                raise walked.error

    def _schema(self) -> str:
        without = [(table.schema, table.name) for table in self._tables]
        return schema_of(self._bins, self._place, self._settings.history_schema, without, _PATIENT)

    def _models(self, scripts: tuple[Script, ...]) -> dict[str, Any]:
        """What differs between the models and the database, or why they were not compared."""
        if not scripts or len(set(self._applied)) < len(scripts) or self._settings.to not in (None, "head", "heads"):
            return {"compared": False, "reason": "the database did not come to head", "differences": []}
        if not any(table.models for table in self._tables):
            return {"compared": False, "reason": "env.py gives no target_metadata", "differences": []}
        found = self._apart(partial(testing_leg.models, self._mine, self._log, self._redirect()))
        return {"compared": True, "reason": None, "differences": found}


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
