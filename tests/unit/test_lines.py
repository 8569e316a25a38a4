"""Lines of JSON and the masking of secrets."""

from __future__ import annotations

import json

import pytest

from alembic_job.logs.lines import Redactor, encode


@pytest.mark.parametrize("text", ["\u2028", "\x85", "\x7f", "\n", "\r", "\x00", "é🐍", '"\\', "\udc80"])
def test_a_line_stays_one_line(text: str) -> None:
    """Whatever a reader takes for a line break is escaped, and the value survives."""
    line = encode({"message": f"a{text}b"})
    assert len(line.splitlines()) == 1
    assert json.loads(line.encode("utf-8", "backslashreplace"))["message"].encode("utf-8", "replace")[:1] == b"a"
    if text != "\udc80":
        assert json.loads(line) == {"message": f"a{text}b"}


def test_values_json_lacks_become_text() -> None:
    """A path, a set: logged as text instead of an error."""
    assert json.loads(encode({"x": {1}})) == {"x": "{1}"}


@pytest.mark.parametrize("text", ["as pa%ss:w/rd", "as pa%25ss%3Aw%2Frd", "as pa%25ss%3Aw/rd", '{"p": "pa%ss:w/rd"}'])
def test_each_spelling_of_a_secret_is_masked(text: str) -> None:
    """As it is, and as it stands in a URL."""
    masked = Redactor(["pa%ss:w/rd"]).text(text)
    assert "pa%" not in masked and "***" in masked


def test_urls_we_were_never_told_about() -> None:
    """The password of any URL is masked; what only looks like one is left alone."""
    mask = Redactor().text
    assert mask("to redis://:hush@cache:1/0 now") == "to redis://:***@cache:1/0 now"
    assert mask("amqp://u:hu@sh@mq/x") == "amqp://u:***@mq/x"
    assert mask("see https://example.com/a:b") == "see https://example.com/a:b"


def test_names_of_ours_are_not_masked() -> None:
    """A password that equals the user's name must not blank out the log; free text is masked all the same."""
    event = Redactor(["migrate"]).event(
        {"command": "migrate", "applied": ["migrate"], "error": "migrate failed", "list": ["migrate"]}
    )
    assert event == {"command": "migrate", "applied": ["migrate"], "error": "*** failed", "list": ["***"]}
