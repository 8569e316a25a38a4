"""What makes the command line pleasant: help in sections with examples, and completion by the shell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from alembic_job.cli.examples import epilog

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_VARIABLE = "_ALEMBIC_JOB_COMPLETE"  # as click derives it from the program's name
_EXIT_CODES = (
    ("0", "done; also if nothing was pending"),
    ("1, 2", "a defect of alembic-job; a wrong command line"),
    ("3", "a question was answered with yes: something is pending, or was found"),
    ("10 to 19", "not done, and trying again may help"),
    ("20 to 29", "not done, and somebody has to change something first"),
)
_OF_REVISIONS = ("to", "revision", "revisions")


def sections(commands: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Titles of the help's sections, with the names below each; every command is in one."""
    from alembic_job.cli.authoring import DESK_COMMANDS
    from alembic_job.cli.commands import JOB_COMMANDS

    others = sorted(set(commands) - {*JOB_COMMANDS, *DESK_COMMANDS})
    return [
        ("Job commands", list(JOB_COMMANDS)),
        ("Questions", others),
        ("At the desk", list(DESK_COMMANDS)),
    ]


class _Below(click.Group):
    """A command with commands of its own, which show their examples."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """As click's."""
        cmd.epilog = cmd.epilog or epilog(f"{self.name} {name or cmd.name}")
        super().add_command(cmd, name)


class Commands(click.Group):
    """A group whose help has its commands in sections, and whose commands show their examples."""

    group_class = _Below

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """As click's; revisions are completed wherever one is asked for."""
        cmd.epilog = cmd.epilog or epilog(name or cmd.name or "")
        for param in cmd.params:
            if param.name in _OF_REVISIONS and isinstance(param.type, click.types.StringParamType):
                param.type = _Revision()
        super().add_command(cmd, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for name in self.commands)
        for title, names in sections(self.commands):
            rows = [(name, self.commands[name].get_short_help_str(formatter.width - width - 6)) for name in names]
            with formatter.section(title):
                formatter.write_dl(rows, col_max=width)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl(_EXIT_CODES)
        formatter.write_paragraph()
        formatter.write_text("alembic-job COMMAND --help has options and examples of each.")


class _Revision(click.types.StringParamType):
    """A text that may be a revision's id."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The ids that begin so, with what each is for; nothing where the scripts cannot be read."""
        from click.shell_completion import CompletionItem

        try:
            found = [each for each in _revisions(ctx) if each[0].startswith(incomplete)]
            return [CompletionItem(revision, help=message) for revision, message in found]
        except Exception:  # a shell that completes is no place for errors
            return []


def _revisions(context: click.Context) -> list[tuple[str, str]]:
    from alembic_job.cli import options
    from alembic_job.cli.output import question_log
    from alembic_job.gateways.project import open_project
    from alembic_job.pipeline.status import base_to_head

    settings = options.load(context, {})
    scripts = base_to_head(open_project(settings, ("history",), question_log()[0]))[::-1]
    return [("head", "the newest"), *((script.revision, script.doc or "") for script in scripts)]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--program", metavar="NAME", default="alembic-job", help="for another name of the program, such as db")
@click.pass_context
def completion(context: click.Context, /, shell: str, program: str) -> None:
    """Print what makes a shell complete commands, options and revisions."""
    from click.shell_completion import get_completion_class

    kind: Any = get_completion_class(shell)
    click.echo(kind(context.find_root().command, {}, program, _VARIABLE).source())
