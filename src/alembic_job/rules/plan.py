"""What `plan` tells, as values: what each pending revision would execute, and what that does to who uses the database.

Times and numbers of rows are estimates. `as_json` is what `--json` prints: its keys are a contract.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from alembic_job.rules.effect import Mode
from alembic_job.rules.finding import Finding, is_refused, loses_data

NOT_RENDERED, OFFLINE, BY_NOW = "no", "offline", "now"


class TableLock(NamedTuple):
    """A lock on a table that is there now; `size` in bytes and `rows` as of the last VACUUM or ANALYZE, if any."""

    relation: str
    mode: Mode
    size: int | None = None
    rows: int | None = None

    @property
    def blocks(self) -> list[str]:
        """Who would wait behind it: `reads`, `writes`."""
        return [word for word, does in (("reads", self.mode.blocks_reads), ("writes", self.mode.blocks_writes)) if does]

    def as_json(self) -> dict[str, Any]:
        told = {"relation": self.relation, "mode": self.mode.sql, "blocks": self.blocks}
        return {**told, "size_bytes": self.size, "rows": self.rows}


class RowLocks(NamedTuple):
    """Rows that an UPDATE, DELETE or MERGE would lock; `None` if that cannot be told."""

    relation: str
    rows: int | None

    def as_json(self) -> dict[str, Any]:
        return {"relation": self.relation, "rows": self.rows, "estimated": True}


class Worst(NamedTuple):
    """The worst of some statements. `seconds`: all of them together; `held`: from the first lock that somebody waits
    behind until it is given back."""

    lock: TableLock | None
    rewrites: tuple[str, ...]
    scans: tuple[str, ...]
    destructive: int  # statements by which data is lost, or may be
    refused: int  # statements that would fail on the data that is there
    row_locks: RowLocks | None
    unknown: int  # statements, and revisions, of which it cannot be told what they do
    seconds: float
    held: float

    def as_json(self) -> dict[str, Any]:
        return {
            "lock": self.lock.as_json() if self.lock else None,
            "rewrites": list(self.rewrites),
            "scans": list(self.scans),
            "destructive": self.destructive,
            "refused": self.refused,
            "row_locks": self.row_locks.as_json() if self.row_locks else None,
            "unknown": self.unknown,
            "estimated_seconds": round(self.seconds, 1),
            "estimated_seconds_held": round(self.held, 1),
        }


class PlannedStatement(NamedTuple):
    """One statement. `alone`: outside of a transaction. `new`: tables it is about that the plan itself makes, so that
    nobody waits for them. `loses`: data that goes away, in words. `unknown`: why it cannot be told what it does."""

    sql: str
    alone: bool = False
    locks: tuple[TableLock, ...] = ()
    rewrites: tuple[str, ...] = ()
    scans: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    row_locks: RowLocks | None = None
    loses: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    unknown: str = ""

    @property
    def is_destructive(self) -> bool:
        return bool(self.loses) or loses_data(self.findings)

    @property
    def strongest(self) -> TableLock | None:
        return _strongest(self.locks)

    def as_json(self) -> dict[str, Any]:
        return {
            "sql": self.sql,
            "autocommit": self.alone,
            "locks": [lock.as_json() for lock in self.locks],
            "rewrites": list(self.rewrites),
            "scans": list(self.scans),
            "new_tables": list(self.new),
            "row_locks": self.row_locks.as_json() if self.row_locks else None,
            "destructive": self.is_destructive,
            "loses": list(self.loses),
            "findings": [finding.as_fields() for finding in self.findings],
            "estimated_seconds": round(self.seconds, 1),
            "notes": list(self.notes),
            "unknown": self.unknown or None,
        }


class PlannedRevision(NamedTuple):
    """One pending revision. `rendered` is `offline`, `now` (against the database as it is now) or `no`, for `reason`.

    `took`: seconds, when it was applied last. `bookkeeping`: what Alembic does to the version table then, as SQL.
    `follows`: the revisions that must have been applied before, pending or not.
    """

    revision: str
    message: str
    file: str
    rendered: str = NOT_RENDERED
    reason: str = ""
    statements: tuple[PlannedStatement, ...] = ()
    took: float | None = None
    bookkeeping: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()

    @property
    def worst(self) -> Worst:
        return worst([self])

    @property
    def seconds(self) -> float:
        """The estimate: what it took the last time, or what its statements add up to."""
        return sum(each.seconds for each in self.statements) if self.took is None else self.took

    def as_json(self) -> dict[str, Any]:
        return {
            "revision": self.revision,
            "message": self.message,
            "file": self.file,
            "follows": list(self.follows),
            "rendered": self.rendered,
            "reason": self.reason or None,
            "statements": [each.as_json() for each in self.statements],
            "notes": list(self.notes),
            "seconds_last_time": self.took,
            "worst": self.worst.as_json(),
        }


class PlannedTable(NamedTuple):
    """One version table: where it is, and what is pending. `unknown`: revisions it holds that these scripts lack.

    `transaction`: `per-revision`, `all` (one for all of them) or `none`, as a run would have it.
    """

    version_table: str
    current: tuple[str, ...]
    pending: tuple[PlannedRevision, ...]
    unknown: tuple[str, ...]
    transaction: str = "per-revision"
    bookkeeping: tuple[str, ...] = ()  # what makes the version table, where it is not there

    @property
    def held(self) -> float:
        """As in `Worst`, by the transactions that there will be."""
        if self.transaction != "all":
            return max((each.worst.held for each in self.pending), default=0.0)
        return _held(each for revision in self.pending for each in revision.statements)

    def as_json(self) -> dict[str, Any]:
        return {
            "version_table": self.version_table,
            "current": list(self.current),
            "pending": [each.as_json() for each in self.pending],
            "unknown": list(self.unknown),
            "transaction": self.transaction,
        }


class Plan(NamedTuple):
    """All version tables that env.py is about. `notes` hold for the whole plan."""

    tables: tuple[PlannedTable, ...]
    notes: tuple[str, ...] = ()

    @property
    def pending(self) -> int:
        return sum(len(table.pending) for table in self.tables)

    @property
    def worst(self) -> Worst:
        found = worst([each for table in self.tables for each in table.pending])
        return found._replace(held=max((table.held for table in self.tables), default=0.0))

    def as_json(self) -> dict[str, Any]:
        return {
            "tables": [table.as_json() for table in self.tables],
            "pending": self.pending,
            "worst": self.worst.as_json(),
            "notes": list(self.notes),
        }


def worst(revisions: Iterable[PlannedRevision]) -> Worst:
    """The worst case of these, one after another."""
    revisions = list(revisions)
    statements = [each for revision in revisions for each in revision.statements]
    rows = [each.row_locks for each in statements if each.row_locks]
    return Worst(
        lock=_strongest(lock for each in statements for lock in each.locks),
        rewrites=_unique(name for each in statements for name in each.rewrites),
        scans=_unique(name for each in statements for name in each.scans),
        destructive=sum(each.is_destructive for each in statements),
        refused=sum(is_refused(each.findings) for each in statements),
        row_locks=max(rows, key=lambda each: each.rows or 0, default=None),
        unknown=sum(bool(each.unknown) for each in statements) + sum(r.rendered == NOT_RENDERED for r in revisions),
        seconds=sum(revision.seconds for revision in revisions),
        held=max((_held(revision.statements) for revision in revisions), default=0.0),
    )


def _held(statements: Iterable[PlannedStatement]) -> float:
    """Seconds from the first lock that blocks somebody to the end of the transaction, or of the statement alone."""
    longest = since = 0.0
    holds = False
    for each in statements:
        blocks = any(lock.blocks for lock in each.locks)
        if each.alone:
            longest, since, holds = max(longest, since, each.seconds if blocks else 0.0), 0.0, False
            continue
        holds = holds or blocks
        since += each.seconds if holds else 0.0
    return max(longest, since)


def _strongest(locks: Iterable[TableLock]) -> TableLock | None:
    return max(locks, key=lambda lock: (lock.mode, lock.size or 0), default=None)


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
