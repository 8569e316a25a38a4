"""Where a process starts: the short cut first, everything else only when it is needed."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` itself imports enum and re: 5 ms
import os
import sys
from typing import NoReturn


def hold_signals() -> None:
    """Lets SIGTERM and SIGINT wait until somebody can act on them: as process 1 of a container, one that came during
    the first tenth of a second would be lost. `Watch` lets them through, and so do the commands that answer questions.
    """
    _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTERM, _signal.SIGINT))


def main(argv: list[str] | None = None, default: str | None = None) -> NoReturn:
    """Runs a command line and ends the process with its exit code. `default` is the command when none is given."""
    hold_signals()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments and default:
        arguments = [default]
    from alembic_job.shortcut import decide

    if decide(arguments, os.environ):
        os._exit(0)
    from alembic_job.cli import run

    run(arguments, default)
