"""Where a process starts: the short cut first, everything else only when it is needed."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main(argv: list[str] | None = None, default: str | None = None) -> NoReturn:
    """Runs a command line and ends the process with its exit code. `default` is the command when none is given."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments and default:
        arguments = [default]
    from alembic_job.shortcut import decide

    if decide(arguments, os.environ):
        os._exit(0)
    from alembic_job.cli import run

    run(arguments, default)
