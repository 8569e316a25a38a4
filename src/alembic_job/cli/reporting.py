"""`report`: a page of a run from its log."""

from __future__ import annotations

import click

from alembic_job.errors import UsageError


@click.command()
@click.argument("log", default="-")
@click.option("--run", "run_id", metavar="ID", help="the run whose id begins so; else the last one in the log")
def report(log: str, run_id: str | None) -> None:
    """A run's JSON log as one HTML page, also of a run that was killed; to stdout."""
    from alembic_job.pipeline.report.logged import from_log
    from alembic_job.pipeline.report.ran import as_html

    try:
        with click.open_file(log, encoding="utf-8", errors="backslashreplace") as lines:
            run = from_log(lines, run_id)
    except OSError as error:
        raise UsageError(f"{log}: {error.strerror}", hint="name the file with the run's log, or - for stdin") from error
    click.echo(as_html(run), nl=False)
