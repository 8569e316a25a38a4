"""What runs the migration: alembic-job, bare Alembic, and bare Alembic with a lock_timeout in a loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_BIN = Path(sys.executable).parent
_OURS = ("PG", "MIGRATE_", "DATABASE_", "ALEMBIC_")
_PATIENCE = 900.0  # seconds for all tries of one run


class Contender(NamedTuple):
    """A way to run a migration; `retries`: until it exits 0, as `until …; do :; done` does in a shell."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = {}
    retries: bool = False


JOB = Contender("alembic-job migrate", (str(_BIN / "alembic-job"), "migrate"))
BARE = Contender("alembic upgrade head", (str(_BIN / "alembic"), "upgrade", "head"))
TIMEOUT = Contender(
    "alembic, lock_timeout 1s, retried",
    BARE.argv,
    {"PGOPTIONS": "-c lock_timeout=1s", "BENCH_LOCK_TIMEOUT": "1s"},  # the latter for an env.py with asyncpg
    retries=True,
)
CONTENDERS = (JOB, BARE, TIMEOUT)


class Run:
    """A contender at work in a project's folder: in a thread, until it is through."""

    def __init__(self, contender: Contender, folder: Path, url: str, **env: str) -> None:
        self._contender, self._folder = contender, folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        self._env = kept | {"DATABASE_URL": url} | dict(contender.env) | env
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.begun = self.ended = 0.0
        self.codes: list[int] = []
        self.output = ""

    def start(self) -> None:
        self.begun = time.monotonic()
        self._thread.start()

    def wait(self) -> None:
        """Returns when the last try has ended; `ended` and `codes` say when and how."""
        self._thread.join()

    def _work(self) -> None:
        end = self.begun + _PATIENCE
        while True:
            self.codes.append(self._try(max(1.0, end - time.monotonic())))
            if self.codes[-1] == 0 or not self._contender.retries or time.monotonic() > end:
                break
        self.ended = time.monotonic()

    def _try(self, timeout: float) -> int:
        """One process; -9 if it had to be killed because it took so long."""
        with subprocess.Popen(
            self._contender.argv,
            cwd=self._folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                self.output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                self.output, _ = process.communicate()
            return process.returncode


def said(output: str) -> str:
    """What the last line of the job's log says: its error and hint."""
    try:
        last = json.loads(output.splitlines()[-1])
        return f"{last.get('error')} ({last.get('hint')})"
    except (ValueError, IndexError):
        return output[-500:]
