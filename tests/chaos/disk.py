"""A small file system in memory that can be filled to its last byte."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType


class SmallDisk:
    """A tmpfs of so many MiB on a folder, which only root can mount."""

    def __init__(self, folder: Path, mebibytes: int) -> None:
        self.folder = folder
        self._options = f"size={mebibytes}m,mode=700"

    def __enter__(self) -> SmallDisk:
        command = ["mount", "-t", "tmpfs", "-o", self._options, "tmpfs", str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True, capture_output=True)

    def give_to(self, user: int) -> None:
        """Makes everything on it that user's."""
        os.chown(self.folder, user, user)
        for path in self.folder.rglob("*"):
            os.chown(path, user, user)

    def fill(self) -> None:
        """Writes until there is no room at all."""
        with (self.folder / "filler").open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                self._write(file.fileno(), bytes(size))

    @staticmethod
    def _write(descriptor: int, data: bytes) -> None:
        while True:
            try:
                os.write(descriptor, data)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return

    def free(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)


def can_mount() -> bool:
    """Whether this process may mount file systems: root outside of a container that forbids it."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    tried = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(tried, check=False, capture_output=True).returncode == 0
