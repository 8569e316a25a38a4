"""CREATE INDEX CONCURRENTLY in a run: one that dies leaves an INVALID index, which nobody else clears away."""

from __future__ import annotations

import time
from contextlib import closing

import psycopg2

from alembic_job.errors import JobError, MigrationFailed, TableLocked
from alembic_job.gateways import indexes, unfinished
from alembic_job.gateways import postgres as pg
from alembic_job.gateways.work import Work
from alembic_job.logs.events import Log
from alembic_job.pipeline.session import Session
from alembic_job.settings import Settings
from alembic_job.steps.table_locks import Budget
from alembic_job.watch import Watch

_PAUSE = 0.2  # seconds


class IndexBuilds:
    """The builds of one run in one database. Indexes are named as in SQL: qualified and quoted."""

    def __init__(self, session: Session, settings: Settings, watch: Watch, budget: Budget, log: Log) -> None:
        self._session, self._settings, self._watch, self._budget, self._log = session, settings, watch, budget, log
        self._building: str | None = None  # an index that was not there before: its INVALID rest is ours

    def is_built(self, work: Work, index: str, begun_before: bool) -> bool:
        """Before a build: true if one that was interrupted had come to its end; the INVALID rest of one that had not
        is removed. Raises `TableLocked` if others keep working on its table.
        """
        state = indexes.state(self._session.connection, index)
        self._building = index if state is None else None
        while state is not None and not state.valid and state.builders and self._is_ours(index):
            self._let_work(state)
            state = indexes.state(self._session.connection, index)
        if state is None:
            return False
        if state.valid:
            return begun_before
        if not self._is_ours(index):
            return False  # the server will say so
        self._log.warning("index.rebuilt", index=index, on=state.table, reason="an earlier run's build was interrupted")
        work.run(f"DROP INDEX CONCURRENTLY {index}")
        self._building = index
        return False

    def check(self, index: str) -> None:
        """After a build: IF NOT EXISTS accepts an INVALID index; nobody else should. Raises `MigrationFailed`."""
        state = indexes.state(self._session.connection, index)
        if state is not None and not state.valid:
            raise MigrationFailed(
                f"index {index} on {state.table} is INVALID, and the statement let it be",
                hint=f"wait until nobody works on {state.table}, or DROP INDEX CONCURRENTLY {index}, then run again",
            )

    def is_mine(self, index: str) -> bool:
        """True if this run makes it: what is left of it after a failure is ours to remove."""
        return index == self._building

    def drop_remains(self, index: str) -> None:
        """After a failed build of ours: removes what is left of it, if that can be had at once."""
        if self._watch.stopped is not None:
            return
        try:
            with closing(self._session.fresh(hurry=True)) as connection:
                state = indexes.state(connection, index)
                if state is None or state.valid or state.builders:
                    return
                pg.query(connection, "SELECT set_config('lock_timeout', '1s', false)")
                pg.query(connection, f"DROP INDEX CONCURRENTLY {index}")
                self._log.info("index.removed", index=index, on=state.table, reason="its build failed")
        except (psycopg2.Error, JobError):
            self._log.warning(
                "index.invalid",
                index=index,
                hint="left by the build that failed; the next run drops it and builds it anew",
            )

    def _let_work(self, state: indexes.IndexState) -> None:
        """Waits a moment for those who may be building an index, or VACUUM or ANALYZE its table."""
        self._watch.check()
        time.sleep(_PAUSE)
        self._budget.spent += _PAUSE
        if self._budget.left <= 0:
            raise TableLocked(
                f"sessions {', '.join(map(str, state.builders))} work on {state.table}, whose INVALID index cannot be "
                f"replaced meanwhile; waited {self._budget.limit:g} s",
                hint="let them finish, or end them, then run again",
            )

    def _is_ours(self, index: str) -> bool:
        """True if an earlier run of ours noted that it built it."""
        schema, identity = self._settings.history_schema, self._session.identity
        return unfinished.built_by_us(self._session.connection, schema, identity, index)
