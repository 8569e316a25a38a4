"""Fixtures of more than one file here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.restorekit import CONTENT, Home


@pytest.fixture
def home(database: Database, tmp_path: Path) -> Iterator[Home]:
    """A database that still has to be filled."""
    made = Home(database, tmp_path / "backups", database.server.bin)
    yield made
    made.clean()


@pytest.fixture
def full(home: Home) -> Home:
    """A database with content."""
    home.database.execute(CONTENT)
    return home
