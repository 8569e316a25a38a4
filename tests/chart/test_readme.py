"""The chart's README is made from values.yaml."""

from __future__ import annotations

from docs import chart


def test_the_readme_is_fresh() -> None:
    """`make docs` would change nothing."""
    assert chart.README.read_text(encoding="utf-8") == chart.readme(), "run make docs: the chart's README is stale"


def test_every_value_has_a_line() -> None:
    """Each value once, with some words."""
    paths = [value.path for value in chart.values()]
    assert len(paths) == len(set(paths)) > 100
    assert all(value.help.endswith(".") for value in chart.values())
