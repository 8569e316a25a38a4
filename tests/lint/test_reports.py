"""What lint found, as programs read it: SARIF, annotations of GitHub, JSON."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from alembic_job.cli.commands import cli
from alembic_job.errors import UsageError
from alembic_job.lint.beside import LEFT_OUT, SAID
from alembic_job.lint.explained import explained
from alembic_job.lint.ignores import ignores
from alembic_job.lint.model import Finding, Level
from alembic_job.lint.report import FORMATS, Report
from alembic_job.lint.rules import RULES

_HOSTILE = "50 % of\r\n<b>'x'</b>: a, b"
_FILE = "alembic/versions/a b,c:d%.py"
REPORT = Report(
    (
        Finding("no-message", Level.WARNING, _HOSTILE, _FILE, 3, "r1"),
        Finding("squawk/renaming-table", Level.WARNING, "renamed", "v/r2.py", 1, "r2"),
        Finding("squawk/of-tomorrow", Level.NOTE, "new", "v/r2.py", 2, "r2"),
        Finding("empty-downgrade", Level.ERROR, "empty", "v/r2.py", 9, "r2"),
    ),
    2,
    ("something was left out",),
)
_TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
_LEVEL = {"enum": ["none", "note", "warning", "error"]}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
    }


# The part of the official schema of SARIF 2.1.0 that is used here: its objects take no other properties either.
_PLACE = _object(
    "artifactLocation region",
    artifactLocation=_object("uri", uri={"type": "string", "format": "uri-reference", "pattern": "^[!-~]+$"}),
    region=_object("startLine", startLine={"type": "integer", "minimum": 1}),
)
_RESULT = _object(
    "message ruleId",
    ruleId={"type": "string"},
    ruleIndex={"type": "integer", "minimum": 0},
    level=_LEVEL,
    message=_TEXT,
    locations={"type": "array", "items": _object("physicalLocation", physicalLocation=_PLACE)},
    properties={"type": "object"},
)
_RULE = _object(
    "id",
    id={"type": "string"},
    shortDescription=_TEXT,
    fullDescription=_TEXT,
    help=_TEXT,
    defaultConfiguration=_object("level", level=_LEVEL),
)
_DRIVER = _object(
    "name",
    name={"type": "string"},
    version={"type": "string"},
    rules={"type": "array", "items": _RULE, "uniqueItems": True},
)
SARIF = _object(
    "version runs",
    **{"$schema": {"type": "string", "format": "uri"}},
    version={"const": "2.1.0"},
    runs={
        "type": "array",
        "items": _object(
            "tool",
            tool=_object("driver", driver=_DRIVER),
            columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
            results={"type": "array", "items": _RESULT},
        ),
    },
)


def test_sarif() -> None:
    """It has the shape of SARIF 2.1.0; each result's index leads to its rule."""
    told = json.loads(FORMATS["sarif"](REPORT, False))
    jsonschema.validate(told, SARIF)
    [run] = told["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == [each.rule for each in REPORT.findings]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "alembic/versions/a%20b%2Cc%3Ad%25.py"
    assert run["results"][0]["message"]["text"] == _HOSTILE


def test_annotations_of_github() -> None:
    """What would end a command or its properties is escaped."""
    first, _, note, error, *rest = FORMATS["github"](REPORT, False).splitlines()
    assert first == (
        "::warning file=alembic/versions/a b%2Cc%3Ad%25.py,line=3,title=no-message::50 %25 of%0D%0A<b>'x'</b>: a, b"
    )
    assert note == "::notice file=v/r2.py,line=2,title=squawk/of-tomorrow::new"
    assert error == "::error file=v/r2.py,line=9,title=empty-downgrade::empty"
    assert rest == ["something was left out", "1 error, 2 warnings, 1 note in 2 revisions"]


def test_text_and_json() -> None:
    """A finding is one line; the counts are told."""
    lines = FORMATS["text"](REPORT, False).splitlines()
    assert lines[0] == f"{_FILE}:3: warning[no-message] 50 % of  <b>'x'</b>: a, b"
    assert "\033[31merror\033[0m" in FORMATS["text"](REPORT, True)
    told = json.loads(FORMATS["json"](REPORT, False))
    assert (told["errors"], told["warnings"], told["notes"], told["revisions"]) == (1, 2, 1, 2)
    assert told["findings"][3] == {
        "rule": "empty-downgrade",
        "level": "error",
        "message": "empty",
        "file": "v/r2.py",
        "line": 9,
        "revision": "r2",
    }


def test_every_rule_is_explained() -> None:
    """By its name, in a list of all; a name that is none is an error with the way out."""
    everything = explained("all")
    for rule in RULES:
        assert rule.fix in explained(rule.name) and rule.name in everything
    assert not SAID.keys() & LEFT_OUT.keys()
    assert SAID["renaming-table"] in explained("squawk/renaming-table")
    assert LEFT_OUT["ban-drop-table"] in explained("squawk/ban-drop-table")
    with pytest.raises(UsageError, match="no rule nothing"):
        explained("nothing")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import x\nf()  # alembic-job: ignore[a] why\n", [(("a",), "why", {2})]),
        ("import x\n# alembic-job: ignore[a, b]: why\n# more words\nf()\n", [(("a", "b"), "why", {2, 4})]),
        ('"""Doc."""\n# alembic-job: ignore[a] all of it\nimport x\n', [(("a",), "all of it", set())]),
        ("import x\nx = '# alembic-job: ignore[a] no comment'\n", []),
        ("import x\nf()  # alembic-job: ignore\n", [((), "", {2})]),
    ],
)
def test_comments(source: str, expected: list[tuple[tuple[str, ...], str, set[int]]]) -> None:
    """Which lines a comment is about: its own, the one below, or all."""
    assert [(each.rules, each.reason, set(each.lines)) for each in ignores(source)] == expected


def test_options_that_exclude_each_other() -> None:
    """They are refused before anything is loaded."""
    from click.testing import CliRunner

    for words in (["--all", "--pending"], ["r1", "--since", "r0"], ["--offline", "--pending"]):
        ended = CliRunner().invoke(cli, ["lint", *words])
        assert ended.exit_code == 2, ended.output
