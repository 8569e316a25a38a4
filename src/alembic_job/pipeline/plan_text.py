"""A plan for people at a terminal, and the words in which all formats tell it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from alembic_job import human
from alembic_job.rules.plan import (
    BY_NOW,
    NOT_RENDERED,
    Plan,
    PlannedRevision,
    PlannedStatement,
    PlannedTable,
    TableLock,
    Worst,
)
from alembic_job.screen import plain

_LONGEST = 110  # characters of a statement
_RED, _YELLOW, _DIM, _BOLD = "31", "33", "2", "1"
BY_NOW_WORDS = "rendered against the database as it is now, before the revisions ahead of it have run"
NO_PARSER = "alembic-job[sql]"  # stands in the reason where the grammar is missing: a note says so once
Paint = Callable[[str, str], str]


def as_text(plan: Plan, *, colour: bool = False) -> str:
    """Compact: a line a statement, and what is remarkable of it below."""
    paint: Paint = (lambda code, text: f"\033[{code}m{text}\033[0m") if colour else (lambda code, text: text)
    lines = [line for table in plan.tables for line in _table_lines(table, paint)]
    if plan.pending:
        lines += ["", *(f"worst     {line}" for line in worst_words(plan.worst))]
    lines += [paint(_DIM, f"note      {plain(note)}") for note in plan.notes]
    return "\n".join(lines) or "env.py came to no version table"


def _table_lines(table: PlannedTable, paint: Paint) -> Iterator[str]:
    yield f"table     {plain(table.version_table)}"
    yield f"current   {plain(', '.join(table.current)) or '(nothing applied)'}"
    if table.unknown:
        yield f"unknown   {plain(', '.join(table.unknown))}: these scripts lack it (a newer image?)"
        return
    yield f"pending   {len(table.pending)}"
    said: tuple[str, ...] = ()
    for revision in table.pending:
        yield ""
        yield paint(_BOLD, f"{plain(revision.revision)}  {plain(revision.message)}  ({plain(revision.file)})")
        new = revision._replace(notes=tuple(note for note in revision.notes if note not in said))
        said = revision.notes  # once is enough where it holds for all that follow
        yield from (f"  {line}" for line in _revision_lines(new, paint))


def _revision_lines(revision: PlannedRevision, paint: Paint) -> Iterator[str]:
    for remark in revision_words(revision):
        yield paint(_YELLOW, f"! {plain(remark)}")
    for each in revision.statements:
        yield shortened(each.sql)
        severe = each.is_destructive or bool(each.strongest and each.strongest.blocks)
        for line in statement_words(each):
            yield paint(_RED if severe else _DIM, f"    {plain(line)}")
    if not revision.statements and revision.rendered != NOT_RENDERED:
        yield paint(_DIM, "executes nothing")


def revision_words(revision: PlannedRevision) -> list[str]:
    """What is to be known of the revision as a whole."""
    if revision.rendered == NOT_RENDERED:
        return [f"its SQL cannot be told: {revision.reason}", *revision.notes]
    words = [BY_NOW_WORDS] if revision.rendered == BY_NOW else []
    words += [f"took {duration(revision.took)} the last time"] if revision.took is not None else []
    return [*words, *revision.notes]


def statement_words(each: PlannedStatement) -> list[str]:
    """What a statement does, a line each; nothing for one that nobody notices."""
    words = [lock_words(lock) for lock in each.locks]
    words += [f"rewrites {name}" for name in each.rewrites]
    words += [f"reads all of {name}" for name in each.scans if name not in each.rewrites]
    if each.row_locks:
        rows = "some rows" if each.row_locks.rows is None else row_count(each.row_locks.rows)
        words.append(f"locks {rows} of {each.row_locks.relation}")
    words += [finding.text for finding in each.findings if not each.unknown or finding.why != each.unknown]
    if each.loses and not each.findings:
        words.append(f"loses {', '.join(each.loses)}")
    if each.new:
        words.append(f"{', '.join(each.new)}: made by this plan, nobody waits for it")
    words += ["outside of a transaction"] if each.alone else []
    words += [f"estimate: {duration(each.seconds)}"] if each.seconds >= 1 else []
    words += [f"cannot be told: {each.unknown}"] if each.unknown and NO_PARSER not in each.unknown else []
    return [*words, *each.notes]


def lock_words(lock: TableLock) -> str:
    blocks = f"blocks {' and '.join(lock.blocks)}" if lock.blocks else "reads and writes go on"
    return f"{lock.mode.sql} on {lock.relation}{extent(lock)}: {blocks}"


def extent(lock: TableLock) -> str:
    """` (1.2 GiB, about 3,000,000 rows)`; empty where it is not known."""
    known = [human.size(lock.size, whole=("B", "KiB"))] if lock.size is not None else []
    known += [row_count(lock.rows)] if lock.rows is not None else []
    return f" ({', '.join(known)})" if known else ""


def worst_words(worst: Worst) -> list[str]:
    """The worst case, a line each."""
    none = "no table that is there now is locked" + (", as far as it can be told" if worst.unknown else "")
    words = [plain(lock_words(worst.lock)) if worst.lock else none]
    words += [f"rewrites {plain(', '.join(worst.rewrites))}"] if worst.rewrites else []
    words += [f"reads all of {plain(', '.join(worst.scans))}"] if worst.scans else []
    if worst.row_locks and worst.row_locks.rows:
        words.append(f"locks {row_count(worst.row_locks.rows)} of {plain(worst.row_locks.relation)}")
    for number, what in (
        (worst.destructive, "may lose data"),
        (worst.refused, "would fail on the data that is there"),
        (worst.unknown, "cannot be told"),
    ):
        words += [f"{number} {'statement' if number == 1 else 'statements'}: {what}"] if number else []
    if worst.seconds >= 1:
        held = f", locks held for up to {duration(worst.held)}" if worst.held >= 1 else ""
        words.append(f"estimate: {duration(worst.seconds)}{held}")
    return words


def shortened(sql: str) -> str:
    text = plain(" ".join(sql.split()))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def plain_lines(text: str) -> str:
    """The same with its lines kept."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(
        "".join(each if each.isprintable() or each == "\t" else f"\\u{ord(each):04x}" for each in line)
        for line in lines
    )


def row_count(rows: int) -> str:
    """An estimate."""
    return f"about {rows:,} {'row' if rows == 1 else 'rows'}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min`, `2.5 h`."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
