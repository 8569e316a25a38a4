"""Targets, transactions, hooks and backups of `migrate` and `rollback`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Database, run_job
from tests.projectkit import add_revision, make_project, sql

TABLES = [sql(f"CREATE TABLE {name} (id int)") for name in "abc"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Three revisions, each of which makes a table and drops it again."""
    folder = make_project(tmp_path / "project", [])
    for number, name in enumerate("abc", 1):
        add_revision(folder, number, TABLES[number - 1], sql(f"DROP TABLE {name}"))
    return folder


def tables(database: Database) -> str:
    """The names of the tables the revisions make, as one word."""
    rows = database.query("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^.$' ORDER BY 1")
    return "".join(name for [name] in rows)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["migrate"], "abc"),
        (["migrate", "--to", "r2"], "ab"),
        (["migrate", "--to", "+1"], "a"),
        pytest.param(["migrate", "--to", "r1+1"], "ab", marks=pytest.mark.thorough),
        pytest.param(["migrate", "--to", "heads"], "abc", marks=pytest.mark.thorough),
        pytest.param(["upgrade"], "abc", marks=pytest.mark.thorough),
        (["upgrade", "r1"], "a"),
        pytest.param(["upgrade", "+2"], "ab", marks=pytest.mark.thorough),
        pytest.param(["upgrade", "head"], "abc", marks=pytest.mark.thorough),
    ],
)
def test_targets(database: Database, project: Path, args: list[str], expected: str) -> None:
    """A revision, a relative one, head, heads; `upgrade REV` is `migrate --to REV`."""
    result = run_job(*args, cwd=project, url=database.url)
    assert result.code == 0, result.finished
    assert tables(database) == expected
    assert result.finished["applied"] == [f"r{'abc'.index(name) + 1}" for name in expected]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["rollback"], "ab"),
        pytest.param(["rollback", "-s", "2"], "a", marks=pytest.mark.thorough),
        pytest.param(["rollback", "--steps", "1"], "ab", marks=pytest.mark.thorough),
        pytest.param(["rollback", "--to", "r1"], "a", marks=pytest.mark.thorough),
        pytest.param(["downgrade", "-1"], "ab", marks=pytest.mark.thorough),
        pytest.param(["downgrade", "r1"], "a", marks=pytest.mark.thorough),
        (["downgrade", "base", "--yes"], ""),
    ],
)
def test_ways_back(database: Database, project: Path, args: list[str], expected: str) -> None:
    """Steps, a revision, base with consent; `downgrade` as Alembic spells it."""
    run_job("migrate", cwd=project, url=database.url)
    result = run_job(*args, "--no-backup", cwd=project, url=database.url)
    assert result.code == 0, result.finished
    assert tables(database) == expected
    undone = [f"r{'abc'.index(name) + 1}" for name in "cba" if name not in expected]
    assert result.finished["reverted"] == undone and result.finished["applied"] == []


@pytest.mark.thorough
def test_more_steps_back_than_there_are(database: Database, project: Path) -> None:
    """An error with a hint; nothing is undone."""
    run_job("migrate", cwd=project, url=database.url)
    result = run_job("rollback", "-s", "9", "--no-backup", cwd=project, url=database.url)
    assert result.code == 22 and result.finished["hint"]
    assert tables(database) == "abc"


def test_branch_labels(database: Database, tmp_path: Path) -> None:
    """label@head upgrades one branch; heads all of them; both heads are reported."""
    project = make_project(tmp_path, [TABLES[0]])
    for number, label in ((2, "left"), (3, "right")):
        file = add_revision(project, number, TABLES[number - 1], down="r1")
        file.write_text(file.read_text() + f"branch_labels = ({label!r},)\n")
    one = run_job("migrate", "--to", "left@head", cwd=project, url=database.url)
    assert one.finished["applied"] == ["r1", "r2"] and one.finished["to"] == "r2"
    rest = run_job("migrate", "--to", "heads", cwd=project, url=database.url)
    assert rest.finished["applied"] == ["r3"] and rest.finished["to"] == ["r2", "r3"]


@pytest.mark.parametrize(("mode", "kept"), [("per-revision", "ab"), ("all", ""), ("project", "")])
def test_transactions(database: Database, tmp_path: Path, mode: str, kept: str) -> None:
    """What a failing third revision leaves: the first two, or nothing."""
    project = make_project(tmp_path, [*TABLES[:2], sql("SELECT 1/0")])
    result = run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_TRANSACTION": mode})
    assert result.code == 23
    assert tables(database) == kept
    assert result.finished["applied"] == [f"r{'ab'.index(name) + 1}" for name in kept]


def test_a_migration_that_commits_by_itself(database: Database, tmp_path: Path) -> None:
    """The report says what is there, not what one commit a revision would mean."""
    body = TABLES[0] + "\nop.execute('COMMIT')\nop.execute('SELECT 1/0')"
    result = run_job("migrate", cwd=make_project(tmp_path, [body]), url=database.url)
    assert result.code == 23 and result.finished["applied"] == [] and result.finished["to"] is None
    assert tables(database) == "a"


def test_hooks_run_only_when_something_is_pending(database: Database, project: Path, tmp_path: Path) -> None:
    """BEFORE under the lock before the first change, AFTER after the last; neither when nothing is pending."""
    env = {
        "MIGRATE_BEFORE": f"sh -c 'echo before >> {tmp_path}/story'",
        "MIGRATE_AFTER": f"sh -c 'echo after >> {tmp_path}/story'",
    }
    for _ in range(2):
        assert run_job("migrate", cwd=project, url=database.url, env=env).code == 0
    assert (tmp_path / "story").read_text() == "before\nafter\n"
    env["MIGRATE_BEFORE_WHEN"] = "always"
    assert run_job("migrate", cwd=project, url=database.url, env=env).code == 0
    assert (tmp_path / "story").read_text() == "before\nafter\nbefore\n"


@pytest.mark.thorough
def test_base_tables_by_the_before_command(database: Database, tmp_path: Path) -> None:
    """Some projects need tables that something else makes first."""
    project = make_project(tmp_path, [sql("ALTER TABLE base ADD COLUMN x int")])
    psql = f"{database.server.bin}/psql"
    env = {"MIGRATE_BEFORE": f"""sh -c '{psql} "$DATABASE_URL" -qc "CREATE TABLE base (id int)"'"""}
    assert run_job("migrate", cwd=project, url=database.url, env=env).finished["applied"] == ["r1"]


def backup_env(database: Database, folder: Path) -> dict[str, str]:
    return {"MIGRATE_BACKUP_URL": str(folder), "MIGRATE_PG_BINDIR": str(database.server.bin)}


def test_a_backup_before_the_first_change(database: Database, project: Path, tmp_path: Path) -> None:
    """The dump holds what was there before, and can be restored; a run with nothing pending takes none."""
    database.execute("CREATE TABLE precious AS SELECT generate_series(1, 1000) AS n")
    env = backup_env(database, tmp_path / "backups")
    result = run_job("migrate", cwd=project, url=database.url, env=env)
    [event] = result.events("backup.finished")
    [dump] = (tmp_path / "backups").glob("*.dump")
    assert event["path"] == str(dump) and event["bytes"] == dump.stat().st_size and event["tables"] == 1
    assert dump.stat().st_mode & 0o077 == 0
    target = Database(database.server, f"{database.name}_restored")
    Database(database.server, "postgres").execute(f"CREATE DATABASE {target.name}")
    subprocess.run([f"{database.server.bin}/pg_restore", "--dbname", target.url, str(dump)], check=True)
    assert target.query("SELECT count(*) FROM precious") == [(1000,)]
    assert tables(target) == "", "taken before the first change"
    run_job("migrate", cwd=project, url=database.url, env=env)
    assert len(list((tmp_path / "backups").iterdir())) == 2, "the dump and its manifest"


def test_backup_by_hand_and_off(database: Database, project: Path, tmp_path: Path) -> None:
    """`backup` takes one now; MIGRATE_BACKUP=off takes none; a second one never overwrites the first."""
    env = backup_env(database, tmp_path / "with space 'and' quote")
    assert run_job("migrate", cwd=project, url=database.url, env={**env, "MIGRATE_BACKUP": "off"}).code == 0
    assert not (tmp_path / "with space 'and' quote").exists()
    for _ in range(2):
        assert run_job("backup", cwd=tmp_path, url=database.url, env=env).code == 0
    assert len(list((tmp_path / "with space 'and' quote").glob("*.dump"))) == 2


@pytest.mark.thorough
def test_rollback_takes_the_backup_too(database: Database, project: Path, tmp_path: Path) -> None:
    """Unless --no-backup."""
    run_job("migrate", cwd=project, url=database.url)
    env = backup_env(database, tmp_path / "backups")
    assert run_job("rollback", cwd=project, url=database.url, env=env).events("backup.finished")
    assert not run_job("rollback", "--no-backup", cwd=project, url=database.url, env=env).events("backup.finished")


def test_an_older_pg_dump_is_refused_before_anything(
    database: Database, project: Path, tmp_path: Path, pg16: object
) -> None:
    """pg_dump 16 cannot dump an 18 server: said at once, with the setting."""
    env = {"MIGRATE_BACKUP_URL": str(tmp_path / "b"), "MIGRATE_PG_BINDIR": str(pg16.bin)}  # type: ignore[attr-defined]
    result = run_job("migrate", cwd=project, url=database.url, env=env)
    assert result.code == 20 and "16" in result.finished["error"] and "MIGRATE_PG_BINDIR" in result.finished["hint"]
    assert tables(database) == ""


def test_a_full_disk_is_15_and_leaves_no_rubbish(database: Database, project: Path, tmp_path: Path) -> None:
    """/dev/full behind pg_dump's file: nothing was changed, nothing half-written stays."""
    programs = tmp_path / "bin"
    programs.mkdir()
    real = database.server.bin
    script = '#!/bin/sh\nfor a in "$@"; do case "$a" in --file=*) f="${a#--file=}";; esac; done\n'
    script += f'case "$1" in --version) exec {real}/pg_dump --version;; esac\n'
    script += f'ulimit -f 1; exec {real}/pg_dump "$@"\n'
    (programs / "pg_dump").write_text(script)
    (programs / "pg_restore").symlink_to(f"{real}/pg_restore")
    (programs / "pg_dump").chmod(0o755)
    database.execute("CREATE TABLE big AS SELECT n, md5(n::text) FROM generate_series(1, 20000) n")
    env = {"MIGRATE_BACKUP_URL": str(tmp_path / "b"), "MIGRATE_PG_BINDIR": str(programs)}
    result = run_job("migrate", cwd=project, url=database.url, env=env)
    assert result.code == 15, result.finished
    assert list((tmp_path / "b").iterdir()) == [] and tables(database) == ""


def test_postgresql_16_as_well(new_database: object, pg16: object, project: Path) -> None:
    """Another major: up, nothing, down."""
    database = new_database(pg16)  # type: ignore[operator]
    assert run_job("migrate", cwd=project, url=database.url).code == 0
    assert run_job("migrate", cwd=project, url=database.url).finished["applied"] == []
    assert run_job("rollback", "--no-backup", cwd=project, url=database.url).finished["reverted"] == ["r3"]
