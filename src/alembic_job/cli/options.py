"""Options made from the table of settings, and those Alembic itself has."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import click

from alembic_job.settings import SETTINGS, Settings

_LOCATION = (
    click.option("-c", "--config", "config_file", metavar="FILE", help="alembic.ini or pyproject.toml"),
    click.option("-n", "--name", "section", metavar="SECTION", help="section of the ini file"),
    click.option("-x", "x", multiple=True, metavar="KEY=VALUE", help="argument for env.py"),
    click.option("--tag", metavar="TAG", help="tag for env.py"),
)
_LOCATION_NAMES = ("config_file", "section", "x", "tag")
QUESTION_NAMES = ("database_url", "database_direct_url", "password_command", "role", "search_path")


def location(function: Callable[..., Any]) -> Callable[..., Any]:
    """Alembic's own: -c, -n, -x, --tag."""
    for option in reversed(_LOCATION):
        function = option(function)
    return function


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
    function = location(function)
    for setting in reversed([setting for setting in SETTINGS if setting.name in names]):
        default = f"  [{setting.variable}; default {setting.default}]" if setting.default else f"  [{setting.variable}]"
        function = click.option(setting.option, setting.name, metavar="VALUE", help=setting.help + default)(function)
    return function


def flags(context: click.Context, given: dict[str, Any]) -> dict[str, str]:
    """The options as the loader of settings takes them; Alembic's own may stand before the command too."""
    outer = context.find_root().params
    found: dict[str, str] = {}
    for name in _LOCATION_NAMES:
        value = given.get(name) or outer.get(name)
        if name == "x":
            pairs = [*(outer.get("x") or ()), *(given.get("x") or ())]
            value = shlex.join(pairs) if pairs else None
        if value:
            found[name] = value
    return found | {name: value for name, value in given.items() if value is not None and name not in _LOCATION_NAMES}


def load(context: click.Context, given: dict[str, Any]) -> Settings:
    """Settings from these options over the environment. Raises `SettingsError`."""
    return Settings.load(flags(context, given))
