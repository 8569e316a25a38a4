"""What a backup is, and what a place for backups can do: a folder (gateways.folders) or objects (gateways.objects).

A backup is an archive, and beside it a manifest that says what is in it and how far it is proven. The manifest is
written last: an archive without one was never proven, and does not count.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from alembic_job.errors import SettingsError

SUFFIX = ".json"  # of a manifest, after the archive's name
DRAFT = (".", ".partial")  # around the name of what is not proven yet
ABANDONED = 86_400.0  # seconds without a change after which a draft is nobody's: its run was killed
PIECE = 1 << 20  # bytes that are read or written at a time
_FORMAT = 1
_OBJECTS = ("s3", "gs", "az")


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
    size: int  # of the archive as it is stored, encrypted if it is
    sha256: str  # of the same
    duration_seconds: float
    verified: str  # list: its table of contents; read: to the last byte; restore: into a scratch database
    locale: dict[str, str | None]  # encoding, provider, collate, ctype, locale of the database
    tables: tuple[Table, ...] = ()
    image: str | None = None
    encrypted: str | None = None  # age
    recipients: tuple[str, ...] = ()  # whose identities can decrypt it
    database_size: int | None = None  # bytes on the server's disk
    compress: str | None = None  # as pg_dump took it
    partial: bool = False  # true if it lacks, by these arguments, something that the database has
    arguments: tuple[str, ...] = ()  # MIGRATE_BACKUP_ARGS
    format_version: int = field(default=_FORMAT, kw_only=True)

    @property
    def revision(self) -> str:
        """The heads of all version tables, for people."""
        return ", ".join(head for heads in self.revisions.values() for head in heads) or "-"

    def text(self) -> str:
        """As JSON."""
        data = {**dataclasses.asdict(self), "tables": [[table.name, table.rows] for table in self.tables]}
        return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def read_manifest(text: str | bytes, file: str) -> Manifest | None:
    """The manifest in a file of that name; `None` if it is something else."""
    try:
        data = json.loads(text)
        tables = tuple(Table(str(name), rows) for name, rows in data.pop("tables"))
        recipients, arguments = (tuple(map(str, data.pop(each, ()))) for each in ("recipients", "arguments"))
        known = {one.name for one in dataclasses.fields(Manifest)}
        given = {name: value for name, value in data.items() if name in known}
        manifest = Manifest(**given, tables=tables, recipients=recipients, arguments=arguments)
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
    return manifest if manifest.name + SUFFIX == file else None


def in_order(found: list[Manifest | None]) -> list[Manifest]:
    """The manifests among these, the oldest first."""
    return sorted(filter(None, found), key=lambda manifest: (manifest.taken_at, manifest.name))


class Draft(Protocol):
    """An archive that does not count yet: nothing of it stays unless it is kept."""

    @property
    def path(self) -> Path | None:
        """Where a program may write it itself; without one it is written here piece by piece."""

    def write(self, piece: bytes) -> None:
        """Takes the next piece; blocks while the store does not keep up. Raises `BackupNotWritten`."""

    def finish(self, *, read_back: bool) -> tuple[int, str]:
        """Ends the writing of a proven archive; returns its bytes and their sha256.

        Raises `BackupNotWritten`, or `BackupNotProven` if the store has something else; where it cannot be told by
        checksums, it is found out by a `read_back`.
        """

    def keep(self, manifest: Manifest) -> None:
        """Gives the archive its final name where it has none yet, then writes its manifest. Raises
        `BackupNotWritten`; then neither is there."""


class Store(Protocol):
    """A place for backups. Each method raises `BackupNotWritten` (15) if the place refuses or does not answer."""

    place: str  # as people know it

    def at(self, name: str) -> str:
        """Where an archive of that name is, for people."""

    def check(self, *, jobs: int, encrypt: bool) -> None:
        """Raises `SettingsError` if backups of that kind cannot be taken here."""

    def manifests(self) -> list[Manifest]:
        """The backups, the oldest first. What is no manifest is passed over."""

    def local(self, name: str) -> Path | None:
        """The archive as a file or folder here, where it is one."""

    def exists(self, name: str) -> bool:
        """True if there is an archive of that name."""

    def read(self, name: str) -> Iterator[bytes]:
        """The archive as it is stored, piece by piece."""

    def remove(self, manifest: Manifest) -> None:
        """Removes a backup, the manifest first: what is left of it then does not count."""

    def draft(self, name: str, *, owner: str, directory: bool, expected: int) -> AbstractContextManager[Draft]:
        """An empty, private draft of an archive, of `expected` bytes at most, as far as one can tell.

        `owner` tells the database from others.
        """

    def clear_drafts(self, ended: Callable[[str, str], bool]) -> list[str]:
        """Removes what killed runs have left, once nobody has written to it for a day; returns their names.

        Sooner where `ended(owner, name)` says that nobody works at it.
        """


def store_of(url: str | None, *, make: bool = False) -> Store:
    """The store that MIGRATE_BACKUP_URL names; with `make` its folder is made. Raises `SettingsError` (20) or
    `BackupNotWritten` (15)."""
    if not url:
        raise SettingsError(
            "MIGRATE_BACKUP_URL is not set", hint="set it to a folder, s3://bucket/prefix, gs://… or az://…"
        )
    scheme, separator, rest = url.partition("://")
    if separator and scheme in _OBJECTS:
        from urllib.parse import urlsplit

        from alembic_job.gateways.objects import ObjectStore

        return ObjectStore(urlsplit(url))
    if separator and scheme != "file":
        raise SettingsError(
            f"MIGRATE_BACKUP_URL: {scheme}:// is not supported",
            hint="give a folder, file:///path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix",
        )
    from alembic_job.gateways.folders import FolderStore

    return FolderStore(Path(rest if separator else url), make=make)


def size_of(path: Path) -> int:
    """Bytes of an archive."""
    return sum(each.stat().st_size for each in inside(path)) if path.is_dir() else path.stat().st_size


def sha256_of(path: Path) -> str:
    """The hash of a file; of a folder that of its files' names and hashes, as `sha256sum *` prints them."""
    if not path.is_dir():
        mark = hashlib.sha256()
        with path.open("rb", buffering=0) as file, ThreadPoolExecutor(1) as beside:
            ahead = beside.submit(file.read, PIECE)
            while piece := ahead.result():
                ahead = beside.submit(file.read, PIECE)  # read while this one is hashed: a quarter of the time
                mark.update(piece)
        return mark.hexdigest()
    lines = "".join(f"{sha256_of(each)}  {each.name}\n" for each in inside(path))
    return hashlib.sha256(lines.encode()).hexdigest()


def inside(path: Path) -> list[Path]:
    """The files of a folder."""
    return sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else []


def as_fields(manifest: Manifest) -> dict[str, Any]:
    """What events tell of a backup."""
    encrypted: dict[str, Any] = {"encrypted": manifest.encrypted} if manifest.encrypted else {}
    partial = {"partial": True, "arguments": list(manifest.arguments)} if manifest.partial else {}
    return {
        "backup": manifest.name,
        "database": manifest.database,
        "revision": manifest.revision,
        "bytes": manifest.size,
        "sha256": manifest.sha256,
        "tables": len(manifest.tables),
        "verified": manifest.verified,
        **encrypted,
        **partial,
    }
