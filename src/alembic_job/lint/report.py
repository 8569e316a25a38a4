"""What lint found, and how it is told: text, JSON, SARIF, annotations of GitHub."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from alembic_job import __version__
from alembic_job.lint.beside import SAID
from alembic_job.lint.model import Finding, Level
from alembic_job.lint.rules import RULES

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_COMMANDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "notice"}
_COLOURS = {Level.ERROR: "\033[31m", Level.WARNING: "\033[33m", Level.NOTE: "\033[36m"}


@dataclass(frozen=True)
class Report:
    """The findings in so many revisions; `remarks` say what could not be looked at."""

    findings: tuple[Finding, ...]
    revisions: int
    remarks: tuple[str, ...] = ()

    def reaches(self, level: Level) -> bool:
        """True if a finding is as bad as this, or worse."""
        return any(finding.level >= level for finding in self.findings)

    def count(self, level: Level) -> int:
        return sum(finding.level is level for finding in self.findings)


def as_text(report: Report, colours: bool = False) -> str:
    """For people: a line a finding, which editors can follow."""
    return "\n".join([*(_line(finding, colours) for finding in report.findings), *report.remarks, summary(report)])


def _line(finding: Finding, colours: bool) -> str:
    level = f"{_COLOURS[finding.level]}{finding.level.word}\033[0m" if colours else finding.level.word
    return f"{finding.file}:{finding.line}: {level}[{finding.rule}] {_one_line(finding.message)}"


def _one_line(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)


def summary(report: Report) -> str:
    """`2 errors, 1 warning in 11 revisions`."""
    counts = [(report.count(level), level.word) for level in reversed(Level)]
    found = ", ".join(plural(count, word) for count, word in counts if count) or "nothing found"
    return f"{found} in {plural(report.revisions, 'revision')}"


def plural(count: int, word: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{count:,} {word}" + ("" if count == 1 else "s")


def as_json(report: Report) -> str:
    """One object: `findings`, `revisions`, `remarks`, and a count of each level."""
    counts = {f"{level.word}s": report.count(level) for level in Level}
    findings = [finding.as_json() for finding in report.findings]
    told = {"findings": findings, "revisions": report.revisions, "remarks": list(report.remarks), **counts}
    return json.dumps(told, indent=2, ensure_ascii=False)


def as_github(report: Report, _colours: bool = False) -> str:
    """Workflow commands, which GitHub shows at the lines of a pull request."""
    return "\n".join([*map(_annotation, report.findings), *report.remarks, summary(report)])


def _annotation(finding: Finding) -> str:
    properties = {"file": finding.file, "line": str(finding.line), "title": finding.rule}
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{_COMMANDS[finding.level]} {written}::{_data(finding.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def as_sarif(report: Report) -> str:
    """SARIF 2.1.0: what code scanning reads."""
    used = list(dict.fromkeys(finding.rule for finding in report.findings))
    told = {rule["id"]: rule for rule in _sarif_rules()}
    rules = [told.get(name, {"id": name}) for name in used]
    run = {
        "tool": {"driver": {"name": "alembic-job", "version": __version__, "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, used.index(finding.rule)) for finding in report.findings],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def _sarif_rules() -> list[dict[str, Any]]:
    ours = [
        {
            "id": rule.name,
            "shortDescription": {"text": rule.summary},
            "fullDescription": {"text": rule.why},
            "help": {"text": rule.fix},
            "defaultConfiguration": {"level": rule.level.word},
        }
        for rule in RULES
    ]
    return ours + [{"id": f"squawk/{name}", "shortDescription": {"text": words}} for name, words in SAID.items()]


def _result(finding: Finding, index: int) -> dict[str, Any]:
    place = {"artifactLocation": {"uri": quote(finding.file)}, "region": {"startLine": finding.line}}
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": finding.level.word,
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": place}],
        "properties": {"revision": finding.revision},
    }


FORMATS: dict[str, Callable[[Report, bool], str]] = {
    "text": as_text,
    "json": lambda report, _: as_json(report),
    "sarif": lambda report, _: as_sarif(report),
    "github": as_github,
}


def told(report: Report, form: str, colours: bool) -> str:
    """In one of `FORMATS`; `colours` only in text."""
    return FORMATS[form](report, colours)


def reaches(report: Report, level: str) -> bool:
    """True if a finding is as bad as the level of that word, or worse."""
    return report.reaches(Level[level.upper()])
