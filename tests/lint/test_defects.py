"""Each planted defect is found at its line; nothing is found where there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic_job.lint.model import Finding
from alembic_job.lint.report import Report
from alembic_job.lint.rules import RULES
from alembic_job.pipeline.linting import Asked, lint
from alembic_job.settings import Settings
from tests.lint.defects import DEFECTS, FINE, FORK, TWIN, Defect, line_marked
from tests.lint.tried import STUCK, TRIED

HEAD = "f50b9e6132cd"


class Silent:
    """A log that nobody reads."""

    def debug(self, event: str, **fields: Any) -> None: ...

    info = warning = error = debug


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def linted(folder: Path, **asked: Any) -> Report:
    """Without a database, in this process."""
    with inside(folder):
        return lint(Settings(), Silent(), Asked(offline=True, **asked))


def plant(folder: Path, defects: tuple[Defect, ...], first: str = HEAD, name: str = "d") -> dict[str, Defect]:
    """Writes revisions that follow each other; each file's name with what is wrong in it."""
    planted, down = {}, first
    for number, defect in enumerate(defects):
        revision = f"{name}{number}"
        file = f"alembic/versions/20260101_{revision}_defect.py"
        (folder / file).write_text(defect.script(revision, down))
        planted[file] = defect
        down = revision
    return planted


def is_found(file: str, script: str, defect: Defect, findings: tuple[Finding, ...]) -> bool:
    lines = [finding.line for finding in findings if finding.rule == defect.rule and finding.file == file]
    return bool(lines) and line_marked(script) in (None, *lines)


def test_the_sample_project_is_clean(sample: Path) -> None:
    """Nothing is found in the sample project as it is, and nothing was left out."""
    report = linted(sample)
    assert (report.findings, report.remarks, report.revisions) == ((), (), 11)


def test_every_planted_defect_is_found(sample: Path) -> None:
    """Sixty and more revisions, each with a defect, are looked at in one go; of some only `test` can tell."""
    defects = (*DEFECTS, *TRIED, *STUCK)
    planted = plant(sample, defects)
    report = linted(sample, since=HEAD)
    assert report.revisions == len(defects) and report.remarks == ()
    missed = [
        (file, defect.rule)
        for file, defect in planted.items()
        if defect.rule and not is_found(file, (sample / file).read_text(), defect, report.findings)
    ]
    assert missed == []
    assert not [finding for finding in report.findings if finding.file not in planted]


def test_defects_of_the_whole_project_are_found(sample: Path) -> None:
    """Two heads, and an id that two files have; said whatever was asked for."""
    planted = plant(sample, FORK[:1], name="left") | plant(sample, FORK[1:], name="right")
    twins = plant(sample, TWIN[:1], first="left0", name="twin")
    twin = sample / "alembic/versions/20260101_twin_again.py"
    twin.write_text(TWIN[1].script("twin0", "left0"))
    report = linted(sample, revisions=("8d2f4c1a9b70",))
    found = {(finding.rule, Path(finding.file).name) for finding in report.findings}
    left, right = (Path(file).name for file in planted)
    [first] = (Path(file).name for file in twins)
    assert found == {
        ("duplicate-revision", first),
        ("duplicate-revision", twin.name),
        ("multiple-heads", right),
        ("multiple-heads", twin.name),
    }, left


def test_nothing_is_found_where_nothing_is_wrong(sample: Path) -> None:
    """Ways to write revisions that look like defects, and are none."""
    head = '"""A change."""\n\nimport sqlalchemy as sa\nimport sqlalchemy.orm\nfrom alembic import op\n\n'
    down = HEAD
    for number, text in enumerate(FINE):
        names = f'revision = "f{number}"\ndown_revision = "{down}"\n\n'
        (sample / f"alembic/versions/f{number}.py").write_text(head + names + text)
        down = f"f{number}"
    assert linted(sample, since=HEAD).findings == ()


def test_each_rule_is_planted_twice() -> None:
    """But for those that need a database, which tests of their own find."""
    counts = {rule.name: 0 for rule in RULES if not rule.needs}
    for defect in (*DEFECTS, *FORK, *TWIN):
        counts[defect.rule] = counts.get(defect.rule, 0) + 1
    assert {name: count for name, count in counts.items() if count < 2 and not name.startswith("squawk/")} == {}
    assert sum(counts.values()) >= 40
