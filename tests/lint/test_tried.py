"""What `alembic-job test` finds of the planted defects, in the sample project."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alembic_job.gateways.embedded import Server
from alembic_job.lint.rules import RULES
from tests.conftest import Result, run_job
from tests.lint.defects import DEFECTS, FORK, TWIN, Defect
from tests.lint.test_defects import HEAD, plant
from tests.lint.tried import MODELS, STUCK, TRIED

BRANCHES = tuple(replace(each, after=HEAD) for each in (*DEFECTS, *STUCK) if each.tested)


def tried(folder: Path, server: Server, *args: str) -> tuple[Result, dict[str, Any]]:
    env = {"MIGRATE_REHEARSAL_URL": server.url(), "MIGRATE_PG_BINDIR": str(server.bin)}
    result = run_job("test", "--json", *args, cwd=folder, env=env)
    assert result.code in (0, 3), result.err
    return result, json.loads(result.out)


def said(each: dict[str, Any]) -> dict[str, str]:
    """All that is told of a revision, by the kind of finding or the outcome."""
    texts = {finding["kind"]: [finding["message"], *finding.get("diff", ())] for finding in each["findings"]}
    return {each["outcome"]: each["reason"] or ""} | {kind: "\n".join(lines) for kind, lines in texts.items()}


def test_the_sample_project_passes(sample: Path, pg18: Server) -> None:
    """Each revision up, down, up, and the models: nothing is found in the sample project as it is."""
    result, found = tried(sample, pg18)
    assert result.code == 0
    assert {each["outcome"] for each in found["revisions"]} == {"ok"} and len(found["revisions"]) == 11
    assert found["models"] == {"compared": True, "reason": None, "differences": []} and found["notes"] == []


@pytest.mark.thorough
def test_every_planted_defect_is_reported(sample: Path, pg18: Server) -> None:
    """Thirty and more revisions, each with a defect, are tried in one go."""
    planted = plant(sample, TRIED, name="t") | plant(sample, BRANCHES, name="b")
    _, found = tried(sample, pg18, "--from", HEAD)
    by_file = {each["file"]: each for each in found["revisions"]}
    missed = {
        file: said(by_file[file])
        for file, defect in planted.items()
        if defect.words not in said(by_file[file]).get(defect.tested, "")
    }
    assert missed == {}
    assert {each["outcome"] for file, each in by_file.items() if file not in planted} == {"applied", "ok"}


@pytest.mark.thorough
def test_models_out_of_step_are_reported(sample: Path, pg18: Server) -> None:
    """A dozen edits of the models, each of which is told, and nothing else."""
    for edit in MODELS:
        file = sample / "app" / "models" / f"{edit.file}.py"
        assert edit.old in file.read_text(), edit
        file.write_text(file.read_text().replace(edit.old, edit.new))
    result, found = tried(sample, pg18, "--from", HEAD)
    also = "drop constraint fk_orders_user_id_users on orders"  # half of the foreign key's
    assert sorted(found["models"]["differences"]) == sorted([*(edit.words for edit in MODELS if edit.words), also])
    assert result.code == 3


def test_each_defect_has_its_finder() -> None:
    """Forty and more, each of which lint or `test` has to find, a dozen kinds by `test`; each rule of lint has two."""
    everything: tuple[Defect, ...] = (*DEFECTS, *FORK, *TWIN, *TRIED, *STUCK)
    assert [each for each in everything if not (each.rule or each.tested)] == []
    assert all(bool(each.words) == bool(each.tested) for each in everything)
    assert len(everything) + len(MODELS) >= 40
    found = {"lint": {each for each in everything if each.rule}, "test": {each for each in everything if each.tested}}
    assert len(found["lint"]) >= 40 and len(found["test"]) >= 30 and len({each.words for each in found["test"]}) >= 12
    rules = [each.rule for each in everything]
    assert [rule.name for rule in RULES if not rule.needs and rules.count(rule.name) < 2] == []
