"""The manual page alembic-job(1), made from the commands, the settings and the exit codes. A wheel installs it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from alembic_job.cli.commands import cli
from alembic_job.cli.examples import EXAMPLES
from alembic_job.cli.shell import sections
from alembic_job.errors import exit_codes
from alembic_job.settings import SETTINGS
from docs.cli import arguments, own_options, spelled, with_those_below

PATH = Path(__file__).parents[1] / "src" / "man" / "alembic-job.1"  # beside the package, where a build finds it
_SIGNS = {"\\": "\\(rs", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
_ABOUT = {
    "Job commands": "They write one JSON object a line on standard output, or text at a terminal. Each setting that "
    "has a flag is an option of each.",
    "Questions": "Their answer alone goes to standard output, everything else to standard error. They change nothing "
    "and take no lock.",
    "At the desk": "They write files of the project, and only look at the database.",
}


def page() -> str:
    """The page in roff, for man(1)."""
    return "\n".join(_lines()) + "\n"


def roff(text: str) -> str:
    """A text as one line of roff that shows just this; what stands in backticks is bold."""
    parts = re.split(r"`([^`]+)`", " ".join(text.split()))
    shown = "".join(f"\\fB{_plain(part)}\\fR" if odd % 2 else _plain(part) for odd, part in enumerate(parts))
    return f"\\&{shown}" if shown[:1] in (".", "") else shown


def _plain(text: str) -> str:
    return "".join(_SIGNS.get(sign, sign) for sign in text)


def _bold(text: str) -> str:
    return f"\\fB{_plain(text)}\\fR"


def _lines() -> Iterator[str]:
    yield "'\\\" -*- coding: utf-8 -*-"
    yield ".\\\" Made by `python -m docs.generate`: change the code's tables, not this page."
    yield '.TH ALEMBIC\\-JOB 1 "" alembic\\-job "User Commands"'
    yield from (".SH NAME", "alembic\\-job \\- " + roff(_sentence(cli.help)[:1].lower() + _sentence(cli.help)[1:]))
    yield from (".SH SYNOPSIS", f"{_bold('alembic-job')} [\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGS\\fR]")
    yield from _description()
    yield from (".SH OPTIONS", roff("Alembic's own. They may stand before the command or after it."))
    yield from _options(param for param in cli.params if isinstance(param, click.Option))
    yield from _commands()
    yield from _environment()
    yield from _exit_status()
    yield from (".SH SEE ALSO", f"{_bold('psql')}(1), {_bold('pg_dump')}(1), {_bold('pg_restore')}(1)")


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split()).rstrip(".")


def _description() -> Iterator[str]:
    yield ".SH DESCRIPTION"
    yield roff(
        "Runs the migrations of an existing Alembic project as it is: waits for the PostgreSQL database, takes a lock, "
        "backs up if asked, upgrades to head a revision at a time, and verifies the result on a fresh connection."
    )
    yield ".PP"
    yield roff(
        "A flag comes over the environment, the environment over alembic.ini. `alembic-job config` prints what is in "
        "force, and where it came from. Each command's `--help` lists its options."
    )


def _commands() -> Iterator[str]:
    for title, names in sections(cli.commands):
        yield f".SH {_plain(title.upper())}"
        yield roff(_ABOUT[title])
        for name in names:
            for words, command in with_those_below(name, cli.commands[name]):
                yield from _command(words, command)


def _command(words: str, command: click.Command) -> Iterator[str]:
    yield f'.SS "{_plain(words + arguments(command))}"'
    yield roff(command.help or "")
    yield from _options(own_options(command))
    if lines := EXAMPLES.get(words):
        yield from (".PP", "Examples:", ".PP", ".RS 4", ".nf")
        width = max(len(line) for line, _ in lines)
        yield from (_plain(f"alembic-job {line:<{width}}  # {what}") for line, what in lines)
        yield from (".fi", ".RE")


def _options(options: Iterable[click.Option]) -> Iterator[str]:
    for option in options:
        names, value = spelled(option)
        shown = ", ".join(map(_bold, names.split(", "))) + (f" \\fI{_plain(value)}\\fR" if value else "")
        yield from (".TP", shown, roff(option.help or ""))


def _environment() -> Iterator[str]:
    yield ".SH ENVIRONMENT"
    yield roff("An empty variable counts as unset. `VARIABLE_FILE` names a file that holds the value of `VARIABLE`.")
    for setting in SETTINGS:
        flag = f" ({_bold(setting.option)})" if setting.flag else ""
        default = f" Default: `{setting.default}`." if setting.default is not None else ""
        yield from (".TP", _bold(setting.variable) + flag, roff(setting.help + default))
    yield from (".TP", _bold("NO_COLOR"), roff("Nothing is coloured at a terminal where it is set."))


def _exit_status() -> Iterator[str]:
    yield ".SH EXIT STATUS"
    yield roff("After 10 to 19 trying again may help; after 20 to 29 somebody has to change something first.")
    yield from (".TP", _bold("0"), roff("Done; also when nothing was pending."))
    for code, kind in exit_codes().items():
        yield from (".TP", _bold(str(code)), roff((kind.__doc__ or "").split("\n", 1)[0]))
