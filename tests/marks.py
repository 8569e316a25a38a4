"""Marks of single cases."""

from __future__ import annotations

from typing import Any

import pytest


def thorough(*values: object) -> Any:
    """A case for `make test-projects`."""
    return pytest.param(*values, marks=pytest.mark.thorough)
