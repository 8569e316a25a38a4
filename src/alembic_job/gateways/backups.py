"""A folder of backups: each an archive, and beside it a manifest that says what is in it and how far it is proven.

The manifest is written last: an archive without one was never proven, and does not count.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic_job.errors import BackupNotWritten, SettingsError

_SUFFIX = ".json"
_FORMAT = 1
_DRAFT = (".", ".partial")
_ABANDONED = 86_400.0  # seconds without a change after which a draft is nobody's: its run was killed


@dataclass(frozen=True)
class Table:
    """A table in an archive; `name` qualified and quoted, `rows` as archived, `None` where they were not counted."""

    name: str
    rows: int | None


@dataclass(frozen=True)
class Manifest:
    """What one backup is. Times are RFC 3339 in UTC, sizes bytes, `duration_seconds` that of dump and proof."""

    name: str  # of the archive, a file (custom format) or a folder (directory format)
    database: str
    identity: str  # see gateways.postgres.identity
    taken_at: str
    run_id: str
    revisions: dict[str, list[str]]  # heads by version table, as in the dump
    server_version: int  # as server_version_num: 180001
    client_major: int
    format: str  # custom or directory
    snapshot: str
    size: int
    sha256: str
    duration_seconds: float
    verified: str  # list: its table of contents; read: to the last byte
    locale: dict[str, str | None]  # encoding, provider, collate, ctype, locale of the database
    tables: tuple[Table, ...] = ()
    image: str | None = None
    format_version: int = field(default=_FORMAT, kw_only=True)

    @property
    def revision(self) -> str:
        """The heads of all version tables, for people."""
        return ", ".join(head for heads in self.revisions.values() for head in heads) or "-"


def folder_of(url: str | None, *, make: bool = False) -> Path:
    """The folder that a plain path or file:// URL names. Raises `SettingsError`, or `BackupNotWritten` (15)."""
    if not url:
        raise SettingsError("MIGRATE_BACKUP_URL is not set", hint="set it to the folder that backups go to")
    scheme, separator, rest = url.partition("://")
    if separator and scheme != "file":
        raise SettingsError(
            f"MIGRATE_BACKUP_URL: {scheme}:// is not supported, only a folder", hint="give a path, or file:///path"
        )
    folder = Path(rest if separator else url)
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BackupNotWritten(f"the backup folder {folder} cannot be made: {error.strerror}") from error
    if not make and not folder.is_dir():
        raise SettingsError(f"MIGRATE_BACKUP_URL: there is no folder {folder}", hint="give the folder of the backups")
    return folder


def backups(folder: Path) -> list[Manifest]:
    """The backups in a folder, oldest first. Files that are no manifests are passed over."""
    found = [manifest for path in folder.glob(f"*{_SUFFIX}") if (manifest := _read(path)) is not None]
    return sorted(found, key=lambda manifest: (manifest.taken_at, manifest.name))


def _read(path: Path) -> Manifest | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        tables = tuple(Table(str(name), rows) for name, rows in data.pop("tables"))
        known = {one.name for one in dataclasses.fields(Manifest)}
        manifest = Manifest(**{name: value for name, value in data.items() if name in known}, tables=tables)
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None
    return manifest if _file(path.parent, manifest) == path else None


def _file(folder: Path, manifest: Manifest) -> Path:
    return folder / (manifest.name + _SUFFIX)


def keep(folder: Path, manifest: Manifest, partial: Path) -> None:
    """Gives a proven archive its name, then writes its manifest; both survive a power cut.

    Raises `BackupNotWritten`; then neither is there.
    """
    path, file = folder / manifest.name, _file(folder, manifest)
    text = json.dumps(
        {**dataclasses.asdict(manifest), "tables": [[table.name, table.rows] for table in manifest.tables]},
        indent=1,
        ensure_ascii=False,
    )
    draft = file.with_name(f".{file.name}.partial")
    try:
        for each in (partial, *_inside(partial)):
            _sync(each)
        draft.touch(mode=0o600, exist_ok=False)
        draft.write_text(text + "\n", encoding="utf-8")
        _sync(draft)
        partial.rename(path)
        draft.rename(file)
        _sync(folder)
    except OSError as error:
        draft.unlink(missing_ok=True)
        if not file.exists():
            discard(path)
        raise BackupNotWritten(f"the backup cannot be kept as {path}: {error.strerror}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(folder: Path, manifest: Manifest) -> None:
    """Removes a backup, the manifest first: what is left of it then does not count. Raises `BackupNotWritten`."""
    try:
        _file(folder, manifest).unlink(missing_ok=True)
        _sync(folder)
        discard(folder / manifest.name)
    except OSError as error:
        raise BackupNotWritten(f"{folder / manifest.name} cannot be removed: {error.strerror}") from error


def discard(path: Path) -> None:
    """Removes a file or folder that may not be there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def draft(folder: Path, name: str, *, directory: bool) -> Iterator[Path]:
    """An empty file or directory, private, beside an archive's final place; gone afterwards, whatever happens.

    Raises `BackupNotWritten` if nothing can be written there.
    """
    partial = folder / f"{_DRAFT[0]}{name}{_DRAFT[1]}"
    try:
        if directory:
            partial.mkdir(mode=0o700)
        else:
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise BackupNotWritten(f"the backup cannot be written to {folder}: {error.strerror}") from error
    try:
        yield partial
    finally:
        discard(partial)


def clear_drafts(folder: Path) -> list[str]:
    """Removes what killed runs have left, once nobody has written to it for a day; returns their names."""
    gone = []
    for path in folder.glob(f"{_DRAFT[0]}*{_DRAFT[1]}"):
        try:
            newest = max(each.stat().st_mtime for each in (path, *_inside(path)))
            if time.time() - newest > _ABANDONED:
                discard(path)
                gone.append(path.name)
        except OSError:
            continue
    return gone


def size_of(path: Path) -> int:
    """Bytes of an archive."""
    return sum(each.stat().st_size for each in _inside(path)) if path.is_dir() else path.stat().st_size


def sha256_of(path: Path) -> str:
    """The hash of a file; of a folder that of its files' names and hashes, as `sha256sum *` prints them."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    lines = "".join(f"{sha256_of(each)}  {each.name}\n" for each in _inside(path))
    return hashlib.sha256(lines.encode()).hexdigest()


def _inside(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else []


def as_fields(manifest: Manifest) -> dict[str, Any]:
    """What events tell of a backup."""
    return {
        "backup": manifest.name,
        "database": manifest.database,
        "revision": manifest.revision,
        "bytes": manifest.size,
        "sha256": manifest.sha256,
        "tables": len(manifest.tables),
        "verified": manifest.verified,
    }
