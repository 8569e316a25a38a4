"""What a statement changes, read from its text alone; which values a type has no room for."""

from __future__ import annotations

import pytest

from alembic_job.gateways.parser import parse
from alembic_job.rules.changes import (
    Attached,
    Calls,
    Change,
    Checked,
    Created,
    Distinct,
    Dropped,
    DroppedColumn,
    Emptied,
    Ended,
    Filled,
    Grown,
    Label,
    Moved,
    NewType,
    NotNull,
    Opaque,
    Recomposed,
    Referring,
    Renamed,
    Unproven,
    Unsure,
    Validated,
)
from alembic_job.rules.finding import LOST, REFUSED, UNKNOWN, Finding, is_refused, is_unsure, loses_data
from alembic_job.rules.losses import changes
from alembic_job.rules.narrowing import Conversion, TypeFacts, narrowing

X_ABOVE_1 = parse("ALTER TABLE t ADD CHECK (x > 1) NOT ENFORCED")[0].node["cmds"][0]["AlterTableCmd"]["def"][
    "Constraint"
]["raw_expr"]
T, A = (None, "t"), ("a", "t")

READ: list[tuple[str, list[Change]]] = [
    ("DROP TABLE t, a.t", [Dropped("relation", T), Dropped("relation", A)]),
    ("DROP TABLE IF EXISTS a.t CASCADE", [Dropped("relation", A, True, True)]),
    ("DROP VIEW t", [Dropped("view", T)]),
    ("DROP MATERIALIZED VIEW t", [Dropped("view", T)]),
    ("DROP SEQUENCE t", [Dropped("sequence", T)]),
    ("DROP TYPE a.t CASCADE", [Dropped("type", A, True)]),
    ("DROP DOMAIN t", [Dropped("type", T)]),
    ("DROP SCHEMA t CASCADE", [Dropped("schema", T, True)]),
    ("DROP EXTENSION t CASCADE", [Dropped("extension", T, True)]),
    ("DROP FUNCTION t(int) CASCADE", [Dropped("function", T, True)]),
    ("DROP DATABASE t", [Dropped("database", T)]),
    ("DROP COLLATION t CASCADE", [Unsure("collation t", "what depends on it goes too, and is not known")]),
    ("DROP COLLATION t", []),
    ("DROP INDEX CONCURRENTLY t", []),
    ("DROP TRIGGER x ON t", []),
    ("DROP STATISTICS t; DROP PUBLICATION t; DROP RULE x ON t", []),
    ("ALTER TABLE t DROP COLUMN x CASCADE", [DroppedColumn(T, "x", cascade=True)]),
    ("ALTER TABLE ONLY t DROP IF EXISTS x", [DroppedColumn(T, "x", only=True, missing_ok=True)]),
    ("ALTER TABLE t DROP CONSTRAINT x, ALTER x DROP NOT NULL, ALTER x DROP DEFAULT, ALTER x SET DEFAULT 1", []),
    ("ALTER TABLE t ALTER x SET NOT NULL", [NotNull(T, ("x",))]),
    ("ALTER TABLE t ADD PRIMARY KEY (x, y)", [NotNull(T, ("x", "y")), Distinct(T, ("x", "y"), primary=True)]),
    ("ALTER TABLE t ADD UNIQUE NULLS NOT DISTINCT (x)", [Distinct(T, ("x",), nulls_equal=True)]),
    ("ALTER TABLE t ADD UNIQUE USING INDEX i", []),
    ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (x) INCLUDE (y)", [Distinct(T, ("x",))]),
    ("CREATE INDEX i ON t (x)", []),
    ("CREATE UNIQUE INDEX i ON ONLY t (x)", [Distinct(T, ("x",), only=True)]),
    (
        "ALTER TABLE t ADD CHECK (x > 1) NOT ENFORCED, ADD CONSTRAINT n NOT NULL x NOT VALID",
        [Unproven(T, "", (Checked(T, X_ABOVE_1),)), Unproven(T, "n", (NotNull(T, ("x",)),))],
    ),
    ("CREATE EXTENSION x", [Grown()]),
    ("CREATE SCHEMA x", []),
    ("CREATE SCHEMA x CREATE TABLE t ()", [Grown()]),
    ("ALTER VIEW t RENAME TO u; ALTER SEQUENCE a.t RENAME TO u", [Renamed("view", T, "u"), Renamed("view", A, "u")]),
    ("ALTER SEQUENCE t SET SCHEMA b", [Moved("view", T, "b")]),
    (
        "ALTER TABLE t ADD FOREIGN KEY (x, y) REFERENCES a.t (u, v) MATCH FULL",
        [Referring(T, ("x", "y"), A, ("u", "v"), full=True)],
    ),
    (
        "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (x) REFERENCES a.t NOT VALID",
        [Unproven(T, "k", (Referring(T, ("x",), A),))],
    ),
    ("ALTER TABLE t VALIDATE CONSTRAINT k", [Validated(T, "k")]),
    ("ALTER TABLE a.t ATTACH PARTITION t DEFAULT", [Attached(T), Filled(A)]),
    ("ALTER TABLE a.t DETACH PARTITION t", [Filled(A)]),
    ("ALTER TYPE t DROP ATTRIBUTE x", [Recomposed(T)]),
    ("ALTER TYPE t ADD ATTRIBUTE x int", []),
    ("ALTER INDEX t SET (fillfactor = 50); ALTER VIEW t ALTER x SET DEFAULT 1", []),
    ("TRUNCATE t, ONLY a.t CASCADE", [Emptied(((T, True), (A, False)), cascade=True)]),
    ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", [Filled(T)]),
    (
        "INSERT INTO t VALUES (1) ON CONFLICT (x) DO UPDATE SET x = 1",
        [Unsure("table t", "ON CONFLICT DO UPDATE may overwrite values"), Filled(T)],
    ),
    ("COPY t FROM STDIN", [Filled(T)]),
    ("COPY t TO STDOUT", []),
    ("CREATE TABLE IF NOT EXISTS t ()", [Created(T, missing_ok=True)]),
    ("CREATE TABLE t AS SELECT 1", [Created(T, known_empty=False)]),
    ("SELECT 1 INTO t", [Created(T, known_empty=False)]),
    ("CREATE OR REPLACE VIEW t AS SELECT 1", [Created(T, missing_ok=True, kind="v")]),
    ("CREATE TABLE t PARTITION OF a.t DEFAULT", [Created(T, parents=(A,))]),
    ("ALTER TABLE a.t RENAME TO u", [Renamed("relation", A, "u")]),
    ("ALTER TABLE a.t RENAME x TO y", [Renamed("column", A, "y", "x")]),
    ("ALTER TABLE a.t RENAME CONSTRAINT x TO y", []),
    ("ALTER TYPE t RENAME TO u", [Renamed("type", T, "u")]),
    ("ALTER TYPE t RENAME VALUE 'x' TO 'y'", [Label(T, "y", "x")]),
    ("ALTER TYPE t ADD VALUE 'y'", [Label(T, "y")]),
    ("CREATE TYPE t AS ENUM ('x', 'y')", [NewType(T, ("x", "y"))]),
    ("ALTER TABLE a.t SET SCHEMA b", [Moved("relation", A, "b")]),
    ("BEGIN; COMMIT", [Ended()]),
    ("SELECT set_config('a.b', 'c', false), nextval('s'), (SELECT max(f(x)) FROM t)", [Calls(("f", "max"))]),
    ("DO 'x'", [Opaque("a DO block runs code of its own")]),
    ("CALL p()", [Opaque("a procedure runs code of its own")]),
    ("WITH x AS (DELETE FROM t) SELECT 1", [Unsure("table t", "rows are changed within a WITH"), Filled(T)]),
    ("COMMENT ON TABLE t IS 'x'; GRANT SELECT ON t TO public; SET statement_timeout = 0; LOCK TABLE t; VACUUM t", []),
]


@pytest.mark.parametrize(("sql", "expected"), READ, ids=[sql for sql, _ in READ])
def test_read(sql: str, expected: list[Change]) -> None:
    """The changes of a text's statements, one after another."""
    assert [change for statement in parse(sql) for change in changes(statement)] == expected


def kind(name: str, typmod: int = -1, **more: object) -> TypeFacts:
    return TypeFacts(name, name, typmod=typmod, **more)  # type: ignore[arg-type]


def numeric(precision: int, scale: int) -> TypeFacts:
    return kind("numeric", (precision << 16 | scale & 0x7FF) + 4)


MOODS = kind("mood", kind="e", labels=("a", "b"))
FITS = [
    (kind("int2"), kind("int8")),
    (kind("int4"), kind("numeric")),
    (kind("int4"), numeric(12, 2)),
    (kind("varchar", 9), kind("varchar", 14)),
    (kind("varchar", 9), kind("text")),
    (kind("bpchar", 9), kind("varchar", 9)),
    (numeric(8, 2), numeric(10, 3)),
    (numeric(8, 2), kind("numeric")),
    (kind("timestamptz", 3), kind("timestamptz")),
    (kind("date"), kind("timestamp")),
    (MOODS, kind("text")),
    (MOODS, kind("new", labels=("b", "c", "a"))),
    (kind("json"), kind("jsonb")),
]
NARROWS = [
    (kind("int8"), kind("int4")),
    (kind("int4"), numeric(11, 2)),
    (kind("varchar", 14), kind("varchar", 9)),
    (kind("text"), kind("varchar", 9)),
    (numeric(8, 2), numeric(8, 3)),
    (numeric(8, 2), numeric(8, 1)),
    (kind("numeric"), numeric(8, 1)),
    (kind("timestamp"), kind("timestamp", 0)),
    (kind("timestamptz"), kind("date")),
    (kind("float8"), kind("float4")),
    (kind("text"), MOODS),
    (MOODS, kind("new", labels=("b",))),
    (MOODS, kind("varchar", 5)),
    (kind("int4"), kind("int8", is_array=True)),
]


def pair(types: tuple[TypeFacts, TypeFacts]) -> str:
    return " to ".join(f"{type.name}{type.digits or type.length or ''}" for type in types)


@pytest.mark.parametrize("types", FITS, ids=pair)
def test_room_for_all(types: tuple[TypeFacts, TypeFacts]) -> None:
    """Nothing is to be looked for; by an expression, something is."""
    old, new = types
    assert narrowing(Conversion("x", "x", old), old, new, 180000) is None
    assert narrowing(Conversion("x", "f(x)", None, plain=False), old, new, 180000) is not None


@pytest.mark.parametrize("types", NARROWS, ids=pair)
def test_no_room_for_some(types: tuple[TypeFacts, TypeFacts]) -> None:
    """There is something to look for."""
    old, new = types
    found = narrowing(Conversion("x", "x", old), old, new, 140000)
    assert found is not None and (found.refused or found.changed)


def test_negative_scale() -> None:
    """numeric(3, -2) holds hundreds: the scale is a signed number of eleven bits."""
    assert numeric(3, -2).digits == (3, -2)
    found = narrowing(Conversion("x", "x", kind("int4")), kind("int4"), numeric(3, -2), 180000)
    assert found and found.refused and "1e5" in found.refused


def test_words_for_people() -> None:
    """One is not many; what was not counted is `about`; what cannot be told says why."""
    assert Finding(LOST, "table t", 12034, "rows", "").text == "12,034 rows of table t would be lost"
    assert Finding(LOST, "table t", 1, "rows", "", estimated=True).text == "about 1 row of table t would be lost"
    assert Finding(REFUSED, "column x", None, "values", "why").text == "some values of column x would be refused: why"
    assert Finding(UNKNOWN, "table t", None, "", "locked").text == "table t: locked"
    assert Finding(LOST, "table t", 2, "rows", "").as_fields()["text"] == "2 rows of table t would be lost"


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (Finding(LOST, "t", 0, "rows", ""), (False, False, False)),
        (Finding(LOST, "t", 0, "rows", "", estimated=True), (True, False, False)),
        (Finding(LOST, "t", 1, "rows", ""), (True, False, False)),
        (Finding(LOST, "t", None, "rows", ""), (True, False, False)),
        (Finding(REFUSED, "t", 1, "rows", ""), (False, True, False)),
        (Finding(UNKNOWN, "t", None, "", ""), (False, False, True)),
    ],
)
def test_verdicts(finding: Finding, expected: tuple[bool, bool, bool]) -> None:
    """Whether data would be lost, the statement refused, or nobody knows."""
    assert (loses_data([finding]), is_refused([finding]), is_unsure([finding])) == expected
