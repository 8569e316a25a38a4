"""`seed`: the project's own first rows, in one transaction under the run lock, on a schema that is at head."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from alembic_job import dsn as dsns
from alembic_job.errors import ConnectionLost, JobError, LoginFailed, MigrationFailed, Refused
from alembic_job.gateways import postgres
from alembic_job.gateways.complaints import place_of
from alembic_job.gateways.project import open_project
from alembic_job.gateways.seeds import Seed, find
from alembic_job.identity import Identity
from alembic_job.logs.events import Log
from alembic_job.model import Report
from alembic_job.pipeline import exported_url
from alembic_job.pipeline.failure import concluded, words_of
from alembic_job.pipeline.held import Held, surroundings
from alembic_job.pipeline.lacking import lacking
from alembic_job.pipeline.status import pending
from alembic_job.settings import Settings
from alembic_job.steps import commands, preflight
from alembic_job.watch import Watch

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Connection, Engine


def seed(
    settings: Settings,
    *,
    log: Log,
    watch: Watch,
    identity: Identity,
    learn_secret: Callable[[str], None] = lambda secret: None,
) -> Report:
    """Runs the project's seed: what MIGRATE_SEED names, else `seed` of app/seed.py or seed.py.

    Raises `SettingsError` (20) where there is none, `Refused` (26) where revisions are pending, `MigrationFailed` (23)
    where it fails: then nothing of it stays.
    """
    report = Report("seed", identity.run_id)
    with concluded(report, watch), exported_url(settings):
        project = open_project(settings, ("current",), log)
        preflight.check_target_early(project, "heads")
        found = find(settings.seed)
        doing = surroundings(log, watch, identity, learn_secret)
        run = _Seed(found, settings, project, "heads", **doing)
        try:
            run.carry_out()
        finally:
            report.went(run.changes)
    return report


class _Seed(Held):
    """A run that looks whether every version table is at head, and then lets the project fill its tables."""

    def __init__(self, seed: Seed, *args: Any, **kwargs: Any) -> None:
        super().__init__("seed", *args, **kwargs)
        self._seed = seed

    def _before(self, context: MigrationContext) -> None:
        _, archive, heads = self._lock(context)
        change = archive.change
        change.expected = change.before
        if unknown := self.project.lacks(heads):
            raise lacking(archive.history, change.table.label, unknown)
        if left := pending(self.project, heads):
            raise Refused(
                f"the schema is not at head: {len(left)} pending in {change.table.label}: {', '.join(left[:10])}",
                hint="migrate first: `alembic-job migrate`, then `alembic-job seed`",
            )
        archive.begin(self.command, context, self._arguments)

    def _load(self) -> None:
        super()._load()
        begun = time.monotonic()
        name = self._seed.name
        self.log.info("seed.started", seed=name)
        result = None
        if self._seed.argv:
            commands.run("seed", self._seed.argv, self.log)
        else:
            result = self._call()
        seconds = round(time.monotonic() - begun, 3)
        told = {} if result is None else {"result": str(result)[:500]}
        self.log.info("seed.finished", seed=name, **told, duration_seconds=seconds)

    def _call(self) -> object:
        import sqlalchemy

        self.in_project = True
        url = dsns.sqlalchemy_url(self.sessions[0].dsn, "postgresql+psycopg2")
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
        try:
            with self._failures(), _transaction(engine) as connection:
                result = self._seed.call(connection)
                self._check()
        finally:
            engine.dispose()
        self.in_project = False
        return result

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """What comes out of the seed names the seed, and its place there."""
        try:
            yield
        except JobError:
            raise
        except SystemExit as end:
            raise MigrationFailed(f"the seed {self._seed.name} ended with {end.code}", hint=_HINT) from end
        except Exception as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> JobError:
        text = f"the seed {self._seed.name} failed: {words_of(error)}{place_of(error)}"
        if postgres.sqlstate(error) == "42501":
            return LoginFailed(text, hint="grant this role what the seed needs, or seed as the tables' owner")
        if postgres.is_connection_lost(error):
            return ConnectionLost(text, hint="nothing of it was kept; run it again")
        return MigrationFailed(text, hint=_HINT)


_HINT = "nothing of it was kept; correct the seed and run it again"


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    """The one transaction of a seed, which the seed itself cannot commit."""
    from sqlalchemy import event

    with engine.connect() as connection:
        transaction = connection.begin()
        mine = False

        def refuse(_connection: Any) -> None:
            if not mine:
                raise MigrationFailed(
                    "the seed commits by itself",
                    hint="leave that to the job: nothing of it was kept; or take a Session",
                )

        event.listen(connection, "commit", refuse)
        yield connection
        mine = True
        transaction.commit()
