"""Schemas taken apart into objects, and what is declared foreign."""

from __future__ import annotations

import pytest

from alembic_job.rules.schema_objects import Object, as_spelled, differences, is_foreign, objects
from alembic_job.settings.values import patterns


def entry(kind: str, name: str, body: str, schema: str = "public") -> str:
    return f"--\n-- Name: {name}; Type: {kind}; Schema: {schema}; Owner: -\n--\n\n{body}\n\n\n"


USERS = entry("TABLE", "users", "CREATE TABLE public.users (\n    id integer,\n    name text\n);")
STORED = "SET default_tablespace = '';\n\nSET default_table_access_method = heap;\n\n"
INDEX = entry("INDEX", "by_name", "CREATE INDEX by_name ON public.users USING btree (name);")
PUBLIC = entry("COMMENT", "SCHEMA public", "COMMENT ON SCHEMA public IS 'x';", "-")
HEAD = "--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n\nSET lock_timeout = 0;\n\n"


def test_what_a_restore_only_words_in_another_way_is_as_expected() -> None:
    """Line by line, whether a comma follows or not; what says something else stays."""
    [table] = expected = objects(entry("TABLE", "t", "CREATE TABLE t (\n    CHECK (a),\n    CHECK (b)\n);"))
    again = {table: expected[table].replace("(a)", "(a::x)").replace("(b)", "(b::x)")}
    actual = {table: "CREATE TABLE t (\n    CHECK (b::x),\n    CHECK (a::x),\n    CHECK (c::x)\n);"}
    assert as_spelled(actual, expected, again) == {
        table: "CREATE TABLE t (\n    CHECK (b),\n    CHECK (a),\n    CHECK (c::x)\n);"
    }
    assert as_spelled(actual, expected, {}) == as_spelled(actual, expected, expected) == actual
    assert objects("") == {}


def test_objects_are_compared_by_what_makes_them() -> None:
    """Not by what pg_dump writes between them, the order of columns or the schema public."""
    one = objects(HEAD + STORED + USERS + INDEX + "--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict x\n")
    assert list(one) == [Object("TABLE", "public", "users"), Object("INDEX", "public", "by_name")]
    moved = USERS.replace("    id integer,\n    name text\n", "    name text,\n    id integer\n")
    assert differences(one, objects(PUBLIC + INDEX + STORED + moved)) == []
    [first, second] = differences(one, objects(USERS.replace("text", "text NOT NULL") + entry("VIEW", "v", "…", "-")))[
        1:
    ]
    assert (first.how, first.what.name) == ("missing", "by_name")
    assert second.how == "different" and "+    name text NOT NULL" in second.diff


@pytest.mark.parametrize(
    ("pattern", "schema", "name", "foreign"),
    [
        ("audit.*", "audit", "log", True),
        ("audit.*", "public", "audit", False),
        ("*_old", "any", "users_old", True),
        ("*_old", "any", "users_older", False),
        ("public.users", "public", "users users_pkey", True),
        ("public.users", "other", "users", False),
        ("public.f", "public", "f(integer, text)", True),
        ("users", "", "TABLE users", True),
        ('"My Table"', "public", "My Table", True),
    ],
)
def test_foreign_is_what_a_pattern_is_for(pattern: str, schema: str, name: str, foreign: bool) -> None:
    """`schema.name`, a name in any schema, and whatever belongs to a table of that name."""
    assert is_foreign(patterns(f"nothing.at_all, {pattern}"), schema, name) is foreign
