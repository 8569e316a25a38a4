"""`test`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from alembic_job.cli import options
from alembic_job.cli.running import late, prepared
from alembic_job.errors import UsageError

_ROWS = 1_000  # of each table


@click.command("test")
@click.option("--from", "first", metavar="REV", help="the first to be tried: what it builds upon is only applied")
@click.option("--strict", is_flag=True, help="exit 3 also for a revision without a way back")
@click.option("--list", "only_list", is_flag=True, help="only name the revisions that would be tried, as JSON")
@click.option("--data", is_flag=True, help="try what is pending on some of the database's rows, in a scratch database")
@click.option("--data-rows", type=click.IntRange(min=1), metavar="N", help="up to so many rows a table; default 1,000")
@click.option("--json", "as_json", is_flag=True, help="one JSON object")
@options.some(*options.QUESTION_NAMES, "to", "rehearsal_url", "pg_bindir", "history_schema", "deadline")
@click.pass_context
def test(
    context: click.Context,
    /,
    first: str | None,
    strict: bool,
    only_list: bool,
    data: bool,
    data_rows: int | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Try each revision in an empty scratch database: up, down, up; then compare the models. Needs no database.

    With --data: the pending ones, on a copy of some of the database's rows.
    """
    from alembic_job.cli.output import answer
    from alembic_job.watch import release_signals

    _check_data(data, data_rows, first)
    settings, log, redactor = prepared(context, given)
    found: dict[str, Any] = {}

    def listed() -> str:
        if data:
            return json.dumps([script.words for script in late("pipeline.testing_sampled.listed")(settings, log)])
        scripts, below = late("pipeline.testing.chosen")(settings, log, first)
        return json.dumps([script.words for script in scripts if script.revision not in below])

    def tested() -> str:
        asked = late("pipeline.testing.Asked")(first, sys.stderr.isatty(), (data_rows or _ROWS) if data else None)
        found.update(late("pipeline.testing.test")(settings, log, redactor.add, asked))
        text = late("pipeline.testing_report.as_text")
        return json.dumps(found, indent=2, ensure_ascii=False) if as_json else str(text(found))

    if only_list:
        release_signals()
        click.echo(answer(listed, log, redactor))
        return 0
    click.echo(answer(tested, log, redactor))
    return 3 if late("pipeline.testing_report.has_findings")(found, strict) else 0


def _check_data(data: bool, rows: int | None, first: str | None) -> None:
    """Raises `UsageError` for what does not go together."""
    if data and first is not None:
        raise UsageError(
            f"--from {first} cannot go with --data: only what is pending can be tried on the database's rows",
            hint="leave --from out; --to says how far to go",
        )
    if rows is not None and not data:
        raise UsageError("--data-rows needs --data")


def drift(context: click.Context, given: dict[str, Any], as_json: bool) -> int:
    """`check --live`: the exit code."""
    from alembic_job.cli.output import answer

    settings, log, redactor = prepared(context, given)
    found: dict[str, Any] = {}

    def produce() -> str:
        found.update(late("pipeline.drifting.drift")(settings, log, redactor.add))
        text = late("pipeline.drifting.as_text")
        return json.dumps(found, indent=2, ensure_ascii=False) if as_json else str(text(found))

    click.echo(answer(produce, log, redactor))
    return 3 if found["differences"] else 0


COMMANDS = (test,)
