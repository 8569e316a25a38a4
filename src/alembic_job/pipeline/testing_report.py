"""What a test of the revisions found: as values for machines, a line a revision for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alembic_job.pipeline.testing_leg import Script
from alembic_job.pipeline.testing_verdicts import Verdicts

_SIGNS = {"ok": "ok", "failed": "FAILED", "one way": "one way", "not reached": "not reached", "applied": "applied"}


def report_of(
    scripts: tuple[Script, ...],
    below: frozenset[str],
    verdicts: Verdicts,
    unreached: dict[str, str],
    models: dict[str, Any],
    where: dict[str, Any],
) -> dict[str, Any]:
    """`below` were only applied; `unreached` are revisions below which another one fails."""
    revisions = [_revision(script, below, verdicts, unreached) for script in scripts]
    outcomes = [each["outcome"] for each in revisions]
    return {
        **where,
        "revisions": revisions,
        "models": models,
        "summary": {name: outcomes.count(name) for name in _SIGNS},
    }


def _revision(script: Script, below: frozenset[str], verdicts: Verdicts, unreached: dict[str, str]) -> dict[str, Any]:
    revision = script.revision
    findings, reason = verdicts.findings.get(revision, []), None
    outcome = "failed" if findings else "applied" if revision in below else "ok"
    if revision in unreached:
        outcome, reason = "not reached", f"it builds upon {unreached[revision]}"
    elif revision in verdicts.one_way and not findings:
        outcome, reason = "one way", verdicts.one_way[revision]
    return {**script.words, "outcome": outcome, "reason": reason, "findings": findings}


def has_findings(found: dict[str, Any], strict: bool) -> bool:
    """True for a revision that fails, for models that differ, and if `strict` for a revision without a way back."""
    summary = found["summary"]
    return bool(summary["failed"] or found["models"]["differences"] or (strict and summary["one way"]))


def as_text(found: dict[str, Any]) -> str:
    """The same for people."""
    return "\n".join(_lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"tested on {found['server']}"
    if data := found.get("data"):
        yield f"with {data['rows']:,} rows of {data['tables']} tables, copied from {data['database']}; the copy is gone"
    yield from found["notes"]
    yield ""
    width = max((len(each["revision"]) for each in found["revisions"]), default=0)
    for each in found["revisions"]:
        reason = f": {each['reason']}" if each["reason"] else ""
        yield f"{_SIGNS[each['outcome']]:<12}{each['revision']:<{width}}  {each['message']}  ({each['file']}){reason}"
        for finding in each["findings"]:
            yield from (f"{'':<12}{line}" for line in told(finding))
    models, summary = found["models"], found["summary"]
    yield ""
    if models["differences"]:
        yield from (f"{'models' if number == 0 else '':<12}{text}" for number, text in enumerate(models["differences"]))
    else:
        yield f"{'models':<12}{'the same as the database at head' if models['compared'] else models['reason']}"
    counts = ", ".join(f"{count} {name}" for name, count in summary.items() if count) or "no revisions"
    yield f"{'revisions':<12}{counts}"


def told(finding: dict[str, Any]) -> Iterator[str]:
    """One finding, for people."""
    yield finding["message"]
    if "statement" in finding:
        yield f"the statement: {' '.join(finding['statement'].split())}"
    yield from (f"  {line}" for line in finding.get("diff", ()))
    yield from (f"  {table['text']}" for table in finding.get("tables", ()))
