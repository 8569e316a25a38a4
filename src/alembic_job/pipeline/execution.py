"""How each statement of a revision is executed: in its transaction, alone, or not at all, as it was done before."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from alembic_job.errors import JobError, MigrationFailed
from alembic_job.gateways import postgres as pg
from alembic_job.gateways.unfinished import Part
from alembic_job.gateways.work import Work, in_transaction
from alembic_job.logs.events import Log
from alembic_job.pipeline.index_builds import IndexBuilds
from alembic_job.rules.effect import Effect
from alembic_job.steps.disk import Rewrites
from alembic_job.steps.parts import Parts, check_skippable, makes_table, was_done
from alembic_job.steps.table_locks import TableLocks, first_word

_DETACH = re.compile(r"\bCONCURRENTLY\b(?=[\s;]*$)", re.IGNORECASE)
_OF_ROWS = ("INSERT", "UPDATE", "DELETE", "MERGE", "WITH")


class Execution:
    """The statements of one revision in one database (its `identity`). `effects` tells what a statement does;
    `committed` is called before something is committed that the revision commits by itself.
    """

    def __init__(
        self,
        revision: str,
        identity: str,
        gate: TableLocks,
        parts: Parts,
        builds: IndexBuilds,
        rewrites: Rewrites,
        effects: Callable[[Work, str], list[Effect]],
        committed: Callable[[], None],
        log: Log,
    ) -> None:
        self._revision, self._identity, self._log = revision, identity, log
        self._gate, self._parts, self._builds, self._rewrites = gate, parts, builds, rewrites
        self._effects, self._committed = effects, committed

    def execute(self, work: Work, context: Any, sql: str, parameters: Any, run: Callable[[], None]) -> None:
        """Executes it by `run`, or passes over it, as an earlier run has done it. `context` is SQLAlchemy's."""
        self._parts.confirm()
        if work.adopt():
            self._parts.lost_sight(work)
        word = first_word(sql)
        if word in ("COMMIT", "END"):
            self.committing(work)
        run = self._rewrites.guarded(work, sql, run)
        if self._parts.is_passing(sql, word):
            if not self._gate.execute(work, sql, run):
                run()
            return
        part = self._parts.find(sql, parameters, word)
        if part is not None and part.done and self._is_there(work, sql, part, context, run):
            return
        if part is not None and part.done:
            part = None
        if work.autocommit and part is None and word in _OF_ROWS and ";" not in sql.rstrip().rstrip(";"):
            self._execute_rows(work, sql, parameters, run, context)
            return
        if work.autocommit:
            self._execute_alone(work, sql, parameters, run, part, context)
            return
        if not self._gate.execute(work, sql, run):
            run()
        self._parts.executed(work, sql, parameters, context.cursor.rowcount)

    def _is_there(self, work: Work, sql: str, part: Part, context: Any, run: Callable[[], None]) -> bool:
        """What an earlier run did need not be done again, unless somebody has undone it: then nothing is believed."""
        check_skippable(sql, self._revision)
        if makes_table(sql) and not self._tried(work, run):
            self._log.warning("revision.not_resumed", revision=self._revision, missing=part.statement)
            self._parts.void()
            return False
        if not hasattr(context, "_rowcount") and first_word(sql) in ("UPDATE", "DELETE", "INSERT", "MERGE", "WITH"):
            raise MigrationFailed(
                f"revision {self._revision} was interrupted after {part.statement!r} had been committed",
                hint="SQLAlchemy 1.4 cannot be told how many rows that changed: upgrade it, or do the remaining steps"
                " by hand and stamp the revision",
            )
        context._rowcount = part.rows
        self._log.info(
            "statement.skipped", revision=self._revision, statement=part.statement, reason="committed before"
        )
        return True

    @staticmethod
    def _tried(work: Work, run: Callable[[], None]) -> bool:
        """Tries it, and undoes that: true if the server says that it is there."""
        begin, undo = ("BEGIN", "ROLLBACK") if work.autocommit else ("SAVEPOINT alembic_job", None)
        work.run(begin)
        try:
            run()
        except Exception as error:
            if not was_done(pg.sqlstate(error), ""):
                raise
            return True
        finally:
            if undo is None:
                work.run("ROLLBACK TO SAVEPOINT alembic_job")
                work.run("RELEASE SAVEPOINT alembic_job")
            else:
                work.run(undo)
        return False

    def committing(self, work: Work) -> None:
        """A transaction is about to be committed by the revision; in another database it is none of our business."""
        identity = self._identity

        def number() -> str | None:
            return work.transaction() if work.run(pg.IDENTITY)[0][0] == identity else None

        self._parts.committing(work, number)

    def _execute_rows(self, work: Work, sql: str, parameters: Any, run: Callable[[], None], context: Any) -> None:
        """Rows that are changed in autocommit mode: by a transaction whose number is noted, so that it is known later
        whether it was committed. Repeated by mistake it would find no "already exists"."""
        parts = self._parts

        def together() -> None:
            own = not in_transaction(work.dbapi)
            if own:
                work.run("BEGIN")
            try:
                run()
                parts.executed(work, sql, parameters, context.cursor.rowcount)
                self.committing(work)
            except BaseException:
                parts.rolled_back(work)
                if own:
                    with suppress(Exception):
                        work.run("ROLLBACK")
                raise
            self._committed()
            if own:
                work.run("COMMIT")
                parts.confirm()

        if not self._gate.execute(work, sql, together):
            together()

    def _execute_alone(
        self, work: Work, sql: str, parameters: Any, run: Callable[[], None], doubtful: Part | None, context: Any
    ) -> None:
        """A statement that commits by itself; `doubtful` if an earlier run began it and nobody knows how it ended."""
        builds = self._built(work, sql)
        if builds and self._builds.is_built(work, builds, doubtful is not None):
            self._parts.done(doubtful or self._parts.begin(sql, parameters, builds), -1)
            return
        part = doubtful or self._parts.begin(sql, parameters, builds)
        self._committed()
        try:
            if not self._gate.execute(work, sql, run):
                run()
            if builds:
                self._builds.check(builds)
        except Exception as error:
            code = pg.sqlstate(error)
            if doubtful is None or builds or not self._had_been_done(work, sql, code):
                self._undone(part, builds, error)
                raise
            self._log.info(
                "statement.skipped", revision=self._revision, statement=part.statement, reason=f"was done: {code}"
            )
        self._parts.done(part, context.cursor.rowcount)

    def _undone(self, part: Part, builds: str | None, error: Exception) -> None:
        """A statement failed: it left nothing, or the INVALID rest of an index, which is removed if it is ours."""
        if pg.is_connection_lost(error) or (pg.sqlstate(error) is None and not isinstance(error, JobError)):
            return
        if first_word(part.statement) in ("DO", "CALL"):
            self._parts.repeatable = False  # it may have committed in its middle
        if builds is None or not self._builds.is_mine(builds):
            self._parts.failed(part)
        else:
            self._builds.drop_remains(builds)

    def _had_been_done(self, work: Work, sql: str, code: str | None) -> bool:
        if code == "55000" and "DETACH" in sql.upper() and _DETACH.search(sql):
            work.run(_DETACH.sub("FINALIZE", sql))
            return True
        return was_done(code, sql)

    def _built(self, work: Work, sql: str) -> str | None:
        """The index that a statement builds CONCURRENTLY."""
        if "CONCURRENTLY" not in sql.upper() or "INDEX" not in sql.upper():
            return None
        return next((effect.builds for effect in self._effects(work, sql) if effect.builds), None)
