"""Marks that send the tests of one page to one worker, which makes the page once; and a name for what is measured."""

from __future__ import annotations

import pytest

MEASURED = "measured"  # the property of a test that is told at the end


def shows(*names: str) -> pytest.MarkDecorator:
    """A test of each of these pages, by `name`."""
    return pytest.mark.parametrize("name", [pytest.param(name, marks=of(name)) for name in names])


def of(name: str) -> pytest.MarkDecorator:
    """A test of this page."""
    return pytest.mark.xdist_group(name)
