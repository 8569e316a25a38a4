"""The page of locks says what the code says."""

from __future__ import annotations

from docs import locks

from tests.rules.test_against_pg_locks import Desk, desk18

__all__ = ["desk18"]


def test_page_is_fresh(desk18: Desk) -> None:
    """`python -m docs.locks` would change nothing."""
    assert locks.PAGE.read_text(encoding="utf-8") == locks.page(desk18.query)
