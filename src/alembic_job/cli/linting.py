"""`lint`."""

from __future__ import annotations

from typing import Any

import click

from alembic_job.cli import options
from alembic_job.cli.running import ask, late
from alembic_job.errors import UsageError

_FORMATS = ("text", "json", "sarif", "github")
_LEVELS = ("error", "warning", "note", "never")


@click.command()
@click.argument("revisions", nargs=-1)
@click.option("--pending", is_flag=True, help="what the database lacks; the default where DATABASE_URL is set")
@click.option("--since", metavar="REV", help="what is not in REV: for a pull request, the head of the main branch")
@click.option("--all", "every", is_flag=True, help="all revisions; the default without DATABASE_URL")
@click.option("--offline", is_flag=True, help="do not connect to the database")
@click.option("--format", "form", type=click.Choice(_FORMATS), default="text", help="[default text]")
@click.option("--json", "as_json", is_flag=True, help="the same as --format json")
@click.option(
    "--fail-on", type=click.Choice(_LEVELS), default="error", help="exit 3 for findings from here on  [default error]"
)
@click.option("--big-table", metavar="SIZE", help="from here on a table is large  [default 256MiB]")
@click.option("--explain", metavar="RULE", help="only tell why that rule is one, and what to do; all: list the rules")
@options.some(*options.QUESTION_NAMES, "history_schema")
@click.pass_context
def lint(context: click.Context, /, form: str, as_json: bool, fail_on: str, explain: str | None, **given: Any) -> int:
    """Find what is wrong with revisions before they run: REVISIONS are ids, ranges A:B, head."""
    if explain is not None:
        click.echo(late("lint.explained.explained")(explain))
        return 0
    asked = _asked(given)
    form = "json" if as_json else form
    found: list[Any] = []
    coloured = late("cli.output.colours")()  # env.py may put something else in stdout's place

    def produce(settings: Any, log: Any) -> str:
        report = late("pipeline.linting.lint")(settings, log, late("pipeline.linting.Asked")(**asked))
        found.append(report)
        return str(late("lint.report.told")(report, form, coloured))

    ask(context, given, produce)
    return 3 if fail_on != "never" and late("lint.report.reaches")(found[0], fail_on) else 0


def _asked(given: dict[str, Any]) -> dict[str, Any]:
    names = ("revisions", "pending", "since", "every", "offline")
    asked = {name: given.pop(name) for name in names}
    if sum(bool(asked[name]) for name in names[:4]) > 1:
        raise click.UsageError("REVISIONS, --pending, --since and --all exclude each other")
    if asked["offline"] and asked["pending"]:
        raise click.UsageError("--pending needs the database: leave --offline out")
    if size := given.pop("big_table"):
        from alembic_job.settings.values import size_or_off

        try:
            asked["big"] = size_or_off(size) or 2**62
        except ValueError as error:
            raise UsageError(f"--big-table {size}: it takes {error}") from error
    return asked
