"""A dump that counts only when it was read back to its last byte."""

from __future__ import annotations

import hashlib
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self

from psycopg2.extensions import connection as Connection

from alembic_job import dump_arguments
from alembic_job.dsn import Dsn
from alembic_job.errors import BackupNotProven, BackupNotWritten, JobError, LoginFailed, SettingsError
from alembic_job.gateways import backups, encryption, postgres, programs, proving, space
from alembic_job.gateways.archives import Archive
from alembic_job.gateways.backups import Draft, Manifest, Store, Table
from alembic_job.gateways.copied_rows import CopiedRows
from alembic_job.gateways.snapshot import Snapshot
from alembic_job.logs.events import Log
from alembic_job.logs.lines import timestamp

# Held as long as a draft of that name is written.
_LOCK_CLASS = 0x616A6F44
_LOCK = "SELECT pg_advisory_xact_lock(%s, hashtext(%s))"
_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))"
_WITH_METHODS = 16  # the first pg_dump that takes a method of compression


class DumpOptions(NamedTuple):
    """How to dump: `jobs` above 1 make it a folder; `compress` as pg_dump takes it; `verify` is read, list or restore,
    which needs a `trial`.

    `encrypt_to` are age's recipients; `image` and `run_id` are for the manifest; every `heartbeat` seconds an event
    says how far it is. `arguments` are pg_dump's own, as `dump_arguments` has them.
    """

    bindir: str | None
    run_id: str
    jobs: int = 1
    compress: str | None = None
    verify: str = "read"
    encrypt_to: tuple[str, ...] = ()
    image: str | None = None
    heartbeat: float = 5.0
    arguments: tuple[str, ...] = ()
    trial: proving.Trial | None = None


def dump(dsn: Dsn, store: Store, options: DumpOptions, log: Log) -> Manifest:
    """Dumps the database into the store and proves it.

    Written as a draft, checked by exit status, its list of tables against the catalog and, with `verify=read`, a full
    read back; with `verify=restore` restored as well; then kept. Raises `SettingsError` (20: no usable program),
    `BackupNotWritten` (15), `BackupNotProven` (25) or `LoginFailed` (21); then nothing of it stays.
    """
    check(store, options)
    with closing(postgres.connect(dsn, "alembic-job backup")) as connection:
        postgres.unbound(connection)
        major = postgres.server_state(connection).version // 10_000
        found = programs.find_programs(options.bindir, major)
        _check_compress(options.compress, found.major)
        _clear_drafts(connection, store, log)
        trial = options.trial
        with proving.place_of(trial, connection, dsn, log) if trial else nullcontext() as place:
            return _dump(connection, dsn, store, found, options, place, log)


def _clear_drafts(connection: Connection, store: Store, log: Log) -> None:
    """What killed runs have left in the store: those of this database are known by the lock that they do not hold."""
    mine = _owner(postgres.identity(connection))

    def ended(owner: str, name: str) -> bool:
        return owner == mine and bool(postgres.query(connection, _TRY_LOCK, _LOCK_CLASS, name)[0][0])

    for name in store.clear_drafts(ended):
        log.info("backup.draft_removed", path=store.at(name))


def _owner(identity: str) -> str:
    """A database in the name of a file: those of many may lie in one place."""
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def check(store: Store, options: DumpOptions) -> None:
    """Raises `SettingsError` if such a backup cannot be taken there."""
    store.check(jobs=options.jobs, encrypt=bool(options.encrypt_to))
    if options.encrypt_to:
        encryption.check(options.encrypt_to)
    dump_arguments.check(options.arguments)
    if options.trial:
        options.trial.check(options.encrypt_to)


def _dump(
    connection: Connection,
    dsn: Dsn,
    store: Store,
    found: programs.Programs,
    options: DumpOptions,
    place: proving.Place | None,
    log: Log,
) -> Manifest:
    begun, taken_at = time.monotonic(), timestamp()
    with Snapshot(connection, options.arguments) as seen:
        space.check(store, seen.identity, seen.size, options.compress, log)
        name = _name(seen.database, options)
        log.info("backup.started", path=store.at(name), server_major=seen.version // 10_000, client_major=found.major)
        postgres.query(connection, _LOCK, _LOCK_CLASS, name)
        directory = options.jobs > 1
        with store.draft(name, owner=_owner(seen.identity), directory=directory, expected=seen.size) as draft:
            rows = _taken(found, dsn, draft, seen, options, log)
            size, sha256 = draft.finish(read_back=options.verify != "list")
            manifest = Manifest(
                name=name,
                database=seen.database,
                identity=seen.identity,
                taken_at=taken_at,
                run_id=options.run_id,
                revisions=seen.revisions,
                server_version=seen.version,
                client_major=found.major,
                format="directory" if directory else "custom",
                snapshot=seen.snapshot,
                size=size,
                sha256=sha256,
                duration_seconds=round(time.monotonic() - begun, 3),
                verified=options.verify,
                locale=seen.locale,
                tables=tuple(Table(table, rows.get(table)) for table in seen.tables.values()),
                image=options.image,
                encrypted=encryption.AGE if options.encrypt_to else None,
                recipients=options.encrypt_to,
                database_size=seen.size,
                compress=options.compress,
                partial=dump_arguments.is_partial(options.arguments),
                arguments=options.arguments,
            )
            if place is not None:
                seen.release(_LOCK_CLASS, name)
                _restored(place, found, store, draft, manifest, options)
                manifest = replace(manifest, duration_seconds=round(time.monotonic() - begun, 3))
            draft.keep(manifest)
    log.info(
        "backup.finished",
        path=store.at(name),
        **backups.as_fields(manifest),
        duration_seconds=round(time.monotonic() - begun, 3),
    )
    return manifest


def _restored(
    place: proving.Place,
    found: programs.Programs,
    store: Store,
    draft: Draft,
    manifest: Manifest,
    options: DumpOptions,
) -> None:
    """Proves what is stored by restoring it: a folder has it under the draft's name, any other store by its own."""
    assert options.trial is not None
    stored = replace(manifest, name=draft.path.name) if draft.path else manifest
    archive = Archive(store, stored, options.trial.identity)
    place.prove(found, archive, options.jobs if archive.file else 1, options.heartbeat)


def _name(database: str, options: DumpOptions) -> str:
    safe = "".join(char if char.isalnum() or char in "-_" else "_" for char in database)
    safe = safe.encode()[:80].decode(errors="ignore")
    kind = "dir" if options.jobs > 1 else "dump"
    encrypted = encryption.SUFFIX if options.encrypt_to else ""
    return f"{safe}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{options.run_id}.{kind}{encrypted}"


def _check_compress(compress: str | None, client_major: int) -> None:
    if compress and client_major < _WITH_METHODS and not compress.isdigit():
        raise SettingsError(
            f"MIGRATE_BACKUP_COMPRESS={compress}: pg_dump {client_major} takes a level from 0 to 9 only",
            hint=f"give a level, or use client programs of major {_WITH_METHODS} or newer (MIGRATE_PG_BINDIR)",
        )


def _taken(
    found: programs.Programs, dsn: Dsn, draft: Draft, seen: Snapshot, options: DumpOptions, log: Log
) -> dict[str, int]:
    """Writes the draft and proves it; returns the rows of each table, as far as they were read."""
    argv = [found.path("pg_dump"), "--no-password", f"--snapshot={seen.snapshot}"]
    argv += ["--format=directory", f"--jobs={options.jobs}"] if options.jobs > 1 else ["--format=custom"]
    if options.compress:
        argv.append(f"--compress={options.compress}")
    argv += options.arguments
    told = _Told(options.heartbeat, log)
    if draft.path is None or options.encrypt_to:
        return _stream(found, argv, dsn, draft, seen.tables, options, told)
    path = draft.path
    argv += [f"--file={path}", "--no-sync"]  # the draft goes to the disk while it is hashed
    done = programs.run(argv, postgres.with_password(dsn), lambda: told.now(backups.size_of(path)), options.heartbeat)
    if done.returncode != 0:
        raise _dump_error(done.stderr, options)
    return _prove(found, path, seen.tables, options.verify)


class _Told:
    """Says every so many seconds how far the dump is."""

    def __init__(self, every: float, log: Log) -> None:
        self._every, self._log = every, log
        self._begun = self._last = time.monotonic()

    def now(self, size: int) -> None:
        self._last = time.monotonic()
        seconds = self._last - self._begun
        self._log.info("backup.progress", bytes=size, bytes_per_second=int(size / seconds), seconds=round(seconds, 1))

    def perhaps(self, size: int) -> None:
        if time.monotonic() - self._last >= self._every:
            self.now(size)


def _stream(
    found: programs.Programs,
    argv: list[str],
    dsn: Dsn,
    draft: Draft,
    tables: dict[int, str],
    options: DumpOptions,
    told: _Told,
) -> dict[str, int]:
    """pg_dump to where the draft goes, encrypted if need be, and on the way through what proves it."""
    with (
        _Proof(found, options.verify) as proof,
        programs.Flowing(argv, postgres.with_password(dsn)) as dumping,
    ):

        def pieces() -> Iterator[bytes]:
            size = 0
            for piece in dumping.pieces():
                proof.write(piece)
                yield piece
                size += len(piece)
                told.perhaps(size)

        if options.encrypt_to:
            encryption.encrypt(pieces(), draft.write, options.encrypt_to)
        else:
            for piece in pieces():
                draft.write(piece)
        done = dumping.done()
        if done.returncode != 0:
            raise _dump_error(done.stderr, options)
        return proof.rows(tables)


class _Proof:
    """The programs that read an archive while it is written."""

    def __init__(self, found: programs.Programs, verify: str) -> None:
        self._listing, self._counted = bytearray(), CopiedRows()
        restore = found.path("pg_restore")
        self._list = programs.Fed([restore, "--list"], self._listing.extend)
        self._read = (
            programs.Fed([restore, "--data-only", "--file=-"], self._counted.feed) if verify != "list" else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._list.__exit__(*error)
        if self._read:
            self._read.__exit__(*error)

    def write(self, piece: bytes) -> None:
        self._list.write(piece)
        if self._read:
            self._read.write(piece)

    def rows(self, tables: dict[int, str]) -> dict[str, int]:
        """After the last piece: as `_prove`."""
        _check_read(self._list.done())
        _check_tables(self._listing.decode(errors="replace"), tables)
        if self._read:
            _check_read(self._read.done())
        return self._counted.rows


def _dump_error(stderr: str, options: DumpOptions) -> JobError:
    said = " ".join(stderr.split())[-2000:]
    if "permission denied for" in said:
        return LoginFailed(
            f"pg_dump may not read everything: {said}",
            hint="grant the role pg_read_all_data, or back up with the owner's role",
        )
    if options.compress and re.search(r"compress", said):
        return SettingsError(
            f"MIGRATE_BACKUP_COMPRESS={options.compress}: {said}", hint="such as 6, gzip:6, lz4, zstd:3 or none"
        )
    if options.arguments and re.search(r"(unrecognized|illegal|invalid) option|[Ii]mproper|cross-database", said):
        return SettingsError(
            f"MIGRATE_BACKUP_ARGS: {said}", hint="give what this pg_dump takes, or use newer client programs"
        )
    return BackupNotWritten(f"pg_dump failed: {said}")


def _prove(found: programs.Programs, archive: Path, tables: dict[int, str], verify: str) -> dict[str, int]:
    """The archive's own list against the catalog's tables, then a full read: `--list` alone accepts a damaged one.

    Returns the rows of each table in the archive, as far as they were read. Raises `BackupNotProven`.
    """
    listed = programs.run([found.path("pg_restore"), "--list", str(archive)])
    _check_read(listed)
    _check_tables(listed.stdout, tables)
    return read_back(found, archive) if verify != "list" else {}


def _check_tables(listing: str, tables: dict[int, str]) -> None:
    there = _listed_tables(listing)
    missing = sorted(name for oid, name in tables.items() if oid not in there)
    if missing:
        raise BackupNotProven(f"the dump lacks tables that the database has: {', '.join(missing[:20])}")


def _check_read(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode != 0:
        raise BackupNotProven(f"pg_restore cannot read the dump back: {' '.join(done.stderr.split())[-2000:]}")


def read_back(found: programs.Programs, archive: Path | programs.Feed) -> dict[str, int]:
    """Reads an archive to its last byte; returns the rows of each table. Raises `BackupNotProven`, and what a feed
    raises."""
    counted, argv = CopiedRows(), [found.path("pg_restore"), "--data-only", "--file=-"]
    if isinstance(archive, Path):
        _check_read(programs.read_out([*argv, str(archive)], counted.feed))
        return counted.rows
    with programs.Fed(argv, counted.feed) as reading:
        archive(reading.write)
        _check_read(reading.done())
    return counted.rows


def differences(expected: Sequence[Table], rows: dict[str, int]) -> list[str]:
    """What tables hold against what a manifest says: `public.users: 3 rows, not 4`."""
    return [
        f"{table.name}: {rows.get(table.name, 0)} rows, not {table.rows}"
        for table in expected
        if table.rows is not None and rows.get(table.name, 0) != table.rows
    ]


def _listed_tables(listing: str) -> set[int]:
    """The oids of tables in `pg_restore --list`: lines such as `217; 1259 16388 TABLE public users postgres`."""
    found = set()
    for line in listing.splitlines():
        parts = line.split(maxsplit=4)
        if len(parts) == 5 and parts[0].endswith(";") and parts[1] == "1259" and parts[3] in ("TABLE", "FOREIGN"):
            found.add(int(parts[2]))
    return found
