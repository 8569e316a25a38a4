"""Rules over revisions: findings, without those that a comment silences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from alembic_job.lint.ignores import ignores
from alembic_job.lint.model import Finding, Revision, Rule, Spot, Tree
from alembic_job.lint.rules import RULES, ignore_without_reason, unused_ignore

_BEYOND = "squawk/"


def judge(tree: Tree, asked: Iterable[str], beside: Iterable[Finding] | None = None) -> list[Finding]:
    """What the rules find in the revisions `asked`, and in the project, in the order of files and lines.

    `beside` are further findings, squawk's, which comments silence as well; `None` where there was nobody to ask.
    """
    wanted = set(asked)
    others: dict[str, list[Finding]] = {}
    for finding in beside or ():
        others.setdefault(finding.file, []).append(finding)
    found: dict[Finding, None] = {}
    for revision in tree.revisions:
        whole = revision.revision in wanted
        rules = [rule for rule in RULES if whole or rule.of_tree]
        mine = [*_findings(revision, tree, rules), *others.get(revision.file, ())]
        found |= dict.fromkeys(_left(revision, mine, whole, beside is not None))
    return sorted(found, key=lambda finding: (finding.file, finding.line, finding.rule, finding.message))


def _findings(revision: Revision, tree: Tree, rules: Iterable[Rule]) -> Iterator[Finding]:
    for rule in rules:
        for spot in rule.check(revision, tree):
            yield _finding(rule, revision, spot)


def _finding(rule: Rule, revision: Revision, spot: Spot) -> Finding:
    return Finding(rule.name, rule.level, spot.message, revision.file, max(spot.line, 1), revision.revision)


def _left(revision: Revision, findings: list[Finding], whole: bool, with_others: bool) -> Iterator[Finding]:
    """What no comment silences; and, of a revision that was looked at as a whole, what is wrong with the comments."""
    comments = ignores(revision.source)
    for finding in findings:
        if not [comment for comment in comments if comment.silences(finding.rule, finding.line)]:
            yield finding
    if not whole:
        return
    yield from (_finding(ignore_without_reason.RULE, revision, s) for s in ignore_without_reason.spots(comments))
    if not (revision.up.reason or revision.down.reason):
        known = {rule.name: not rule.needs for rule in RULES}
        yield from (
            _finding(unused_ignore.RULE, revision, spot)
            for comment in comments
            for spot in unused_ignore.spots(comment, lambda name: known.get(name, _of_others(name, with_others)))
        )


def _of_others(name: str, with_others: bool) -> bool | None:
    """Whether it was looked for; `None` if there is no such rule."""
    return with_others if name.startswith(_BEYOND) else None
