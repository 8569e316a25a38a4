"""squawk, the linter of SQL (extra `lint`): one process for all texts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from alembic_job.errors import ProjectError

_PATIENCE = 120.0  # seconds
_ROOM = 1 << 25  # bytes
_MANY = 2000  # files a process: a command line has a limit


class Complaint(NamedTuple):
    """What squawk says of a text: the key it was given under, the line (1 is the first), its rule, its words."""

    key: str
    line: int
    rule: str
    message: str


def program() -> str | None:
    """The program, from this environment or PATH; `None` if it is not there."""
    return shutil.which("squawk", path=sysconfig.get_path("scripts")) or shutil.which("squawk")


def complaints(squawk: str, texts: Mapping[str, str], major: int | None = None) -> list[Complaint]:
    """All that squawk says of these texts of SQL; `major` is the server's. Raises `ProjectError`."""
    keys = list(texts)
    version = ["--pg-version", f"{major}.0"] if major else []
    found: list[Complaint] = []
    with tempfile.TemporaryDirectory(prefix="alembic-job-lint-", dir=_memory()) as folder:
        for number, key in enumerate(keys):
            (Path(folder) / f"{number}.sql").write_text(texts[key], encoding="utf-8", errors="replace")
        for first in range(0, len(keys), _MANY):
            names = [f"{number}.sql" for number in range(first, min(first + _MANY, len(keys)))]
            found += _run([squawk, "--assume-in-transaction", "--reporter", "json", *version, *names], folder, keys)
    return found


def _memory() -> Path | None:
    """Where a thousand small files are written ten times as fast as on a disk, if there is such a place."""
    folder = Path("/dev/shm")
    roomy = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK) and shutil.disk_usage(folder).free > _ROOM
    return folder if roomy else None


def _run(command: list[str], folder: str, keys: list[str]) -> list[Complaint]:
    try:
        ended = subprocess.run(
            command, cwd=folder, capture_output=True, timeout=_PATIENCE, check=False, stdin=subprocess.DEVNULL
        )
        told = json.loads(ended.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise ProjectError(
            f"squawk cannot be used: {error}", hint="install alembic-job[lint] anew, or remove squawk: it is optional"
        ) from error
    return [_complaint(each, keys) for each in told]


def _complaint(told: dict[str, object], keys: list[str]) -> Complaint:
    words = ". ".join(str(told[name]).rstrip(".") for name in ("message", "help") if told.get(name))
    number, line = Path(str(told["file"])).stem, int(str(told["line"])) + 1
    return Complaint(keys[int(number)], line, str(told["rule_name"]), words)
