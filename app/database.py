"""Where the database is and how to talk to it."""

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session


def database_url() -> str:
    """The address from DATABASE_URL, or from the file that DATABASE_URL_FILE names, else libpq's PG* variables decide.

    `postgresql://` and `postgres://` mean psycopg2, whichever driver SQLAlchemy would choose for them.
    """
    url = os.environ.get("DATABASE_URL") or _from_file() or "postgresql://"
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", url)


def _from_file() -> str | None:
    path = os.environ.get("DATABASE_URL_FILE")
    return Path(path).read_text(encoding="utf-8").strip() if path else None


@cache
def engine() -> Engine:
    """The process' one engine, made at first use: importing this module needs no database."""
    return create_engine(database_url(), pool_pre_ping=True)


def open_session() -> Iterator[Session]:
    """A session for one request. What is not committed when the request ends is rolled back."""
    with Session(engine(), expire_on_commit=False) as session:
        yield session
