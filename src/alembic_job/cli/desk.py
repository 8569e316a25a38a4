"""The commands that begin a project, and begin again: `init`, `seed`, `reset`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from alembic_job.cli import options
from alembic_job.cli.running import job, late

_TEMPLATES = {"plain": "plain", "generic": "plain", "async": "async"}
_OTHERS = ("multidb", "pyproject", "pyproject_async")


def _template(_context: click.Context, _option: click.Parameter, given: str) -> str:
    if given in _OTHERS:
        raise click.BadParameter(
            f"Alembic's template {given} is not made here: `alembic init -t {given}` is; plain or async"
        )
    if given not in _TEMPLATES:
        raise click.BadParameter(f"{given!r} is neither plain (generic) nor async")
    return _TEMPLATES[given]


@click.command()
@click.argument("directory", default="alembic")
@click.option(
    "-t",
    "--template",
    metavar="NAME",
    default="plain",
    callback=_template,
    help="plain, or async for asyncpg; Alembic's generic is plain  [default plain]",
)
@click.option("--models", metavar="MODULE:NAME", help="where the models' Base is, such as app.models:Base")
@click.option("--package", is_flag=True, help="with an __init__.py in DIRECTORY and its versions")
@click.option("--with-deploy", is_flag=True, help="with a Dockerfile, compose.yaml and values for the Helm chart")
@click.pass_context
def init(context: click.Context, /, directory: str, **asked: Any) -> None:
    """Write a new project: alembic.ini, and DIRECTORY with env.py; no file that is there is changed."""
    config = context.find_root().params.get("config_file") or "alembic.ini"
    made = late("pipeline.initialising.initialise")(directory, config, **asked)
    click.echo(late("pipeline.initialising.as_text")(made))


@click.command()
@options.job("to")
@click.pass_context
def seed(context: click.Context, /, **given: Any) -> None:
    """Fill the tables with the project's first rows (MIGRATE_SEED), in one transaction; the schema must be at head."""
    job("seed", context, given, late("pipeline.seeding.seed"))


@click.command()
@click.option("-f", "--force", "--yes", "force", is_flag=True, help="consent: nothing is asked")
@click.option(
    "--production", metavar="NAME", help="the name of a database that looks like production, said a second time"
)
@click.option("--schema", "schemas", metavar="NAME", multiple=True, help="a further schema to empty")
@click.option("--seed", "seeding", is_flag=True, help="and seed afterwards")
@click.option("--no-backup", is_flag=True, help="no backup before")
@options.job()
@click.pass_context
def reset(
    context: click.Context,
    /,
    force: bool,
    production: str | None,
    schemas: tuple[str, ...],
    seeding: bool,
    no_backup: bool,
    **given: Any,
) -> None:
    """Drop all that is in the project's schemas, and migrate to head again; at a terminal it asks first."""

    def function(settings: Any, **rest: Any) -> Any:
        from alembic_job.pipeline.resetting import Agreed

        agreed = Agreed(force=force, production=production, no_backup=no_backup, schemas=schemas, seed=seeding)
        return late("pipeline.resetting.reset")(settings, agreed=agreed, ask=_question(), **rest)

    job("reset", context, given, function)


def _question() -> Callable[[str], str] | None:
    """How a person is asked; nobody is without a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    return partial(click.prompt, default="", show_default=False, err=True)


COMMANDS = (init, seed, reset)
