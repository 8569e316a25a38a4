"""A plan as a page: the worst case first, then each revision with its SQL and what that does."""

from __future__ import annotations

import time
from typing import NamedTuple

from markupsafe import Markup

from alembic_job.pipeline.plan_text import duration, lock_words, revision_words, row_count, statement_words
from alembic_job.pipeline.report.graph import graph
from alembic_job.pipeline.report.page import render
from alembic_job.pipeline.report.parts import Fact, Listed, Revision, Shown, Statement
from alembic_job.pipeline.report.sql import highlighted
from alembic_job.pipeline.report.text import count, moment
from alembic_job.rules.plan import NOT_RENDERED, Plan, PlannedRevision, PlannedStatement, PlannedTable, Worst

_TRANSACTIONS = {"all": "One transaction for all.", "none": "No transactions."}


class Table(NamedTuple):
    """A version table and its pending revisions."""

    name: str
    current: str
    remark: str
    listed: Listed


def as_html(plan: Plan, *, where: str = "", settings: list[tuple[str, str, str]] | None = None) -> str:
    """The page; `where` names the database, `settings` are names, values without secrets, and origins."""
    worst = plan.worst
    state, badge = _state(plan, worst)
    return render(
        "plan",
        title=f"Migration plan: {f'{plan.pending:,}' if plan.pending else 'nothing'} pending",
        state=state,
        badge=badge,
        where=where,
        headline="The worst case" if plan.pending else "Nothing would be changed",
        facts=_facts(plan, worst) if plan.pending else [],
        tables=[_table(table) for table in plan.tables],
        notes=plan.notes,
        settings=settings or [],
        written=moment(time.time()),
    )


def _state(plan: Plan, worst: Worst) -> Shown:
    if any(table.unknown for table in plan.tables):
        return "bad", "The database is ahead"
    if not plan.tables:
        return "warn", "No version table"
    if not plan.pending:
        return "good", "✓ Nothing is pending"
    if worst.refused:
        return "bad", "✕ Would fail on the data that is there"
    if worst.destructive:
        return "bad", "! May lose data"
    if worst.lock is not None and worst.lock.blocks:
        return "warn", f"! Blocks {' and '.join(worst.lock.blocks)}"
    if worst.unknown:
        return "warn", "? Not all of it can be told"
    return "good", "✓ Nobody waits for it, as far as is known"


def _facts(plan: Plan, worst: Worst) -> list[Fact]:
    """Name, value, and the class of each fact of the worst case."""
    lock = worst.lock
    facts = [("Revisions", f"{plan.pending:,}", "")]
    facts += [("Strongest lock", lock_words(lock) if lock else "none on a table that is there now", _lock_kind(worst))]
    facts += [("Writes anew", _some(worst.rewrites), "warn")] if worst.rewrites else []
    facts += [("Reads all of", _some(worst.scans), "")] if worst.scans else []
    if worst.row_locks and worst.row_locks.rows:
        facts += [("Locks rows", f"{row_count(worst.row_locks.rows)} of {worst.row_locks.relation}", "")]
    for number, what in ((worst.destructive, "May lose data"), (worst.refused, "Would fail on the data")):
        facts += [(what, count(number, "statement"), "bad")] if number else []
    facts += [("Cannot be told", count(worst.unknown, "statement"), "warn")] if worst.unknown else []
    facts += [("Estimate", duration(worst.seconds), "")]
    facts += [("Locks held for up to", duration(worst.held), "warn")] if worst.held >= 1 else []
    return facts


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 5 else f"{len(names):,} tables: {', '.join(names[:3])}, …"


def _lock_kind(worst: Worst) -> str:
    return "warn" if worst.lock is not None and worst.lock.blocks else ""


def _table(table: PlannedTable) -> Table:
    width, pictures = graph([(each.revision, each.follows) for each in table.pending])
    revisions = [_revision(each, picture) for each, picture in zip(table.pending, pictures, strict=True)]
    current = ", ".join(table.current)
    return Table(table.version_table, current, _remark(table), Listed(width, revisions))


def _remark(table: PlannedTable) -> str:
    if table.unknown:
        return f"It holds {', '.join(table.unknown)}, which these scripts lack (a newer image?)."
    if not table.pending:
        return "Nothing is pending."
    return f"{table.pending[-1].revision} will be the last. {_TRANSACTIONS.get(table.transaction, '')}"


def _revision(each: PlannedRevision, picture: Markup) -> Revision:
    worst = each.worst
    chips: list[Shown] = []
    if each.rendered == NOT_RENDERED:
        chips.append(("cannot be told", "warn"))
    if worst.refused:
        chips.append(("would fail on the data", "bad"))
    if worst.destructive:
        chips.append(("may lose data", "bad"))
    if worst.lock is not None:
        chips.append((f"{worst.lock.mode.sql} on {worst.lock.relation}", _lock_kind(worst)))
    chips += [(f"writes {name} anew", "warn") for name in worst.rewrites]
    seconds = duration(each.seconds) if each.seconds >= 1 else ""
    statements = [_statement(statement) for statement in each.statements]
    remarks = revision_words(each)
    said = "" if remarks else "It executes nothing."
    rest = (statements, said, tuple(remarks))
    return Revision(picture, each.revision, each.message, each.file, chips, seconds, *rest)


def _statement(each: PlannedStatement) -> Statement:
    blocks = bool(each.strongest and each.strongest.blocks)
    kind = "alarm" if each.is_destructive else "care" if blocks or each.unknown else ""
    return Statement(highlighted(each.sql), [(words, kind) for words in statement_words(each)])
