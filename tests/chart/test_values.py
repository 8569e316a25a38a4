"""Every value does something."""

from __future__ import annotations

from typing import Any

import pytest
from docs.chart import values

from tests.chart.cases import CASES, Case
from tests.chart.helm import DATABASE, merged, refusal, text, umbrella


def nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def test_every_value_has_a_case() -> None:
    """A value added to values.yaml needs a line in cases.py."""
    assert {value.path for value in values()} == set(CASES)


@pytest.mark.parametrize(("path", "case"), CASES.items(), ids=CASES)
def test_a_value_does_something(path: str, case: Case) -> None:
    """In an application's chart, another value shows what it should, and the default does not."""
    chart = umbrella("migrations")
    before = merged(DATABASE, case.given)
    after = merged(before, nested(path, case.value))
    was = text({"migrations": before}, *case.arguments, chart=chart)
    now = text({"migrations": after}, *case.arguments, chart=chart)
    assert case.shows or case.gone
    if case.shows:
        assert flat(case.shows) in flat(now)
        assert flat(case.shows) not in flat(was)
    if case.gone:
        assert flat(case.gone) in flat(was)
        assert flat(case.gone) not in flat(now)


def flat(manifests: str) -> str:
    """Without indentation, which differs from one kind to the next."""
    return "\n".join(line.strip() for line in manifests.split("\n"))


def test_without_a_database_nothing_is_rendered() -> None:
    """The values name the ways out."""
    said = refusal({})
    for way in ("database.existingSecret", "database.urlFile", "database.host", "database.url", "extraEnvVars"):
        assert way in said
