"""Step 7, part: get a lock on a table without ever standing in a queue that the application would stand behind.

PostgreSQL lets nobody pass a waiting lock request that conflicts with theirs. So a strong lock is asked for with
NOWAIT, again and again, and only once it is won the statement runs. Where that cannot be done (views, DO blocks, no
privilege, tables that are never free) the statement stands in the queue for some milliseconds at a time.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from alembic_job.errors import Refused, TableLocked
from alembic_job.gateways import postgres as pg
from alembic_job.gateways.work import Work, table_locks
from alembic_job.logs.events import Log
from alembic_job.rules.effect import Effect, Lock, Mode
from alembic_job.rules.simple import Simple

_PAUSE, _LONGEST_PAUSE = 0.02, 0.2  # seconds between polls: the second bounds how late a free table is noticed
_LOOK_EVERY = 0.5  # seconds between two looks at who is in the way
_OLD = 1.0  # seconds: a transaction older than this is no passer-by, and queueing behind it is futile
_SHORT, _LONGER, _LONGEST_SHORT = 0.02, 0.03, 0.25  # seconds in a queue, growing; the longest only
_AT_LAST = 30.0  # after so many seconds
_AUTOVACUUM = 5.0  # seconds: more than deadlock_timeout, after which the server cancels an autovacuum for a waiter
_WORDS = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*([a-z]+)", re.IGNORECASE | re.DOTALL)
_OFF = re.compile(r"alembic-job:\s*lock-policy\s*=\s*off", re.IGNORECASE)
_READS = frozenset("SELECT SHOW SET RESET CREATE EXPLAIN VALUES TABLE SAVEPOINT RELEASE DECLARE FETCH CLOSE".split())
_REWRITTEN, _READ = 60e6, 400e6  # bytes a second, on a machine that is not slow: for an estimate to refuse by
_SMALL = 4096  # pages: below that it does not matter how long a table is read or written anew
_ABOUT = "SELECT oid::int8, relpages FROM pg_class WHERE oid = '{}'::regclass AND relkind = 'r' AND NOT relhassubclass"
_ABORTED = "25P02"
LOST_RACES = ("55P03", "40P01")  # lock_not_available, deadlock_detected


class TryAgain(Exception):
    """The transaction was rolled back: start the revision again, with these locks taken first."""

    def __init__(self, reason: str, locks: Sequence[Lock] = ()) -> None:
        super().__init__(reason)
        self.locks = tuple(locks)


class Look(Protocol):
    """How the gate sees other sessions."""

    def holders(self, locks: Sequence[Lock]) -> list[Any]:
        """Who else has, or waits for, what conflicts with these locks: `gateways.blockers.Blocker`s."""

    def blocked(self, locks: Sequence[Lock], blockers: list[Any], seconds: float) -> None:
        """Locks have been tried for in vain for so long."""

    def in_use(self, locks: Sequence[Lock]) -> bool:
        """True if other clients use these tables."""

    def alone(self) -> bool:
        """True if no other session is in this database, or was a moment ago: nobody has a lock, nobody can wait."""

    def seen_by_others(self, oids: Sequence[int]) -> bool:
        """True if other sessions know one of these, so that it was not made by the open transaction."""

    def transactions(self, pids: Sequence[int]) -> dict[int, str]:
        """The virtual transaction of each of these backends, which every role may see."""

    def check_own(self, locks: Sequence[Lock], pid: int) -> None:
        """Raises `MigrationFailed` if it is another connection of this run that has them; ours is `pid`."""

    def size(self, locks: Sequence[Lock]) -> int:
        """What the tables hold, in bytes, as far as it is known without opening them."""


class Budget:
    """The time a run may spend on trying for locks of tables; in seconds."""

    def __init__(self, limit: float) -> None:
        self.limit, self.spent = limit, 0.0

    @property
    def left(self) -> float:
        return self.limit - self.spent


class Rules(NamedTuple):
    """What holds for the revision at hand; a comment in its file may differ from the settings."""

    on: bool
    max_lock_hold: float | None


class TableLocks:
    """Gets the locks of one run's statements. `rules` are set anew for each revision.

    `effects(work, sql)` says what a statement does; `check` raises where the run is to end; `look` sees other sessions.
    """

    def __init__(
        self,
        budget: Budget,
        effects: Callable[[Work, str], list[Effect]],
        may_matter: Callable[[str], bool],
        simple: Callable[[str], Simple | None],
        look: Look,
        check: Callable[[], None],
        log: Log,
    ) -> None:
        self.budget, self._effects, self._may_matter = budget, effects, may_matter
        self._simple, self._look, self._check, self._log = simple, look, check, log
        self.rules = Rules(True, None)
        self.may_restart: Callable[[], bool] = lambda: True
        self.again: TryAgain | None = None  # raised, and maybe swallowed by the migration
        self.on = True  # the policy holds for the statement at hand
        self.last: Effect | None = None  # what the last statement that was looked at does
        self.polling = False  # time is being accounted here

    def execute(self, work: Work, statement: str, run: Callable[[], None]) -> bool:
        """Before a statement of a migration: gets its locks. True if the statement was run here as well.

        Raises `TryAgain`, `TableLocked` (12), `Refused` (26), and what `run` raises.
        """
        if self.again is not None:
            raise self.again
        ran = self._guarded(work, statement, run)
        self._note(work, statement)
        return ran

    def take(self, work: Work, locks: Sequence[Lock]) -> None:
        """Gets locks before the revision has done anything. Raises as `execute` does."""
        if locks and not work.autocommit:
            self._win(work, locks)

    def _guarded(self, work: Work, statement: str, run: Callable[[], None]) -> bool:
        self.on = self.rules.on and not _OFF.search(statement)
        if not self.on or self._look.alone() or not self._may_matter(statement):
            return False
        if self._quick(work, statement):
            return False
        effects = self._effects(work, statement)
        self.last = next((effect for effect in effects if effect.rewrites), effects[0] if effects else None)
        strong = strongest([lock for effect in effects for lock in effect.locks if lock.mode.blocks_writes])
        tables = [lock for lock in strong if lock.kind in "rp"]
        others = [lock for lock in strong if lock.kind in ("vmf" if tables else "vmfSi")]
        if any(effect.patient for effect in effects):
            return False
        if not all(effect.transactional for effect in effects):
            return self._run_short(work, run, tables) if tables else False
        self._refuse_long(effects, tables)
        if any(effect.unknown for effect in effects):
            if work.autocommit and first_word(statement) in ("DO", "CALL"):  # it may commit in its middle: once only
                self.on = False
                return False
            return self._run_short(work, run, tables)
        missing = [lock for lock in tables if lock.mode > work.mode(lock.oid)]
        if missing and work.autocommit:
            if not others:
                return self._run_alone(work, run, missing)
        elif missing and not self._win(work, missing):
            return self._run_short(work, run, tables)
        return self._run_short(work, run, strong) if others else False

    def _quick(self, work: Work, statement: str) -> bool:
        """The common case, in one message: an ordinary table of no great size whose lock is free. True if it is won."""
        found = None if work.autocommit else self._simple(statement)
        if found is None:
            return False
        fresh = work.fresh
        before = [] if fresh else ["SAVEPOINT alembic_job"]
        lock = f"LOCK TABLE ONLY {found.table} IN {found.mode.sql} MODE NOWAIT"
        try:
            rows = work.run_all([*before, lock, _ABOUT.format(found.table.replace("'", "''"))])
        except Exception as error:
            if pg.sqlstate(error) is None or pg.is_connection_lost(error):
                raise
            if pg.sqlstate(error) == _ABORTED:
                return False  # the statement itself will say so
            rows = []
        won = bool(rows) and rows[0][1] <= _SMALL
        if not won and fresh:
            work.rollback()
        elif not won:
            self._undo(work)
        if not fresh:
            work.run("RELEASE SAVEPOINT alembic_job")
        if won:
            locks = (Lock(int(rows[0][0]), found.table, "r", found.mode),)
            self.last = Effect(locks)
            work.note(locks)
        return won

    # Polling.

    def _win(self, work: Work, locks: Sequence[Lock]) -> bool:
        """Polls for locks in the open transaction; false if this role may not LOCK TABLE."""
        if work.autocommit:
            return True
        if work.fresh:
            return self._poll(work, locks, before=(), undo=work.rollback)
        work.run("SAVEPOINT alembic_job")
        won = self._poll(work, locks, before=(), undo=lambda: self._undo(work))
        work.run("RELEASE SAVEPOINT alembic_job")
        return won

    @staticmethod
    def _undo(work: Work) -> None:
        work.run("ROLLBACK TO SAVEPOINT alembic_job")

    def _run_alone(self, work: Work, run: Callable[[], None], locks: Sequence[Lock]) -> bool:
        """In autocommit mode: the locks and the statement as one transaction."""
        if not self._poll(work, locks, before=("BEGIN",), undo=lambda: self._end(work)):
            return self._run_short(work, run, locks)
        try:
            run()
        except BaseException:
            self._end(work)
            raise
        work.run("COMMIT")
        work.held.clear()
        return True

    @staticmethod
    def _end(work: Work) -> None:
        work.run("ROLLBACK")
        work.held.clear()

    def _poll(self, work: Work, locks: Sequence[Lock], before: Sequence[str], undo: Callable[[], object]) -> bool:
        """Tries until all locks are won at once. Raises `TryAgain` where trying on would keep others waiting."""
        wait = _Wait(self, work, locks)
        with self._counting():
            return self._poll_on(work, wait, locks, before, undo)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """The time spent inside is accounted here."""
        self.polling = True
        try:
            yield
        finally:
            self.polling = False

    def _poll_on(
        self,
        work: Work,
        wait: _Wait,
        locks: Sequence[Lock],
        before: Sequence[str],
        undo: Callable[[], object],
    ) -> bool:
        holding: bool | None = None
        while True:
            code = self._try(work, [*before, *wait.statements()], undo)
            if code is None:
                work.note(locks)
                wait.won()
                return True
            if code == "42501":
                return False
            if code not in LOST_RACES:
                return False  # the statement itself will say what is wrong
            if holding is None:
                holding = self._holds(work)
            if holding and self.may_restart():
                raise self._start_again(work, "a lock was not free while others were held", locks)
            wait.pause()

    def _holds(self, work: Work) -> bool:
        """True if the open transaction keeps, or may keep, others waiting: what the server says, not what was noted."""
        return not work.fresh and not work.autocommit and self._look.seen_by_others(work.holds())

    @staticmethod
    def _try(work: Work, statements: Sequence[str], undo: Callable[[], object]) -> str | None:
        """Executes them; on an error of the server's undoes them, and returns its code."""
        try:
            for statement in statements:
                work.run(statement)
        except Exception as error:
            code = pg.sqlstate(error)
            if code is None or pg.is_connection_lost(error):
                raise
            undo()
            return code
        return None

    # Standing in the queue for a moment.

    def _run_short(self, work: Work, run: Callable[[], None], locks: Sequence[Lock]) -> bool:
        """Runs the statement under a short lock_timeout, again until it gets through."""
        wait = _Wait(self, work, locks)
        while True:
            if locks and wait.tries and wait.futile:
                wait.pause()
                continue
            begun = time.monotonic()
            if self._run_once(work, run, wait.short()):
                wait.won(time.monotonic() - begun)
                return True
            if wait.tries == 1 and self._holds(work) and self.may_restart():
                raise self._start_again(work, "a lock was not free while others were held", ())
            wait.pause()

    @staticmethod
    def _run_once(work: Work, run: Callable[[], None], timeout: float) -> bool:
        local = "false" if work.autocommit else "true"
        [[before]] = work.run("SELECT current_setting('lock_timeout')")
        if not work.autocommit:
            work.run("SAVEPOINT alembic_job")
        work.run(f"SELECT set_config('lock_timeout', '{max(1, int(timeout * 1000))}ms', {local})")
        try:
            run()
        except Exception as error:
            if work.autocommit and not pg.is_connection_lost(error):
                work.run(f"SELECT set_config('lock_timeout', '{before}', false)")
            if pg.sqlstate(error) not in LOST_RACES:
                raise
            if not work.autocommit:
                work.run("ROLLBACK TO SAVEPOINT alembic_job")
                work.run("RELEASE SAVEPOINT alembic_job")
            return False
        work.run(f"SELECT set_config('lock_timeout', '{before}', {local})")
        if not work.autocommit:
            work.run("RELEASE SAVEPOINT alembic_job")
        return True

    # What must not be tried on, or at all.

    def _start_again(self, work: Work, reason: str, locks: Sequence[Lock]) -> Exception:
        """What to raise: this transaction holds what others wait for, and cannot get on."""
        elapsed = time.monotonic() - work.holding_since if work.blocks_others else 0.0
        bound = self.rules.max_lock_hold
        wanted = strongest([*work.held.values(), *locks])
        if bound is not None and elapsed > bound:
            work.rollback()
            return Refused(
                f"a lock on {names(locks)} was not free, and starting the revision again with that lock would keep it "
                f"for the {elapsed:.0f} s that the statements before need",
                hint="split the revision: what takes long first, the lock on this table in a revision of its own",
            )
        work.rollback()
        self.again = TryAgain(reason, wanted)
        return self.again

    def _refuse_long(self, effects: Sequence[Effect], tables: Sequence[Lock]) -> None:
        """Raises `Refused` if the statement would keep a table in use from its users for much too long."""
        bound = self.rules.max_lock_hold
        if bound is None:
            return
        for effect in effects:
            read, written = ([lock for lock in tables if lock.name in some] for some in (effect.scans, effect.rewrites))
            if not read and not written:
                continue
            seconds = self._look.size(written) / _REWRITTEN + self._look.size(read) / _READ
            if seconds > 3 * bound and self._look.in_use([*read, *written]):
                raise Refused(
                    f"{names(written or read)} is in use, and would be locked for about {seconds:.0f} s while it is "
                    f"{'written anew' if written else 'read to the end'}; nobody may wait for more than {bound:g} s",
                    hint=advice(bool(written)),
                )

    def _note(self, work: Work, statement: str) -> None:
        """Keeps account of what the open transaction holds."""
        work.statements += 1
        word = first_word(statement)
        if word == "ROLLBACK" and " TO " in statement.upper():
            work.held.clear()  # maybe; the next poll tells
        if word in ("COMMIT", "END") or (word in ("ROLLBACK", "ABORT") and " TO " not in statement.upper()):
            work.ended()
            work.loosen()
        elif word in ("BEGIN", "START"):
            work.loose = False
        elif not work.autocommit and (word not in _READS or " FOR " in statement.upper()):
            work.write()


class _Wait:
    """One wait for locks: its pace, who is in the way, and what is said of it."""

    def __init__(self, gate: TableLocks, work: Work, locks: Sequence[Lock]) -> None:
        self._gate, self._work, self._locks = gate, work, locks
        self._before: str | None = None
        self.tries = 0
        self.futile = False  # somebody is in the way who will not go within milliseconds
        self._autovacuum = False
        self._young_looks = 0
        self._transactions: dict[tuple[int, str], float] = {}  # when each was seen first
        self._begun = self._looked = time.monotonic()
        self._pause, self._short = _PAUSE, _SHORT
        self._blockers: list[Any] = []

    def statements(self) -> list[str]:
        """What to try next."""
        self.tries += 1
        if self._autovacuum:
            self._autovacuum = False
            tables = [replace(lock, mode=Mode.SHARE_UPDATE_EXCLUSIVE) for lock in self._locks]
            return [*self._within(_AUTOVACUUM, table_locks(tables, False)), *table_locks(self._locks, True)]
        if self._young_looks >= 1 and not self.futile:
            self.tries -= 1  # counted once
            return self._within(self.short(), table_locks(self._locks, False))
        return table_locks(self._locks, True)

    def _within(self, timeout: float, statements: list[str]) -> list[str]:
        """The statements under a lock_timeout, which the transaction then gets back as it was."""
        if self._before is None:
            [[self._before]] = self._work.run("SELECT current_setting('lock_timeout')")
        timeouts = f"{int(timeout * 1000)}ms", self._before
        before, after = (f"SELECT set_config('lock_timeout', '{value}', true)" for value in timeouts)
        return [before, *statements, after]

    def short(self) -> float:
        """How long to stand in the queue now; a little longer each time."""
        self.tries += 1
        bound = _LONGER if time.monotonic() - self._begun < _AT_LAST else _LONGEST_SHORT
        now, self._short = self._short, min(self._short * 1.3, bound)
        return now

    def pause(self) -> None:
        """Waits before the next try; looks who is in the way. Raises `TableLocked` once the budget is spent."""
        gate = self._gate
        gate._check()
        if self.tries == 2 or time.monotonic() - self._looked >= _LOOK_EVERY:
            self._look()
        pause = self._pause * random.uniform(0.8, 1.2)
        self._pause = min(self._pause * 1.4, _LONGEST_PAUSE)
        time.sleep(pause)
        now = time.monotonic()
        if gate.budget.spent + now - self._begun >= gate.budget.limit:
            raise self._given_up(now - self._begun)

    def _look(self) -> None:
        gate = self._gate
        self._looked = time.monotonic()
        if not self._locks:
            return
        self._blockers = gate._look.holders(self._locks)
        self._autovacuum = any(blocker.kind == "autovacuum" for blocker in self._blockers)
        others = [blocker for blocker in self._blockers if blocker.kind != "autovacuum"]
        if not self._blockers:
            self._gate._look.check_own(self._locks, self._work.pid())
        stays = [self._stays(blocker) for blocker in others]  # each has to be noted
        self.futile = any(stays)
        self._young_looks = 0 if self.futile else self._young_looks + 1
        gate._look.blocked(self._locks, self._blockers, self._looked - self._begun)

    def _stays(self, blocker: Any) -> bool:
        """True if a blocker will not be gone within milliseconds. Where its age is hidden it is watched."""
        if blocker.transaction_seconds is not None:
            return bool(blocker.transaction_seconds > _OLD)
        if blocker.pid is None:
            return True
        number = self._gate._look.transactions([blocker.pid]).get(blocker.pid, "")
        first = self._transactions.setdefault((blocker.pid, number), self._looked)
        return self._looked - first >= _OLD

    def won(self, executing: float = 0.0) -> None:
        """It is over; of the time since it began so many seconds were the statement's own."""
        waited = time.monotonic() - self._begun - executing
        self._gate.budget.spent += waited
        if self.tries > 1:
            self._gate._log.info(
                "table.locked",
                tables=[lock.name for lock in self._locks],
                tries=self.tries,
                waited_seconds=round(waited, 3),
            )

    def _given_up(self, waited: float) -> TableLocked:
        self._gate.budget.spent += waited
        if not self._blockers:
            self._look()
        return not_won(self._locks, self._gate.budget.limit, self._blockers)


def not_won(locks: Sequence[Lock], limit: float, blockers: list[Any]) -> TableLocked:
    """The error that names who was in the way."""
    what = f"lock on {names(locks)}" if locks else "a lock"
    who = "; ".join(map(str, blockers)) or "sessions that came and went"
    ends = "; ".join(blocker.end for blocker in blockers if blocker.end)
    return TableLocked(
        f"{what} was not won in {limit:g} s; in the way: {who}",
        hint=(f"end or finish what is in the way ({ends}), then run again; " if ends else "run again later; ")
        + "MIGRATE_TABLE_LOCK_TIMEOUT sets how long to try",
        blockers=[blocker.as_fields() for blocker in blockers],
    )


def strongest(locks: Sequence[Lock]) -> tuple[Lock, ...]:
    """Each relation once, in the strongest mode, in the order of their first mention."""
    found: dict[int, Lock] = {}
    for lock in locks:
        if lock.oid not in found or lock.mode > found[lock.oid].mode:
            found[lock.oid] = lock
    return tuple(found.values())


def names(locks: Sequence[Lock]) -> str:
    return ", ".join(lock.name for lock in locks) or "a relation"


def first_word(statement: str) -> str:
    """The first keyword of a statement, upper-case, after comments and parentheses."""
    match = _WORDS.match(statement)
    return match[1].upper() if match else ""


def advice(rewrite: bool) -> str:
    """How the same is done without keeping anybody waiting."""
    bound = (
        "or raise MIGRATE_MAX_LOCK_HOLD for this deploy (also by `# alembic-job: max-lock-hold=10m` in the revision)"
    )
    if rewrite:
        return (
            "do it online: add a new column, keep it in step with a trigger, fill it in batches, then swap the two by "
            f"renaming, each in a revision of its own; {bound}"
        )
    return (
        "do it online: build indexes with CREATE INDEX CONCURRENTLY in an autocommit_block, add constraints as NOT"
        f" VALID and VALIDATE them in the next revision; {bound}"
    )
