"""A wall clock that jumps, for the processes that are started with it; their monotonic clock goes on as it was.

Not libfaketime: its 0.9.10 lets `time.sleep` of Python 3.11 and later fail (EINVAL) where the monotonic clock is left
alone, and conditions wait for ever where it is not.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """The clock of all processes that have `environment`; `folder` must be readable for every user."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._file = Path(tempfile.mkdtemp(dir=folder)) / "clock"
        self._file.parent.chmod(0o755)
        self._file.write_bytes(struct.pack("q", 0))
        self._file.chmod(0o644)
        self.environment = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(self._file)}

    def jump(self, seconds: int) -> None:
        """From now on the clock is that far from the true time."""
        with self._file.open("r+b", buffering=0) as file:
            file.write(struct.pack("q", seconds))

    @contextmanager
    def exported(self) -> Iterator[None]:
        """Processes started meanwhile go by this clock."""
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name in self.environment:
                del os.environ[name]


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build(compiler: str, folder: Path) -> Path:
    """Compiles what makes clocks wrong, once per folder."""
    library = folder / "clock.so"
    if not library.exists():
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(_SOURCE)], check=True
        )
        library.chmod(0o755)
    return library
