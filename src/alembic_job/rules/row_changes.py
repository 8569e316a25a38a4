"""What became of rows: told by marks of their values, never by the values."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

Row = tuple[int | None, ...]


class Rows(NamedTuple):
    """The rows of a table: of each value a mark, `None` for NULL; `key` are the columns of the primary key, if any."""

    columns: tuple[str, ...]
    key: tuple[str, ...]
    rows: tuple[Row, ...]

    def picked(self, columns: tuple[str, ...]) -> list[Row]:
        """Of each row the marks of these columns."""
        places = [self.columns.index(column) for column in columns]
        return [tuple(row[place] for place in places) for row in self.rows]


class Change(NamedTuple):
    """How many of a table's `rows` came back `changed`, in which `columns`; are `lost`; or were `left`, being new."""

    table: str
    rows: int
    changed: int
    columns: tuple[str, ...]
    lost: int
    left: int

    @property
    def words(self) -> str:
        """One line for people."""
        of = f" of {self.rows:,} rows"
        said = [f"{self.changed:,}{of} came back changed, columns: {', '.join(self.columns)}"] if self.changed else []
        said += [f"{self.lost:,}{of} did not come back"] if self.lost else []
        said += [f"{self.left:,} more than before"] if self.left else []
        return f"{self.table}: {'; '.join(said)}"


def changes(before: dict[str, Rows], after: dict[str, Rows]) -> tuple[Change, ...]:
    """The tables whose rows differ. Columns that only one of the two has are not compared: that is the schema's."""
    found = [_change(name, rows, after.get(name)) for name, rows in before.items()]
    return tuple(each for each in found if each.changed or each.lost or each.left)


def _change(name: str, before: Rows, after: Rows | None) -> Change:
    if after is None:
        return Change(name, len(before.rows), 0, (), len(before.rows), 0)
    columns = tuple(column for column in before.columns if column in after.columns)
    old, new = before.picked(columns), after.picked(columns)
    places = [columns.index(column) for column in before.key if column in columns]
    if not before.key or len(places) < len(before.key):
        return _without_key(name, columns, old, new)
    by_key = {tuple(row[place] for place in places): row for row in new}
    if len(by_key) < len(new):  # the key is none any more
        return _without_key(name, columns, old, new)
    return _with_key(name, columns, {tuple(row[place] for place in places): row for row in old}, by_key)


def _with_key(name: str, columns: tuple[str, ...], old: dict[Row, Row], new: dict[Row, Row]) -> Change:
    both = [(row, new[key]) for key, row in old.items() if key in new]
    changed = [(row, now) for row, now in both if row != now]
    different = [any(row[place] != now[place] for row, now in changed) for place in range(len(columns))]
    names = tuple(column for column, differs in zip(columns, different, strict=True) if differs)
    return Change(name, len(old), len(changed), names, len(old) - len(both), len(new) - len(both))


def _without_key(name: str, columns: tuple[str, ...], old: list[Row], new: list[Row]) -> Change:
    """Which row became which is not known: as many as can be are taken for changed."""
    gone, come = Counter(old) - Counter(new), Counter(new) - Counter(old)
    changed = min(gone.total(), come.total())
    names = tuple(
        column
        for place, column in enumerate(columns)
        if Counter(row[place] for row in gone.elements()) != Counter(row[place] for row in come.elements())
    )
    lost, left = gone.total() - changed, come.total() - changed
    return Change(name, len(old), changed, names if changed else (), lost, left)
