"""Marks of this room."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "thorough: a variation of a situation that another test covers")
    config.addinivalue_line(
        "markers", "venvs: needs an environment of its own below .build/venvs; the first run makes it (pip, a minute)"
    )
