"""A plan as a script for psql: what `alembic upgrade --sql` would write, without what it could not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from alembic_job.pipeline.plan_text import BY_NOW_WORDS
from alembic_job.rules.plan import BY_NOW, NOT_RENDERED, Plan, PlannedRevision, PlannedTable
from alembic_job.screen import plain

_MISSING = "DO $missing$ BEGIN RAISE EXCEPTION 'this script lacks a revision: see the comment above'; END $missing$"


def as_sql(plan: Plan) -> str:
    """The script. A revision that could not be rendered is a comment, and an error for who executes it all the same."""
    missing = [each.revision for table in plan.tables for each in table.pending if each.rendered == NOT_RENDERED]
    lines = [_comment(f"incomplete: {', '.join(missing)} could not be rendered")] if missing else []
    for table in plan.tables:
        lines.append(_comment(f"version table {table.version_table}: {len(table.pending)} pending"))
        lines += _table_lines(table)
    return "\n\n".join(lines)


def _table_lines(table: PlannedTable) -> Iterator[str]:
    if not table.pending:
        return
    groups = [[each] for each in table.pending] if table.transaction == "per-revision" else [list(table.pending)]
    made: Iterable[str] = table.bookkeeping
    for group in groups:
        begin, commit = ([], []) if table.transaction == "none" else (["BEGIN;"], ["COMMIT;"])
        yield from begin
        yield from map(_ended, made)
        made = ()
        for revision in group:
            yield from _revision_lines(revision, bool(begin))
        yield from commit


def _revision_lines(revision: PlannedRevision, in_transaction: bool) -> Iterator[str]:
    yield _comment(f"Running upgrade to {revision.revision}: {revision.message}")
    if revision.rendered == BY_NOW:
        yield _comment(BY_NOW_WORDS)
    if revision.rendered == NOT_RENDERED:
        yield _comment(f"not rendered: {revision.reason}")
        yield _ended(_MISSING)
    alone = False
    for each in revision.statements:
        if in_transaction and each.alone != alone:
            yield "COMMIT;" if each.alone else "BEGIN;"
        alone = each.alone
        yield _ended(each.sql)
    if in_transaction and alone:
        yield "BEGIN;"
    yield from map(_ended, revision.bookkeeping)


def _comment(text: str) -> str:
    return f"-- {plain(text)}"


def _ended(sql: str) -> str:
    """With its semicolon, on a line of its own where a comment would swallow it."""
    text = sql.rstrip().removesuffix(";")
    return f"{text}\n;" if "--" in text.rpartition("\n")[2] else f"{text};"
