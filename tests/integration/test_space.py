"""Room for a backup: looked at before pg_dump begins, on disks that are really small."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.chaos.disk import SmallDisk, can_mount
from tests.restorekit import Home, expect

pytestmark = pytest.mark.skipif(not can_mount(), reason="needs to mount a file system")
_MIB = 1 << 20


@pytest.fixture
def small(home: Home) -> Iterator[Home]:
    """Ten MiB that no compression makes smaller, and a disk for backups with room for one of them."""
    home.database.execute(
        "CREATE TABLE filled (x bytea); ALTER TABLE filled ALTER x SET STORAGE EXTERNAL;"
        " INSERT INTO filled SELECT decode(string_agg(md5(random()::text), ''), 'hex')"
        " FROM generate_series(1, 160) page, generate_series(1, 4096) GROUP BY page"
    )
    home.folder.mkdir()
    with SmallDisk(home.folder, 17):
        yield home


@pytest.mark.thorough
def test_a_second_one_does_not_fit(small: Home) -> None:
    """The first one tells how much the next will need: it is not begun, and what is there stays."""
    first = small.run("backup", MIGRATE_BACKUP_COMPRESS="6")
    assert first.code == 0, first.out
    [told] = first.events("backup.space_short")  # by the database's size, of which nobody knows how far it shrinks
    assert told["expected_bytes"] > told["free_bytes"] > 16 * _MIB
    names = {path.name for path in small.folder.iterdir()}
    (small.folder / "filler").write_bytes(bytes(_MIB))
    second = small.run("backup", MIGRATE_BACKUP_COMPRESS="6")
    expect(second, 15, "not begun", "the newest backup", "MIGRATE_BACKUP_URL")
    assert not second.events("backup.started") and second.finished["expected_bytes"] > 2 * second.finished["free_bytes"]
    assert {path.name for path in small.folder.iterdir()} == {*names, "filler"}
    small.database.execute("TRUNCATE filled")
    assert small.run("backup", MIGRATE_BACKUP_COMPRESS="6").code == 0, "the database shrank"


@pytest.mark.thorough
def test_it_may_fit(small: Home) -> None:
    """Half of what is expected, or compressed in another way: only a warning, and pg_dump finds out."""
    name = small.back_up(MIGRATE_BACKUP_COMPRESS="6")
    (small.folder / "filler").write_bytes(bytes(_MIB))
    other = small.run("backup", MIGRATE_BACKUP_COMPRESS="9")
    assert other.code == 15 and other.events("backup.space_short") and other.events("backup.started")
    manifest = json.loads((small.folder / f"{name}.json").read_text())
    assert manifest["database_size"] > 8 * _MIB and manifest["compress"] == "6"


def test_room_enough(full: Home) -> None:
    """Nothing is said of it."""
    assert "backup.space_short" not in full.run("backup").out
