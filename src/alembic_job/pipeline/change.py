"""The heart of `migrate` and `rollback`: what happens while the project's env.py runs, as hooks in the order of events.

env.py drives: it connects when and where it likes and calls `run_migrations` once or many times. So the steps hang on
what it does: connecting → wait and first lock; connected → fence; about to migrate → table lock, preflight, backup;
each revision → events.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.errors import JobError, MigrationFailed, RunLocked, SettingsError
from alembic_job.gateways import engines, locks
from alembic_job.gateways import postgres as pg
from alembic_job.gateways.complaints import project_errors
from alembic_job.gateways.environment import run_env
from alembic_job.gateways.inputs import Recorder
from alembic_job.gateways.project import Project, described
from alembic_job.gateways.work import is_pooled
from alembic_job.identity import Identity
from alembic_job.logs.events import Log
from alembic_job.model import Change, VersionTable
from alembic_job.pipeline import production, undoing
from alembic_job.pipeline.archive import Archive
from alembic_job.pipeline.guard import Guard
from alembic_job.pipeline.session import Session
from alembic_job.pipeline.undoing import Ahead, Consent, Way
from alembic_job.settings import Settings
from alembic_job.steps import commands, preflight, verify
from alembic_job.watch import Stop, Watch, lock_lost

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep

_COLLECT_AFTER = 10_000  # objects more made than freed
_NONE = Consent()
Backup = Callable[[Session], None]


class Run:
    """One run of `migrate` (`down=False`) or `rollback`, through the events of env.py.

    `learn_secret` is told of passwords found on the way. After `execute`, `changes` says what was planned and done.
    """

    def __init__(
        self,
        settings: Settings,
        project: Project,
        target: str,
        *,
        down: bool,
        identity: Identity,
        watch: Watch,
        log: Log,
        backup: Backup,
        learn_secret: Callable[[str], None],
        recorder: Recorder,
        consent: Consent = _NONE,
    ) -> None:
        self.settings, self.project, self.target, self.down = settings, project, target, down
        self.command, self.consent = "rollback" if down else "migrate", consent
        self.identity, self.watch, self.log = identity, watch, log
        self._backup, self._learn_secret, self._recorder = backup, learn_secret, recorder
        self.sessions: list[Session] = []
        self.changes: list[Change] = []
        self.current: str | None = None  # the revision being executed
        self.committed: list[str] = []  # as far as it could be seen while it ran
        self.foreign_sql = False  # env.py executed SQL of its own
        self.touched: set[str] = set()  # words of the statements that were executed
        self._migrating = False
        self.in_project = False  # whose code runs: the project's, or ours; stays as it was when something is raised
        self._busy = False  # our own code runs, on a connection of the project's maybe
        self._before_ran = self._after_wanted = False
        self._refusal: JobError | None = None
        self._backed_up: set[str] = set()  # identities of databases
        self._archives: list[Archive] = []  # one a change
        self._arguments: dict[str, Any] = {}  # env.py's, for the revisions' functions
        self._guard = Guard(settings, watch, log)
        self._thresholds: tuple[int, int, int] | None = None  # of the garbage collector, as they were
        self._prepared: MigrationContext | None = None
        self._planned: tuple[tuple[str, ...], list[RevisionStep]] | None = None
        watch.cancel = self._cancel

    # The sentence: wait, lock, (backup,) upgrade, verify.

    def execute(self) -> None:
        """Runs the project's migrations to the end. Raises `JobError`s, `Stop`, or whatever env.py raises."""
        if dsn := self.settings.own():
            with self._recorder.paused():
                self._open(dsn)
        engines.map_plain_scheme()
        with engines.hooked(self):
            self._load()
        if self._after_wanted and self.settings.after:
            commands.run("after", self.settings.after, self.log)
        for session in self.sessions:
            with self._recorder.paused():
                fresh = session.fresh()
            with closing(fresh) as connection:
                self._read_back(session, connection)
                self._verify(session, connection)

    def _load(self) -> None:
        while True:
            self.watch.check()
            try:
                self._load_once()
            except Exception as error:
                if not self._guard.may_load_again(error):
                    raise
                self.changes.clear()
                for archive in self._archives:
                    archive.close()
                self._archives.clear()
                self._prepared = self._planned = self.current = None
                self._migrating = False
            else:
                return

    def _load_once(self) -> None:
        self.in_project = True
        try:
            run_env(self.project, self.target, self.settings.tag, self.settings.transaction, self)
        except SystemExit as end:
            if end.code or self.current is not None:
                raise
        if self.current is not None:
            raise MigrationFailed(
                f"revision {self.current} failed, and env.py went on as if it had not",
                hint="its error is in the lines above, if env.py printed it; let env.py raise it",
                revision=self.current,
            )
        self.in_project = False
        self._check()

    @contextmanager
    def _ours(self) -> Iterator[None]:
        """What happens inside is not the project's doing."""
        self.in_project, self._busy = False, True
        try:
            with self._recorder.paused():
                yield
        except JobError as error:
            self._refusal = self._refusal or error
            raise
        finally:
            self._busy = False
        self.in_project = True

    def _check(self) -> None:
        """Ends the run if it is to end, also where env.py swallowed what was raised to end it."""
        self.watch.check()
        if self._refusal is not None:
            raise self._refusal

    def look(self) -> None:
        """Reads back, on fresh connections, what was really committed; sets each change's `after` and `done`."""
        for session in self.sessions:
            with closing(session.fresh(hurry=True)) as connection:
                self._read_back(session, connection)

    def _read_back(self, session: Session, connection: Connection) -> None:
        for change in self._changes_of(session):
            change.after = verify.version_rows(connection, change.table)
            change.done = self._done(change)

    def _changes_of(self, session: Session) -> list[Change]:
        return [change for change in self.changes if change.table.database == session.identity]

    def _done(self, change: Change) -> tuple[str, ...]:
        there = self.project.ancestors(change.after or ())
        return tuple(revision for revision in change.planned if (revision in there) is not self.down)

    def _verify(self, session: Session, connection: Connection) -> None:
        changes = [change for change in self._changes_of(session) if change.planned]
        if not changes:
            return
        verify.verify(connection, changes, self.touched, self.log)
        self.log.info("verify.passed", tables=[change.table.label for change in changes])

    def _open(self, dsn: Dsn) -> Session:
        """Step 1 and 4: wait for the database, take the first lock."""
        self._learn_secret(dsn.password)
        self._recorder.expect_port(dsn.place[1])
        session = Session(dsn, self.settings, self.identity, self.watch, self.log)
        self.sessions.append(session)
        session.hold_database()
        if self.settings.before and self.settings.before_when == "always" and not self._before_ran:
            self._run_before()
        return session

    # What env.py's engines do.

    def connecting(self, dsn: Dsn) -> Dsn:
        """Before the project connects: wait for that server if nobody did; lead it around the pooler."""
        self.watch.check()
        with self._ours():
            return self._connecting(dsn)

    def _connecting(self, dsn: Dsn) -> Dsn:
        self._learn_secret(dsn.password)
        self._recorder.expect_port(dsn.place[1])
        database, direct = self.settings.database, self.settings.direct
        dsn = self.settings.login(dsn)
        if direct is not None and database is not None and dsn.place == database.place:
            dsn = Dsn(dsn.parameters | direct.parameters, password_command=dsn.password_command)
        elif not self.sessions and dsn.parameters.get("host"):
            self._open(dsn)
        return pg.with_password(dsn)

    def connected(self, connection: Any, dsn: Dsn) -> None:
        """The fence: every connection the project works on can be told from an orphan, and stopped."""
        with self._ours():
            self._connected(connection, dsn)

    def _connected(self, connection: Any, dsn: Dsn) -> None:
        statement = locks.fence_statement(self.identity.key)
        if not engines.execute(connection, statement)[1]:
            [identity] = engines.execute(connection, pg.IDENTITY)
            if any(session.identity == identity for session in self.sessions):
                self.watch.stop(lock_lost())
                raise Stop
            self._elsewhere(dsn)
            # A fence without the run's own mark looks like an orphan's: first the mark, then the fence.
            engines.execute(connection, f"SELECT pg_advisory_unlock_shared({locks.FENCE_CLASS}, {self.identity.key})")
            self._open(dsn)
            engines.execute(connection, statement)
        self.sessions[0].settle(connection, dsn)

    def _elsewhere(self, dsn: Dsn) -> None:
        """The project connected to another database than the settings name: its own way wins, but not over a flag."""
        if not self.sessions:
            return
        message = f"the project connected to {dsn.redacted()}, not to {self.sessions[0].dsn.redacted()}"
        if self.settings.origins["database_url"].startswith(("flag", "argument")):
            raise SettingsError(message, hint="env.py has its own way to the database: give it the same URL")
        self.log.warning("database.another", message=message)

    def statement(self, sql: str) -> None:
        """Before each statement of the project."""
        if not self._busy:
            self._check()
        if not self._migrating:
            self.foreign_sql = True
        elif "INDEX" in sql.upper():
            self.touched.update(word.strip('"(),;') for word in sql.replace(".", " ").split())

    def executing(self, context: Any, sql: str, parameters: Any, run: Callable[[], None]) -> bool:
        """A revision's statement goes through the guard, which sees to its locks."""
        connection = context.root_connection
        if self._busy or connection.dialect.name != "postgresql" or not is_pooled(connection):
            return False  # ours, another database's, or SQLAlchemy's own first questions
        self._busy = True
        try:
            return self._guard.execute(context, sql, parameters, run)
        except JobError as error:
            self._refusal = self._refusal or error
            raise
        finally:
            self._busy = False

    def ended(self, connection: Any, committed: bool) -> None:
        """A transaction of the project's ends."""
        if not self._busy and connection.dialect.name == "postgresql" and is_pooled(connection):
            self._guard.ended(connection, committed and self._migrating)

    def savepoint(self, connection: Any, name: str, back: bool) -> None:
        """A savepoint of the project's is set, or gone back to."""
        if not self._busy and connection.dialect.name == "postgresql" and is_pooled(connection):
            self._guard.savepoint(connection, name, back)

    # What env.py's migration context does.

    def before(self, context: MigrationContext, arguments: dict[str, Any]) -> None:
        """env.py is about to migrate one version table: lock it, look what is pending, make sure it may be done."""
        self._arguments = arguments
        self.watch.check()
        self._migrating = True
        with self._ours():
            self._before(context)
        self._prepared = context

    def _lock(self, context: MigrationContext) -> tuple[Session, Archive, tuple[str, ...]]:
        """Step 4: that version table's lock; only then what it holds counts, and what the history tells of it."""
        table = preflight.version_table(context)
        session = next(s for s in self.sessions if s.identity == table.database)
        session.narrow(table.label)
        self._guard.open(session)
        with preflight.kept_transaction(context):
            heads = context.get_current_heads()
        change = Change(table, tuple(sorted(heads)))
        self.changes.append(change)
        archive = Archive(session, self.settings, self.project, change, self.log)
        self._archives.append(archive)
        return session, archive, heads

    def _before(self, context: MigrationContext) -> None:
        session, archive, heads = self._lock(context)
        change = archive.change
        if not self._known(archive, heads):
            change.expected = change.before
            return
        preflight.check_target(self.project, self.target)
        planned = self._plan(heads)
        change.planned = tuple(step.revision.revision for step in planned)
        change.expected = None if planned else change.before
        archive.check_edited(self.project.ancestors(heads))
        if planned and not self.down and self.settings.lint != "off":
            self._lint(context, change)
        if planned and self.consent.dry_run:
            undoing.show(self._ways_back(context, session, planned), self.log)
            change.planned, change.expected = (), change.before
        elif planned:
            self._prepare(context, change.table, session, change, planned)
            archive.begin(self.command, context, self._arguments)
        else:
            archive.adopt(context, self._arguments, self.project.ancestors(heads))
            self.log.info("nothing.pending", table=change.table.label, revision=list(change.before))

    def _lint(self, context: MigrationContext, change: Change) -> None:
        from alembic_job.pipeline.linting_pending import before_change

        before_change(self.settings, self.project, context, self._arguments, change.planned, self.log)

    def _known(self, archive: Archive, heads: tuple[str, ...]) -> bool:
        """True if the project has all that the database holds, be it from the history. Raises `RevisionUnknown`."""
        if all(self.project.has(head) for head in heads):
            return True
        ahead = Ahead(self.project, archive.change.table, heads, archive.history)
        if self.down:
            ahead.graft(self.settings)
            between = [each.revision for each in ahead.between]
            self.log.info("revisions.from_history", table=archive.change.table.label, revisions=between)
            return True
        if self.settings.when_ahead != "tolerate":
            raise ahead.error()
        if not ahead.proven:
            raise ahead.unproven()
        label = archive.change.table.label
        self.log.warning("database.ahead", unknown=ahead.unknown, table=label, message=ahead.message)
        return False

    def _ways_back(self, context: MigrationContext, session: Session, planned: list[RevisionStep]) -> list[Way]:
        """How each step is to be undone; raises `Refused` (26) if it loses what nobody has agreed to lose."""
        scripts: list[Any] = [step.revision for step in planned]
        archive = self._archives[-1]
        place = (archive.history, session, archive.change.table)
        ways = undoing.ways_back(context, self._arguments, scripts, *place, self.consent, self.log)
        undoing.check_losses(ways, archive.history.consents(), self.consent, self.log)
        archive.evidence = undoing.as_fields(ways)
        return ways

    def _prepare(
        self,
        context: MigrationContext,
        table: VersionTable,
        session: Session,
        change: Change,
        planned: list[RevisionStep],
    ) -> None:
        """All that must be true or done before the first change."""
        log_fields = {"table": table.label, "revisions": len(change.planned)}
        self.log.info("plan.made", **log_fields, first=change.planned[0], last=change.planned[-1])
        here = Path.cwd()
        for script in [step.revision for step in planned]:
            told = {**described(script, here), "follows": list(script._all_down_revisions)}
            self.log.debug("revision.planned", **told, **self._where(change))
        preflight.check_privileges(context, table)
        if self.down and self.target.rpartition("@")[2] == "base":
            place = (session.dsn, session.connection)
            production.check(self.settings, *place, "rollback to base", "--yes", self.consent.production, self.log)
        preflight.check_new_database(context, table, self.settings.new_database, self.settings.history_schema, self.log)
        if self.down:
            self._ways_back(context, session, planned)
        if self.settings.before and not self._before_ran:
            self._run_before()
        if session.identity not in self._backed_up:
            self._backup(session)
            self._backed_up.add(session.identity)
        self._after_wanted = True
        self._collect_less()
        self.watch.check()

    def _collect_less(self) -> None:
        """Libraries and scripts live to the end, and a statement's rubbish is small: the collector need not look often.

        Measured over a thousand revisions: 5 % of the processor's time. Undone at the end, for programs that go on.
        """
        first, *rest = now = gc.get_threshold()
        if first and self._thresholds is None and not gc.get_freeze_count():
            self._thresholds = now
            gc.set_threshold(max(first, _COLLECT_AFTER), *rest)
            gc.freeze()

    def after(self, context: MigrationContext) -> None:
        """env.py goes on by itself.

        Where each revision has its own transaction nobody else commits what was done around them: the version table
        that Alembic makes where there are no revisions, settings of the session.
        """
        self._migrating = False
        connection: Any = context.connection
        if self.settings.transaction != "per-revision" or context._in_external_transaction:
            return
        if getattr(connection, "in_transaction", lambda: False)() and hasattr(connection, "commit"):
            connection.commit()

    def revisions(self, heads: tuple[str, ...], context: MigrationContext) -> Iterator[RevisionStep]:
        """Alembic's steps, each announced before and after it ran."""
        if self._prepared is not context:  # env.py went around `context.run_migrations`
            self.before(context, {})
            if self.changes[-1].before != tuple(sorted(heads)):
                raise RunLocked("another runner migrated while this one waited", hint="run again: it looks anew")
        change = self.changes[-1]
        if change.expected is not None:
            return
        steps, self._planned = (
            self._plan(heads),
            None,
        )  # the next version table's steps are others, with equal heads too
        for step in steps:
            self._check()
            revision = step.revision.revision
            self.current = revision
            if not self.down and self._archives[-1].is_due(revision):
                self._kept(revision)
            begun = time.monotonic()
            where = self._where(change)
            self.log.info(self._event("started"), revision=revision, message=step.revision.doc, **where)
            guarded = self._guard.guarded(context, step.revision, step.migration_fn, change.table, self.down, where)
            step.migration_fn = guarded
            yield step
            self.current = None
            self._guard.rest()
            committed = _committed(context)
            if committed:
                self.committed.append(revision)
            seconds = time.monotonic() - begun
            self._archives[-1].done(revision, self.down, self._guard.executed, seconds, self._guard.lock_seconds)
            took = round(seconds, 3)
            self.log.info(self._event("done"), revision=revision, duration_seconds=took, committed=committed, **where)
        if not self.down:
            with self._ours():
                self._archives[-1].adopt(context, self._arguments, self.project.ancestors(change.before))

    def _where(self, change: Change) -> dict[str, Any]:
        """The version table that a revision belongs to; of several databases also which."""
        where = {"table": change.table.label}
        if len(self.sessions) > 1:
            mine = next(session for session in self.sessions if session.identity == change.table.database)
            where["database"] = mine.dsn.redacted()
        return where

    def _kept(self, revision: str) -> None:
        """Its way back is recorded; and what was executed so far, if it is time."""
        with self._ours():
            self._archives[-1].ready(revision)
            self._archives[-1].flush(lambda done: done in self.committed)

    def applied(self, heads: set[str], context: MigrationContext) -> None:
        """A step was executed: these are the heads its version table then holds."""
        self.changes[-1].expected = tuple(sorted(heads))
        if self._guard.midway:
            with self._ours():
                self._guard.finishing(context)

    def committed_parts(self) -> list[str]:
        """The statements that the revision which failed had committed by itself."""
        return self._guard.committed_parts() if self.current is not None else []

    @property
    def remembers(self) -> bool:
        """True if the next run will know of them."""
        return self._guard.remembers

    def _event(self, what: str) -> str:
        if what == "started":
            return "revision.reverting" if self.down else "revision.applying"
        return "revision.reverted" if self.down else "revision.applied"

    def _plan(self, heads: tuple[str, ...]) -> list[RevisionStep]:
        """The steps from these heads; asked twice for the same ones, before and when Alembic runs them."""
        if self._planned is None or self._planned[0] != heads:
            script = self.project.script
            revisions: Any = script._downgrade_revs if self.down else script._upgrade_revs
            with project_errors(), undoing.missing_functions():
                self._planned = (heads, list(revisions(self.target, heads)))
        return self._planned[1]

    def conclude(self, outcome: str, exit_code: int, error: str | None) -> None:
        """The run's end is recorded. Never raises."""
        for archive in self._archives:
            archive.end(outcome, exit_code, error)

    # Commands and the end.

    def _run_before(self) -> None:
        self._before_ran = True
        assert self.settings.before is not None
        commands.run("before", self.settings.before, self.log)

    def _cancel(self, terminate: bool) -> None:
        """From the watching thread: end what runs on the servers."""
        for session in list(self.sessions):
            try:
                session.stop_work(terminate)
            except psycopg2.Error:
                continue

    def close(self) -> None:
        """Gives all locks back."""
        if self._thresholds is not None:
            gc.unfreeze()
            gc.set_threshold(*self._thresholds)
        for archive in self._archives:
            archive.close()
        self._guard.close()
        for session in self.sessions:
            session.close()


def _committed(context: MigrationContext) -> bool:
    """True if no transaction is open after a step, so that what it did is there to stay."""
    in_transaction = getattr(context.connection, "in_transaction", None)
    return bool(in_transaction is not None and not in_transaction())
