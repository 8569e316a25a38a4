"""The plan's pure parts: what only reads, what will have changed by the time a statement runs, how it is told."""

from __future__ import annotations

import re

import pytest

from alembic_job.gateways.answers import _reads
from alembic_job.gateways.parser import parse
from alembic_job.pipeline.plan_evidence import Concern, _wanted
from alembic_job.pipeline.plan_markdown import as_markdown
from alembic_job.pipeline.plan_sql import as_sql
from alembic_job.pipeline.plan_text import as_text
from alembic_job.rules.effect import Mode
from alembic_job.rules.plan import OFFLINE, Plan, PlannedRevision, PlannedStatement, PlannedTable, TableLock
from alembic_job.rules.plan_ahead import Ahead
from alembic_job.screen import plain

READS = (
    ("SELECT 1", True),
    ("SELECT a FROM t WHERE b IN (SELECT c FROM u) UNION VALUES (1)", True),
    ("WITH x AS (SELECT 1) SELECT * FROM x", True),
    ("VALUES (1)", True),
    ("SHOW search_path", True),
    ("EXPLAIN UPDATE t SET a = 1", True),
    ("EXPLAIN ANALYZE UPDATE t SET a = 1", False),
    ("EXPLAIN (ANALYZE) SELECT 1", False),
    ("SELECT * INTO u FROM t", False),
    ("(SELECT * INTO u FROM t)", False),
    ("WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x", False),
    ("WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT a FROM x", False),
    ("SET ROLE postgres", False),
    ("COMMIT", False),
    ("COPY t TO '/tmp/x'", False),
    ("EXECUTE prepared", False),
)


@pytest.mark.parametrize(("text", "expected"), READS)
def test_what_only_reads(text: str, expected: bool) -> None:
    """Only a plain query is asked of the database while SQL is rendered."""
    [statement] = parse(text)
    assert _reads(statement) is expected


def test_names_ahead() -> None:
    """What earlier statements make, rename and drop decides what a later name means."""
    there = {(schema, name) for schema in (None, "public") for name in ("orders", "users")}
    ahead = Ahead("public", frozenset(there))
    for text in (
        "CREATE TABLE IF NOT EXISTS users (id int)",  # is there already
        "CREATE TABLE fresh (id int)",
        "ALTER TABLE orders RENAME TO old_orders",
        "CREATE TABLE orders (id int)",
        "ALTER TABLE old_orders ADD COLUMN total int",
    ):
        ahead.execute(parse(text)[0])
    new = {name: ahead.is_new((None, name)) for name in ("users", "fresh", "orders", "old_orders", "other")}
    assert new == {"users": False, "fresh": True, "orders": True, "old_orders": False, "other": False}
    assert ahead.today(("public", "old_orders")) == ("public", "orders")
    assert ahead.today((None, "orders")) is None and ahead.today((None, "users")) == (None, "users")
    assert ahead.has_new_column((None, "old_orders"), "total")
    ahead.execute(parse("DROP TABLE fresh, users")[0])
    assert not ahead.is_new((None, "fresh")) and ahead.today((None, "users")) is None


def _plan(*statements: PlannedStatement, transaction: str = "per-revision") -> Plan:
    revisions = tuple(
        PlannedRevision(f"r{number}", "a step", "r.py", OFFLINE, statements=(each,))
        for number, each in enumerate(statements, 1)
    )
    return Plan((PlannedTable("public.alembic_version", (), revisions, (), transaction),))


def test_how_long_locks_are_held() -> None:
    """From the first lock that somebody waits behind to the end of its transaction; alone: of the statement."""
    locked = PlannedStatement("x", locks=(TableLock("public.t", Mode.ACCESS_EXCLUSIVE),), seconds=2)
    slow, alone = PlannedStatement("y", seconds=5), locked._replace(alone=True, seconds=3)
    assert _plan(locked, slow).worst.held == 2
    assert _plan(slow, locked, slow, transaction="all").worst.held == 7
    assert _plan(locked, alone, slow, transaction="all").worst.held == 3
    assert _plan(locked, slow).worst.seconds == 7


def test_a_revision_that_cannot_be_rendered() -> None:
    """It is named in each format; who executes the SQL all the same gets an error there."""
    missing = PlannedRevision("r1", "one\nDROP TABLE t;", "r1.py", reason="it asks\n; DROP TABLE t", bookkeeping=("U",))
    made = Plan((PlannedTable("public.v", (), (missing,), ()),))
    script = as_sql(made)
    bare = [line for line in script.splitlines() if line and not line.startswith("--")]
    assert bare[0] == "BEGIN;" and bare[1].startswith("DO ") and bare[2:] == ["U;", "COMMIT;"]
    assert "-- not rendered: it asks ; DROP TABLE t" in script
    assert "its SQL cannot be told: it asks ; DROP TABLE t" in as_text(made)
    assert "**cannot be told**" in as_markdown(made)
    assert (made.worst.unknown, made.as_json()["tables"][0]["pending"][0]["rendered"]) == (1, "no")


def test_a_comment_that_ends_a_statement() -> None:
    """It does not swallow the semicolon."""
    assert "SELECT 1 -- last\n;" in as_sql(_plan(PlannedStatement("SELECT 1 -- last")))


def test_a_long_plan_fits_into_a_comment() -> None:
    """GitHub takes 65,536 characters: the summary stays, SQL is left out, and that is said."""
    text = as_markdown(_plan(*(PlannedStatement("SELECT 1;\n" * 1000) for _ in range(20))))
    assert len(text) < 65_536 and text.count("| <code>r") == 20 and "of 15 more revisions is left out" in text
    text = as_markdown(_plan(*(PlannedStatement("SELECT 1") for _ in range(1000))))
    assert len(text) < 65_536 and re.search(r"^\| and \d+ more \|", text, re.MULTILINE) and "SQL of 844 more" in text


def test_plain() -> None:
    """On one line, and without what a terminal would obey."""
    assert plain("a\n\tb\x1b[31m \u202ec\x9b") == "a b\\u001b[31m \\u202ec\\u009b"


def test_what_is_looked_at_for_losses() -> None:
    """Not what is only about tables that the plan makes, unless something that is looked at refers to them."""

    def own(*names: str) -> Concern:
        return Concern("x", True, frozenset(("public", name) for name in names))

    there = Concern("x", False, frozenset({("public", "orders"), ("public", "a")}))
    found = _wanted([own("a", "b"), own("b"), own("c"), own("c", "d"), there, Concern(None)])
    assert found == [True, True, False, False, True, True]
