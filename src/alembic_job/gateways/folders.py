"""Backups in a folder: what has a final name there is whole, and survives a power cut."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from alembic_job.errors import BackupNotWritten, SettingsError
from alembic_job.gateways import backups
from alembic_job.gateways.backups import ABANDONED, DRAFT, PIECE, SUFFIX, Manifest, inside


class FolderStore:
    """A folder, as `backups.Store`."""

    def __init__(self, folder: Path, *, make: bool = False) -> None:
        """Raises `SettingsError` if there is none, or with `make` `BackupNotWritten` if it cannot be made."""
        self._folder, self.place = folder, str(folder)
        try:
            if make:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BackupNotWritten(f"the backup folder {folder} cannot be made: {error.strerror}") from error
        if not make and not folder.is_dir():
            raise SettingsError(
                f"MIGRATE_BACKUP_URL: there is no folder {folder}", hint="give the folder of the backups"
            )

    def at(self, name: str) -> str:
        return str(self._folder / name)

    def check(self, *, jobs: int, encrypt: bool) -> None:
        if encrypt and jobs > 1:
            raise SettingsError(
                f"MIGRATE_BACKUP_JOBS={jobs} makes each backup a folder, which cannot be encrypted",
                hint="unset MIGRATE_BACKUP_JOBS, or MIGRATE_BACKUP_ENCRYPT_TO",
            )

    def manifests(self) -> list[Manifest]:
        return backups.in_order([_read(path) for path in self._folder.glob(f"*{SUFFIX}")])

    def local(self, name: str) -> Path | None:
        return self._folder / name

    def exists(self, name: str) -> bool:
        return (self._folder / name).exists()

    def read(self, name: str) -> Iterator[bytes]:
        try:
            with (self._folder / name).open("rb") as file:
                while piece := file.read(PIECE):
                    yield piece
        except OSError as error:
            raise BackupNotWritten(f"the archive {self.at(name)} cannot be read: {error.strerror}") from error

    def remove(self, manifest: Manifest) -> None:
        try:
            (self._folder / (manifest.name + SUFFIX)).unlink(missing_ok=True)
            _sync(self._folder)
            _discard(self._folder / manifest.name)
        except OSError as error:
            raise BackupNotWritten(f"{self.at(manifest.name)} cannot be removed: {error.strerror}") from error

    @contextmanager
    def draft(self, name: str, *, owner: str, directory: bool, expected: int) -> Iterator[_Draft]:
        """Beside the archive's final place; gone afterwards, whatever happens."""
        partial = self._folder / f"{DRAFT[0]}{name}.{owner}{DRAFT[1]}"
        try:
            if directory:
                partial.mkdir(mode=0o700)
            else:
                os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise BackupNotWritten(f"the backup cannot be written to {self._folder}: {error.strerror}") from error
        made = _Draft(self._folder, name, partial)
        try:
            yield made
        finally:
            made.close()
            _discard(partial)

    def clear_drafts(self, ended: Callable[[str, str], bool]) -> list[str]:
        gone = []
        for path in self._folder.glob(f"{DRAFT[0]}*{DRAFT[1]}"):
            try:
                newest = max(each.stat().st_mtime for each in (path, *inside(path)))
                name, _, owner = path.name.removeprefix(DRAFT[0]).removesuffix(DRAFT[1]).rpartition(".")
                if time.time() - newest > ABANDONED or ended(owner, name):
                    _discard(path)
                    gone.append(path.name)
            except OSError:
                continue
        return gone


class _Draft:
    """A hidden file or folder, as `backups.Draft`."""

    def __init__(self, folder: Path, name: str, partial: Path) -> None:
        self._folder, self._name, self.path = folder, name, partial
        self._descriptor: int | None = None
        self._size, self._hash = 0, hashlib.sha256()

    def write(self, piece: bytes) -> None:
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_WRONLY)
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise BackupNotWritten(f"the backup cannot be written to {self._folder}: {error.strerror}") from error
        self._hash.update(piece)
        self._size += len(piece)

    def finish(self, *, read_back: bool) -> tuple[int, str]:
        """What was written here piece by piece is hashed already; what a program wrote is read for it, while it goes
        to the disk."""
        written = self._descriptor is not None
        self.close()
        with ThreadPoolExecutor(1) as beside:
            synced = beside.submit(self._sync)
            found = (
                (self._size, self._hash.hexdigest())
                if written
                else (backups.size_of(self.path), backups.sha256_of(self.path))
            )
            synced.result()
        return found

    def _sync(self) -> None:
        try:
            for each in (self.path, *inside(self.path)):
                _sync(each)
        except OSError as error:
            raise BackupNotWritten(f"the backup cannot be written to {self._folder}: {error.strerror}") from error

    def keep(self, manifest: Manifest) -> None:
        path, file = self._folder / self._name, self._folder / (self._name + SUFFIX)
        draft = file.with_name(f"{DRAFT[0]}{file.name}{DRAFT[1]}")
        try:
            draft.touch(mode=0o600, exist_ok=False)
            draft.write_text(manifest.text(), encoding="utf-8")
            _sync(draft)
            self.path.rename(path)
            draft.rename(file)
            _sync(self._folder)
        except OSError as error:
            draft.unlink(missing_ok=True)
            if not file.exists():
                _discard(path)
            raise BackupNotWritten(f"the backup cannot be kept as {path}: {error.strerror}") from error

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _read(path: Path) -> Manifest | None:
    try:
        return backups.read_manifest(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError):
        return None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(path: Path) -> None:
    """Removes a file or folder that may not be there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
