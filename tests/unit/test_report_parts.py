"""The pieces of the HTML pages."""

from __future__ import annotations

import random
import re
from html import unescape

import pytest

from alembic_job.pipeline.report.graph import graph
from alembic_job.pipeline.report.heard import Ended, Heard
from alembic_job.pipeline.report.sql import highlighted
from alembic_job.pipeline.report.text import seconds, shown
from alembic_job.pipeline.report.timeline import FAILED, spans

Revisions = list[tuple[str, tuple[str, ...]]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'é', \"ü\"\"\", $x$ 'a' $x$, E'\\'', 1.5e3 -- <b>\n/* </pre> */ FROM t;",
        "SELECT 'not closed",
        "\u202eevil\u0007 \ud800 \0",
        "",
        "SELECT '" + "x" * 200_000 + "'",
    ],
)
def test_marks_change_no_letter_of_the_sql(sql: str) -> None:
    marked = str(highlighted(sql))
    assert unescape(re.sub("</?span[^>]*>", "", marked)) == shown(sql.strip())
    assert not re.search(r"<(?!/?span)", marked)


def test_each_kind_of_token_has_its_mark() -> None:
    marked = str(highlighted("ALTER TABLE \"T\" ADD c int DEFAULT 'x' -- y"))
    for kind, word in (("k", "ALTER"), ("i", "&#34;T&#34;"), ("t", "int"), ("s", "&#39;x&#39;"), ("c", "-- y")):
        assert f'<span class="{kind}">{word}</span>' in marked


def test_what_a_browser_would_obey_is_spelled_out() -> None:
    assert shown("a\r\nb\tc") == "a\nb\tc"
    assert shown("\u202e\x1b\ud800") == "\\u202e\\u001b\\ud800"


def some_revisions(seed: int) -> Revisions:
    """Up to 30, the oldest first, with branches and merges."""
    choose = random.Random(seed)
    made: Revisions = []
    for number in range(choose.randrange(1, 30)):
        parents = choose.sample(made[-5:], min(len(made[-5:]), choose.choice((0, 1, 1, 1, 2, 3))))
        made.append((f"r{number}", tuple(name for name, _ in parents)))
    return made


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_lines_go_on_from_picture_to_picture(seed: int, newest_first: bool) -> None:
    revisions = some_revisions(seed)
    listed = revisions[::-1] if newest_first else revisions
    _, pictures = graph(listed, newest_first=newest_first)
    assert len(pictures) == len(listed)
    down: set[str] = set()
    for (_, parents), picture in zip(listed, pictures, strict=True):
        tops = re.findall(r'd="M(\d+) 0', picture)
        assert set(tops) == down
        [node] = re.findall(r'circle cx="(\d+)"', picture)
        joined = [end for _, end in re.findall(r'd="M(\d+) 0(?:V\d+|C[\d ]* (\d+) \d+)"', picture) if end]
        down = set(re.findall(r'<line x1="(\d+)"', picture))
        if not newest_first and parents:
            assert node in {*joined, *tops}
        if newest_first and parents:
            assert down
    assert not down


def test_durations_are_read_at_a_glance() -> None:
    told = [seconds(value) for value in (None, 0, 0.0004, 0.0123, 1.256, 12.34, 185, 9000)]
    assert told == ["–", "0 ms", "0.4 ms", "12 ms", "1.26 s", "12.3 s", "3 min 5 s", "2 h 30 min"]


def test_a_step_that_did_not_end_lasted_to_the_end_of_the_run() -> None:
    events = (
        Heard(10.0, "info", "job.started", {}),
        Heard(11.0, "info", "revision.applying", {"revision": "a"}),
        Heard(12.0, "debug", "statement.executed", {"revision": "a", "duration_seconds": 0.5, "waited_seconds": 0.25}),
        Heard(13.0, "info", "revision.applied", {"revision": "a"}),
        Heard(13.0, "info", "revision.applying", {"revision": "b"}),
        Heard(13.5, "info", "backup.finished", {}),  # its begin was not heard
    )
    first, second = spans(Ended("migrate", 10.0, 20.0, events, {}))
    assert (first.key, first.begun, first.seconds, first.waited, first.waits[0].begun) == ("a", 11.0, 2.0, 0.25, 11.5)
    assert (second.key, second.seconds, second.state, second.waited) == ("b", 7.0, FAILED, 0)
