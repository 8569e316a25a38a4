"""Around each revision: its statements get their locks without queueing, and what lost a race is started again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from io import FileIO
from typing import TYPE_CHECKING, Any

from alembic_job.errors import JobError, MigrationFailed, ProjectError, TableLocked
from alembic_job.gateways import postgres as pg
from alembic_job.gateways import unfinished
from alembic_job.gateways.work import Work, work_of
from alembic_job.logs.events import Log
from alembic_job.model import VersionTable
from alembic_job.pipeline.execution import Execution
from alembic_job.pipeline.grammar import Grammar
from alembic_job.pipeline.index_builds import IndexBuilds
from alembic_job.pipeline.neighbours import Neighbours, Observer
from alembic_job.pipeline.recorded import Recorded
from alembic_job.pipeline.session import Session
from alembic_job.rules.effect import Lock
from alembic_job.settings import Settings
from alembic_job.settings.values import duration_or_off
from alembic_job.steps.disk import Rewrites
from alembic_job.steps.parts import Parts
from alembic_job.steps.table_locks import LOST_RACES, Budget, Rules, TableLocks, TryAgain, strongest
from alembic_job.watch import Stop, Watch

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
        self._place: dict[str, Any] = {}  # of the revision, for events
        self._inside = False  # a revision's function runs
        self.executed: list[tuple[str, float]] = []  # the last revision's statements, with their seconds
        self._spent = 0.0
        self._committed = False  # something was committed since env.py was loaded
        self._pause = 0.05
        self._again: TryAgain | None = None
        self._grammar = Grammar(log)
        self._unfinished: dict[str, frozenset[str]] = {}  # by database: revisions that an earlier run left something of
        self._parts: Parts | None = None
        self._execution: Execution | None = None  # of the revision's statements
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
            self._budget,
            self._grammar.effects,
            self._grammar.may_matter,
            self._grammar.simple,
            neighbours,
            self._watch.check,
            self._log,
        )
        self._gate.may_restart = self._may_restart
        self._observers[session.identity] = Observer(session, self._settings, self._gate, self._log)

    def close(self) -> None:
        for observer in self._observers.values():
            observer.close()

    # A revision.

    def guarded(
        self,
        context: MigrationContext,
        revision: Script,
        function: Callable[..., Any],
        table: VersionTable,
        down: bool,
        where: dict[str, Any],
    ) -> Callable[..., Any]:
        """The revision's `upgrade` or `downgrade`, which is started again where it lost a race for a lock.

        What an earlier run committed of the revision is not executed again. `where` is said of its statements.
        """
        rules = self._rules(revision.path)

        def run(**arguments: Any) -> None:
            self._place = where
            self._revision, self._per_revision = revision.revision, self._own_transaction(context)
            self._spent = self._budget.spent
            self._resume(revision.revision, table, down, context)
            work = work_of(context.connection)
            while (again := self._attempt(rules, work, partial(_called, revision, function, arguments))) is not None:
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
        if not self._inside or self._execution is None:
            work.statements += 1
            return False
        begun, waited, error = time.monotonic(), self._budget.spent, None
        text = _undoubled(sql, context) if "%%" in sql else sql
        try:
            self._execution.execute(work, context, sql, parameters, run)
            self.executed.append((text, time.monotonic() - begun))
            return True
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
            error=None if error is None else _why(error),
            **self._place,
        )

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
        if self._inside and self._parts is not None and self._execution is not None:
            if committed:
                self._execution.committing(work)
            else:
                self._parts.rolled_back(work)
        work.ended()

    # What it committed in its middle.

    def _resume(self, revision: str, table: VersionTable, down: bool, context: MigrationContext) -> None:
        assert self._session is not None and self._gate is not None and self._builds is not None
        key = unfinished.Key(self._session.identity, table.label, revision, down)
        work = work_of(context.connection)
        fingerprint = partial(unfinished.version_rows, work.run, table)
        self._parts = Parts(Recorded(self._session, self._settings, key, fingerprint, self._log))
        self._execution = Execution(
            revision,
            self._session.identity,
            self._gate,
            self._parts,
            self._builds,
            self._rewrites,
            self._grammar.effects,
            self._commits,
            self._log,
        )
        if self._session.identity not in self._unfinished:
            revisions = unfinished.revisions(self._session.connection, self._settings.history_schema)
            self._unfinished[self._session.identity] = revisions
        if revision in self._unfinished[self._session.identity]:
            self._parts.load()
        if self._parts.known:
            self._log.warning("revision.resumed", revision=revision, committed=self._parts.statements)

    def _commits(self) -> None:
        self._committed = True

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


def _called(revision: Script, function: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Calls a revision's function with what env.py gave. Raises `MigrationFailed` where it does not take that."""
    try:
        function(**arguments)
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            raise
        raise MigrationFailed(
            f"revision {revision.revision} failed: {error} ({revision.path})",
            hint="its functions have to take what env.py gives to run_migrations(), and no more",
        ) from error


def _why(error: BaseException) -> str:
    """What ended a statement: an SQLSTATE, `restarted` for a lost race, `interrupted`, or the error's name."""
    if isinstance(error, TryAgain):
        return "restarted"
    return "interrupted" if isinstance(error, Stop) else pg.sqlstate(error) or type(error).__name__


def _undoubled(sql: str, context: Any) -> str:
    """As the server sees it: SQLAlchemy writes `%%` for drivers that put parameters in place of `%s`."""
    doubled = context.dialect.paramstyle in ("format", "pyformat") and not context.no_parameters
    return sql.replace("%%", "%") if doubled else sql
