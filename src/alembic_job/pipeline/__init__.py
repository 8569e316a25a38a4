"""What the job does, in order. Each of its commands is a function in here: from settings to a report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from alembic_job.settings import Settings


@contextmanager
def exported_url(settings: Settings) -> Iterator[None]:
    """Projects read DATABASE_URL themselves: one that came from elsewhere is put there meanwhile, if none is there."""
    if settings.database_url is None or os.environ.get("DATABASE_URL"):
        yield
        return
    with variable_url(settings.database_url):
        yield


@contextmanager
def variable_url(url: str) -> Iterator[None]:
    """DATABASE_URL is this meanwhile."""
    before = os.environ.get("DATABASE_URL")
    os.environ["DATABASE_URL"] = url
    try:
        yield
    finally:
        os.environ.pop("DATABASE_URL", None)  # env.py may have taken it out
        if before is not None:
            os.environ["DATABASE_URL"] = before
