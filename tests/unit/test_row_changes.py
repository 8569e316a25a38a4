"""Rows that went up and down are told apart; of errors on people's rows only names are told."""

from __future__ import annotations

import psycopg2
import pytest

from alembic_job.errors import MigrationFailed
from alembic_job.pipeline.testing_discretion import discreet, without_detail, without_literals
from alembic_job.rules.row_changes import Change, Row, Rows, changes

KEYED = Rows(("id", "a", "b"), ("id",), ((1, 10, None), (2, 20, 5), (3, 30, 5)))
PLAIN = Rows(("a", "b"), (), ((1, 5), (1, 5), (2, None)))


def keyed(*rows: Row, columns: tuple[str, ...] = ("id", "a", "b")) -> Rows:
    return Rows(columns, ("id",), rows)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (KEYED, KEYED, None),
        (KEYED, keyed((30, 5, 3), (10, None, 1), (20, 5, 2), columns=("a", "b", "id")), None),
        (KEYED, keyed((1, 10), (2, 20), (3, 30), columns=("id", "a")), None),  # b is the schema's difference
        (KEYED, keyed((1, 10, 7), (2, 21, 5), (3, 30, 5)), Change("t", 3, 2, ("a", "b"), 0, 0)),
        (KEYED, keyed((1, 10, None), (4, 1, 1), (5, 1, 1)), Change("t", 3, 0, (), 2, 2)),
        (KEYED, keyed((1, 10, None), (1, 10, None)), Change("t", 3, 1, KEYED.columns, 1, 0)),  # no key any more
        (KEYED, None, Change("t", 3, 0, (), 3, 0)),
        (PLAIN, Rows(("a", "b"), (), ((2, None), (1, 5), (1, 5))), None),
        (PLAIN, Rows(("a", "b"), (), ((1, 5), (1, 6))), Change("t", 3, 1, ("a", "b"), 1, 0)),
        (PLAIN, Rows(("a", "b"), (), ((1, 5), (1, 6), (2, None), (9, 9))), Change("t", 3, 1, ("a", "b"), 0, 1)),
    ],
)
def test_what_became_of_rows(before: Rows, after: Rows | None, told: Change | None) -> None:
    """By key where there is one, whatever the order of rows and columns; else by how many are alike."""
    assert changes({"t": before}, {} if after is None else {"t": after}) == ((told,) if told else ())


def test_what_is_told_of_changed_rows() -> None:
    """Counts and names."""
    change = Change("public.users", 1000, 12, ("phone", "name"), 1, 2)
    assert change.words == (
        "public.users: 12 of 1,000 rows came back changed, columns: phone, name;"
        " 1 of 1,000 rows did not come back; 2 more than before"
    )


def test_values_are_not_told() -> None:
    """Neither texts nor long numbers of a statement, nor what follows the server's first line, nor Python's words."""
    statement = "UPDATE t SET a = 'it''s', b = $x$it's$x$, c = E'it', d = 4917612345, e = 12.50"
    assert without_literals(statement, None) == "UPDATE t SET a = '…', b = '…', c = E'…', d = '…', e = 12.50"
    assert without_literals(statement, psycopg2.Error("no SQLSTATE")) is not None
    assert without_detail("could not: ERROR: x DETAIL: Key (a)=(it) CONTEXT: COPY t, line 1") == "could not: ERROR: x"
    failed = MigrationFailed("revision r1 failed: ValueError: it (a/r1_.py:7)", revision="r1")
    assert str(discreet(failed, ValueError("it"))) == "revision r1 failed: ValueError (a/r1_.py:7)"
    assert discreet(failed, failed) is failed
