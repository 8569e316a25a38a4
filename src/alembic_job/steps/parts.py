"""Step 7, part: a revision that commits in its middle is gone on with where it was, not begun anew.

Alembic commits what came before an autocommit block, and each statement in it; the version table says nothing of that.
So those statements are recorded as they are committed, and are not executed again when the revision is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from alembic_job.errors import MigrationFailed
from alembic_job.gateways.unfinished import Part, digest, shown

# What has no effect that lasts beyond its transaction or session, and must be executed again.
_PASSING = frozenset(
    "SELECT SHOW SET RESET EXPLAIN VALUES TABLE BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE LOCK DECLARE "
    "FETCH MOVE CLOSE PREPARE EXECUTE DEALLOCATE DISCARD LISTEN UNLISTEN NOTIFY CHECKPOINT VACUUM ANALYZE".split()
)
_TEMPORARY = re.compile(r"\s*CREATE\s+((LOCAL|GLOBAL)\s+)?TEMP", re.IGNORECASE)
_PLACE = re.compile(r"\s*(SET|RESET)\b.*\b(search_path|role|session\s+authorization)\b", re.IGNORECASE | re.DOTALL)
# What a statement says that had been executed before: duplicates of all kinds, and what is not there to be dropped.
_THERE_ALREADY = frozenset("42710 42P07 42701 42723 42P06 42P05 42712".split())
_GONE_ALREADY = frozenset("42704 42P01 42703 42883 3F000".split())


class Store(Protocol):
    """Where parts are recorded, so that the next run knows them."""

    @property
    def on(self) -> bool: ...
    def load(self) -> list[Part]: ...
    def begin(self, parts: list[Part], xid: str | None) -> None: ...
    def done(self, part: Part) -> None: ...
    def forget(self, part: Part) -> None: ...
    def finish(self, xid: str) -> None: ...


@dataclass
class Parts:
    """The statements of one revision that are committed, though it is not finished. `connection`s are told apart by
    identity: a revision may have more than one, with a transaction on each."""

    store: Store
    known: list[Part] = field(default_factory=list)  # in order; an earlier run's, and this one's
    repeatable: bool = True  # what is committed would be known again if the revision were started again
    # Executed in open transactions, by connection; most never matter, so each is put into words when it is committed.
    _open: dict[object, list[Callable[[], Part]]] = field(default_factory=dict)
    _marks: dict[tuple[object, str], int] = field(default_factory=dict)  # savepoints
    _committing: list[Part] = field(default_factory=list)
    _used: set[int] = field(default_factory=set)  # positions of `known` that were come by
    _next: int = 0  # index in `known`: where the execution has come to
    _place: str = ""  # the last SET of search_path or role: the same words mean something else elsewhere
    _blind: bool = False  # temporary tables are in play: what is done with them cannot be passed over

    def load(self) -> None:
        self.known = self.store.load()

    def start(self) -> None:
        """The revision's function is called, maybe once more."""
        self.confirm()
        self._open, self._marks, self._used, self._next, self._place = {}, {}, set(), 0, ""

    @property
    def statements(self) -> list[str]:
        """What is committed, for people."""
        return [part.statement for part in self.known if part.done]

    def is_passing(self, sql: str, word: str) -> bool:
        """True for what is to be executed every time, by its first word; several statements in one text are not."""
        if _TEMPORARY.match(sql):
            self._blind = True
            return True
        if ";" in sql.rstrip().rstrip(";"):
            return False
        if _PLACE.match(sql):
            self._place = sql
        return word in _PASSING

    def find(self, sql: str, parameters: Any, word: str) -> Part | None:
        """The part that this statement is, if it ran before: the next one, or another that was not come by yet.

        Raises `MigrationFailed` if rows were inserted by this very statement with other values.
        """
        if not self.known:
            return None
        wanted = _digest(sql, parameters, self._place)
        part: Part
        for number in (*range(self._next, len(self.known)), *range(min(self._next, len(self.known)))):
            part = self.known[number]
            if part.digest == wanted and part.position not in self._used:
                self._used.add(part.position)
                self._next = number + 1
                return part
        if word in ("INSERT", "CALL", "MERGE") and parameters:
            self._check_values(sql)
        return None

    def _check_values(self, sql: str) -> None:
        text = shown(sql)
        if any(part.done and part.statement == text and part.position not in self._used for part in self.known):
            raise MigrationFailed(
                f"an interrupted run has committed {text!r} with other values: whether to execute it again is unknown",
                hint="let the revision ask which rows are there, or do its remaining steps by hand and stamp it; "
                "DELETE FROM alembic_job.unfinished discards what is noted of interrupted revisions",
            )

    def void(self) -> None:
        """What is known is not true: somebody has changed the database since."""
        self.known, self._used, self._next = [], set(), 0

    def executed(self, connection: object, sql: str, parameters: Any, rows: int) -> None:
        """A statement was executed in the open transaction of this connection."""
        mine = self._open.setdefault(connection, [])
        if parameters:  # they may be large, or be changed by the revision later
            part = self._new(sql, parameters, True, None, rows, self._place)
            mine.append(lambda: part)
        else:
            mine.append(partial(self._new, sql, parameters, True, None, rows, self._place))

    def committing(self, connection: object, xid: Callable[[], str | None]) -> None:
        """The open transaction of this connection is about to be committed, by the revision itself."""
        mine = [told() for told in self._open.pop(connection, [])]
        self.repeatable = self.repeatable and not (self._blind or any(part.bound for part in mine))
        if mine and not self._blind and (number := xid()) is not None:
            self.confirm()
            last = self._last()
            self._committing = [part._replace(position=last + 1 + ahead) for ahead, part in enumerate(mine)]
            self.store.begin(self._committing, number)

    def confirm(self) -> None:
        """What was about to be committed is."""
        for part in self._committing:
            self._append(part)
        self._committing = []

    def savepoint(self, connection: object, name: str, back: bool) -> None:
        """A savepoint was set, or is gone back to: what came after it never happened."""
        mine = self._open.setdefault(connection, [])
        if back:
            del mine[self._marks.get((connection, name), 0) :]
        else:
            self._marks[connection, name] = len(mine)

    def rolled_back(self, connection: object) -> None:
        """What is open on this connection is forgotten."""
        self._open.pop(connection, None)

    def lost_sight(self, connection: object) -> None:
        """A transaction ended past SQLAlchemy: nobody knows what is committed."""
        self.rolled_back(connection)
        self.repeatable = False

    def begin(self, sql: str, parameters: Any, builds: str | None) -> Part:
        """A statement is about to be executed that commits by itself."""
        part = self._new(sql, parameters, None, builds, -1, self._place)._replace(position=self._last() + 1)
        self.repeatable = self.repeatable and not (self._blind or part.bound)
        if not self._blind:
            self.store.begin([part], None)
        return part

    def done(self, part: Part, rows: int) -> None:
        """It was executed, and changed so many rows (-1: not known)."""
        finished = part._replace(done=True, rows=rows)
        if not self._blind:
            self.store.done(finished)
        if part in self.known:
            self.known[self.known.index(part)] = finished
        else:
            self._append(finished)

    def failed(self, part: Part) -> None:
        """It was not, and left nothing."""
        self.store.forget(part)
        self.known = [other for other in self.known if other != part]

    def finish(self, xid: Callable[[], str | None]) -> None:
        """The transaction that records the revision in the version table is about to be committed."""
        if self.known and (number := xid()) is not None:
            self.store.finish(number)

    def _append(self, part: Part) -> None:
        self.known.append(part)
        self._used.add(part.position)
        self._next = len(self.known)

    def _last(self) -> int:
        return max((part.position for part in (*self.known, *self._committing)), default=0)

    @staticmethod
    def _new(sql: str, parameters: Any, done: bool | None, builds: str | None, rows: int, place: str) -> Part:
        bound = bool(parameters) or _returns(sql)
        return Part(0, _digest(sql, parameters, place), shown(sql), done, builds, rows, bound)


def _digest(sql: str, parameters: Any, place: str) -> str:
    return digest(f"{place}\0{sql}", parameters)


def check_skippable(sql: str, revision: str) -> None:
    """Raises `MigrationFailed` if the revision uses what the statement returned, which nobody knows any more."""
    if _returns(sql):
        raise MigrationFailed(
            f"revision {revision} was interrupted after {shown(sql)!r} had been committed, and uses what that statement"
            " returned: it cannot go on by itself",
            hint="let the revision ask for those rows with a SELECT, or do its remaining steps by hand and stamp it",
            revision=revision,
        )


def _returns(sql: str) -> bool:
    return " RETURNING " in f" {' '.join(sql.upper().split())} "


def makes_table(sql: str) -> bool:
    """True for CREATE TABLE and CREATE SCHEMA, which say by themselves whether they were executed before."""
    return bool(re.match(r"\s*CREATE\s+(UNLOGGED\s+)?(TABLE|SCHEMA)\s+(?!IF\b)", sql, re.IGNORECASE))


def was_done(code: str | None, sql: str) -> bool:
    """True if the error means that a statement in doubt had been executed before."""
    words = sql.upper().split()
    ends = any(word in words for word in ("DROP", "RENAME", "DETACH"))
    return code in _THERE_ALREADY or (ends and code in _GONE_ALREADY)
