"""The first look at a text, before it is parsed: never wrong about what matters."""

from __future__ import annotations

import pytest

from alembic_job.rules.questions import may_matter
from tests.rules.forms import FORMS

HARMLESS = [
    "SELECT 1",
    "  \n\t select * from t where a = 'DROP TABLE t'",
    "(SELECT 1) UNION (SELECT 2);",
    "-- DROP TABLE t\nSELECT 1",
    "/* DROP TABLE t; */ INSERT INTO t VALUES (1);\n",
    "/**/ /* a * b / c */ UPDATE t SET a = 1 ; -- done",
    "delete from t",
    "WITH x AS (SELECT 1) SELECT * FROM x",
    "SET lock_timeout = 0",
    "SHOW server_version",
    "BEGIN",
    "COMMIT;",
    "rollback",
    "SAVEPOINT s",
    "RELEASE SAVEPOINT s",
    "CREATE TABLE t (id serial PRIMARY KEY, a text)",
    "\n CREATE TABLE t (id int);\n\n",
    "create unlogged table if not exists t (id int)",
    "CREATE TEMPORARY TABLE t AS SELECT 1",
    "CREATE /* x */ TABLE t (id int)",
    "",
    " ; ",
    "-- nothing",
]
MATTERS = [
    "ALTER TABLE t ADD COLUMN a int",
    "SELECT 1; DROP TABLE t",
    "SELECT ';'; DROP TABLE t",
    "/* /* nested */ DROP */ DROP TABLE t",
    "/* /* */ */ ALTER TABLE t ADD a int",
    "-- SELECT\rDROP TABLE t",
    "-- x\nDROP TABLE t",
    ";;DROP TABLE t",
    "/* /* */ select */ DROP TABLE t",
    "CREATE TABLE t (id int REFERENCES u)",
    "CREATE TABLE t (id int ReFeReNcEs u)",
    "CREATE TABLE t PARTITION OF p DEFAULT",
    "CREATE TABLE t (LIKE u)",
    "CREATE TABLE t () INHERITS (u)",
    "CREATE TABLE t (id int); DROP TABLE u",
    "CREATE TABLEAU",
    "CREATE INDEX x ON t (a)",
    "TRUNCATE t",
    "LOCK t",
    "DO $$ BEGIN END $$",
    "CALL p()",
    "EXECUTE s",
    "EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1",
    "COMMIT PREPARED 'x'",
    "PREPARE TRANSACTION 'x'",
    "ROLLBACK PREPARED 'x'",
    "VACUUM",
    "COMMENT ON TABLE t IS 'x'",
    "ſelect 1",
    "\ufeffDROP TABLE t",
    "/* never closed",
    "\0",
    "SELECT 1;/* */DROP TABLE t",
    "SELECT 1 -- ;\n; DROP TABLE t",
]


@pytest.mark.parametrize("sql", HARMLESS, ids=ascii)
def test_harmless(sql: str) -> None:
    """These need no look at the catalogue."""
    assert not may_matter(sql)


@pytest.mark.parametrize("sql", MATTERS, ids=ascii)
def test_matters(sql: str) -> None:
    """These do, or it is not sure."""
    assert may_matter(sql)


def test_every_form_with_a_lock_matters() -> None:
    """Whatever stands in front, a form of DDL is never taken for harmless."""
    harmless = (
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "WITH",
        "SET",
        "CREATE TABLE x",
        "CREATE TEMP",
        "CREATE TABLE IF",
    )
    for form in FORMS:
        if not form.sql.startswith(harmless):
            for prefix in ("", "  ", "-- x\n", "/* a */", "/* /* b */ */ ", ";", "SELECT 1;"):
                assert may_matter(prefix + form.sql), prefix + form.sql


def test_long_text_is_looked_at_quickly() -> None:
    """No backtracking: a text made to provoke it is answered (a slow answer would take hours)."""
    for text in (
        "/*" * 50_000,
        "/* *" * 50_000,
        "-" * 100_000,
        "(" * 100_000,
        "/**/" * 50_000,
        ";" * 100_000,
        "--\n" * 50_000,
    ):
        assert may_matter(text) in (True, False)
        assert may_matter("SELECT 1;" + text) in (True, False)
