"""`test`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from alembic_job.cli import options
from alembic_job.cli.running import late, prepared


@click.command("test")
@click.option("--from", "first", metavar="REV", help="the first to be tried: what it builds upon is only applied")
@click.option("--strict", is_flag=True, help="exit 3 also for a revision without a way back")
@click.option("--list", "only_list", is_flag=True, help="only name the revisions that would be tried, as JSON")
@click.option("--json", "as_json", is_flag=True, help="one JSON object")
@options.some("database_url", "to", "search_path", "rehearsal_url", "pg_bindir", "history_schema", "deadline")
@click.pass_context
def test(
    context: click.Context, /, first: str | None, strict: bool, only_list: bool, as_json: bool, **given: Any
) -> int:
    """Try each revision in an empty scratch database: up, down, up; then compare the models. Needs no database."""
    from alembic_job.cli.output import answer
    from alembic_job.watch import release_signals

    settings, log, redactor = prepared(context, given)
    found: dict[str, Any] = {}

    def listed() -> str:
        scripts, below = late("pipeline.testing.chosen")(settings, log, first)
        return json.dumps([script.words for script in scripts if script.revision not in below])

    def tested() -> str:
        asked = late("pipeline.testing.Asked")(first, sys.stderr.isatty())
        found.update(late("pipeline.testing.test")(settings, log, redactor.add, asked))
        text = late("pipeline.testing_report.as_text")
        return json.dumps(found, indent=2, ensure_ascii=False) if as_json else str(text(found))

    if only_list:
        release_signals()
        click.echo(answer(listed, log, redactor))
        return 0
    click.echo(answer(tested, log, redactor))
    return 3 if late("pipeline.testing_report.has_findings")(found, strict) else 0


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
