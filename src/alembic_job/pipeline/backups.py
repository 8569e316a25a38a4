"""`backup` and what is done with backups by hand: list, verify, prune."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from alembic_job import human
from alembic_job.dsn import Dsn
from alembic_job.errors import BackupNotProven, SettingsError
from alembic_job.gateways import backups
from alembic_job.gateways.archives import Archive
from alembic_job.gateways.backups import Manifest, Store
from alembic_job.identity import Identity
from alembic_job.logs.events import Log
from alembic_job.model import Report
from alembic_job.pipeline.failure import concluded
from alembic_job.pipeline.other import report_of
from alembic_job.screen import DIM, PLAIN, YELLOW, Screen, table
from alembic_job.settings import Settings
from alembic_job.steps import backup as step
from alembic_job.steps.wait import wait_for_primary
from alembic_job.watch import Watch


def backup(settings: Settings, *, log: Log, watch: Watch, identity: Identity, **_: Any) -> Report:
    """Takes a proven backup now, whatever MIGRATE_BACKUP says. Needs MIGRATE_BACKUP_URL."""

    def work(dsn: Dsn) -> None:
        step.check(settings, watch)
        wait_for_primary(dsn, identity.application_name, settings.wait_timeout, settings.login_grace, log).close()
        step.take(settings, dsn, identity.run_id, watch, log)

    return report_of("backup", settings, identity, watch, work)


def prune(settings: Settings, *, log: Log, watch: Watch, identity: Identity, dry_run: bool, **_: Any) -> Report:
    """Removes the backups that no rule keeps, of all databases in the store; a `dry_run` only names them."""
    report = Report("backup prune", identity.run_id)
    with concluded(report, watch):
        if settings.backup_keep is None and settings.backup_keep_for is None:
            raise SettingsError(
                "neither MIGRATE_BACKUP_KEEP nor MIGRATE_BACKUP_KEEP_FOR is set, so every backup stays",
                hint="say what is to stay, such as --backup-keep 10 --backup-keep-for 30d",
            )
        store = backups.store_of(settings.backup_url)
        gone = step.prune(settings, store, store.manifests(), log, dry_run=dry_run)
        report.fields |= {"expired": [each.name for each in gone], "dry_run": dry_run}
    return report


def verify(
    settings: Settings, *, log: Log, watch: Watch, identity: Identity, name: str | None, every: bool, **_: Any
) -> Report:
    """Reads the newest backup, one of that name or every one back: its hash, its last byte, the rows of its tables.

    Ends with 25 if one of them is not what its manifest says.
    """
    report = Report("backup verify", identity.run_id)
    with concluded(report, watch):
        store = backups.store_of(settings.backup_url)
        found = store.manifests()
        chosen = found if every else [choose(store, found, name)]
        failed = []
        for manifest in chosen:
            watch.check()
            archive = Archive(store, manifest, settings.backup_identity)
            if problem := _problem(settings, archive):
                failed.append(manifest.name)
                log.error("backup.damaged", backup=manifest.name, taken_at=manifest.taken_at, reason=problem)
            else:
                read = "read" if archive.readable() else "hash"
                log.info("backup.verified", taken_at=manifest.taken_at, by=read, **backups.as_fields(manifest))
        if failed:
            raise BackupNotProven(
                f"{', '.join(failed)} cannot be relied on",
                hint="take a new one with `alembic-job backup`, and look after the disk that these are on",
            )
    return report


def _problem(settings: Settings, archive: Archive) -> str | None:
    """What is wrong with a backup. Raises `SettingsError` where there are no programs to tell, `BackupNotWritten` (15)
    where the store does not answer."""
    from alembic_job.gateways import pg_dump, programs

    manifest = archive.manifest
    try:
        if not archive.exists():
            return "its archive is gone"
        if archive.file and backups.sha256_of(archive.file) != manifest.sha256:
            return "its archive is not what it was: the hash differs"
        if not archive.readable():
            archive.check_hash()
            return None
        rows = pg_dump.read_back(programs.find_programs(settings.pg_bindir, manifest.client_major), archive.source)
    except OSError as error:
        return f"its archive cannot be read: {error.strerror}"
    except BackupNotProven as error:
        return str(error)
    return "; ".join(pg_dump.differences(manifest.tables, rows)[:20]) or None


def choose(store: Store, found: list[Manifest], name: str | None, database: str | None = None) -> Manifest:
    """The backup of that name, or whose name alone begins so; without one the newest, of that database if given.

    Raises `SettingsError` that says what there is.
    """
    if name is None:
        mine = [each for each in found if database is None or each.database == database]
    else:
        mine = [each for each in found if each.name == name] or [each for each in found if each.name.startswith(name)]
    if len(mine) == 1 or (mine and name is None):
        return mine[-1]
    called = f" called {name}" if name else f" of the database {database}" if database else ""
    what = f"there are {len(mine)} backups{called}…" if mine else f"there is no backup{called}"
    there = ", ".join(each.name for each in (mine or found)[-5:]) or "none at all"
    raise SettingsError(f"{what} in {store.place}", hint=f"the newest there: {there}")


def listed(settings: Settings, _log: Log, as_json: bool, screen: Screen = PLAIN) -> str:
    """The backups in the store, the oldest first, as a table for people or as JSON."""
    store = backups.store_of(settings.backup_url)
    found = store.manifests()
    if as_json:
        rows = [{"taken_at": each.taken_at, **backups.as_fields(each), "path": store.at(each.name)} for each in found]
        return json.dumps(rows, indent=2, ensure_ascii=False)
    if not found:
        return f"no backups in {store.place}"
    rows_of_text = [("TAKEN AT", "DATABASE", "REVISION", "SIZE", "TABLES", "PROVEN", "NAME")]
    rows_of_text += [
        (
            each.taken_at[:19] + "Z",
            each.database,
            each.revision,
            human.size(each.size),
            str(len(each.tables)),
            f"{each.verified}, partial" if each.partial else each.verified,
            each.name,
        )
        for each in found
    ]
    return "\n".join(table(rows_of_text, screen, shrinks=(1, 2, 6), colours=dict.fromkeys(range(7), _colour)))


def _colour(row: Sequence[str]) -> str:
    return DIM if row[0] == "TAKEN AT" else YELLOW if row[5].endswith("partial") else ""
