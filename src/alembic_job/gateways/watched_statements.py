"""What each statement of a migration does to a database that nobody else uses: time, rows, locks, rewrites, sizes.

All of it is looked up between the statements, on the migration's own connection where only that can see it; what that
takes counts for nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.dsn import Dsn
from alembic_job.gateways import postgres
from alembic_job.gateways.work import Work, in_transaction, is_pooled, work_of
from alembic_job.rules.effect import Mode

_KEY = "alembic_job.watched"
_LONGEST_TEXT = 4000  # characters of a statement
_QUICK = 0.25  # seconds
_LOOK_EVERY = 0.005  # seconds, while a statement runs that is a transaction of its own
_MODES = {mode.pg_locks: mode for mode in Mode}
# Every relation of the project's, but for what belongs to one (TOAST). A size is not asked of what another connection
# has locked, which would wait for it.
_STATE = """
    SELECT CAST(c.oid AS int8), quote_ident(n.nspname) || '.' || quote_ident(c.relname), CAST(c.relkind AS text),
    CAST(c.relfilenode AS int8), coalesce(CAST(x.indrelid AS int8), 0),
    CASE WHEN c.relkind IN ('r', 'm') AND c.oid <> ALL (ARRAY(SELECT relation FROM pg_catalog.pg_locks
        WHERE granted AND locktype = 'relation' AND mode = 'AccessExclusiveLock' AND pid <> pg_backend_pid()))
    THEN pg_catalog.pg_total_relation_size(c.oid) END
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid
    WHERE c.oid >= 16384 AND n.nspname !~ '^pg_'"""
_STATE_OF = _STATE + " AND c.oid IN ({oids})"
_LOCKS = """
    SELECT CAST(relation AS int8), mode FROM pg_catalog.pg_locks WHERE pid = {pid} AND granted
    AND locktype = 'relation' AND relation >= 16384"""
_WAL = "SELECT CAST(pg_current_wal_insert_lsn() - '0/0' AS int8)"
# Nothing to see after these, and a query may be what must not stand between two of them.
_SILENT = ("SET", "RESET", "SHOW", "BEGIN", "START", "SAVEPOINT", "RELEASE", "DISCARD")


@dataclass
class Held:
    """A lock that a statement won, and how long its transaction then held it, in seconds."""

    relation: str
    mode: Mode
    seconds: float | None = None


@dataclass
class Statement:
    """One statement as executed. Sizes are bytes, of tables with their indexes and TOAST, by name.

    `wal_bytes` counts what the whole server wrote meanwhile.
    """

    revision: str
    sql: str
    seconds: float = 0.0
    rows: int | None = None
    locks: list[Held] = field(default_factory=list)
    rewrites: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    wal_bytes: int = 0
    autocommit: bool = False
    done: bool = False


class _Relation(NamedTuple):
    oid: int
    name: str
    kind: str
    filenode: int
    table: int  # of an index
    size: int | None


_State = dict[int, _Relation]


class _Clock:
    """Seconds that pass, but for those in `stopped`."""

    def __init__(self) -> None:
        self._lost = 0.0

    def now(self) -> float:
        return time.monotonic() - self._lost

    @contextmanager
    def stopped(self) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self._lost += time.monotonic() - begun


class _Transaction:
    """What is known of a connection's open transaction: `known` is what was there before it, `state` what is now.

    Only what a transaction has locked can differ from what was there, as nobody else is at work.
    """

    def __init__(self, known: _State) -> None:
        self.known, self.state = known, dict(known)
        self.held: dict[int, tuple[Mode, list[tuple[Held, float]]]] = {}  # with when each was won

    def held_before(self, locks: dict[int, Mode]) -> None:
        """What others than a revision have locked: Alembic its version table, or env.py."""
        self.held = {oid: (mode, []) for oid, mode in locks.items()}

    def won(self, oid: int, mode: Mode, since: float) -> Held | None:
        """Notes a lock; the new `Held` if it is stronger than what was held."""
        before, holds = self.held.get(oid, (None, []))
        if before is not None and before >= mode:
            return None
        held = Held(self.known[oid].name, mode)
        self.held[oid] = (mode, [*holds, (held, since)])
        return held

    def given_back(self, oids: list[int], now: float) -> None:
        for oid in oids:
            for held, since in self.held.pop(oid)[1]:
                held.seconds = round(now - since, 6)


class Meter:
    """Measures, while it is open, what is executed `within` a revision on any engine of this process.

    `place` is the scratch database, with a login that may connect to it. `statements` has them in their order; the last
    one may not be `done`.
    """

    def __init__(self, place: Dsn) -> None:
        self.statements: list[Statement] = []
        self.seconds: dict[str, float] = {}  # by revision
        self._place = place
        self._clock = _Clock()
        self._revision: str | None = None
        self._open: list[_Transaction] = []
        self._begun = 0.0
        self._written = 0
        self._sampler: _Sampler | None = None

    def __enter__(self) -> Meter:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        self._own: Connection | None = None
        for name, function in self._listeners().items():
            event.listen(Engine, name, function)
        return self

    def __exit__(self, *_: object) -> None:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        for name, function in self._listeners().items():
            event.remove(Engine, name, function)
        for transaction in self._open:
            transaction.given_back([*transaction.held], self._clock.now())
        if self._own is not None:
            self._own.close()

    def _listeners(self) -> dict[str, Any]:
        return {
            "before_cursor_execute": self._before,
            "after_cursor_execute": self._after,
            "commit": self._ended,
            "rollback": self._ended,
        }

    @contextmanager
    def within(self, revision: str) -> Iterator[None]:
        """What is executed inside belongs to this revision."""
        self._revision, begun = revision, self._clock.now()
        try:
            yield
        finally:
            self._revision = None
            self.seconds[revision] = round(self._clock.now() - begun, 6)

    def _before(self, connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if self._revision is None or not _is_ours(connection):
            return
        with self._clock.stopped():
            work, info = work_of(connection), connection.connection.info
            entry = Statement(self._revision, sql.strip()[:_LONGEST_TEXT], autocommit=work.autocommit)
            self.statements.append(entry)
            if entry.autocommit:
                self._sampler = _Sampler(self._place, work.pid())
            transaction = info.get(_KEY)
            if transaction is None or entry.autocommit:
                transaction = info[_KEY] = _Transaction(self._look())
                self._open.append(transaction)
                if in_transaction(work.dbapi):  # else a query now would begin one
                    transaction.held_before(_strongest(work.run(_LOCKS.format(pid="pg_backend_pid()"))))
            self._written = self._wal()
        self._begun = self._clock.now()

    def _after(self, connection: Any, cursor: Any, _sql: str, parameters: Any, _context: Any, many: bool) -> None:
        if self._revision is None or not _is_ours(connection) or not self.statements or self.statements[-1].done:
            return
        entry, now = self.statements[-1], self._clock.now()
        entry.seconds, entry.done = round(now - self._begun, 6), True
        with self._clock.stopped():
            work, transaction = work_of(connection), connection.connection.info[_KEY]
            entry.rows = _rows(cursor, parameters if many else None)
            if _first_word(entry.sql) not in _SILENT:
                self._measure(entry, work, transaction, now)
            if not _is_telling(entry):
                self.statements.remove(entry)

    def _measure(self, entry: Statement, work: Work, transaction: _Transaction, now: float) -> None:
        over = entry.autocommit or not in_transaction(work.dbapi)
        if self._sampler is not None:
            locks, self._sampler = self._sampler.seen(), None
        else:
            locks = {} if over else _strongest(work.run(_LOCKS.format(pid="pg_backend_pid()")))
        for oid, mode in sorted(_relevant(locks, transaction.known).items()):
            if held := transaction.won(oid, mode, self._begun):
                entry.locks.append(held)
        gone = [*transaction.held] if over else [oid for oid in transaction.held if oid not in locks]
        transaction.given_back(gone, now)
        oids = [oid for oid, mode in locks.items() if mode >= Mode.ROW_EXCLUSIVE]
        before, after = transaction.state, self._look() if over else _changed(transaction.state, oids, work)
        entry.rewrites = _rewritten(before, after) if _first_word(entry.sql) != "TRUNCATE" else []
        entry.sizes = _grown(before, after)
        entry.wal_bytes = self._wal() - self._written
        transaction.state = after
        if over:
            transaction.known = after

    def _ended(self, connection: Any) -> None:
        """Before a transaction of this connection ends."""
        if not _is_ours(connection):
            return
        transaction = connection.connection.info.pop(_KEY, None)
        if transaction is not None:
            transaction.given_back([*transaction.held], self._clock.now())
            self._open.remove(transaction)

    def _look(self) -> _State:
        """What others see: all that is committed."""
        return _state(self._ask(_STATE))

    def _wal(self) -> int:
        return int(self._ask(_WAL)[0][0])

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        """By a connection of our own, or a new one: a migration may end all others of its database."""
        if self._own is not None:
            try:
                return postgres.query(self._own, sql)
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                self._own.close()
        self._own = postgres.connect(self._place, "alembic-job rehearsal")
        return postgres.query(self._own, sql)


class _Sampler:
    """Looks, from another connection, what locks a backend has as long as one statement of its runs."""

    def __init__(self, place: Dsn, pid: int) -> None:
        self._connection = postgres.connect(place, "alembic-job rehearsal")
        self._query = _LOCKS.format(pid=pid)
        self._seen: dict[int, Mode] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alembic-job-sampler", daemon=True)
        self._thread.start()

    def seen(self) -> dict[int, Mode]:
        """Ends it; the strongest lock on each relation."""
        self._over.set()
        self._thread.join()
        self._connection.close()
        return self._seen

    def _run(self) -> None:
        while True:
            try:
                found = _strongest(postgres.query(self._connection, self._query))
            except psycopg2.Error:
                return
            for oid, mode in found.items():
                self._seen[oid] = max(mode, self._seen.get(oid, mode))
            if self._over.wait(_LOOK_EVERY):
                return


def _is_ours(connection: Any) -> bool:
    return connection.dialect.name == "postgresql" and is_pooled(connection)


def _first_word(sql: str) -> str:
    return (sql.split(None, 1) or [""])[0].upper().rstrip(";")


def _rows(cursor: Any, sets: Any) -> int | None:
    """Rows that a statement changed or returned; of one executed for many `sets` of parameters, at least those."""
    count: int = cursor.rowcount
    if isinstance(sets, list | tuple) and len(sets) > 1:
        return max(len(sets), count)
    return count if count >= 0 else None


def _is_telling(entry: Statement) -> bool:
    """False for a quick look at the catalogue, of which a migration that inspects makes dozens."""
    quiet = not entry.locks and not entry.rewrites and not entry.sizes and entry.seconds < _QUICK
    return not (quiet and _first_word(entry.sql) in ("SELECT", "SHOW", "WITH"))


def _state(rows: list[tuple[Any, ...]]) -> _State:
    return {row[0]: _Relation(*row) for row in rows}


def _changed(before: _State, oids: list[int], work: Work) -> _State:
    """The state after a statement of an open transaction that has locked these."""
    if not oids:
        return before
    now = _state(work.run(_STATE_OF.format(oids=", ".join(map(str, oids)))))
    return {oid: each for oid, each in before.items() if oid not in oids} | now


def _strongest(rows: list[tuple[Any, ...]]) -> dict[int, Mode]:
    found: dict[int, Mode] = {}
    for oid, name in rows:
        if mode := _MODES.get(name):  # SERIALIZABLE has a mode of its own, which keeps nobody waiting
            found[oid] = max(mode, found.get(oid, mode))
    return found


def _relevant(locks: dict[int, Mode], known: _State) -> dict[int, Mode]:
    """Locks on what was there before, without those on indexes of a table that is locked as strongly."""

    def implied(oid: int, mode: Mode) -> bool:
        table = known[oid].table
        return table in locks and locks[table] >= mode

    return {oid: mode for oid, mode in locks.items() if oid in known and not implied(oid, mode)}


def _rewritten(before: _State, after: _State) -> list[str]:
    """Tables and materialized views that got a new file."""
    return sorted(
        now.name
        for oid, now in after.items()
        if now.kind in "rm" and (was := before.get(oid)) is not None and was.filenode != now.filenode
    )


def _grown(before: _State, after: _State) -> dict[str, int]:
    """By how many bytes tables grew or shrank; those that came or went with all they have."""
    changes = {}
    for oid in before.keys() | after.keys():
        was, now = before.get(oid), after.get(oid)
        sizes = [0 if each is None else each.size for each in (was, now)]
        if None not in sizes and (difference := (sizes[1] or 0) - (sizes[0] or 0)):
            changes[(now or was).name] = difference  # type: ignore[union-attr]
    return dict(sorted(changes.items()))
