"""Around each revision: its statements get their locks without queueing, and what lost a race is started again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import FileIO
from typing import TYPE_CHECKING, Any

from alembic_job.errors import JobError, MigrationFailed, ProjectError, TableLocked
from alembic_job.gateways import postgres as pg
from alembic_job.gateways import unfinished
from alembic_job.gateways.unfinished import Part
from alembic_job.gateways.work import Work, in_transaction, work_of
from alembic_job.logs.events import Log
from alembic_job.model import VersionTable
from alembic_job.pipeline.index_builds import IndexBuilds
from alembic_job.pipeline.neighbours import Neighbours, Observer
from alembic_job.pipeline.recorded import Recorded
from alembic_job.pipeline.session import Session
from alembic_job.rules.effect import Effect, Lock
from alembic_job.rules.simple import Simple
from alembic_job.settings import Settings
from alembic_job.settings.values import duration_or_off
from alembic_job.steps.disk import Rewrites
from alembic_job.steps.parts import Parts, check_skippable, makes_table, was_done
from alembic_job.steps.table_locks import LOST_RACES, Budget, Rules, TableLocks, TryAgain, first_word, strongest
from alembic_job.watch import Watch

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import Script

_COMMENT = re.compile(r"^[ \t]*#[ \t]*alembic-job:[ \t]*([\w-]+)[ \t]*=[ \t]*(\S+)[ \t]*$", re.MULTILINE)
_PATIENT = re.compile(r"\b(CONCURRENTLY|VALIDATE|VACUUM)\b", re.IGNORECASE)
_DETACH = re.compile(r"\bCONCURRENTLY\b(?=[\s;]*$)", re.IGNORECASE)
_OF_ROWS = ("INSERT", "UPDATE", "DELETE", "MERGE", "WITH")
_LONGEST_PAUSE = 1.0  # seconds before a revision is started again


class Guard:
    """The lock policy of one run. `open` names the database; `guarded` wraps each revision's function."""

    def __init__(self, settings: Settings, watch: Watch, log: Log) -> None:
        self._settings, self._watch, self._log = settings, watch, log
        self._budget = Budget(settings.table_lock_timeout)
        self._rewrites = Rewrites(settings.server_disk, log)
        self._session: Session | None = None
        self._gate: TableLocks | None = None
        self._observers: dict[str, Observer] = {}
        self._upfront: dict[str, tuple[Lock, ...]] = {}  # by revision, learnt from attempts that lost
        self._revision, self._per_revision = "", True
        self._inside = False  # a revision's function runs
        self.executed: list[tuple[str, float]] = []  # the last revision's statements, with their seconds
        self._spent = 0.0
        self._committed = False  # something was committed since env.py was loaded
        self._pause = 0.05
        self._again: TryAgain | None = None
        self._grammar: bool | None = None
        self._unfinished: dict[str, frozenset[str]] = {}  # by database: revisions that an earlier run left something of
        self._parts: Parts | None = None
        self._builds: IndexBuilds | None = None

    def open(self, session: Session) -> None:
        """What follows happens in this database."""
        self._session = session
        self._rewrites.open(session.identity, lambda: session.connection)
        self._builds = IndexBuilds(session, self._settings, self._watch, self._budget, self._log)
        if session.identity in self._observers:
            self._gate = self._observers[session.identity].gate
            return
        neighbours = Neighbours(session, self._settings, self._log)
        self._gate = TableLocks(
            self._budget, self._effects, self._may_matter, self._simple, neighbours, self._watch.check, self._log
        )
        self._gate.may_restart = self._may_restart
        self._observers[session.identity] = Observer(session, self._settings, self._gate, self._log)

    def close(self) -> None:
        for observer in self._observers.values():
            observer.close()

    # A revision.

    def guarded(
        self, context: MigrationContext, revision: Script, function: Callable[..., Any], table: VersionTable, down: bool
    ) -> Callable[..., Any]:
        """The revision's `upgrade` or `downgrade`, which is started again where it lost a race for a lock.

        What an earlier run committed of the revision is not executed again.
        """
        rules = self._rules(revision.path)

        def run(**arguments: Any) -> None:
            self._revision, self._per_revision = revision.revision, self._own_transaction(context)
            self._spent = self._budget.spent
            self._resume(revision.revision, table, down, context)
            work = work_of(context.connection)
            while (again := self._attempt(rules, work, lambda: function(**arguments))) is not None:
                if not self._per_revision:
                    self._again = again
                    raise again
                self._start_over(context)
            if self._per_revision:  # another tenant's revision of that name locks other tables
                self._upfront.pop(revision.revision, None)

        return run

    @property
    def lock_seconds(self) -> float:
        """How long the last revision waited for locks."""
        return self._budget.spent - self._spent

    def rest(self) -> None:
        """Between two revisions, where nothing is held from the one before."""
        if self._per_revision:
            self._observer.rest()

    def _attempt(self, rules: Rules, work: Work, function: Callable[[], Any]) -> TryAgain | None:
        """Runs it once; what it returns means: undo it, and start again. Raises what ended the revision for good."""
        gate, observer = self._gate, self._observer
        assert gate is not None and self._parts is not None
        gate.rules, gate.again = rules, None
        self.executed = []
        self._parts.start()
        observer.start(self._per_revision)
        try:
            gate.take(work, self._due())
            self._inside = True
            function()
            self._parts.confirm()
            verdict = gate.again or observer.take_verdict(False)
            if verdict is None:
                return None
            cause: Exception | None = None
        except Exception as error:
            cause = error
            verdict = self._verdict(error)
            self._parts.confirm()
        finally:
            self._inside = False
        if isinstance(verdict, TryAgain):
            self._note(verdict)
            return verdict
        if isinstance(verdict, JobError):
            raise verdict from cause
        assert cause is not None
        raise cause

    def _verdict(self, error: Exception) -> JobError | TryAgain | None:
        """What an error that came out of a revision means: `None` is what it says."""
        gate = self._gate
        assert gate is not None
        code = pg.sqlstate(error)
        if (verdict := self._observer.take_verdict(code == "57014")) is not None:
            return verdict
        if gate.again is not None:
            return gate.again
        if isinstance(error, JobError):
            return error
        if code in LOST_RACES and self._budget.left > 0 and gate.on and gate.may_restart():
            return TryAgain("a deadlock" if code == "40P01" else "a lock_timeout ran out")
        return None

    def _note(self, again: TryAgain) -> None:
        """Remembers the locks that are to be taken first, and accounts the pause. Raises `TableLocked`."""
        self._log.info(
            "revision.restarted", revision=self._revision, reason=str(again), locks=[lock.name for lock in again.locks]
        )
        self._upfront[self._revision] = (*self._upfront.get(self._revision, ()), *again.locks)
        self._budget.spent += self._pause
        if self._budget.left <= 0:
            raise TableLocked(
                f"{again} again and again for {self._budget.limit:g} s",
                hint="run again when the tables are less in use; MIGRATE_TABLE_LOCK_TIMEOUT sets how long to try",
            )

    def _due(self) -> tuple[Lock, ...]:
        """The locks to take first now: of this revision, or of all that follow in the same transaction."""
        assert self._session is not None
        mine = self._upfront.get(self._revision, ())
        others = () if self._per_revision else [lock for locks in self._upfront.values() for lock in locks]
        return self._session.still_there(strongest([*mine, *others]))

    def _may_restart(self) -> bool:
        """True if what is committed of the revision, if anything, would be passed over."""
        return self._parts is None or self._parts.repeatable

    def _own_transaction(self, context: MigrationContext) -> bool:
        """True if the revision has a transaction for itself, which can be begun anew here."""
        return bool(
            context._transaction_per_migration and not context._in_external_transaction and context._transaction
        )

    def _start_over(self, context: MigrationContext) -> None:
        connection: Any = context.connection
        assert context._transaction is not None
        context._transaction.rollback()
        self._wait()
        context._transaction = connection.begin()
        context._ensure_version_table()  # the first revision's transaction is the one that made it

    def _wait(self) -> None:
        self._watch.check()
        time.sleep(self._pause)
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE)

    def may_load_again(self, error: Exception) -> bool:
        """True if env.py ended for a lost race only, and nothing was committed: it may be loaded again.

        Raises the reason if the observer ended what was executed, and `TableLocked` if it may not be loaded again.
        """
        if self._session is not None and isinstance(verdict := self._observer.take_verdict(False), JobError):
            raise verdict from error
        again, self._again = self._again, None
        if again is None:
            return False
        if self._committed:
            raise TableLocked(
                f"{again}; env.py has committed a part of its work, so the rest cannot be started again",
                hint="run again when the tables are less in use",
            ) from error
        self._wait()
        return True

    # Its statements.

    def execute(self, context: Any, sql: str, parameters: Any, run: Callable[[], None]) -> bool:
        """A statement of the project's, in SQLAlchemy's execution context. True if it was executed, or need not be."""
        work = work_of(context.root_connection)
        if not self._inside or self._gate is None or self._parts is None:
            work.statements += 1
            return False
        begun, waited, error = time.monotonic(), self._budget.spent, None
        text = _undoubled(sql, context) if "%%" in sql else sql
        try:
            done = self._execute(work, context, sql, parameters, run)
            self.executed.append((text, time.monotonic() - begun))
            return done
        except BaseException as problem:
            error = problem
            raise
        finally:
            self._tell(text, time.monotonic() - begun, self._budget.spent - waited, error)

    def _tell(self, sql: str, took: float, waited: float, error: BaseException | None) -> None:
        """What was executed, for whoever wants all of it: seconds, and those of them that it waited for locks."""
        self._log.debug(
            "statement.executed",
            revision=self._revision,
            statement=unfinished.without_secrets(sql),
            duration_seconds=round(took, 6),
            waited_seconds=round(waited, 6),
            error=None if error is None else pg.sqlstate(error) or type(error).__name__,
        )

    def _execute(self, work: Work, context: Any, sql: str, parameters: Any, run: Callable[[], None]) -> bool:
        assert self._gate is not None and self._parts is not None
        self._parts.confirm()
        if work.adopt():
            self._parts.lost_sight(work)
        word = first_word(sql)
        if word in ("COMMIT", "END"):
            self._committing(work)
        run = self._rewrites.guarded(work, sql, run)
        if self._parts.is_passing(sql, word):
            if not self._gate.execute(work, sql, run):
                run()
            return True
        part = self._parts.find(sql, parameters, word)
        if part is not None and part.done and self._is_there(work, sql, part, context, run):
            return True
        if part is not None and part.done:
            part = None
        if work.autocommit and part is None and word in _OF_ROWS and ";" not in sql.rstrip().rstrip(";"):
            self._execute_rows(work, sql, parameters, run, context)
            return True
        if work.autocommit:
            self._execute_alone(work, sql, parameters, run, part, context)
            return True
        if not self._gate.execute(work, sql, run):
            run()
        self._parts.executed(work, sql, parameters, context.cursor.rowcount)
        return True

    def _is_there(self, work: Work, sql: str, part: Part, context: Any, run: Callable[[], None]) -> bool:
        """What an earlier run did need not be done again, unless somebody has undone it: then nothing is believed."""
        assert self._parts is not None
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

    def _committing(self, work: Work) -> None:
        """A transaction is about to be committed by the revision; in another database it is none of our business."""
        assert self._parts is not None and self._session is not None
        identity = self._session.identity

        def number() -> str | None:
            return work.transaction() if work.run(pg.IDENTITY)[0][0] == identity else None

        self._parts.committing(work, number)

    def _execute_rows(self, work: Work, sql: str, parameters: Any, run: Callable[[], None], context: Any) -> None:
        """Rows that are changed in autocommit mode: by a transaction whose number is noted, so that it is known later
        whether it was committed. Repeated by mistake it would find no "already exists"."""
        assert self._parts is not None and self._gate is not None
        parts = self._parts

        def together() -> None:
            own = not in_transaction(work.dbapi)
            if own:
                work.run("BEGIN")
            try:
                run()
                parts.executed(work, sql, parameters, context.cursor.rowcount)
                self._committing(work)
            except BaseException:
                parts.rolled_back(work)
                if own:
                    with suppress(Exception):
                        work.run("ROLLBACK")
                raise
            self._committed = True
            if own:
                work.run("COMMIT")
                parts.confirm()

        if not self._gate.execute(work, sql, together):
            together()

    def _execute_alone(
        self, work: Work, sql: str, parameters: Any, run: Callable[[], None], doubtful: Part | None, context: Any
    ) -> None:
        """A statement that commits by itself; `doubtful` if an earlier run began it and nobody knows how it ended."""
        assert self._parts is not None and self._gate is not None and self._builds is not None
        builds = self._built(work, sql)
        if builds and self._builds.is_built(work, builds, doubtful is not None):
            self._parts.done(doubtful or self._parts.begin(sql, parameters, builds), -1)
            return
        part = doubtful or self._parts.begin(sql, parameters, builds)
        self._committed = True
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
        assert self._parts is not None and self._builds is not None
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

    def savepoint(self, connection: Any, name: str, back: bool) -> None:
        """A savepoint is set, or gone back to."""
        work = work_of(connection)
        if back:
            work.held.clear()  # maybe; the next poll tells
        if self._inside and self._parts is not None:
            self._parts.savepoint(work, name, back)

    def ended(self, connection: Any, committed: bool) -> None:
        """A transaction is about to end."""
        work = work_of(connection)
        if committed and work.statements:
            self._committed = True
        if self._inside and self._parts is not None:
            if committed:
                self._committing(work)
            else:
                self._parts.rolled_back(work)
        work.ended()

    # What it committed in its middle.

    def _resume(self, revision: str, table: VersionTable, down: bool, context: MigrationContext) -> None:
        assert self._session is not None
        key = unfinished.Key(self._session.identity, table.label, revision, down)
        work = work_of(context.connection)
        fingerprint = partial(unfinished.version_rows, work.run, table)
        self._parts = Parts(Recorded(self._session, self._settings, key, fingerprint, self._log))
        if self._session.identity not in self._unfinished:
            revisions = unfinished.revisions(self._session.connection, self._settings.history_schema)
            self._unfinished[self._session.identity] = revisions
        if revision in self._unfinished[self._session.identity]:
            self._parts.load()
        if self._parts.known:
            self._log.warning("revision.resumed", revision=revision, committed=self._parts.statements)

    def finishing(self, context: MigrationContext) -> None:
        """The revision is recorded in the version table, in a transaction that is not committed yet."""
        if self._parts is not None:
            self._parts.finish(work_of(context.connection).transaction)

    @property
    def midway(self) -> bool:
        """True if something of the revision was committed before its end, or may have been."""
        return self._parts is not None and bool(self._parts.known)

    def committed_parts(self) -> list[str]:
        """What the revision that failed had committed."""
        return self._parts.statements if self._parts is not None else []

    @property
    def remembers(self) -> bool:
        """True if the next run will know of it."""
        return self._parts is not None and self._parts.store.on

    @property
    def _observer(self) -> Observer:
        assert self._session is not None
        return self._observers[self._session.identity]

    def _may_matter(self, sql: str) -> bool:
        from alembic_job.rules.questions import may_matter

        return may_matter(sql)

    def _effects(self, work: Work, sql: str) -> list[Effect]:
        """What a statement does, asked on its own connection: only that sees what its transaction has done so far."""
        from alembic_job.gateways.catalogue import effect_of

        effects = effect_of(sql, work.run) if self._has_grammar() else [Effect(unknown="no grammar")]
        if any(effect.unknown for effect in effects) and first_word(sql) != "DO" and _PATIENT.search(sql):
            return [Effect(patient=True, transactional="CONCURRENTLY" not in sql.upper())]
        return effects

    def _simple(self, sql: str) -> Simple | None:
        """The table that a statement locks, if that is all it locks."""
        from alembic_job.gateways.parser import NotParsed, parse
        from alembic_job.rules.simple import simple

        if not self._has_grammar():
            return None
        try:
            statements = parse(sql)
        except NotParsed:
            return None
        return simple(statements[0]) if len(statements) == 1 else None

    def _has_grammar(self) -> bool:
        """True if the locks of statements can be told. Says once if not."""
        if self._grammar is None:
            from alembic_job.gateways.parser import library

            try:
                self._grammar = bool(library())
            except LookupError:
                self._grammar = False
                self._log.warning(
                    "lock.grammar_missing",
                    message="which locks a statement takes cannot be told: each is tried for milliseconds at a time",
                    hint="pip install 'alembic-job[sql]'",
                )
        return self._grammar

    def _rules(self, file: str) -> Rules:
        """The settings, and what a comment in the revision's file says otherwise. Raises `ProjectError` (22)."""
        try:
            with FileIO(file) as script:  # the fastest way: a thousand of them are read
                text = script.readall()
        except OSError:
            text = b""
        on, hold = self._settings.lock_policy != "off", self._settings.max_lock_hold
        for name, value in _COMMENT.findall(text.decode(errors="replace")) if b"alembic-job:" in text else ():
            try:
                if name == "max-lock-hold":
                    hold = duration_or_off(value)
                elif name == "lock-policy" and value.lower() in ("off", "never-queue"):
                    on = value.lower() != "off"
                else:
                    raise ValueError("max-lock-hold=30s, max-lock-hold=off or lock-policy=off")
            except ValueError as error:
                raise ProjectError(
                    f"{file}: the comment `alembic-job: {name}={value}` is not understood: it takes {error}",
                    hint="correct or remove that comment",
                ) from error
        return Rules(on, hold)


def _undoubled(sql: str, context: Any) -> str:
    """As the server sees it: SQLAlchemy writes `%%` for drivers that put parameters in place of `%s`."""
    doubled = context.dialect.paramstyle in ("format", "pyformat") and not context.no_parameters
    return sql.replace("%%", "%") if doubled else sql
