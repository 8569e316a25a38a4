"""The command line. The only place that prints or exits."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from alembic_job.errors import JobError, UsageError
from alembic_job.fingerprint import request_key, waiting_key


def run(arguments: list[str], default: str | None = None) -> NoReturn:
    """Runs a command line and ends the process."""
    from alembic_job.cli.commands import cli

    if default and arguments and arguments[0].startswith("-") and arguments[0] not in ("--help", "--version"):
        arguments = _with_default(arguments, default, set(cli.commands))
    try:
        # What an earlier run proved is looked up under the same keys: see `shortcut`.
        keys = request_key(arguments, os.environ), waiting_key(arguments, os.environ)
        known = tuple(key for key in keys if key is not None)
        code = cli.main(args=arguments, prog_name="alembic-job", standalone_mode=False, obj=known)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        _usage(error, arguments)
    except JobError as error:
        _say(str(error), error.hint)
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _with_default(arguments: list[str], default: str, commands: set[str]) -> list[str]:
    """`IMAGE -x tenant=a` means `IMAGE migrate -x tenant=a`."""
    return arguments if commands.intersection(arguments) else [default, *arguments]


def _usage(error: click.ClickException, arguments: list[str]) -> NoReturn:
    """A wrong command line: for a job command with JSON logs it ends as every run does."""
    from alembic_job import termination
    from alembic_job.cli.commands import JOB_COMMANDS, cli
    from alembic_job.cli.output import JobOutput, known_secrets, wants_json
    from alembic_job.identity import Identity
    from alembic_job.logs.lines import Redactor

    command = next((word for word in arguments if word in JOB_COMMANDS), None)
    hint = f"see alembic-job {command or ''} --help".replace("  ", " ")
    if command and wants_json(None):
        output = JobOutput(command, Identity().run_id, None, "info")
        output.failed(UsageError(error.format_message(), hint=hint))
    if command or not set(cli.commands).intersection(arguments):  # no question was asked
        said = Redactor(known_secrets()).text(error.format_message())
        fields = {"command": command, "outcome": UsageError.outcome, "exit_code": UsageError.exit_code}
        termination.write(termination.path(), termination.text({**fields, "error": said, "hint": hint}))
    _say(error.format_message(), hint)
    sys.exit(UsageError.exit_code)


def _say(error: str, hint: str) -> None:
    click.secho(f"error: {error}", fg="red", err=True, color=False if os.environ.get("NO_COLOR") else None)
    if hint:
        click.echo(f"hint: {hint}", err=True)
