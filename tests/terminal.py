"""Somebody at a terminal, for tests of what is asked there."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import job_environment


def typed(words: Sequence[str], answer: str, *, cwd: Path, url: str) -> tuple[str, int]:
    """Types `alembic-job WORDS` and then a line; all that was to be seen, and the exit code."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "alembic_job", *words]
    process = subprocess.Popen(
        command, cwd=cwd, env=job_environment(url), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    os.write(ours, answer.encode() + b"\n")
    seen = b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:  # what Linux says at the end
            break
        if not more:
            break
        seen += more
    os.close(ours)
    return seen.decode(errors="replace"), process.wait()
