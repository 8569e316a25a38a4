"""`test`: each revision up, down and up again in an empty scratch database, then the models against what came of it.

No database need run: the server is an embedded one, unless MIGRATE_REHEARSAL_URL names another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from alembic_job import dsn as dsns
from alembic_job.gateways import postgres, scratch
from alembic_job.gateways.redirected import Anywhere, Scratch
from alembic_job.logs.events import Log
from alembic_job.pipeline import rehearsal_leg, testing_leg
from alembic_job.pipeline.scratch_work import reworded
from alembic_job.pipeline.testing_leg import Script
from alembic_job.pipeline.testing_report import report_of
from alembic_job.pipeline.testing_walk import Walking
from alembic_job.settings import Settings
from alembic_job.watch import Watch

_EMBEDDED = 18  # the newest major that is carried


class Asked(NamedTuple):
    """`first` is the first revision to be tried: what it builds upon is only applied. `progress` goes to stderr.

    With `rows` those that are pending are tried instead, on that many rows of each table of the database.
    """

    first: str | None = None
    progress: bool = False
    rows: int | None = None


def test(settings: Settings, log: Log, learn_secret: Callable[[str], None], asked: Asked) -> dict[str, Any]:
    """What came of each revision. Findings are no errors.

    Raises `ProjectError` (22) where the project cannot be loaded, `SettingsError` (20) where there is no server to be
    had, `Refused` (26) where env.py leads to several databases.
    """
    with Watch(settings.deadline) as watch:
        try:
            if asked.rows is None:
                return _Test(settings, log, watch, learn_secret, asked.progress).run(asked.first)
            from alembic_job.pipeline.testing_sampled import Sampled

            found: dict[str, Any] = Sampled(settings, log, watch, learn_secret, asked.progress).tried(asked.rows)
            return found
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


class _Test(Walking):
    """One test of a project: what its steps share."""

    def run(self, first: str | None) -> dict[str, Any]:
        """The sentence: make an empty database, go through the revisions, compare the models."""
        rehearsal_leg.prepare()
        scripts, below = self._apart(partial(chosen, self._settings, self._log, first))
        with scratch.folder(self._log) as folder, self._made(folder):
            self._tables = self._walked(()).tables
            self._go(scripts, self._course(scripts, below))
            differences = self._models(scripts)
            notes = [f"role {name} was made on the embedded server" for name in self._roles]
            words = {"server": self._where.words, "server_version": self._where.beside.server_version, "notes": notes}
        return report_of(scripts, below, self._verdicts, self._unreached, differences, words)

    @contextmanager
    def _made(self, folder: Path) -> Iterator[None]:
        """The server and the scratch database."""
        with ExitStack() as stack:
            dsn = self._settings.rehearsal
            other = self._other_server(dsn, stack) if dsn else self._embedded_server(_EMBEDDED, folder, stack)
            self._where, self._bins = other, self._programs(other)
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

    def _lead(self) -> Anywhere:
        with closing(self._connected(self._place)) as inside:
            return Anywhere(Scratch(self._place, postgres.identity(inside), False, {}))

    def _models(self, scripts: tuple[Script, ...]) -> dict[str, Any]:
        """What differs between the models and the database, or why they were not compared."""
        if not scripts:
            return {"compared": False, "reason": "there are no revisions", "differences": []}
        if len(set(self._applied)) < len(scripts) or self._settings.to not in (None, "head", "heads"):
            return {"compared": False, "reason": "the database did not come to head", "differences": []}
        if not any(table.models for table in self._tables):
            return {"compared": False, "reason": "env.py gives no target_metadata", "differences": []}
        found = self._apart(partial(testing_leg.models, self._mine, self._log, self._lead()))
        return {"compared": True, "reason": None, "differences": found}
