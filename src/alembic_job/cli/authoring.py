"""The commands of the desk: they write revision files, compare models with the database, and set the version table."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from alembic_job.cli import options, testing
from alembic_job.cli.running import answered, ask, job, late, print_sql
from alembic_job.errors import UsageError

DESK_COMMANDS = ("init", "revision", "merge", "edit")
_SETTINGS = (*options.QUESTION_NAMES, "history_schema")
_GENERATES = "migrate -m: a revision is generated from the models, nothing is applied (migrate without -m applies)"
_JSON = click.option("--json", "as_json", is_flag=True, help="one JSON object")
_MESSAGE = click.option("-m", "--message", metavar="TEXT", help="what the revision is for; part of its file's name")
_BRANCH_LABEL = click.option("--branch-label", metavar="LABEL", help="label of the branch that begins with it")
_SPLICE = click.option("--splice", is_flag=True, help="allow to follow what others follow already")
_REV_ID = click.option("--rev-id", metavar="ID", help="its id, instead of a random one")


@click.command()
@_MESSAGE
@click.option("--autogenerate", is_flag=True, help="filled with what differs between the models and the database")
@click.option("--empty", is_flag=True, help="to fill by hand; with --autogenerate: written even if nothing differs")
@click.option("--sql", is_flag=True, help="load env.py offline, where revision_environment wants it loaded")
@click.option("--head", metavar="REV", help="the revision it follows, or LABEL@head  [default head]")
@_SPLICE
@_BRANCH_LABEL
@click.option("--version-path", metavar="FOLDER", help="which of several version_locations it goes to")
@_REV_ID
@click.option("--depends-on", metavar="REV", multiple=True, help="a revision of another branch that it needs")
@_JSON
@options.some(*_SETTINGS)
@click.pass_context
def revision(context: click.Context, /, as_json: bool, **given: Any) -> None:
    """Write a new revision file, empty or (--autogenerate) with what differs between the models and the database."""
    names = ("message", "autogenerate", "empty", "sql", "head", "splice", "branch_label", "version_path", "rev_id")
    asked = {name: given.pop(name) for name in (*names, "depends_on")}
    if asked["sql"] and asked["autogenerate"]:
        raise click.UsageError("--sql and --autogenerate exclude each other: models are compared with a database")
    _author(context, given, partial(late("pipeline.authoring.revision"), asked=asked), as_json)


def generate(context: click.Context, message: str, given: dict[str, Any]) -> None:
    """`migrate -m`: the same as `revision --autogenerate -m`."""
    if not message.strip():
        raise click.UsageError("-m needs a message; without -m, migrate applies what is pending")
    unfit = [name for name in given if given[name] not in (None, ()) and name not in (*_SETTINGS, *options.LOCATION)]
    if unfit:
        raise click.UsageError(f"--{unfit[0].replace('_', '-')} is for applying; with -m nothing is applied")
    asked = {"message": message, "autogenerate": True}
    _author(context, given, partial(late("pipeline.authoring.revision"), asked=asked), False, _GENERATES)


@click.command()
@click.argument("revisions", nargs=-1, required=True)
@_MESSAGE
@_SPLICE
@_BRANCH_LABEL
@_REV_ID
@_JSON
@options.some(*_SETTINGS)
@click.pass_context
def merge(context: click.Context, /, revisions: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Write a revision that joins several heads: their ids, or heads for all."""
    names = ("message", "splice", "branch_label", "rev_id")
    asked = {"revisions": revisions, "asked": {name: given.pop(name) for name in names}}
    _author(context, given, partial(late("pipeline.authoring.merge"), **asked), as_json)


def _author(
    context: click.Context, given: dict[str, Any], write: Callable[..., dict[str, Any]], as_json: bool, first: str = ""
) -> None:
    """Tells what was written; an error (26) where nothing was."""
    found: dict[str, Any] = {}

    def produce(settings: Any, log: Any) -> str:
        found.update(write(settings, log))
        return _json(found) if as_json else str(late("pipeline.authoring_report.as_text")(found))

    if first:
        click.echo(first)
    ask(context, given, produce)
    if not found["revisions"]:
        raise late("pipeline.authoring_report.nothing_written")(found)


@click.command()
@click.option("--live", is_flag=True, help="compare the database with what its migrations make, not with the models")
@_JSON
@options.some(*_SETTINGS, "rehearsal_url", "pg_bindir", "deadline")
@click.pass_context
def check(context: click.Context, /, live: bool, as_json: bool, **given: Any) -> int:
    """Whether the models and the database are the same; exit 3 and what differs, if not."""
    if live:
        return testing.drift(context, given, as_json)
    for name in ("rehearsal_url", "pg_bindir", "deadline"):
        if given.pop(name) is not None:
            raise click.UsageError(f"--{name.replace('_', '-')} is for --live")
    found: dict[str, Any] = {}

    def produce(settings: Any, log: Any) -> str:
        found.update(late("pipeline.authoring.check")(settings, log))
        return _json(found) if as_json else str(late("pipeline.authoring_report.differences_text")(found))

    ask(context, given, produce)
    return 3 if found["differences"] else 0


def _json(found: dict[str, Any]) -> str:
    import json

    return json.dumps(found, indent=2, ensure_ascii=False)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("revision", default="head")
@options.question
@click.pass_context
def edit(context: click.Context, /, revision: str, **given: Any) -> None:
    """Open a revision's file in $EDITOR: an id, head, or current for what the database is at."""
    import subprocess

    editor = shlex.split(os.environ.get("EDITOR") or os.environ.get("VISUAL") or "")
    if not editor:
        raise UsageError("no editor is known", hint="set EDITOR, for example EDITOR=vi")
    found = answered(
        context, given, lambda settings, log: "\n".join(late("pipeline.authoring.files")(settings, log, revision))
    )
    files = found.splitlines()
    try:
        ended = subprocess.run([*editor, *files], check=False).returncode
    except OSError as error:
        raise UsageError(f"{editor[0]} cannot be started: {error.strerror}", hint="set EDITOR") from error
    if ended:
        raise UsageError(f"{editor[0]} ended with {ended}", hint="set EDITOR to a program that edits a file")
    late("pipeline.authoring.check_syntax")(files)
    click.echo(found)


@click.command()
@click.argument("revisions", nargs=-1)
@click.option("--purge", is_flag=True, help="forget what the version table holds first, also what these scripts lack")
@click.option("--sql", is_flag=True, help="change nothing: print the SQL; FROM:TO where the table holds FROM")
@options.job("to")
@click.pass_context
def stamp(context: click.Context, /, revisions: tuple[str, ...], purge: bool, sql: bool, **given: Any) -> None:
    """Set the version table to REVISIONS (head, heads, base or ids; default head) and run no migration."""
    targets = revisions or ("head",)
    if sql and purge:
        raise click.UsageError("--sql and --purge exclude each other")
    if sql:
        print_sql(context, given, "stamp", *targets)
    else:
        job("stamp", context, given, partial(late("pipeline.stamping.stamp"), revisions=targets, purge=purge))


COMMANDS = (revision, merge, check, edit, stamp)
