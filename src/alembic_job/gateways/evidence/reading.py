"""Questions to real data that harm nobody: SELECT in a read-only transaction, within bounds of time and patience.

A question takes ACCESS SHARE and nothing stronger, and gives up where even that is not to be had at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as Connection

from alembic_job.gateways.postgres import is_connection_lost

_LOCK_TIMEOUT = "2s"  # for ACCESS SHARE, which only ACCESS EXCLUSIVE keeps away
_SAMPLED_ROWS = 50_000
_LEAST_SECONDS = 0.05


class Untold(Exception):
    """The question has no answer; the text says why, and holds none of the data."""


class TooLong(Untold):
    """Not within its time."""


class Unconvertible(Untold):
    """A value made the question itself fail: what asks for it would fail too."""


class NoSuchForm(Untold):
    """The server knows no such function, operator or cast: there may be another way to ask."""


@dataclass(frozen=True)
class Figures:
    """Numbers; `estimated` if they are not counted to the end. `sampled` rows were looked at, 0 if all were.

    `uncounted`: one such row was found, in a sample none, and there was no time to count.
    """

    numbers: tuple[int, ...]
    estimated: bool = False
    sampled: int = 0
    uncounted: bool = False

    @property
    def are_none(self) -> bool:
        """True if there surely is nothing."""
        return not (any(self.numbers) or self.sampled)


@dataclass
class Reader:
    """Asks on one connection (its own, autocommit). `settings` are SQL statements that each question begins with.

    `patience` bounds one question and `budget` all of them, in seconds; a table of more than `exact_below` rows, as the
    planner estimates it, is not read to the end.
    """

    connection: Connection
    exact_below: int
    patience: float
    budget: float
    settings: list[str] = field(default_factory=list)
    _end: float = 0

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.budget

    def rows(self, sql: str, arguments: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of one SELECT. Raises `Untold` and its kinds, `psycopg2.Error` if the connection is lost."""
        left = max(_LEAST_SECONDS, min(self.patience, self._end - time.monotonic()))
        bounds = f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'; SET LOCAL statement_timeout = {int(left * 1000)}"
        with self.connection.cursor() as cursor:
            try:
                cursor.execute(";".join(["BEGIN READ ONLY", *self.settings, "SET LOCAL row_security = off", bounds]))
                cursor.execute(sql, arguments)
                return list(cursor.fetchall())
            except psycopg2.Error as error:
                if is_connection_lost(error) or self.connection.closed:
                    raise
                raise _untold(error) from error
            finally:
                if not self.connection.closed:
                    cursor.execute("ROLLBACK")

    def planned(self, sql: str) -> int:
        """How many rows the planner expects of a query, by the statistics and the table's present size."""
        [[plan]] = self.rows(f"EXPLAIN (FORMAT JSON) {sql}")
        tree = json.loads(plan) if isinstance(plan, str) else plan
        return int(tree[0]["Plan"]["Plan Rows"])

    def figures(self, ask: Callable[[str], str], rows: int, found: str = "", plan: bool = False) -> Figures:
        """The numbers in the one row that `ask` gives; `rows` is how many there may be to look at.

        `ask` takes a TABLESAMPLE clause, empty to read all. `found` is a query for the rows that count: of a large
        table the first of them is looked for; if there is one, the planner's estimate stands for the number (`plan`),
        or what a sample shows. A sample that shows nothing proves nothing: then all is read, if there is time.
        """
        is_large = rows > self.exact_below
        whole = None if is_large else self._whole(ask)
        if whole:
            return whole
        there = self._is_any(found) if is_large and found else None
        if there is False:
            return Figures((0,))
        if plan:
            return Figures((self.planned(found),), estimated=True)
        part = min(1.0, _SAMPLED_ROWS / max(rows, 1))
        [row] = self.rows(ask(f" TABLESAMPLE SYSTEM ({part * 100:.6f}) REPEATABLE (1)"))
        numbers = tuple(round(int(number or 0) / part) for number in row)
        is_empty = not any(numbers)
        whole = self._whole(ask) if is_large and is_empty else None
        return whole or Figures(numbers, True, _SAMPLED_ROWS, uncounted=bool(there) and is_empty)

    def _whole(self, ask: Callable[[str], str]) -> Figures | None:
        """All rows read; `None` if that takes too long."""
        try:
            [row] = self.rows(ask(""))
        except TooLong:
            return None
        return Figures(tuple(int(number or 0) for number in row))

    def _is_any(self, sql: str) -> bool | None:
        """Whether the query gives a row; `None` if that is not known in time."""
        try:
            return bool(self.rows(f"SELECT 1 FROM ({sql}) AS _found LIMIT 1"))
        except TooLong:
            return None


_TOLD = {
    errors.InsufficientPrivilege: "this role may not read it, or only a part of its rows",
    errors.LockNotAvailable: "another session has it locked",
    errors.UndefinedTable: "it speaks of a table that is not there",
    errors.UndefinedColumn: "it speaks of a column that is not there",
}


def _untold(error: psycopg2.Error) -> Untold:
    if isinstance(error, errors.QueryCanceled):
        return TooLong("it would take too long to count")
    if isinstance(error, psycopg2.DataError | psycopg2.IntegrityError):
        return Unconvertible("a value cannot be converted")
    if isinstance(
        error, errors.UndefinedFunction | errors.CannotCoerce | errors.UndefinedObject | errors.DatatypeMismatch
    ):
        return NoSuchForm("the server cannot evaluate it now")
    for kind, text in _TOLD.items():
        if isinstance(error, kind):
            return Untold(text)
    return Untold(f"the server cannot tell (SQLSTATE {error.pgcode})")
