"""A plan as a comment of a pull request: a table of the revisions, and the SQL of each to be opened.

Everything that comes from the scripts or the database stands in `<code>` as character references, or in a fence that is
longer than any run of backticks in it: it cannot end the cell or the block that it is in, nor mention anybody.
"""

from __future__ import annotations

import re

from alembic_job.pipeline.plan_text import (
    duration,
    lock_words,
    plain_lines,
    revision_words,
    statement_words,
    worst_words,
)
from alembic_job.rules.plan import NOT_RENDERED, Plan, PlannedRevision, PlannedTable, Worst
from alembic_job.screen import plain

_LONGEST, _LONGEST_TABLE = 60_000, 40_000  # characters; GitHub takes 65,536
_SAFE = re.compile(r"[^A-Za-z0-9 ,]")


def as_markdown(plan: Plan) -> str:
    """The whole comment; where it would be too long, details of the last revisions are left out, which is said."""
    if not plan.tables:
        return "env.py came to no version table\n"
    head = "\n".join([f"### Migration plan: {plan.pending} pending", "", *_summary(plan)])
    parts, left, out = [head], _LONGEST - len(head), 0
    for table in plan.tables:
        for revision in table.pending:
            part = _details(revision)
            out += len(part) > left
            if not out:
                parts.append(part)
                left -= len(part)
    if out:
        parts.append(f"The SQL of {out:,} more revisions is left out: `alembic-job plan --format sql` has it.")
    return "\n\n".join(parts) + "\n"


def _summary(plan: Plan) -> list[str]:
    lines = []
    if plan.pending:
        lines += [*(f"- {_code(line)}" for line in worst_words(plan.worst)), ""]
    for table in plan.tables:
        lines += [*_table(table, _LONGEST_TABLE // len(plan.tables)), ""]
    return lines + [f"<sub>{_code(note)}</sub>\n" for note in plan.notes]


def _table(table: PlannedTable, left: int) -> list[str]:
    current = ", ".join(table.current) or "nothing applied"
    lines = [f"Version table {_code(table.version_table)}, at {_code(current)}", ""]
    if table.unknown:
        return [*lines, f"It holds {_code(', '.join(table.unknown))}, which these scripts lack."]
    if not table.pending:
        return [*lines, "Nothing is pending."]
    rows = []
    for number, revision in enumerate(table.pending):
        rows.append(_row(revision))
        left -= len(rows[-1])
        if left < 0:
            rows[-1] = f"| and {len(table.pending) - number:,} more | | | | | |"
            break
    return [*lines, "| revision | | strongest lock | rewrites | data | estimate |", "|-|-|-|-|-|-|", *rows]


def _row(revision: PlannedRevision) -> str:
    worst = revision.worst
    cells = [
        _code(revision.revision),
        _code(revision.message),
        _code(lock_words(worst.lock)) if worst.lock else "-",
        _code(", ".join(worst.rewrites)) if worst.rewrites else "-",
        _data(revision, worst),
        duration(worst.seconds) if worst.seconds >= 1 else "-",
    ]
    return f"| {' | '.join(cells)} |"


def _data(revision: PlannedRevision, worst: Worst) -> str:
    if revision.rendered == NOT_RENDERED:
        return "**cannot be told**"
    words = ["**may lose data**"] if worst.destructive else []
    words += ["**would fail on the data**"] if worst.refused else []
    return ", ".join(words) or "-"


def _details(revision: PlannedRevision) -> str:
    lines = [f"<details><summary>{_code(revision.revision)} {_code(revision.message)}</summary>", ""]
    lines += [_code(revision.file), "", *(f"- {_code(words)}" for words in revision_words(revision)), ""]
    for each in revision.statements:
        lines += [*_fenced(each.sql), "", *(f"- {_code(words)}" for words in statement_words(each)), ""]
    return "\n".join([*lines, "</details>"])


def _fenced(sql: str) -> list[str]:
    text = plain_lines(sql)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sql", text, fence]


def _code(text: str) -> str:
    """Inert, in a cell too."""
    return f"<code>{_SAFE.sub(lambda found: f'&#{ord(found[0])};', plain(text))}</code>"
