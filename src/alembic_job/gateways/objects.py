"""Backups as objects in S3 and what speaks it, Google Cloud Storage or Azure Blob Storage, by obstore.

An upload becomes an object only when it is completed, which is done once the dump was proven; the manifest follows
when the store's copy was compared with what was sent. Before all that a marker is put beside it (`.NAME.partial`), by
which a later run finds what a killed one has left.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult

from alembic_job.errors import BackupNotProven, BackupNotWritten, JobError, SettingsError
from alembic_job.gateways import amazon, backups
from alembic_job.gateways.backups import ABANDONED, DRAFT, SUFFIX, Manifest
from alembic_job.gateways.uploads import Upload, part_size

_READ = 8 << 20  # bytes a request
_MANIFEST = 64 << 20  # bytes: what is larger is none
_LOOK, _WORK = 5, 40  # seconds in which a request is tried again: at first, and once a dump is under way
_PLACES = {"s3": "S3", "gs": "Google Cloud Storage", "az": "Azure Blob Storage"}
_MD5 = re.compile(r'"?([0-9a-f]{32}-\d+)"?')


class ObjectStore:
    """A bucket and a prefix in it, as `backups.Store`."""

    def __init__(self, url: SplitResult) -> None:
        """Asks nobody yet. Raises `SettingsError`, which does not repeat a URL with something secret in it."""
        if url.query or url.fragment or "@" in url.netloc:
            raise SettingsError(
                "MIGRATE_BACKUP_URL: credentials and options do not belong into it",
                hint="give them as the environment variables of the store, such as AWS_SECRET_ACCESS_KEY or "
                "AZURE_STORAGE_SAS_TOKEN",
            )
        self._scheme, self._bucket, self._prefix = url.scheme, url.netloc, url.path.strip("/")
        self.place = "/".join(filter(None, (f"{url.scheme}://{url.netloc}", self._prefix)))
        if not self._bucket:
            raise SettingsError(f"MIGRATE_BACKUP_URL={self.place} names no bucket", hint="such as s3://bucket/prefix")
        self._first, self._patient = self._opened(_LOOK), self._opened(_WORK)

    def _opened(self, patience: int) -> Any:
        """obstore's own store, which takes its credentials from the environment, or where the cloud puts them."""
        try:
            from obstore import store
        except ImportError as error:
            raise SettingsError(
                f"MIGRATE_BACKUP_URL={self.place} needs the package obstore",
                hint="pip install 'alembic-job[s3]'" if self._scheme == "s3" else "pip install 'alembic-job[stores]'",
            ) from error
        kinds: dict[str, Any] = {"s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore}
        retries = {
            "max_retries": 100,  # the time is what bounds them
            "retry_timeout": timedelta(seconds=patience),
            "backoff": {"max_backoff": timedelta(seconds=5)},
        }
        config: dict[str, Any] = {
            "prefix": self._prefix or None,
            "client_options": _client_options(),
            "retry_config": retries,
        }
        if self._scheme == "s3" and (login := amazon.profile_login()) is not None:
            config["credential_provider"] = login
        if self._scheme == "s3" and not amazon.endpoint() and not os.environ.get("AWS_CHECKSUM_ALGORITHM"):
            config["checksum_algorithm"] = "SHA256"
        try:
            return kinds[self._scheme](self._bucket, **config)
        except Exception as error:  # obstore's errors have no base of their own in common with ValueError
            raise SettingsError(
                f"MIGRATE_BACKUP_URL={self.place} cannot be used: {_said(error)}",
                hint=f"see the environment variables of {_PLACES[self._scheme]} in the how-to on backups",
            ) from None

    def at(self, name: str) -> str:
        return f"{self.place}/{name}"

    def check(self, *, jobs: int, encrypt: bool) -> None:
        if jobs > 1:
            raise SettingsError(
                f"MIGRATE_BACKUP_JOBS={jobs} makes each backup a folder, which cannot be streamed to {self.place}",
                hint="unset MIGRATE_BACKUP_JOBS, or let MIGRATE_BACKUP_URL name a folder",
            )

    def manifests(self) -> list[Manifest]:
        with self._asking("listed"):
            found = [each for each in self._objects() if each["path"].endswith(SUFFIX) and each["size"] <= _MANIFEST]
            return backups.in_order([self._manifest(Path(each["path"]).name) for each in found])

    def _objects(self) -> list[Any]:
        """What is right below the prefix."""
        return list(self._first.list_with_delimiter()["objects"])

    def _manifest(self, file: str) -> Manifest | None:
        try:
            return backups.read_manifest(bytes(self._first.get(file).bytes()), file)
        except FileNotFoundError:  # removed since
            return None

    def local(self, name: str) -> Path | None:
        return None

    def exists(self, name: str) -> bool:
        with self._asking("read"):
            return self._size(name) is not None

    def _size(self, name: str) -> int | None:
        try:
            return int(self._first.head(name)["size"])
        except FileNotFoundError:
            return None

    def read(self, name: str) -> Iterator[bytes]:
        """A request for each few megabytes: each is tried again by itself, and takes no longer than it may."""
        with self._asking("read"):
            size = self._size(name)
            if size is None:
                raise BackupNotProven(f"the archive {self.at(name)} is gone")
            for start in range(0, size, _READ):
                yield bytes(self._patient.get_range(name, start=start, end=min(size, start + _READ)))

    def remove(self, manifest: Manifest) -> None:
        with self._asking("removed"):
            self._delete(manifest.name + SUFFIX)
            self._delete(manifest.name)

    def _delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._first.delete(name)

    @contextmanager
    def draft(self, name: str, *, owner: str, directory: bool, expected: int) -> Iterator[_Draft]:
        """An upload and its marker; aborted, or removed if it was complete, unless it is kept."""
        marker = f"{DRAFT[0]}{name}{DRAFT[1]}"
        with self._asking("written"):
            self._first.put(marker, owner.encode())
        made = _Draft(self, self._patient, name, expected)
        try:
            yield made
        finally:
            with suppress(JobError):  # what is left over now has a marker
                made.close()
                with self._asking("removed"):
                    self._delete(marker)

    def clear_drafts(self, ended: Callable[[str, str], bool]) -> list[str]:
        """Also of uploads that were never completed, which no list of objects shows."""
        gone = []
        with self._asking("listed"):
            for each in self._objects():
                marker = Path(each["path"]).name
                name = marker.removeprefix(DRAFT[0]).removesuffix(DRAFT[1])
                if f"{DRAFT[0]}{name}{DRAFT[1]}" != marker:
                    continue
                old = (datetime.now(UTC) - each["last_modified"]).total_seconds() > ABANDONED
                if old or ended(self._owner(marker), name):
                    self._clear(marker, name)
                    gone.append(marker)
        return gone

    def _owner(self, marker: str) -> str:
        with suppress(FileNotFoundError):
            return bytes(self._first.get(marker).bytes()).decode(errors="replace")
        return ""

    def _clear(self, marker: str, name: str) -> None:
        if self._size(name + SUFFIX) is None:
            self._delete(name)
        self.abort_uploads(name)
        self._delete(marker)

    def abort_uploads(self, name: str) -> bool:
        """True if no upload of that name is left, as far as that can be told here."""
        return self._scheme == "s3" and amazon.abort_uploads(self._bucket, "/".join(filter(None, (self._prefix, name))))

    @contextmanager
    def _asking(self, done: str) -> Iterator[None]:
        """What the store says, as our error; `done` is what was to be done there."""
        try:
            yield
        except (JobError, GeneratorExit):
            raise
        except Exception as error:
            raise self.refused(error, done) from None  # its text has the whole request in it

    def refused(self, error: BaseException, done: str = "written") -> BackupNotWritten:
        return BackupNotWritten(
            f"the backup cannot be {done} in {self.place} (MIGRATE_BACKUP_URL): {_said(error)}",
            hint=f"nothing was changed; check that {_PLACES[self._scheme]} can be reached from here, that the bucket is"
            " there, and what the credentials in the environment may do",
        )


class _Draft:
    """An upload, as `backups.Draft`."""

    path = None

    def __init__(self, home: ObjectStore, store: Any, name: str, expected: int) -> None:
        self._home, self._store, self._name = home, store, name
        self._part = part_size(expected)
        self._size, self._hash, self._etag = 0, hashlib.sha256(), _PartsHash(self._part)
        self._upload = Upload(store, name, self._part)
        self._complete = self._kept = False

    def write(self, piece: bytes) -> None:
        self._hash.update(piece)
        self._etag.update(piece)
        self._size += len(piece)
        try:
            self._upload.write(piece)
        except Exception as error:
            raise self._home.refused(error) from None

    def finish(self, *, read_back: bool) -> tuple[int, str]:
        try:
            etag = self._upload.finish()
            self._complete = True
            size = int(self._store.head(self._name)["size"])
        except Exception as error:
            raise self._home.refused(error) from None
        found, expected = f"{size} bytes", f"{self._size} bytes"
        stated = _MD5.fullmatch(etag or "")
        if size == self._size and read_back and (stated is None or stated[1] != self._etag.hexdigest()):
            found, expected = _hash_of(self._home.read(self._name)), self._hash.hexdigest()
        if found != expected:
            raise BackupNotProven(
                f"{self._home.at(self._name)} is not what was sent: {found}, not {expected}",
                hint="nothing was changed, and the object was removed; run again",
            )
        return self._size, self._hash.hexdigest()

    def keep(self, manifest: Manifest) -> None:
        try:
            self._store.put(manifest.name + SUFFIX, manifest.text().encode())
        except Exception as error:
            raise self._home.refused(error) from None
        self._kept = True

    def close(self) -> None:
        """Leaves nothing of what was not kept. Raises `BackupNotWritten` where that fails."""
        if self._kept:
            return
        aborted = self._complete or self._upload.abort()
        with self._home._asking("removed"):
            for name in (self._name + SUFFIX, self._name):
                self._home._delete(name)
            if not aborted and not self._home.abort_uploads(self._name):
                raise BackupNotWritten("the upload may not be aborted: its marker stays")


class _PartsHash:
    """S3's ETag of an object that was uploaded in parts: the MD5 of the parts' MD5s, and their number.

    So it is in S3 but with keys of KMS, and in most that speak S3.
    """

    def __init__(self, part: int) -> None:
        self._part, self._sums, self._filled = part, b"", 0
        self._current = hashlib.md5(usedforsecurity=False)

    def update(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            now, rest = rest[: self._part - self._filled], rest[self._part - self._filled :]
            self._current.update(now)
            self._filled += len(now)
            if self._filled == self._part:
                self._next()

    def _next(self) -> None:
        self._sums += self._current.digest()
        self._current, self._filled = hashlib.md5(usedforsecurity=False), 0

    def hexdigest(self) -> str:
        if self._filled:
            self._next()
        return f"{hashlib.md5(self._sums, usedforsecurity=False).hexdigest()}-{len(self._sums) // 16}"


def _hash_of(pieces: Iterator[bytes]) -> str:
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def _client_options() -> dict[str, Any]:
    """`http://` only for an endpoint that is spelled so; certificates as Amazon's own programs take them."""
    options: dict[str, Any] = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(minutes=5)}
    places = (amazon.endpoint(), os.environ.get("AZURE_STORAGE_ENDPOINT"), os.environ.get("GOOGLE_BASE_URL"))
    if any(place and place.startswith("http://") for place in places):
        options["allow_http"] = True
    if file := os.environ.get("AWS_CA_BUNDLE"):
        try:
            options["root_certificate"] = Path(file).read_bytes()
        except OSError as error:
            raise SettingsError(
                f"AWS_CA_BUNDLE={file} cannot be read: {error.strerror}", hint="mount it, or unset the variable"
            ) from error
    return options


def _said(error: BaseException) -> str:
    """The gist of obstore's message: what the store answered, else its first line without addresses' queries."""
    text = str(error).partition("\n\nDebug source")[0]
    code, message = re.search(r"<Code>(.*?)</Code>", text), re.search(r"<Message>(.*?)</Message>", text, re.DOTALL)
    if code:
        return f"{code[1]}: {' '.join(message[1].split())[:500]}" if message else code[1]
    text = re.sub(r"(\w+://[^\s?]*)\?\S*", r"\1", " ".join(text.split()))
    return text[:500] or type(error).__name__
