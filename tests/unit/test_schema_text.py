"""Schemas compared as pg_dump writes them."""

from __future__ import annotations

from alembic_job.rules.schema_text import compare

TABLE = """--
-- Name: orders; Type: TABLE; Schema: public; Owner: app
--

CREATE TABLE public.orders (
    id integer NOT NULL,
    total integer DEFAULT 0,
    note text
);
"""
MOVED = TABLE.replace("    total integer DEFAULT 0,\n    note text\n", "    note text,\n    total integer DEFAULT 0\n")


def test_comments_and_random_keys_do_not_count() -> None:
    """Nor do blank lines: what pg_dump writes around the statements."""
    found = compare(f"\\restrict abc\n{TABLE}\\unrestrict abc\n", TABLE.replace("--\n", "").replace("app", "other"))
    assert found.same and found.reordered == ()


def test_moved_columns_are_told_apart() -> None:
    """The same columns in another order are no difference; another type is one, moved or not."""
    found = compare(TABLE, MOVED)
    assert found.same and found.reordered == ("public.orders",)
    found = compare(TABLE, MOVED.replace("note text", "note character varying"))
    assert not found.same and found.reordered == ()


def test_the_diff_says_what_differs() -> None:
    """As a unified diff, cut where it would be endless."""
    extra = "CREATE TYPE public.kind AS ENUM (\n    'a'\n);\n"
    found = compare(TABLE, extra + TABLE, ("before", "after"))
    assert found.diff[:2] == ("--- before", "+++ after")
    assert [line for line in found.diff[2:] if line.startswith(("+", "-"))] == [f"+{x}" for x in extra.splitlines()]
    found = compare("", "".join(f"CREATE SEQUENCE s{number};\n" for number in range(1000)))
    assert len(found.diff) == 201 and found.diff[-1] == "… and 803 more lines"
