"""MIGRATE_LINT: `migrate` looks through the pending revisions before the first change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_job.errors import Refused
from alembic_job.gateways.project import Project
from alembic_job.gateways.scripts import all_scripts
from alembic_job.lint.model import Finding, Level
from alembic_job.lint.report import plural
from alembic_job.logs.events import Log
from alembic_job.pipeline.linting import BIG, NO_GRAMMAR, judged, postgres_major
from alembic_job.pipeline.linting_view import has_grammar, looked_up, view
from alembic_job.settings import Settings

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext


def before_change(
    settings: Settings,
    project: Project,
    context: MigrationContext,
    arguments: dict[str, Any],
    planned: tuple[str, ...],
    log: Log,
) -> None:
    """MIGRATE_LINT: what is wrong with pending revisions is said; raises `Refused` (26) for errors, if it says so."""
    remarks: list[str] = []
    try:
        findings = _of_planned(project, context, arguments, planned, remarks.append)
    except Exception as error:
        if settings.lint == "error":
            raise
        log.warning("lint.failed", reason=f"{type(error).__name__}: {error}")
        return
    for finding in findings:
        fields = finding.as_json()
        log.warning("lint.finding", severity=fields.pop("level"), **fields)
    errors = [finding for finding in findings if finding.level is Level.ERROR]
    log.info("lint.finished", revisions=len(planned), findings=len(findings), errors=len(errors), remarks=remarks)
    if errors and settings.lint == "error":
        names = ", ".join(f"{each.file}:{each.line} {each.rule}" for each in errors[:5])
        raise Refused(
            f"lint found {plural(len(errors), 'error')} in pending revisions: {names}" + (" …" if errors[5:] else ""),
            hint="correct them (`alembic-job lint --explain RULE` tells how), or silence one where it stands:"
            " # alembic-job: ignore[RULE] REASON; MIGRATE_LINT=warn goes on. Nothing was changed",
        )


def _of_planned(
    project: Project,
    context: MigrationContext,
    arguments: dict[str, Any],
    planned: tuple[str, ...],
    remark: Callable[[str], None],
) -> list[Finding]:
    """Warnings and errors of these revisions alone: the project's other scripts are no matter of this deployment."""
    if not has_grammar():
        remark(NO_GRAMMAR)
    tree = view(context, arguments, all_scripts(project), planned, Path.cwd())
    tree = replace(tree, database=looked_up(context, tree, planned, BIG))
    findings = judged(tree, planned, postgres_major(context), remark)
    return [finding for finding in findings if finding.revision in planned and finding.level > Level.NOTE]
