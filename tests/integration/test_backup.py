"""Backups: what a manifest says, how they are proven later, which ones go."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.chaos.disk import SmallDisk, can_mount
from tests.conftest import Database, Result, finish, run_job, start_job
from tests.projectkit import make_project, sql
from tests.waiting import until

WEIRD = '"We ""ird".";COPY x"'


@pytest.fixture
def shop(database: Database) -> Database:
    """Two tables with known rows, one of them with a name and data that look like something else; a revision."""
    database.execute(
        "CREATE TABLE users AS SELECT n AS id, 'name ' || n AS name FROM generate_series(1, 1000) n;"
        'CREATE SCHEMA "We ""ird";'
        f"CREATE TABLE {WEIRD} (a text); INSERT INTO {WEIRD} VALUES ('\\.'), (E'\\n\\\\.\\n'), (''), (NULL);"
        "CREATE TABLE empty (); CREATE TABLE parts (id int) PARTITION BY RANGE (id);"
        "CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (10); INSERT INTO parts VALUES (1), (2);"
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); INSERT INTO alembic_version VALUES ('r7')"
    )
    return database


class Folder:
    """The backups' folder, and the job's commands on it."""

    def __init__(self, database: Database, path: Path) -> None:
        self.path, self._database = path, database
        self.env = {"MIGRATE_BACKUP_URL": str(path), "MIGRATE_PG_BINDIR": str(database.server.bin)}

    def run(self, *command: str, **env: str) -> Result:
        return run_job(*command, cwd=self.path.parent, url=self._database.url, env=self.env | env)

    def take(self, **env: str) -> Path:
        result = self.run("backup", **env)
        assert result.code == 0, result.finished
        return Path(result.events("backup.finished")[0]["path"])

    def names(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir()) if self.path.exists() else []


@pytest.fixture
def folder(shop: Database, tmp_path: Path) -> Folder:
    return Folder(shop, tmp_path / "backups")


def manifest_of(archive: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(archive.with_name(archive.name + ".json").read_text())
    return manifest


ROWS = {
    WEIRD: 4,
    "public.alembic_version": 1,
    "public.empty": 0,
    "public.part1": 2,
    "public.parts": None,
    "public.users": 1000,
}


@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.thorough)])
def test_the_manifest_says_what_is_in_the_archive(shop: Database, folder: Folder, jobs: str) -> None:
    """Tables with their rows as archived, the revision, versions, hash and size; both private."""
    archive = folder.take(MIGRATE_BACKUP_JOBS=jobs, MIGRATE_BACKUP_COMPRESS="1")
    manifest = manifest_of(archive)
    assert dict(manifest["tables"]) == ROWS
    assert manifest["revisions"] == {"public.alembic_version": ["r7"]}
    assert manifest["database"] == shop.name and manifest["server_version"] // 10_000 == 18
    assert manifest["format"] == ("custom" if jobs == "1" else "directory") and manifest["verified"] == "read"
    assert manifest["locale"]["encoding"] == "UTF8"
    files = [archive] if jobs == "1" else list(archive.iterdir())
    assert manifest["size"] == sum(file.stat().st_size for file in files)
    for path in (archive, archive.with_name(archive.name + ".json")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert folder.run("backup", "verify").events("backup.verified")[0]["sha256"] == manifest["sha256"]


def test_a_database_that_changes_meanwhile(shop: Database, folder: Folder) -> None:
    """Revision and rows are those of the dump's own snapshot, whatever is written while it is taken."""
    writer = shop.connect()
    with writer.cursor() as cursor:
        job = start_job("backup", cwd=folder.path.parent, url=shop.url, env=folder.env)
        while job.poll() is None:
            cursor.execute(
                "INSERT INTO users VALUES (0, 'late');"
                "UPDATE alembic_version SET version_num = 'w' || (SELECT count(*) FROM users)"
            )
    assert finish(job).code == 0
    [archive] = folder.path.glob("*.dump")
    manifest = manifest_of(archive)
    rows = dict(manifest["tables"])["public.users"]
    [[now]] = shop.query("SELECT count(*) FROM users")
    assert 1000 < rows < now
    assert manifest["revisions"] == {"public.alembic_version": [f"w{rows}"]}
    assert folder.run("backup", "verify").code == 0


def _flip(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 0x10
    archive.write_bytes(data)


def _forge(archive: Path) -> None:
    """One row less in the manifest than there is in the archive."""
    file = archive.with_name(archive.name + ".json")
    file.write_text(file.read_text().replace("1000\n", "999\n"))


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        pytest.param(_flip, "hash", id="a bit"),
        pytest.param(
            lambda path: path.write_bytes(path.read_bytes()[:-100]), "hash", id="cut", marks=pytest.mark.thorough
        ),
        pytest.param(lambda path: path.unlink(), "gone", id="gone", marks=pytest.mark.thorough),
        pytest.param(_forge, "public.users: 1000 rows, not 999", id="rows", marks=pytest.mark.thorough),
    ],
)
def test_a_damaged_backup_is_found(folder: Folder, damage: Any, word: str) -> None:
    """`backup verify` ends with 25 and names the one; --all still looks at the others."""
    good = folder.take()
    damaged = folder.take()
    damage(damaged)
    result = folder.run("backup", "verify", "--all")
    assert result.code == 25 and damaged.name in result.finished["error"], result.finished
    assert word in result.events("backup.damaged")[0]["reason"]
    assert [event["backup"] for event in result.events("backup.verified")] == [good.name]
    assert folder.run("backup", "verify", good.name[:-8]).code == 0, "by the beginning of its name"


@pytest.mark.thorough
def test_an_archive_that_is_damaged_while_it_is_made(shop: Database, folder: Folder, tmp_path: Path) -> None:
    """A full read finds a flipped bit in the data, which the table of contents cannot: 25 before the first change."""
    programs = tmp_path / "bin"
    programs.mkdir()
    real = shop.server.bin
    (programs / "pg_restore").write_text(f'#!/bin/sh\nexec {real}/pg_restore "$@"\n')
    (programs / "pg_dump").write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec {real}/pg_dump --version\n{real}/pg_dump "$@" || exit\n'
        "for a; do case $a in --file=*) f=${a#--file=};; esac; done\n"
        'python3 -c \'import sys; d=bytearray(open(sys.argv[1],"rb").read()); d[-300]^=255;'
        ' open(sys.argv[1],"wb").write(d)\' "$f"\n'
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    result = folder.run("backup", MIGRATE_PG_BINDIR=str(programs))
    assert result.code == 25 and folder.names() == [], result.finished
    result = folder.run("backup", MIGRATE_PG_BINDIR=str(programs), MIGRATE_BACKUP_VERIFY="list")
    assert result.code == 0, "which list does not find; so it says how far a backup is proven"
    assert "list" in folder.run("backup", "list").out.splitlines()[-1].split()


@pytest.mark.thorough
def test_list(shop: Database, folder: Folder) -> None:
    """A table for people, JSON for programs; files that are none of ours are passed over."""
    folder.path.mkdir()
    assert folder.run("backup", "list").out == f"no backups in {folder.path}\n"
    archive = folder.take()
    (folder.path / "notes.json").write_text('{"tables": []}')
    (folder.path / "broken.json").write_text("{")
    (folder.path / "unproven.dump").write_text("")
    [head, row] = folder.run("backup", "list").out.splitlines()
    assert head.split()[:2] == ["TAKEN", "AT"] and archive.name in row and " r7 " in row and shop.name in row
    [entry] = json.loads(folder.run("backup", "list", "--json").out)
    assert entry["path"] == str(archive) and entry["revision"] == "r7" and entry["verified"] == "read"
    assert folder.run("backup", "verify", "unproven").code == 20


@pytest.mark.thorough
def test_keep(shop: Database, folder: Folder) -> None:
    """After a backup the oldest go, of this database only; a dry run touches nothing; without a rule nothing goes."""
    others = [folder.take() for _ in range(2)]
    for other in others:
        other.with_name(other.name + ".json").write_text(json.dumps(manifest_of(other) | {"database": "other"}))
    names = [folder.take().name for _ in range(3)]
    dry = folder.run("backup", "prune", "--backup-keep", "1", "--dry-run")
    assert set(dry.finished["expired"]) == {others[0].name, *names[:2]} and len(folder.names()) == 10
    result = folder.run("backup", MIGRATE_BACKUP_KEEP="1")
    assert [Path(event["path"]).name for event in result.events("backup.removed")] == names
    assert {name for name in folder.names() if name.endswith(".dump")} > {other.name for other in others}
    assert len(folder.names()) == 6
    assert folder.run("backup", "prune", "--backup-keep-for", "1h").finished["expired"] == []
    refused = folder.run("backup", "prune")
    assert refused.code == 20 and "MIGRATE_BACKUP_KEEP" in refused.finished["error"]


def test_kill_9_leaves_nothing_that_counts(shop: Database, folder: Folder) -> None:
    """No archive under a final name, none that is listed; what is left is hidden, and goes with the next backup."""
    locker = shop.connect()
    locker.autocommit = False
    locker.cursor().execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    job = start_job("backup", cwd=folder.path.parent, url=shop.url, env=folder.env)
    until(folder.names, what="a draft")
    [draft] = folder.names()
    assert draft.startswith(".") and draft.endswith(".partial")
    os.kill(job.pid, signal.SIGKILL)
    locker.close()
    finish(job)
    assert folder.run("backup", "list").out == f"no backups in {folder.path}\n"
    until(lambda: not _dumping(shop), what="the end of pg_dump, whose client is gone")
    other = folder.path / draft.replace(draft.split(".")[-2], "0" * 16)
    other.touch()
    folder.take()
    assert draft not in folder.names() and other.name in folder.names(), "that might be somebody's"
    os.utime(other, (time.time() - 90_000,) * 2)
    folder.take()
    assert other.name not in folder.names()


@pytest.mark.thorough
def test_a_draft_that_somebody_writes_stays(shop: Database, folder: Folder) -> None:
    """Two backups of the same database at the same time do not disturb each other."""
    slow = start_job("backup", cwd=folder.path.parent, url=shop.url, env=folder.env | _slow(shop, folder.path.parent))
    until(folder.names, what="a draft")
    folder.take()
    assert finish(slow).code == 0
    assert len([name for name in folder.names() if name.endswith(".dump")]) == 2


def _slow(shop: Database, home: Path) -> dict[str, str]:
    """Programs whose pg_dump waits until another backup is there."""
    programs = home / "bin"
    programs.mkdir()
    real = shop.server.bin
    (programs / "pg_restore").write_text(f'#!/bin/sh\nexec {real}/pg_restore "$@"\n')
    (programs / "pg_dump").write_text(
        f'#!/bin/sh\n[ "$1" = --version ] || until ls {home}/backups/*.json; do sleep 0.1; done >/dev/null 2>&1\n'
        f'exec {real}/pg_dump "$@"\n'
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    return {"MIGRATE_PG_BINDIR": str(programs)}


def _dumping(shop: Database) -> bool:
    return bool(
        shop.query("SELECT 1 FROM pg_stat_activity WHERE datname = %s AND application_name LIKE '%%dump%%'", shop.name)
    )


@pytest.mark.skipif(not can_mount(), reason="only root can mount a small file system")
@pytest.mark.parametrize("before", [pytest.param(True, marks=pytest.mark.thorough), False])
def test_a_full_disk(database: Database, tmp_path: Path, before: bool) -> None:
    """Full before the dump begins, or filled by it: 15, nothing changed, nothing left."""
    project = make_project(tmp_path / "p", [sql("CREATE TABLE made (id int)")])
    database.execute("CREATE TABLE big AS SELECT sha512(n::text::bytea) AS noise FROM generate_series(1, 50000) n")
    backups = tmp_path / "backups"
    backups.mkdir()
    with SmallDisk(backups, 1) as disk:
        if before:
            disk.fill()
        env = {"MIGRATE_BACKUP_URL": str(backups), "MIGRATE_PG_BINDIR": str(database.server.bin)}
        result = run_job("migrate", cwd=project, url=database.url, env=env)
        assert result.code == 15, result.finished
        disk.free()
        assert list(backups.iterdir()) == []
    assert database.query("SELECT to_regclass('made') IS NULL") == [(True,)]


@pytest.mark.thorough
@pytest.mark.parametrize("method", ["nonsense", "gzip:99"])
def test_a_compression_that_pg_dump_does_not_know(folder: Folder, method: str) -> None:
    """20, naming the setting."""
    result = folder.run("backup", MIGRATE_BACKUP_COMPRESS=method)
    assert result.code == 20 and "MIGRATE_BACKUP_COMPRESS" in result.finished["error"], result.finished
    assert folder.names() == []


@pytest.fixture
def reader(shop: Database) -> Iterator[str]:
    """A role that may read some tables only."""
    role = f"reader_{shop.name}"
    shop.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT SELECT ON users TO {role}")
    yield role
    shop.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.thorough
def test_a_role_that_may_not_read_everything(shop: Database, folder: Folder, reader: str) -> None:
    """21 with the GRANT that helps."""
    parsed = psycopg2.extensions.parse_dsn(shop.url)
    url = f"postgresql://{reader}:x@{parsed['host']}:{parsed['port']}/{shop.name}"
    result = run_job("backup", cwd=folder.path.parent, url=url, env=folder.env)
    assert result.code == 21 and "pg_read_all_data" in result.finished["hint"], result.finished
    assert folder.names() == []
