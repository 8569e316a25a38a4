"""What the pages say of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import click

from alembic_job.cli.commands import cli
from alembic_job.settings import SETTINGS


def own_options(command: click.Command) -> list[click.Option]:
    """The options of a command that neither stand for a setting nor are Alembic's own."""
    return [param for param in command.params if isinstance(param, click.Option) and not is_shared(param)]


def is_shared(option: click.Option) -> bool:
    """True if an option stands for a setting, or is one of Alembic's own."""
    settings = {setting.option for setting in SETTINGS if setting.flag and setting.name != "to"}
    settings |= {declared for param in cli.params for declared in param.opts}
    is_target = option.name == "to" and option.metavar == "VALUE"
    return is_target or bool(settings.intersection(option.opts))


def arguments(command: click.Command) -> str:
    """` REVISION`, ` [NAME]`; empty where there are none."""
    context = click.Context(command)
    return "".join(f" {p.make_metavar(context)}" for p in command.params if isinstance(p, click.Argument))


def with_those_below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """The command and those of its group, each with all words of its name."""
    yield name, command
    if isinstance(command, click.Group):
        yield from ((f"{name} {word}", each) for word, each in command.commands.items())


def spelled(option: click.Option) -> tuple[str, str]:
    """The option's names, and what it takes: `-r, --rev-range` and `A:B`; nothing for a switch."""
    value = "" if option.is_flag or option.count else option.metavar or "N"
    return ", ".join(option.opts), value
