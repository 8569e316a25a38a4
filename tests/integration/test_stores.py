"""Backups in an object store: a real server that speaks S3, what goes wrong with it, and what is left then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyrage
import pytest

from tests.chaos.disk import SmallDisk, can_mount
from tests.conftest import Database, Result, finish, run_job, start_job
from tests.objectstore import BUCKET, KEY, SECRET, ObjectServer, served
from tests.projectkit import make_project, sql
from tests.waiting import until


@pytest.fixture(scope="session")
def server() -> Iterator[ObjectServer]:
    with served() as started:
        yield started


class Bucket:
    """A prefix of its own in a store, and the job's commands on it."""

    def __init__(self, server: ObjectServer, database: Database, cwd: Path) -> None:
        self.server, self.database, self.cwd = server, database, cwd
        self.prefix = f"shop/{database.name}"
        self.url = f"s3://{BUCKET}/{self.prefix}"
        self.env = server.env | {"MIGRATE_BACKUP_URL": self.url, "MIGRATE_PG_BINDIR": str(database.server.bin)}

    def run(self, *command: str, **env: str) -> Result:
        result = run_job(*command, cwd=self.cwd, url=self.database.url, env=self.env | env)
        assert SECRET not in result.out + result.err
        return result

    def start(self, *command: str, **env: str) -> subprocess.Popen[str]:
        return start_job(*command, cwd=self.cwd, url=self.database.url, env=self.env | env)

    def take(self, **env: str) -> str:
        result = self.run("backup", **env)
        assert result.code == 0, result.finished
        return str(result.events("backup.finished")[0]["backup"])

    def names(self) -> list[str]:
        return self.server.keys(self.prefix)

    def manifest(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.server.body(f"{self.prefix}/{name}.json"))
        return found

    def restored(self) -> list[str]:
        """Databases that were made from this one."""
        beside = Database(self.database.server, "postgres")
        found = beside.query("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", f"{self.database.name}_")
        return [name for [name] in found]

    def clean(self) -> bool:
        """Neither an object nor an upload that was begun."""
        return self.names() == [] and self.server.uploads(self.prefix) == []


@pytest.fixture
def shop(database: Database) -> Database:
    """Tables with known rows, whose dump makes several parts if it is not compressed."""
    database.execute(
        "CREATE TABLE users AS SELECT n AS id, 'name ' || n AS name FROM generate_series(1, 1000) n;"
        "CREATE TABLE noise AS SELECT n, repeat(md5(n::text), 300) AS text FROM generate_series(1, 2500) n;"
        "CREATE TABLE empty ();"
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); INSERT INTO alembic_version VALUES ('r7')"
    )
    return database


LARGE = {"MIGRATE_BACKUP_COMPRESS": "0"}  # 24 MB, three parts


@pytest.fixture
def bucket(server: ObjectServer, shop: Database, tmp_path: Path) -> Iterator[Bucket]:
    server.faults()
    made = Bucket(server, shop, tmp_path)
    yield made
    server.faults()
    for name in made.restored():
        Database(shop.server, "postgres").execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_there_and_back(bucket: Bucket) -> None:
    """Streamed to the store, listed, verified and restored from there; no marker and no upload stays."""
    name = bucket.take(**LARGE, AWS_SERVER_SIDE_ENCRYPTION="AES256")
    assert bucket.names() == [name, f"{name}.json"] and bucket.server.uploads(bucket.prefix) == []
    assert bucket.server.reads() == 0, "the ETag is the checksum"
    manifest = bucket.manifest(name)
    assert dict(manifest["tables"]) == {
        "public.alembic_version": 1,
        "public.empty": 0,
        "public.noise": 2500,
        "public.users": 1000,
    }
    head = bucket.server.client.head_object(Bucket=BUCKET, Key=f"{bucket.prefix}/{name}")
    assert manifest["size"] == head["ContentLength"] and head["ETag"].strip('"').endswith("-3")
    assert head["ServerSideEncryption"] == "AES256"
    [entry] = json.loads(bucket.run("backup", "list", "--json").out)
    assert entry["path"] == f"{bucket.url}/{name}" and entry["revision"] == "r7"
    result = bucket.run("backup", "verify")
    assert result.code == 0 and result.events("backup.verified")[0]["by"] == "read", result.out
    result = bucket.run("restore", "--yes")
    assert result.code == 0, result.out
    [restored] = result.events("restore.finished")
    assert (restored["tables"], restored["rows"]) == (4, 3501)


@pytest.mark.thorough
def test_there_and_back_by_the_protocol_of_google(bucket: Bucket) -> None:
    """Its XML API is near enough to S3's for the same server; ETags say nothing, so the copy is read back once."""
    bucket.server.faults(open=True, opaque=True)
    url = bucket.url.replace("s3://", "gs://")
    account = {"gcs_base_url": bucket.server.url, "disable_oauth": True}
    account |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
    key = json.dumps(account)
    env = {"MIGRATE_BACKUP_URL": url, "GOOGLE_BASE_URL": bucket.server.url, "GOOGLE_SERVICE_ACCOUNT_KEY": key}
    name = bucket.take(**LARGE, **env)
    assert bucket.names() == [name, f"{name}.json"] and bucket.server.reads() == 3
    assert bucket.run("backup", "verify", **env).code == 0
    assert bucket.run("restore", "--yes", **env).code == 0
    bucket.server.faults(open=True, opaque=True)
    bucket.take(**LARGE, **env, MIGRATE_BACKUP_VERIFY="list")
    assert bucket.server.reads() == 0, "whoever wants it fast does not read back"


@pytest.mark.thorough
def test_several_jobs_restore_from_a_copy(bucket: Bucket, tmp_path: Path) -> None:
    """A stream has one reader: the archive is fetched into TMPDIR first, and does not stay there."""
    bucket.take(**LARGE)
    folder = tmp_path / "tmp"
    folder.mkdir()
    result = bucket.run("restore", "--yes", "--jobs", "2", TMPDIR=str(folder))
    assert result.code == 0 and list(folder.iterdir()) == [], result.out
    result = bucket.run("restore", "--yes", "--jobs", "2", TMPDIR="/proc")
    assert result.code == 0, "Python looks for another place"


@pytest.mark.thorough
def test_a_profile(bucket: Bucket, tmp_path: Path) -> None:
    """AWS_PROFILE names a login in Amazon's own file; one that is not there is 20."""
    file = tmp_path / "credentials"
    file.write_text(f"[shop]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    env = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    assert bucket.run("backup", **env, AWS_PROFILE="shop").code == 0
    result = bucket.run("backup", **env, AWS_PROFILE="nobody")
    assert result.code == 20 and "AWS_PROFILE=nobody" in result.finished["error"], result.finished


@pytest.mark.thorough
def test_a_restore_that_fails_at_once(bucket: Bucket) -> None:
    """A role is missing: 21, not what feeding the program that ended came to; no database stays."""
    role = f"owner_{bucket.database.name}"
    bucket.database.execute(f"CREATE ROLE {role}; ALTER TABLE empty OWNER TO {role}")
    bucket.take(**LARGE)
    bucket.database.execute(f"ALTER TABLE empty OWNER TO postgres; DROP ROLE {role}")
    result = bucket.run("restore", "--yes")
    assert result.code == 21 and role in result.finished["hint"] and bucket.restored() == [], result.out


@pytest.mark.thorough
def test_a_store_that_refuses_during_a_restore(bucket: Bucket) -> None:
    """15 with what the store said, not what pg_restore made of half an archive; no database stays."""
    bucket.take(**LARGE)
    bucket.server.faults(reads=1)
    result = bucket.run("restore", "--yes")
    assert result.code == 15 and "AccessDenied" in result.finished["error"] and bucket.restored() == [], result.out
    bucket.server.faults(reads=1)
    assert bucket.run("backup", "verify").code == 15, "nobody knows whether it is damaged"


@pytest.mark.thorough
def test_keep(bucket: Bucket) -> None:
    """The oldest goes when another was taken; what else lies there stays."""
    bucket.server.client.put_object(Bucket=BUCKET, Key=f"{bucket.prefix}/notes.json", Body=b"{}")
    bucket.server.client.put_object(Bucket=BUCKET, Key=f"{bucket.prefix}/deep/other.dump", Body=b"x")
    bucket.take()
    name = bucket.take(MIGRATE_BACKUP_KEEP="1")
    assert bucket.names() == ["deep/other.dump", "notes.json", name, f"{name}.json"]


def _flip(bucket: Bucket, name: str) -> None:
    key = f"{bucket.prefix}/{name}"
    data = bytearray(bucket.server.body(key))
    data[len(data) // 2] ^= 0x10
    bucket.server.client.put_object(Bucket=BUCKET, Key=key, Body=bytes(data))


def test_a_bit_that_flips_in_the_store(bucket: Bucket) -> None:
    """`verify` and `restore` end with 25; no database stays."""
    name = bucket.take(**LARGE)  # not compressed, so nothing but the hash can tell
    _flip(bucket, name)
    result = bucket.run("backup", "verify")
    assert result.code == 25 and name in result.finished["error"], result.finished
    assert "hash" in result.events("backup.damaged")[0]["reason"]
    result = bucket.run("restore", "--yes")
    assert result.code == 25 and bucket.restored() == [], result.out


@pytest.mark.thorough
def test_an_archive_that_is_gone(bucket: Bucket) -> None:
    """25 for `verify`, 20 for `restore`."""
    name = bucket.take()
    bucket.server.client.delete_object(Bucket=BUCKET, Key=f"{bucket.prefix}/{name}")
    result = bucket.run("backup", "verify")
    assert result.code == 25 and "gone" in result.events("backup.damaged")[0]["reason"]
    assert bucket.run("restore", "--yes").code == 20


def test_a_bit_that_flips_on_its_way(bucket: Bucket) -> None:
    """The store's checksum is not that of what was sent, nor is what it has when it is read back: 25, nothing stays."""
    bucket.server.faults(flip=True)
    result = bucket.run("backup", **LARGE)
    assert result.code == 25 and "is not what was sent" in result.finished["error"], result.finished
    assert bucket.clean()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("wrong", "code", "word"),
    [
        ("--exclude-table=users", 25, "public.users"),
        ("| head -c 20000000", 25, "cannot read the dump back"),
        ("--no-such-option", 15, "pg_dump failed"),
    ],
    ids=["lacks a table", "cut", "fails"],
)
def test_a_dump_that_is_not_whole(bucket: Bucket, tmp_path: Path, wrong: str, code: int, word: str) -> None:
    """Whatever pg_dump says of it: the upload is never completed, with an encrypted one as well."""
    programs, real = tmp_path / "bin", bucket.database.server.bin
    programs.mkdir()
    for name, more in (("pg_dump", wrong), ("pg_restore", "")):
        script = f'#!/bin/sh\n[ "$1" = --version ] && exec {real}/{name} --version\n{real}/{name} "$@" {more}\n'
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    for env in ({}, {"MIGRATE_BACKUP_ENCRYPT_TO": recipient}):
        result = bucket.run("backup", **LARGE, **env, MIGRATE_PG_BINDIR=str(programs))
        assert result.code == code and word in result.finished["error"], result.finished
        assert bucket.clean()


@pytest.mark.thorough
@pytest.mark.skipif(not can_mount(), reason="only root can mount a small file system")
def test_a_full_disk(bucket: Bucket, identity: tuple[str, Path], tmp_path: Path) -> None:
    """An encrypted backup does not fit into its folder, an archive not into TMPDIR: 15, nothing left."""
    bucket.take(**LARGE)
    folder = tmp_path / "small"
    folder.mkdir()
    with SmallDisk(folder, 1):
        env = {"MIGRATE_BACKUP_URL": str(folder), "MIGRATE_BACKUP_ENCRYPT_TO": identity[0]}
        result = bucket.run("backup", **LARGE, **env)
        assert result.code == 15 and list(folder.iterdir()) == [], result.finished
        result = bucket.run("restore", "--yes", "--jobs", "2", TMPDIR=str(folder))
        assert result.code == 15 and "--jobs 1" in result.finished["hint"] and list(folder.iterdir()) == []
    assert bucket.restored() == []


@pytest.mark.thorough
def test_a_database_without_tables(server: ObjectServer, database: Database, tmp_path: Path) -> None:
    """It is backed up and restored as any other."""
    bucket = Bucket(server, database, tmp_path)
    assert bucket.manifest(bucket.take())["tables"] == []
    result = bucket.run("restore", "--yes")
    assert result.code == 0, result.out
    for name in bucket.restored():
        Database(database.server, "postgres").execute(f'DROP DATABASE "{name}"')


@pytest.mark.thorough
def test_a_store_that_is_busy(bucket: Bucket) -> None:
    """Parts that are refused by 503 are sent again."""
    bucket.server.faults(refuse=2)
    assert bucket.manifest(bucket.take(**LARGE))["size"] > 20_000_000


@pytest.mark.parametrize(
    ("env", "word"),
    [
        pytest.param({"AWS_ACCESS_KEY_ID": "AKIDWRONG"}, "InvalidAccessKeyId", id="credentials"),
        pytest.param(
            {"MIGRATE_BACKUP_URL": "s3://nowhere-there/x"}, "NoSuchBucket", id="bucket", marks=pytest.mark.thorough
        ),
        pytest.param({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "", id="down", marks=pytest.mark.thorough),
    ],
)
def test_a_store_that_refuses(bucket: Bucket, tmp_path: Path, env: dict[str, str], word: str) -> None:
    """15 within seconds, naming the store; nothing changed in the database."""
    bucket.cwd = make_project(tmp_path / "p", [sql("CREATE TABLE made (id int)")])
    bucket.database.execute("DELETE FROM alembic_version")
    result = bucket.run("migrate", **env)
    assert result.code == 15, result.finished
    where = env.get("MIGRATE_BACKUP_URL", bucket.url)
    assert where in result.finished["error"] and "MIGRATE_BACKUP_URL" in result.finished["error"]
    assert word in result.finished["error"] and result.finished["duration_seconds"] < 15
    assert bucket.database.query("SELECT to_regclass('made') IS NULL") == [(True,)]
    assert bucket.clean()


@pytest.mark.thorough
def test_a_store_of_azure_that_is_down(bucket: Bucket) -> None:
    """15, and the signature in the address of each request is not seen."""
    env = {
        "MIGRATE_BACKUP_URL": "az://container/x",
        "AZURE_STORAGE_ACCOUNT_NAME": "account",
        "AZURE_STORAGE_SAS_TOKEN": "sv=2025&sig=hidden-away",
        "AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:1",
    }
    for command in (("backup",), ("backup", "list"), ("restore", "--yes")):
        result = bucket.run(*command, **env)
        assert result.code == 15 and "hidden-away" not in result.out + result.err, result.out


def test_sigterm_in_the_middle(bucket: Bucket) -> None:
    """14, and the upload is aborted; what the half second before the end did not suffice for, the next backup does."""
    bucket.server.faults(slow=0.2)
    job = bucket.start("backup", **LARGE)
    until(bucket.server.parts, what="a part on its way")
    job.terminate()
    result = finish(job)
    assert result.code == 14 and not [name for name in bucket.names() if not name.startswith(".")], result.out
    if not bucket.clean():
        bucket.server.faults()
        name = bucket.take()
        assert bucket.names() == [name, f"{name}.json"] and bucket.server.uploads(bucket.prefix) == []


def test_kill_9_in_the_middle(bucket: Bucket) -> None:
    """Nothing counts; the next backup of this database removes marker and upload, but not another one's."""
    bucket.server.faults(slow=30)
    job = bucket.start("backup", **LARGE)
    until(bucket.server.parts, what="a part on its way")
    [marker] = bucket.names()
    assert marker.startswith(".") and marker.endswith(".partial")
    assert not [line for line in _command_lines() if SECRET in line]
    bucket.server.faults()
    name = bucket.take()
    assert set(bucket.names()) == {marker, name, f"{name}.json"}, "somebody still works at it"
    os.kill(job.pid, signal.SIGKILL)
    finish(job)
    until(lambda: not _dumping(bucket.database), what="the end of pg_dump, whose client is gone")
    other = f"{bucket.prefix}/.other-1.dump.partial"
    bucket.server.client.put_object(Bucket=BUCKET, Key=other, Body=b"0" * 16)
    result = bucket.run("backup")
    assert [event["path"] for event in result.events("backup.draft_removed")] == [f"{bucket.url}/{marker}"]
    assert marker not in bucket.names() and bucket.server.uploads(bucket.prefix) == []
    assert Path(other).name in bucket.names()


def _command_lines() -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(file.read_text(errors="replace"))
    return found


def _dumping(shop: Database) -> bool:
    asked = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND application_name LIKE '%%alembic-job%%'"
    return bool(shop.query(asked, shop.name))


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["killed", "refusing"])
def test_a_store_that_goes_away_in_the_middle(shop: Database, tmp_path: Path, way: str) -> None:
    """15 after what was tried again in a bounded time, nothing changed; nothing under a final name."""
    project = make_project(tmp_path / "p", [sql("CREATE TABLE made (id int)")])
    shop.execute("DELETE FROM alembic_version")
    with served() as server:
        bucket = Bucket(server, shop, project)
        server.faults(slow=3 if way == "killed" else 0, refuse=0 if way == "killed" else 1000)
        job = bucket.start("migrate", **LARGE)
        until(server.parts, what="a part on its way")
        if way == "killed":
            server.kill()
        result = finish(job, timeout=150)
        assert result.code == 15 and bucket.url in result.finished["error"], result.finished
        assert result.finished["duration_seconds"] < 120
        assert way == "killed" or bucket.clean()
    assert shop.query("SELECT to_regclass('made') IS NULL") == [(True,)]


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ({"MIGRATE_BACKUP_JOBS": "2"}, "MIGRATE_BACKUP_JOBS=2"),
        ({"MIGRATE_BACKUP_URL": "az://container/x?sv=1&sig=hidden-away"}, "credentials"),
        pytest.param(
            {"MIGRATE_BACKUP_URL": "s3://key:hidden-away@bucket/x"}, "credentials", marks=pytest.mark.thorough
        ),
        pytest.param({"MIGRATE_BACKUP_URL": "s3:///x"}, "names no bucket", marks=pytest.mark.thorough),
        pytest.param({"MIGRATE_BACKUP_URL": "ftp://host/x"}, "ftp://", marks=pytest.mark.thorough),
        pytest.param({"MIGRATE_BACKUP_URL": "az://container/x"}, "az://container/x", marks=pytest.mark.thorough),
        pytest.param({"AWS_CA_BUNDLE": "/nowhere"}, "AWS_CA_BUNDLE", marks=pytest.mark.thorough),
    ],
)
def test_settings(bucket: Bucket, env: dict[str, str], word: str) -> None:
    """20 that names what is wrong, and never what is secret."""
    result = bucket.run("backup", **env)
    assert result.code == 20 and word in result.finished["error"], result.finished
    if "hidden-away" in "".join(env.values()):
        assert "hidden-away" not in result.out + result.err + bucket.run("config", **env).out


# Encrypted.


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A recipient, and the file with its identity as age-keygen writes it."""
    made = pyrage.x25519.Identity.generate()
    file = tmp_path_factory.mktemp("age") / "key.txt"
    file.write_text(f"# created: 2026-01-01T00:00:00Z\n# public key: {made.to_public()}\n{made}\n")
    return str(made.to_public()), file


@pytest.mark.thorough
@pytest.mark.parametrize("folder", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_encrypted(bucket: Bucket, identity: tuple[str, Path], tmp_path: Path, folder: bool) -> None:
    """Nobody reads it without the identity, which is not needed to take it, nor to compare its hash."""
    recipient, file = identity
    if folder:
        bucket.env["MIGRATE_BACKUP_URL"] = str(tmp_path / "backups")
    other = str(pyrage.x25519.Identity.generate().to_public())
    name = bucket.take(**LARGE, MIGRATE_BACKUP_ENCRYPT_TO=f"{other} {recipient}")
    data = (tmp_path / "backups" / name).read_bytes() if folder else bucket.server.body(f"{bucket.prefix}/{name}")
    assert name.endswith(".dump.age") and data.startswith(b"age-encryption.org/v1") and b"PGDMP" not in data
    result = bucket.run("backup", "verify")
    assert result.code == 0 and result.events("backup.verified")[0]["by"] == "hash", result.out
    result = bucket.run("restore", "--yes")
    assert result.code == 20 and recipient in result.finished["hint"] and bucket.restored() == []
    with_key = {"MIGRATE_BACKUP_IDENTITY_FILE": str(file)}
    assert not folder or bucket.run("backup", "verify", **with_key).events("backup.verified")[0]["by"] == "read"
    result = bucket.run("restore", "--yes", **with_key)
    assert result.code == 0 and result.events("restore.finished")[0]["rows"] == 3501, result.out


@pytest.mark.thorough
def test_the_wrong_identity(bucket: Bucket, identity: tuple[str, Path]) -> None:
    """20, also for what is none; the secret is not repeated."""
    bucket.take(MIGRATE_BACKUP_ENCRYPT_TO=identity[0])
    wrong = str(pyrage.x25519.Identity.generate())
    for secret in (wrong, "AGE-SECRET-KEY-1NONSENSE"):
        for command in (("restore", "--yes"), ("backup", "verify")):
            result = bucket.run(*command, MIGRATE_BACKUP_IDENTITY=secret)
            assert result.code == 20 and "MIGRATE_BACKUP_IDENTITY" in result.finished["error"], result.finished
            assert secret not in result.out
    result = bucket.run("backup", MIGRATE_BACKUP_ENCRYPT_TO=wrong)
    assert result.code == 20 and wrong not in result.out
    assert bucket.run("backup", MIGRATE_BACKUP_ENCRYPT_TO="age1nonsense").code == 20


@pytest.mark.thorough
def test_an_encrypted_archive_that_is_damaged(bucket: Bucket, identity: tuple[str, Path]) -> None:
    """25 with the identity and without it."""
    name = bucket.take(MIGRATE_BACKUP_ENCRYPT_TO=identity[0])
    _flip(bucket, name)
    with_key = {"MIGRATE_BACKUP_IDENTITY_FILE": str(identity[1])}
    assert bucket.run("backup", "verify").code == 25
    assert bucket.run("backup", "verify", **with_key).code == 25
    assert bucket.run("restore", "--yes", **with_key).code == 25 and bucket.restored() == []


@pytest.mark.thorough
def test_memory(bucket: Bucket, identity: tuple[str, Path]) -> None:
    """However much flows through it, the job takes at most 150 MB."""
    bucket.database.execute(
        "CREATE TABLE large AS SELECT repeat(md5(n::text), 4000) AS text FROM generate_series(1, 3000) n"
    )
    for env in ({}, {"MIGRATE_BACKUP_ENCRYPT_TO": identity[0]}):
        job = bucket.start("backup", **LARGE, **env)
        peak = _watched(job)
        result = finish(job)
        assert result.code == 0, result.out
        assert result.events("backup.finished")[0]["bytes"] > 350_000_000
        print(f"{peak} kB at most, {result.finished['duration_seconds']} s")
        assert peak < 150_000
    job = bucket.start("restore", "--yes", MIGRATE_BACKUP_IDENTITY_FILE=str(identity[1]))
    assert _watched(job) < 150_000
    result = finish(job)
    assert result.code == 0 and result.events("restore.finished")[0]["bytes"] > 350_000_000, result.out


def _watched(job: subprocess.Popen[str]) -> int:
    """The most that a job took until its end, in kB."""
    peak = 0
    while job.poll() is None:
        peak = max(peak, _peak(job.pid))
        time.sleep(0.05)
    return peak


def _peak(pid: int) -> int:
    """The most that a process has taken, in kB."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0
