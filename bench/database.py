"""What the benchmarks do to a database by themselves."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2


def query(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Executes them one by one, each committed by itself; returns the rows of the last, none if it has none."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []
