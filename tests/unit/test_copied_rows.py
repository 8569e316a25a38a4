"""Rows are counted right however the text is cut."""

from __future__ import annotations

import random

import pytest

from alembic_job.gateways.copied_rows import CopiedRows

TEXT = (
    b"--\nSET x;\nCOPY public.a (x, y) FROM stdin;\n1\t2\n\\\\.\n\n\\N\n\\.\n\n\n"
    b'COPY "We.ird (""x"""."COPY t" (a) FROM stdin;\n\\.\n\n'
    b"COPY public.none  FROM stdin;\n\n\n\n\\.\n"
    b"SELECT pg_catalog.setval('public.COPY x.y (a) FROM stdin;', 1);\nCOPY a.b TO stdout;\n"
    b"COPY public.trap (x) FROM stdin;\nCOPY public.a (x, y) FROM stdin;\n\\\\.\\.\n\\.\n"
    b"COPY public.long (x) FROM stdin;\n" + b"x" * 5000 + b"\n" + b"y\n" * 3000 + b"\\.\n"
)
ROWS = {"public.a": 4, '"We.ird (""x"""."COPY t"': 0, "public.none": 3, "public.trap": 2, "public.long": 3001}


@pytest.mark.parametrize("seed", range(20))
def test_any_cut(seed: int) -> None:
    """Tables without columns, without rows, with names and data that look like the marks themselves."""
    cuts, counted, place = random.Random(seed), CopiedRows(), 0
    while place < len(TEXT):
        size = cuts.choice([1, 2, 3, 4, 5, 9, 60, 10_000]) if seed else 1
        counted.feed(TEXT[place : place + size])
        place += size
    assert counted.rows == ROWS


def test_a_row_without_an_end_is_no_row() -> None:
    """A cut archive's last row was never whole."""
    counted = CopiedRows()
    counted.feed(b"COPY public.a (x) FROM stdin;\n1\n2\n3")
    assert counted.rows == {"public.a": 2}


def test_a_row_of_any_length_takes_no_memory() -> None:
    """Nothing is kept of it but what the mark of the end might begin with."""
    counted = CopiedRows()
    counted.feed(b"COPY public.a (x) FROM stdin;\n")
    for _ in range(100):
        counted.feed(b"x" * 1000)
        assert len(counted._rest) < 4
    counted.feed(b"\n\\")
    counted.feed(b".\n")
    assert counted.rows == {"public.a": 1}
