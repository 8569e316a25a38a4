"""`report`: a page of a run from its log."""

from __future__ import annotations

from typing import TextIO

import click


@click.command()
@click.argument("log", type=click.File(errors="backslashreplace"), default="-")
@click.option("--run", "run_id", metavar="ID", help="the run whose id begins so; else the last one in the log")
def report(log: TextIO, run_id: str | None) -> None:
    """A run's JSON log as one HTML page, also of a run that was killed; to stdout."""
    from alembic_job.pipeline.report.logged import from_log
    from alembic_job.pipeline.report.ran import as_html

    click.echo(as_html(from_log(log, run_id)), nl=False)
