"""Somebody at a terminal, for tests of what is asked and shown there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import job_environment


def typed(words: Sequence[str], answer: str, *, cwd: Path, url: str) -> tuple[str, int]:
    """Types `alembic-job WORDS` and then a line; all that was to be seen, and the exit code."""
    return shown(words, cwd=cwd, url=url, answer=answer)


def shown(
    words: Sequence[str], *, cwd: Path, url: str | None, answer: str | None = None, width: int = 0, **env: str
) -> tuple[str, int]:
    """All that `alembic-job WORDS` writes to a terminal of that width, and the exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    command = [sys.executable, "-m", "alembic_job", *words]
    given = {name: value for name, value in job_environment(url, **env).items() if name not in ("COLUMNS", "LINES")}
    if "NO_COLOR" not in env:
        given.pop("NO_COLOR", None)
    process = subprocess.Popen(
        command, cwd=cwd, env=given, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    if answer is not None:
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


def left_on_screen(written: str) -> list[str]:
    """The lines that stay: without colours, and without what was written over or erased."""
    kept = []
    for line in re.sub(r"\x1b\[[0-9;]*m", "", written).replace("\r\n", "\n").split("\n"):
        screen: list[str] = []
        column = 0
        for piece in re.findall(r"\r|\x1b\[K|[^\r\x1b]+|\x1b", line):
            if piece == "\r":
                column = 0
            elif piece == "\x1b[K":
                del screen[column:]
            else:
                screen[column : column + len(piece)] = piece
                column += len(piece)
        kept.append("".join(screen))
    return kept
