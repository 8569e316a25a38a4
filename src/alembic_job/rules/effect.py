"""The words in which a statement's effect is told: lock modes, relations, what is rewritten, read or lost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Mode(IntEnum):
    """PostgreSQL's table lock modes, weakest first (documentation, "Table-Level Locks")."""

    ACCESS_SHARE = 1
    ROW_SHARE = 2
    ROW_EXCLUSIVE = 3
    SHARE_UPDATE_EXCLUSIVE = 4
    SHARE = 5
    SHARE_ROW_EXCLUSIVE = 6
    EXCLUSIVE = 7
    ACCESS_EXCLUSIVE = 8

    @property
    def sql(self) -> str:
        """As LOCK TABLE takes it: `ACCESS EXCLUSIVE`."""
        return self.name.replace("_", " ")

    @property
    def pg_locks(self) -> str:
        """As `pg_locks.mode` shows it: `AccessExclusiveLock`."""
        return self.name.title().replace("_", "") + "Lock"

    @property
    def conflicts(self) -> tuple[Mode, ...]:
        """The modes that another session cannot hold at the same time."""
        return tuple(Mode(number) for number in _CONFLICTS[self.value])

    @property
    def blocks_writes(self) -> bool:
        """True if INSERT, UPDATE and DELETE of others would wait: this mode is a "strong lock"."""
        return self >= Mode.SHARE

    @property
    def blocks_reads(self) -> bool:
        return self is Mode.ACCESS_EXCLUSIVE


_CONFLICTS = {
    1: (8,),
    2: (7, 8),
    3: (5, 6, 7, 8),
    4: (4, 5, 6, 7, 8),
    5: (3, 4, 6, 7, 8),
    6: (3, 4, 5, 6, 7, 8),
    7: (2, 3, 4, 5, 6, 7, 8),
    8: (1, 2, 3, 4, 5, 6, 7, 8),
}


@dataclass(frozen=True)
class Lock:
    """A lock that a statement takes on a relation that was there before.

    `kind` is `pg_class.relkind`; `name` is qualified and quoted, ready for SQL.
    """

    oid: int
    name: str
    kind: str
    mode: Mode


@dataclass(frozen=True)
class Effect:
    """What one statement does. Relations are named qualified and quoted, ready for SQL."""

    locks: tuple[Lock, ...] = ()
    rewrites: tuple[str, ...] = ()  # tables written anew under the lock
    scans: tuple[str, ...] = ()  # tables read to the end under the lock (index builds and checks too)
    transactional: bool = True  # false: PostgreSQL runs it only outside of a transaction
    patient: bool = (
        False  # true: a short lock_timeout would leave half-done work (CONCURRENTLY) or waste a scan (VALIDATE)
    )
    loses: tuple[str, ...] = ()  # data that is gone afterwards, in words: `column public.users.email`
    builds: str | None = None  # the index that CREATE INDEX CONCURRENTLY would leave INVALID, qualified and quoted
    bytes: int = 0  # size of the tables in rewrites and scans, as the last VACUUM or ANALYZE saw it
    unknown: str | None = None  # why it cannot be known (a DO block): the strongest must be assumed
