"""Each way to end, provoked for real: exit code, outcome, error and the hint that says what to do."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Database, finish, run_job, start_job
from tests.marks import thorough
from tests.projectkit import add_revision, make_project, sql
from tests.waiting import until

TABLE = sql("CREATE TABLE a (id int)")
NOBODY = "postgresql://u:hidden-word@127.0.0.1:9/x"


def expect(result: object, code: int, *parts: str) -> None:
    """The run ended with this code, and `error` with `hint` say each of these parts."""
    finished = result.finished  # type: ignore[attr-defined]
    assert result.code == finished["exit_code"] == code, finished  # type: ignore[attr-defined]
    said = f"{finished['error']} | {finished['hint']}"
    assert finished["hint"], said
    for part in parts:
        assert part in said


def test_0_also_when_nothing_is_pending(database: Database, tmp_path: Path) -> None:
    """First run applies, second finds nothing to do; both end with 0."""
    project = make_project(tmp_path, [TABLE])
    first = run_job("migrate", cwd=project, url=database.url)
    second = run_job("migrate", cwd=project, url=database.url)
    assert (first.code, first.finished["from"], first.finished["to"]) == (0, None, "r1")
    assert (second.code, second.finished["applied"]) == (0, [])
    assert second.events("nothing.pending")


def test_1_a_defect_of_ours_still_ends_with_a_last_line(database: Database, tmp_path: Path) -> None:
    """If our own code breaks, that is said as what it is, with a traceback in the line."""
    project = make_project(tmp_path, [TABLE])
    (tmp_path / "sitecustomize.py").write_text(
        "import alembic_job.steps.verify as v\nv.invalid_indexes = lambda connection: 1 / 0\n"
    )
    result = run_job("migrate", cwd=project, url=database.url, env={"PYTHONPATH": str(tmp_path)})
    # The innermost frame is not ours here: it is the one of sitecustomize; what counts is that it is no 22 or 23.
    expect(result, 1, "ZeroDivisionError", "report")


def test_2_usage(tmp_path: Path) -> None:
    """An unknown option names itself."""
    expect(run_job("migrate", "--frobnicate", cwd=tmp_path), 2, "--frobnicate", "--help")


def test_3_is_the_answer_to_a_question(database: Database, tmp_path: Path) -> None:
    """`status --exit-code` says by its code whether something is pending."""
    project = make_project(tmp_path, [TABLE])
    assert run_job("status", "--exit-code", cwd=project, url=database.url).code == 3
    run_job("migrate", cwd=project, url=database.url)
    assert run_job("status", "--exit-code", cwd=project, url=database.url).code == 0


def test_10_nobody_listens(tmp_path: Path) -> None:
    """No server: tried again until MIGRATE_WAIT_TIMEOUT, then 10, which is worth another try."""
    project = make_project(tmp_path, [TABLE])
    result = run_job("migrate", cwd=project, url=NOBODY, env={"MIGRATE_WAIT_TIMEOUT": "1s"})
    expect(result, 10, "127.0.0.1:9", "MIGRATE_WAIT_TIMEOUT")
    assert result.events("wait.retry")[0]["reason"] == "refused"


def test_10_the_host_name_is_unknown(tmp_path: Path) -> None:
    """DNS may come late, so it is tried again; then 10."""
    project = make_project(tmp_path, [TABLE])
    url = "postgresql://u@no-such-host.invalid/x"
    result = run_job("migrate", cwd=project, url=url, env={"MIGRATE_WAIT_TIMEOUT": "500ms"})
    expect(result, 10, "no-such-host.invalid")


def test_11_another_runner_holds_the_lock(database: Database, tmp_path: Path) -> None:
    """The second runner waits as long as it may, names the owner, and ends with 11."""
    project = make_project(tmp_path, [sql("SELECT pg_sleep(60)")])
    first = start_job("migrate", cwd=project, url=database.url, env={"HOSTNAME": "pod-of-the-first"})
    until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"))
    second = run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_RUN_LOCK_TIMEOUT": "1s"})
    expect(second, 11, "pod-of-the-first", "status", "MIGRATE_RUN_LOCK_TIMEOUT")
    assert "pod-of-the-first" in second.events("lock.waiting")[0]["owner"]
    first.terminate()
    assert finish(first).code == 14


def test_12_a_lock_on_a_table(database: Database, tmp_path: Path) -> None:
    """The project's own lock_timeout is no reason to give up before the job's budget is spent."""
    database.execute("CREATE TABLE busy (id int)")
    project = make_project(tmp_path, [sql("SET lock_timeout = '200ms'") + "\n" + sql("ALTER TABLE busy ADD x int")])
    holder = database.connect()
    try:
        with holder.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE busy")
        env = {"MIGRATE_TABLE_LOCK_TIMEOUT": "1s"}
        result = run_job("migrate", cwd=project, url=database.url, env=env)
        expect(result, 12, "public.busy", "pg_terminate_backend")
    finally:
        holder.close()


def test_15_the_backup_folder_cannot_be_written(database: Database, tmp_path: Path) -> None:
    """A file stands where the folder should be: 15, and nothing was changed."""
    project = make_project(tmp_path / "p", [TABLE])
    (tmp_path / "taken").write_text("")
    env = {"MIGRATE_BACKUP_URL": str(tmp_path / "taken" / "x"), "MIGRATE_PG_BINDIR": str(database.server.bin)}
    expect(run_job("migrate", cwd=project, url=database.url, env=env), 15, "taken", "MIGRATE_BACKUP_URL")
    assert database.query("SELECT to_regclass('a') IS NULL") == [(True,)]


@pytest.mark.parametrize(
    ("env", "parts"),
    [
        ({"DATABASE_URL": "not a url with s3cr3t"}, ["DATABASE_URL", "postgresql://"]),
        ({"DATABASE_URL": "mysql://u:s3cr3t@h/x"}, ["mysql", "PostgreSQL"]),
        ({"DATABASE_URL": "postgresql://u:s3cr3t@h:notaport/x"}, ["port"]),
        ({"MIGRATE_WAIT_TIMEOUT": "soon"}, ["MIGRATE_WAIT_TIMEOUT", "90s"]),
        ({"MIGRATE_TRANSACTION": "sometimes"}, ["per-revision"]),
        ({"MIGRATE_WAIT_TIMEOT": "3s"}, ["MIGRATE_WAIT_TIMEOT", "MIGRATE_WAIT_TIMEOUT"]),
        ({"MIGRATE_BACKUP": "required"}, ["MIGRATE_BACKUP_URL"]),
        ({"DATABASE_URL_FILE": "/nowhere/secret", "DATABASE_URL": ""}, ["DATABASE_URL_FILE", "/nowhere/secret"]),
        ({"ALEMBIC_CONFIG": "elsewhere.ini"}, ["elsewhere.ini", "ALEMBIC_CONFIG"]),
        ({"MIGRATE_BACKUP_URL": "ftp://x/y"}, ["MIGRATE_BACKUP_URL", "ftp"]),
    ],
)
def test_20_settings(database: Database, tmp_path: Path, env: dict[str, str], parts: list[str]) -> None:
    """A wrong setting is named, with the way out; what may be a secret is not repeated."""
    project = make_project(tmp_path, [TABLE])
    result = run_job("migrate", cwd=project, url=database.url, env=env)
    expect(result, 20, *parts)
    assert "s3cr3t" not in result.out + result.err


def test_20_no_alembic_ini(database: Database, tmp_path: Path) -> None:
    """An empty folder: say where it was looked for and how to name it."""
    expect(run_job("migrate", cwd=tmp_path, url=database.url), 20, str(tmp_path), "-c", "ALEMBIC_CONFIG")


def test_21_a_wrong_password(database: Database, tmp_path: Path) -> None:
    """Tried again for a short grace only."""
    project = make_project(tmp_path, [TABLE])
    url = database.url.replace(database.server.password, "wrong-word")
    result = run_job("migrate", cwd=project, url=url, env={"MIGRATE_LOGIN_GRACE": "500ms"})
    expect(result, 21, "password authentication failed", "DATABASE_URL")
    assert "wrong-word" not in result.out


def test_21_no_such_database(database: Database, tmp_path: Path) -> None:
    """The database is missing."""
    project = make_project(tmp_path, [TABLE])
    url = database.server.url("never_made")
    expect(run_job("migrate", cwd=project, url=url, env={"MIGRATE_LOGIN_GRACE": "0s"}), 21, "never_made")


def test_21_a_privilege_is_missing_before_the_first_change(database: Database, tmp_path: Path) -> None:
    """A role that may not create tables is told so, with the GRANT, before anything runs."""
    database.execute("DROP ROLE IF EXISTS reader")
    database.execute("CREATE ROLE reader LOGIN PASSWORD 'reader-word'")
    project = make_project(tmp_path, [TABLE])
    url = database.url.replace(f"postgres:{database.server.password}@", "reader:reader-word@")
    expect(run_job("migrate", cwd=project, url=url), 21, "reader", "GRANT CREATE ON SCHEMA public")


def test_21_a_privilege_is_missing_in_a_migration(database: Database, tmp_path: Path) -> None:
    """42501 in the middle of a revision."""
    database.execute("DROP ROLE IF EXISTS maker")
    database.execute("CREATE ROLE maker LOGIN PASSWORD 'maker-word'")
    database.execute("GRANT ALL ON SCHEMA public TO maker")
    database.execute("CREATE TABLE owned (id int)")
    project = make_project(tmp_path, [TABLE, sql("ALTER TABLE owned ADD x int")])
    url = database.url.replace(f"postgres:{database.server.password}@", "maker:maker-word@")
    result = run_job("migrate", cwd=project, url=url)
    expect(result, 21, "r2", "owner")
    assert result.finished["applied"] == ["r1"]


def test_21_read_only_by_setting(database: Database, tmp_path: Path) -> None:
    """default_transaction_read_only is no replica: waiting will not help."""
    database.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    project = make_project(tmp_path, [TABLE])
    expect(run_job("migrate", cwd=project, url=database.url), 21, "read-only", "default_transaction_read_only")


def test_22_two_heads(database: Database, tmp_path: Path) -> None:
    """Found before the database is touched; both heads are named, with the command that joins them."""
    project = make_project(tmp_path, [TABLE, sql("SELECT 1")])
    add_revision(project, 3, "pass", down="r1")
    expect(run_job("migrate", cwd=project, url=NOBODY), 22, "Multiple head revisions", "r2", "r3", "merge")


def test_22_an_unknown_revision_was_asked_for(tmp_path: Path) -> None:
    """`--to` a revision the scripts lack: known without the database."""
    project = make_project(tmp_path, [TABLE])
    expect(run_job("migrate", "--to", "nope", cwd=project, url=NOBODY), 22, "Can't locate revision", "history")


def test_22_env_py_raises(database: Database, tmp_path: Path) -> None:
    """An error in env.py names file and line."""
    project = make_project(tmp_path, [TABLE], env="raise RuntimeError('the config server is down')\n")
    expect(run_job("migrate", cwd=project, url=database.url), 22, "config server is down", "env.py:1")


def test_22_a_revision_file_with_a_syntax_error(database: Database, tmp_path: Path) -> None:
    """A revision that Python cannot read is named with its line."""
    project = make_project(tmp_path, [TABLE])
    add_revision(project, 2, "this is no python")
    expect(run_job("migrate", cwd=project, url=database.url), 22, "r2_.py:")


def test_23_a_migration_fails(database: Database, tmp_path: Path) -> None:
    """The revision and the place in its file are named; the one before stays, nothing of this one does."""
    project = make_project(tmp_path, [TABLE, sql("CREATE TABLE b (id int)") + "\n" + sql("SELECT 1/0")])
    result = run_job("migrate", cwd=project, url=database.url)
    expect(result, 23, "r2", "division by zero", "r2_.py:")
    assert result.finished["applied"] == ["r1"] and result.finished["to"] == "r1"
    assert database.query("SELECT to_regclass('b') IS NULL") == [(True,)]


def test_23_a_hook_fails(database: Database, tmp_path: Path) -> None:
    """MIGRATE_BEFORE that ends with 3; its output is in the log, and nothing was migrated."""
    project = make_project(tmp_path, [TABLE])
    env = {"MIGRATE_BEFORE": "sh -c 'echo said something >&2; exit 3'"}
    result = run_job("migrate", cwd=project, url=database.url, env=env)
    expect(result, 23, "MIGRATE_BEFORE", "3")
    assert [event["message"] for event in result.events("output")] == ["said something"]
    assert database.query("SELECT to_regclass('a') IS NULL") == [(True,)]


def test_24_an_invalid_index(database: Database, tmp_path: Path) -> None:
    """An index that the migration touched is INVALID when it is done."""
    database.execute("CREATE TABLE t (x int); CREATE INDEX t_x ON t (x)")
    ruin = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_x'::regclass"
    project = make_project(tmp_path, [sql(ruin) + "\n" + sql("COMMENT ON INDEX t_x IS 'ruined'")])
    expect(run_job("migrate", cwd=project, url=database.url), 24, "t_x", "INVALID", "DROP INDEX CONCURRENTLY")


def test_24_a_project_that_rolls_back(database: Database, tmp_path: Path) -> None:
    """env.py forgets to commit: bare Alembic says nothing, verification does."""
    env = """
import os
from alembic import context
from sqlalchemy import create_engine
with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    transaction = connection.begin()
    context.configure(connection=connection)
    context.run_migrations()
    transaction.rollback()
"""
    project = make_project(tmp_path, [TABLE], env=env)
    result = run_job("migrate", cwd=project, url=database.url)
    expect(result, 24, "alembic_version")
    assert result.finished["applied"] == []


@pytest.mark.parametrize(("program", "code"), [("exit 1", 25), thorough('exec {real} --list "$@" | head -3', 25)])
def test_25_a_backup_that_cannot_be_read_back(database: Database, tmp_path: Path, program: str, code: int) -> None:
    """pg_restore refuses the dump, or its list lacks tables: 25, nothing changed, no dump left behind."""
    project = make_project(tmp_path / "p", [TABLE])
    database.execute("CREATE TABLE precious (id int)")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "pg_dump").write_text(f'#!/bin/sh\nexec {database.server.bin}/pg_dump "$@"\n')
    (programs / "pg_restore").write_text(f"#!/bin/sh\n{program.format(real=database.server.bin / 'pg_restore')}\n")
    for file in programs.iterdir():
        file.chmod(file.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    env = {"MIGRATE_BACKUP_URL": str(tmp_path / "b"), "MIGRATE_PG_BINDIR": str(programs)}
    result = run_job("migrate", cwd=project, url=database.url, env=env)
    expect(result, code)
    assert database.query("SELECT to_regclass('a') IS NULL") == [(True,)]
    assert list((tmp_path / "b").iterdir()) == []


def test_26_base_needs_consent(database: Database, tmp_path: Path) -> None:
    """`rollback --to base` without --yes changes nothing and never asks."""
    project = make_project(tmp_path, [])
    add_revision(project, 1, TABLE, sql("DROP TABLE a"))
    run_job("migrate", cwd=project, url=database.url)
    expect(run_job("rollback", "--to", "base", cwd=project, url=database.url), 26, "--yes")
    expect(run_job("rollback", "--to", "base", "--yes", cwd=project, url=database.url), 26, "--no-backup")
    undone = run_job("rollback", "--to", "base", "--yes", "--no-backup", cwd=project, url=database.url)
    assert undone.finished["reverted"] == ["r1"]


def test_26_a_database_that_is_not_empty(database: Database, tmp_path: Path) -> None:
    """MIGRATE_NEW_DATABASE=empty refuses a database with tables but without a version table; any warns."""
    database.execute("CREATE TABLE somebodys (id int)")
    project = make_project(tmp_path, [TABLE])
    refused = run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_NEW_DATABASE": "empty"})
    expect(refused, 26, "public.somebodys", "stamp")
    warned = run_job("migrate", cwd=project, url=database.url)
    assert warned.code == 0 and "somebodys" in warned.events("database.not_empty")[0]["message"]


def test_28_the_database_is_ahead(database: Database, tmp_path: Path) -> None:
    """A revision these scripts lack: 28 with the message users know; tolerated when it is proven to be a later one."""
    project = make_project(tmp_path, [TABLE, sql("CREATE TABLE b (id int)")])
    run_job("migrate", cwd=project, url=database.url)
    (project / "migrations" / "versions" / "r2_.py").unlink()
    failed = run_job("migrate", cwd=project, url=database.url)
    expect(failed, 28, "Can't locate revision identified by 'r2'", "MIGRATE_WHEN_AHEAD=tolerate")
    tolerate = {"MIGRATE_WHEN_AHEAD": "tolerate"}
    tolerated = run_job("migrate", cwd=project, url=database.url, env=tolerate)
    assert tolerated.code == 0 and tolerated.events("database.ahead")
    database.execute("UPDATE alembic_version SET version_num = 'from_elsewhere'")
    expect(run_job("migrate", cwd=project, url=database.url, env=tolerate), 28, "from_elsewhere", "alembic_job")


def test_skip(tmp_path: Path) -> None:
    """MIGRATE_SKIP=reason ends with 0, touches nothing, and says so loudly."""
    project = make_project(tmp_path, [TABLE])
    result = run_job("migrate", cwd=project, url=NOBODY, env={"MIGRATE_SKIP": "incident 4711"})
    assert (result.code, result.finished["outcome"]) == (0, "skipped")
    [event] = result.events("job.skipped")
    assert (event["level"], event["reason"]) == ("warning", "incident 4711")


def test_the_codes_are_a_table(new_database: Callable[[], Database]) -> None:
    """One class an exit code, as the contract numbers them."""
    from alembic_job.errors import exit_codes

    assert list(exit_codes()) == [1, 2, 3, *range(10, 17), *range(20, 29)]
