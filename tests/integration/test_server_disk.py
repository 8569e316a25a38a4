"""Room on the server's disk: a restore or a table written anew that cannot fit there is not begun."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alembic_job.gateways import server_disk
from alembic_job.gateways.embedded import Server
from alembic_job.steps.disk import Rewrites
from tests.chaos.disk import SmallDisk, can_mount
from tests.conftest import Database, Result, run_job
from tests.integration.test_lock_policy import ASYNC_ENV
from tests.projectkit import make_project, sql
from tests.restorekit import Home, expect

_MIB = 1 << 20
_ROLE = "without_rights"
_TYPES = [sql(f"ALTER TABLE big ALTER n TYPE {kind}") for kind in ("bigint", "int")]
_FULL = "with op.get_context().autocommit_block():\n    op.execute('VACUUM FULL big')"
_ROWS = "SELECT n, repeat('x', 900) AS filler FROM generate_series(1, 24000) n"  # 24 MiB
_FILL = f"CREATE TABLE big {{}} AS {_ROWS}"
_TYPE = "SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = 'big'::regclass AND attname = 'n'"


@pytest.fixture
def big(database: Database) -> Iterator[Database]:
    """A table of 24 MiB, of a role that may ask for nothing that not everybody may."""
    everybody = Database(database.server, "postgres")
    everybody.execute(f"CREATE ROLE {_ROLE} LOGIN PASSWORD 'x'")
    database.execute(
        f"ALTER DATABASE {database.name} OWNER TO {_ROLE}; ALTER SCHEMA public OWNER TO {_ROLE}; SET ROLE {_ROLE};"
        f"{_FILL.format('')}; CREATE INDEX ON big (n); CREATE MATERIALIZED VIEW seen AS {_ROWS}"
    )
    yield database
    database.execute(f"DROP OWNED BY {_ROLE}; REASSIGN OWNED BY {_ROLE} TO postgres")
    everybody.execute(f"DROP ROLE {_ROLE}")


def as_role(database: Database) -> str:
    return database.url.replace(f"postgres:{database.server.password}@", f"{_ROLE}:x@")


def with_free(database: Database, free: int) -> str:
    """The size of a disk on which so many MiB would be free now."""
    return str(database.query("SELECT pg_tablespace_size('pg_default')")[0][0] + free * _MIB)


def migrate(database: Database, folder: Path, upgrades: list[str], free: int | None = None, **env: str) -> Result:
    """As the role without rights, with so many MiB free."""
    project = make_project(folder, upgrades)
    size = {} if free is None else {"MIGRATE_SERVER_DISK": with_free(database, free)}
    return run_job("migrate", cwd=project, url=as_role(database), env={**size, "MIGRATE_LOG_LEVEL": "debug", **env})


def looked(result: Result) -> dict[str, Any]:
    [event] = result.events("disk.looked")
    return event


def test_too_little(big: Database, tmp_path: Path) -> None:
    """Less than half of the table is free: refused with both figures before it begins, though nobody else is there."""
    result = migrate(big, tmp_path, _TYPES, free=8)
    expect(result, 26, "public.big", "not begun", "MIGRATE_SERVER_DISK=off")
    finished = result.finished
    assert 7 * _MIB < finished["free_bytes"] <= 8 * _MIB and finished["needs_bytes"] > 24 * _MIB
    assert finished["applied"] == [] and big.query(_TYPE) == [("integer",)]


def test_doubtful(big: Database, tmp_path: Path) -> None:
    """It may fit: said once, and done."""
    result = migrate(big, tmp_path, _TYPES, free=20)
    assert result.code == 0, result.out
    [told] = result.events("rewrite.space_short")
    assert told["tables"] == ["public.big"] and told["needs_bytes"] > 24 * _MIB > 20 * _MIB >= told["free_bytes"]


def test_enough(big: Database, tmp_path: Path) -> None:
    """Nothing is said of it."""
    result = migrate(big, tmp_path, _TYPES, free=60)
    assert result.code == 0 and looked(result)["rewrites_watched"] and "space_short" not in result.out


def test_twice_in_one_transaction(big: Database, tmp_path: Path) -> None:
    """What was written anew before is there until the revision is committed."""
    result = migrate(big, tmp_path, ["\n".join(_TYPES)], free=34)
    expect(result, 26, "public.big")
    assert big.query(_TYPE) == [("integer",)]


@pytest.mark.parametrize(
    ("upgrade", "env"),
    [
        (_TYPES[0], {"MIGRATE_LOCK_POLICY": "off"}),
        pytest.param(_FULL, {}, marks=pytest.mark.thorough),
        pytest.param(_FULL, {"MIGRATE_LOCK_POLICY": "off"}, marks=pytest.mark.thorough),
        pytest.param(sql("REFRESH MATERIALIZED VIEW seen"), {}, marks=pytest.mark.thorough),
        pytest.param(
            sql("CREATE TABLE x (); CLUSTER big USING big_n_idx; DROP TABLE x"), {}, marks=pytest.mark.thorough
        ),
        pytest.param(f"with op.get_context().autocommit_block():\n    {_TYPES[0]}", {}, marks=pytest.mark.thorough),
    ],
)
@pytest.mark.parametrize("others", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_each_way_to_a_lock(big: Database, tmp_path: Path, upgrade: str, env: dict[str, str], others: bool) -> None:
    """However a statement gets its lock, with others there or not, the disk is looked at."""
    someone = big.connect() if others else None
    result = migrate(big, tmp_path, [upgrade], free=8, **env)
    expect(result, 26, "public.seen" if "seen" in upgrade else "public.big", "not begun")
    if someone:
        someone.close()


@pytest.mark.thorough
@pytest.mark.parametrize("upgrade", [_TYPES[0], _FULL])
def test_another_driver(big: Database, tmp_path: Path, upgrade: str) -> None:
    """An env.py with asyncpg is no other: refused where there is too little."""
    project = make_project(tmp_path, [upgrade], env=ASYNC_ENV)
    size = {"MIGRATE_SERVER_DISK": with_free(big, 8)}
    expect(run_job("migrate", cwd=project, url=as_role(big), env=size), 26, "public.big", "not begun")


def test_room_for_everything_costs_nothing(big: Database) -> None:
    """A database that is small beside what is free is asked once; then each statement goes as it came."""
    connection, asked = big.connect(), []

    class Silent:
        def debug(self, event: str, **fields: Any) -> None:
            asked.append((event, fields["rewrites_watched"]))

    def run() -> None: ...

    rewrites = Rewrites(int(with_free(big, 4096)), Silent())  # type: ignore[arg-type]
    rewrites.open("here", lambda: asked.append(("connection", None)) or connection)  # type: ignore[func-returns-value]
    work: Any = None  # nothing is asked of it
    assert all(rewrites.guarded(work, "VACUUM FULL big", run) is run for _ in range(100))
    assert asked == [("connection", None), ("disk.looked", False)]
    connection.close()


@pytest.mark.thorough
def test_what_a_role_may_ask(big: Database, tmp_path: Path) -> None:
    """Without rights the data directory is not known, and WAL counts as free; nothing is raised."""
    unknown = migrate(big, tmp_path, _TYPES)
    assert unknown.code == 0 and looked(unknown)["free_bytes"] is None
    size = int(with_free(big, 4096))
    with_rights, without = big.connect(), Database(big.server, big.name)
    without_rights = without.connect()
    without_rights.cursor().execute(f"SET ROLE {_ROLE}")
    free = server_disk.free(without_rights, size)
    monitored = server_disk.free(with_rights, size)
    assert free is not None and monitored is not None and free - monitored >= 16 * _MIB
    without_rights.close()
    local = server_disk.find(with_rights, None)
    assert local is not None and local.folder == big.server.data
    assert abs((local.free(with_rights) or 0) - shutil.disk_usage(big.server.data).free) < 256 * _MIB
    assert server_disk.find(with_rights, 0) is None
    with_rights.close()


@pytest.mark.thorough
def test_sizes_that_may_not_be_asked(big: Database, tmp_path: Path) -> None:
    """Where not even the functions may be executed that everybody has, the transaction survives; nothing is said."""
    big.execute("REVOKE EXECUTE ON FUNCTION pg_total_relation_size(regclass) FROM public")
    result = migrate(big, tmp_path, ["\n".join([sql("CREATE TABLE before ()"), *_TYPES])], free=8)
    assert result.code == 0 and looked(result)["rewrites_watched"] and "space_short" not in result.out
    assert big.query("SELECT to_regclass('before')::text") == [("before",)]


def test_another_servers_directory(pg18: Server, tmp_path: Path) -> None:
    """The same path on this machine, with a server of another start or identity, or a standby: not this one's."""
    [[started, system]] = Database(pg18, "postgres").query(
        "SELECT extract(epoch FROM pg_postmaster_start_time())::float8, system_identifier FROM pg_control_system()"
    )
    (tmp_path / "global").mkdir()
    for name in ("postmaster.pid", "global/pg_control"):
        shutil.copy(pg18.data / name, tmp_path / name)
    assert server_disk.is_data_of(tmp_path, started, system)
    assert not server_disk.is_data_of(tmp_path, started + 60, system)
    assert not server_disk.is_data_of(tmp_path, started - 60, system)
    assert not server_disk.is_data_of(tmp_path, started, system + 1)
    (tmp_path / "standby.signal").touch()
    assert not server_disk.is_data_of(tmp_path, started, system)
    (tmp_path / "standby.signal").unlink()
    (tmp_path / "postmaster.pid").write_text("17\n")
    assert not server_disk.is_data_of(tmp_path, started, system)
    assert not server_disk.is_data_of(tmp_path / "not there", started, system)


@pytest.fixture
def tablespace(database: Database) -> Iterator[Database]:
    """The table in a tablespace on a disk of its own, where it takes more than half."""
    folder = database.server.root / "small"
    folder.mkdir()
    with SmallDisk(folder, 34) as disk:
        disk.give_to(database.server.data.stat().st_uid)
        connection = database.connect()
        for statement in (f"CREATE TABLESPACE small LOCATION '{folder}'", _FILL.format("TABLESPACE small")):
            connection.cursor().execute(statement)
        yield database
        for statement in ("DROP TABLE big", "DROP TABLESPACE small"):
            connection.cursor().execute(statement)
        connection.close()
    folder.rmdir()


@pytest.mark.skipif(not can_mount(), reason="needs to mount a file system")
def test_a_disk_on_this_machine(tablespace: Database, tmp_path: Path) -> None:
    """The disk of the table's own tablespace is looked at; without that PostgreSQL fails in the middle."""
    project = make_project(tmp_path, _TYPES)
    result = run_job("migrate", cwd=project, url=tablespace.url)
    expect(result, 26, "public.big")
    assert 8 * _MIB < result.finished["free_bytes"] < 12 * _MIB
    off = run_job("migrate", cwd=project, url=tablespace.url, env={"MIGRATE_SERVER_DISK": "off"})
    expect(off, 23, "No space left on device")
    moved = make_project(tmp_path / "moved", [sql("ALTER TABLE big SET TABLESPACE pg_default")])
    assert run_job("migrate", cwd=moved, url=tablespace.url).code == 0, "where it goes to there is room"


# Restores.


def test_a_restore_that_cannot_fit(full: Home) -> None:
    """Refused with 15 before anything is made, unless that is switched off; what is planned says both figures."""
    name = full.back_up()
    size = full.manifest(name)["database_size"]
    disk = {"MIGRATE_SERVER_DISK": with_free(full.database, 1)}  # WAL takes more than that
    result = full.run("restore", "--yes", **disk)
    expect(result, 15, name, "nothing was made", "MIGRATE_SERVER_DISK=off")
    assert result.finished["needs_bytes"] == size > result.finished["free_bytes"] == 0
    [planned] = result.events("restore.planned")
    assert (planned["needs_bytes"], planned["free_bytes"]) == (size, 0)
    assert full.others() == [] and not result.events("restore.started")
    assert full.restored(MIGRATE_SERVER_DISK="off").name in full.others()


def test_a_restore_that_may_fit(full: Home) -> None:
    """The server's own disk, as it is: warned of where it is not sure, be it by the figures or for a partial backup."""
    name = full.back_up()
    free = shutil.disk_usage(full.database.server.data).free
    full.manifest(name, database_size=free)
    [told] = full.run("restore", "--yes", "--into", f"{full.name}_first").events("restore.space_short")
    assert told["needs_bytes"] == free
    full.manifest(name, database_size=1 << 50)
    expect(full.run("restore", "--yes"), 15, "nothing was made")
    full.manifest(name, partial=True)
    partial = full.run("restore", "--yes", "--into", f"{full.name}_partial")
    assert partial.code == 0 and partial.events("restore.space_short")


@pytest.mark.thorough
def test_an_old_manifest(full: Home) -> None:
    """One that does not know how large the database was is restored as before; what is free is told all the same."""
    full.manifest(full.back_up(), database_size=None)
    result = full.run("restore", "--yes", MIGRATE_SERVER_DISK="1B")
    assert result.code == 0 and not result.events("restore.space_short")
    [planned] = result.events("restore.planned")
    assert planned["needs_bytes"] is None and planned["free_bytes"] == 0
