"""Step 7, part: a revision that commits in its middle is gone on with where it was, not begun anew.

Alembic commits what came before an autocommit block, and each statement in it; the version table says nothing of that.
So those statements are recorded as they are committed, and are not executed again when the revision is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from alembic_job.errors import MigrationFailed
from alembic_job.gateways.unfinished import Part, digest, shown

# What has no effect that lasts beyond its transaction or session, and must be executed again.
PASSING = frozenset(
    "SELECT SHOW SET RESET EXPLAIN VALUES TABLE BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE LOCK DECLARE "
    "FETCH MOVE CLOSE PREPARE EXECUTE DEALLOCATE DISCARD LISTEN UNLISTEN NOTIFY CHECKPOINT VACUUM ANALYZE".split()
)
# What a statement says that had been executed before: duplicates of all kinds, and what is not there to be dropped.
_THERE_ALREADY = frozenset("42710 42P07 42701 42723 42P06 42P05 42712".split())
_GONE_ALREADY = frozenset("42704 42P01 42703 42883 3F000".split())


class Store(Protocol):
    """Where parts are recorded, so that the next run knows them."""

    def load(self) -> list[Part]: ...
    def begin(self, parts: list[Part], xid: str | None) -> None: ...
    def done(self, part: Part) -> None: ...
    def forget(self, part: Part) -> None: ...
    def finish(self, xid: str) -> None: ...


@dataclass
class Parts:
    """The statements of one revision that are committed, though it is not finished."""

    store: Store
    known: list[Part] = field(default_factory=list)  # in order; an earlier run's, and this one's
    _open: list[Part] = field(default_factory=list)  # executed in the open transaction
    _committing: list[Part] = field(default_factory=list)
    _next: int = 0  # of `known`: where the execution has come to

    def load(self) -> None:
        self.known = self.store.load()

    def start(self) -> None:
        """The revision's function is called, maybe once more."""
        self._open, self._committing, self._next = [], [], 0

    @property
    def statements(self) -> list[str]:
        """What is committed, for people."""
        return [part.statement for part in self.known if part.done]

    def find(self, sql: str, parameters: Any) -> Part | None:
        """The part that this statement is, if it ran before: the next one, or one behind it that guards led to."""
        wanted = digest(sql, parameters)
        for number in range(self._next, len(self.known)):
            if self.known[number].digest == wanted:
                self._next = number + 1
                return self.known[number]
        return None

    def executed(self, sql: str, parameters: Any) -> None:
        """A statement was executed in the open transaction."""
        self._open.append(self._new(sql, parameters, True, None, len(self._open)))

    def committing(self, xid: Callable[[], str | None]) -> None:
        """The open transaction is about to be committed, by the revision itself."""
        if self._open and (number := xid()) is not None:
            self.store.begin(self._open, number)
            self._committing, self._open = self._open, []

    def confirm(self) -> None:
        """What was about to be committed is."""
        if self._committing:
            self.known += self._committing
            self._next = len(self.known)
            self._committing = []

    def rolled_back(self) -> None:
        self._open = []

    def begin(self, sql: str, parameters: Any, builds: str | None) -> Part:
        """A statement is about to be executed that commits by itself."""
        part = self._new(sql, parameters, None, builds, 0)
        self.store.begin([part], None)
        return part

    def done(self, part: Part) -> None:
        """It was executed."""
        self.store.done(part)
        finished = part._replace(done=True)
        if part in self.known:
            self.known[self.known.index(part)] = finished
        else:
            self.known.append(finished)
            self._next = len(self.known)

    def failed(self, part: Part) -> None:
        """It was not, and left nothing."""
        if part.builds is None:
            self.store.forget(part)
            self.known = [other for other in self.known if other != part]

    def finish(self, xid: Callable[[], str | None]) -> None:
        """The transaction that records the revision in the version table is about to be committed."""
        if self.known and (number := xid()) is not None:
            self.store.finish(number)

    def _new(self, sql: str, parameters: Any, done: bool | None, builds: str | None, ahead: int) -> Part:
        last = max((part.position for part in (*self.known, *self._committing)), default=0)
        return Part(last + 1 + ahead, digest(sql, parameters), shown(sql), done, builds)


def check_skippable(sql: str, revision: str) -> None:
    """Raises `MigrationFailed` if the revision uses what the statement returned, which nobody knows any more."""
    if " RETURNING " in f" {' '.join(sql.upper().split())} ":
        raise MigrationFailed(
            f"revision {revision} was interrupted after {shown(sql)!r} had been committed, and uses what"
            " that statement returned: it cannot go on by itself",
            hint="let the revision ask for those rows with a SELECT, or do its remaining steps by hand and stamp it",
            revision=revision,
        )


def was_done(code: str | None, sql: str) -> bool:
    """True if the error means that a statement in doubt had been executed before."""
    words = sql.upper().split()
    ends = any(word in words for word in ("DROP", "RENAME", "DETACH"))
    return code in _THERE_ALREADY or (ends and code in _GONE_ALREADY)
