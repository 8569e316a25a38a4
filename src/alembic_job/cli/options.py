"""Options made from the table of settings, and those Alembic itself has."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import click

from alembic_job.settings import SETTINGS, Setting, Settings

_LOCATION = (
    click.Option(("-c", "--config", "config_file"), metavar="FILE", help="alembic.ini or pyproject.toml"),
    click.Option(("-n", "--name", "section"), metavar="SECTION", help="section of the ini file"),
    click.Option(("-x", "x"), multiple=True, metavar="KEY=VALUE", help="argument for env.py"),
    click.Option(("--tag",), metavar="TAG", help="tag for env.py"),
)
LOCATION = ("config_file", "section", "x", "tag")
QUESTION_NAMES = ("database_url", "database_direct_url", "password_command", "role", "search_path")


def location(function: Callable[..., Any]) -> Callable[..., Any]:
    """Alembic's own: -c, -n, -x, --tag."""
    return _with(_LOCATION, function)


def job(*without: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Every setting as an option, but those named."""
    names = [setting.name for setting in SETTINGS if setting.flag and setting.name not in without]
    return lambda function: _settings(names, function)


def some(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """These settings as options."""
    return lambda function: _settings(list(names), function)


def question(function: Callable[..., Any]) -> Callable[..., Any]:
    """The settings that a question needs, as options."""
    return _settings(list(QUESTION_NAMES), function)


def _settings(names: list[str], function: Callable[..., Any]) -> Callable[..., Any]:
    return _with([_option(setting) for setting in SETTINGS if setting.name in names], location(function))


@cache
def _option(setting: Setting) -> click.Option:
    """One for all commands: to make it takes longer than anything else at the start."""
    default = f"  [{setting.variable}; default {setting.default}]" if setting.default else f"  [{setting.variable}]"
    return click.Option((setting.option, setting.name), metavar="VALUE", help=setting.help + default)


def _with(options: Sequence[click.Option], function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a command with these options, as click's own decorator would add them."""
    for each in reversed(options):
        made: Any = partial(_given, each)
        function = click.option(cls=made)(function)
    return function


def _given(option: click.Option, *_: Any, **__: Any) -> click.Option:
    return option


def flags(context: click.Context, given: dict[str, Any]) -> dict[str, str]:
    """The options as the loader of settings takes them; Alembic's own may stand before the command too."""
    outer = context.find_root().params
    found: dict[str, str] = {}
    for name in LOCATION:
        value = given.get(name) or outer.get(name)
        if name == "x":
            pairs = [*(outer.get("x") or ()), *(given.get("x") or ())]
            value = shlex.join(pairs) if pairs else None
        if value:
            found[name] = value
    return found | {name: value for name, value in given.items() if value is not None and name not in LOCATION}


def load(context: click.Context, given: dict[str, Any]) -> Settings:
    """Settings from these options over the environment. Raises `SettingsError`."""
    return Settings.load(flags(context, given))
