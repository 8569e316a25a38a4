"""Answers for people: fitted to the terminal and coloured there, as they are everywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from alembic_job.cli.running import prepared

if TYPE_CHECKING:
    from alembic_job.screen import Screen


def ask_at(
    context: click.Context, given: dict[str, Any], question: Callable[..., str], *, ascii_only: bool = False
) -> None:
    """Answers a question, which gets settings, log and the screen that it is answered on."""
    from alembic_job.cli.output import answer
    from alembic_job.watch import release_signals

    release_signals()
    settings, log, redactor = prepared(context, given)
    shown = screen(redactor.text, ascii_only=ascii_only)
    click.echo(answer(lambda: question(settings, log, shown), log, redactor), color=shown.colour or None)


def screen(clean: Callable[[str], str], *, ascii_only: bool = False) -> Screen:
    """What stdout is now; `clean` masks secrets."""
    import shutil

    from alembic_job.cli.output import colours
    from alembic_job.screen import Screen

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return Screen(width, colours(), ascii_only or not _draws_unicode(), clean)


def _draws_unicode() -> bool:
    """False where stdout's encoding is not UTF-8, or the locale says that the terminal's is not: Python writes UTF-8 in
    the locale C, too."""
    locale = next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := os.environ.get(name))), "")
    return "utf" in (sys.stdout.encoding or "").lower() and locale not in ("C", "POSIX")
