"""A backup's archive as pg_restore reads it, wherever it is and however it is stored."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic_job.errors import BackupNotProven, BackupNotWritten, SettingsError
from alembic_job.gateways import encryption
from alembic_job.gateways.backups import Manifest, Store
from alembic_job.gateways.programs import Feed


class Archive:
    """The archive of one backup; `identity` as age-keygen writes it, for an encrypted one."""

    def __init__(self, store: Store, manifest: Manifest, identity: str | None = None) -> None:
        self._store, self.manifest, self._identity = store, manifest, identity
        self.place = store.at(manifest.name)

    def exists(self) -> bool:
        return self._store.exists(self.manifest.name)

    @property
    def file(self) -> Path | None:
        """Where it is a file or folder here that pg_restore can read."""
        return None if self.manifest.encrypted else self._store.local(self.manifest.name)

    @property
    def source(self) -> Path | Feed:
        """For pg_restore: its file, else what feeds it."""
        return self.file or self.feed

    def readable(self) -> bool:
        """False if it is encrypted and no identity was given. Raises `SettingsError` for the wrong one."""
        if not self.manifest.encrypted:
            return True
        if self._identity is None:
            return False
        if not encryption.opens(self._identity, self.manifest.recipients):
            raise encryption.wrong_identity()
        return True

    def check_readable(self) -> None:
        """Raises `SettingsError` where `readable` says no."""
        if not self.readable():
            raise SettingsError(
                f"{self.manifest.name} is encrypted, and MIGRATE_BACKUP_IDENTITY is not set",
                hint="set MIGRATE_BACKUP_IDENTITY_FILE to the file with an identity of one of its recipients: "
                + ", ".join(self.manifest.recipients),
            )

    def feed(self, write: Callable[[bytes], None]) -> None:
        """Hands on the archive, decrypted; in the end its hash must be the manifest's.

        Raises `BackupNotProven`, `BackupNotWritten` (15: the store does not answer) or `SettingsError`.
        """
        pieces = self._hashed()
        if not self.manifest.encrypted:
            for piece in pieces:
                write(piece)
            return
        self.check_readable()
        assert self._identity is not None
        encryption.decrypt(pieces, write, self._identity)
        for _ in pieces:
            pass  # to its end, where the hash is compared

    def check_hash(self) -> None:
        """Reads all of it for its hash alone. Raises `BackupNotProven`."""
        for _ in self._hashed():
            pass

    def _hashed(self) -> Iterator[bytes]:
        size, found = 0, hashlib.sha256()
        for piece in self._store.read(self.manifest.name):
            found.update(piece)
            size += len(piece)
            yield piece
        if found.hexdigest() != self.manifest.sha256:
            raise BackupNotProven(
                f"the archive {self.place} is not what was backed up: its hash differs, {size} bytes with the sha256"
                f" {found.hexdigest()}, not {self.manifest.size} with {self.manifest.sha256}",
                hint="restore another backup, or bring this one again from where it is copied to",
            )

    @contextmanager
    def fetched(self) -> Iterator[Path]:
        """A private copy in a temporary file, for what several processes read at once."""
        try:
            descriptor, name = tempfile.mkstemp(prefix="alembic-job-", suffix=".dump")
        except OSError as error:
            raise _no_room(error) from error
        try:
            with os.fdopen(descriptor, "wb") as file:
                try:
                    self.feed(lambda piece: _write(file.write, piece))
                    _write(lambda _: file.flush(), b"")
                except OSError as error:
                    raise _no_room(error) from error
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


def _write(write: Callable[[bytes], object], piece: bytes) -> None:
    try:
        write(piece)
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> BackupNotWritten:
    return BackupNotWritten(
        f"the archive cannot be fetched into {tempfile.gettempdir()}: {error.strerror}",
        hint="nothing was touched; several jobs need the archive as a file: restore with --jobs 1, which streams it, or"
        " let TMPDIR name a folder with room for it",
    )
