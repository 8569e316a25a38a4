"""Projects that get in the way: they swallow errors, go around Alembic, wait for themselves, loop over tenants."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Database, run_job
from tests.projectkit import ENV, make_project, sql

TABLE = sql("CREATE TABLE a (id int)")


def test_a_refusal_cannot_be_swallowed(database: Database, tmp_path: Path) -> None:
    """env.py catches everything and goes on: a refused run still changes nothing and says why."""
    env = """
import os
from alembic import context
from sqlalchemy import create_engine
with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    context.configure(connection=connection)
    for attempt in range(3):
        try:
            context.run_migrations()
        except Exception:
            pass
    try:
        with connection.begin():
            connection.exec_driver_sql("CREATE TABLE a (id int)")
    except Exception:
        pass
"""
    database.execute("CREATE TABLE somebodys (id int)")
    project = make_project(tmp_path, [TABLE], env=env)
    result = run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_NEW_DATABASE": "empty"})
    assert result.code == 26, result.finished
    assert database.query("SELECT to_regclass('a') IS NULL") == [(True,)]


def test_going_around_the_environment(database: Database, tmp_path: Path) -> None:
    """`context.get_context().run_migrations()` is locked and reported all the same."""
    call = "from alembic.operations import Operations\n        with Operations.context(context.get_context()):\n"
    call += "            context.get_context().run_migrations()"
    env = ENV.replace("context.run_migrations()", call)
    result = run_job("migrate", cwd=make_project(tmp_path, [TABLE], env=env), url=database.url)
    assert result.code == 0 and result.finished["applied"] == ["r1"], result.finished
    assert result.events("plan.made")


@pytest.mark.thorough
def test_a_migration_that_waits_for_itself(database: Database, tmp_path: Path) -> None:
    """CONCURRENTLY on a second connection waits for the first one's transaction: found out, ended, explained."""
    body = """
        op.execute("CREATE TABLE a (id int)")
        op.execute("LOCK TABLE t IN SHARE MODE")
        with op.get_bind().engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
            other.exec_driver_sql("CREATE INDEX CONCURRENTLY t_x ON t (x)")
    """
    database.execute("CREATE TABLE t (x int)")
    result = run_job(
        "migrate", cwd=make_project(tmp_path, [body.replace("SHARE MODE", "EXCLUSIVE MODE")]), url=database.url
    )
    assert result.code == 23 and "waits for itself" in result.finished["error"], result.finished
    assert "autocommit_block" in result.finished["hint"]
    assert database.query("SELECT to_regclass('a') IS NULL") == [(True,)]


@pytest.mark.thorough
def test_tenants_in_one_run(database: Database, tmp_path: Path) -> None:
    """env.py loops over schemas: one lock, one report and one backup for all, each version table looked after."""
    env = """
import os
from alembic import context
from sqlalchemy import create_engine
engine = create_engine(os.environ["DATABASE_URL"])
for tenant in ("t1", "t2", "t3"):
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {tenant}")
        connection.exec_driver_sql(f"SET search_path TO {tenant}")
        connection.commit()
        context.configure(connection=connection, version_table_schema=tenant)
        with context.begin_transaction():
            context.run_migrations()
"""
    project = make_project(tmp_path / "p", [TABLE], env=env)
    more = {"MIGRATE_BACKUP_URL": str(tmp_path / "b"), "MIGRATE_PG_BINDIR": str(database.server.bin)}
    result = run_job("migrate", cwd=project, url=database.url, env=more)
    assert result.code == 0, result.finished
    assert [event["table"] for event in result.events("plan.made")] == [f"t{n}.alembic_version" for n in (1, 2, 3)]
    assert len(result.events("backup.finished")) == 1
    for n in (1, 2, 3):
        assert database.query(f"SELECT to_regclass('t{n}.a') IS NOT NULL") == [(True,)]


def test_a_thousand_bytes_of_everything(database: Database, tmp_path: Path) -> None:
    """Names with quotes, per cent signs and unicode, as table, revision message and version table."""
    env = ENV.replace("connection=connection", "connection=connection, version_table='v\"é%s'")
    body = """op.create_table('ta"ble %s é :x', sa.Column('co"l %', sa.Integer))"""
    result = run_job("migrate", cwd=make_project(tmp_path, [body], env=env), url=database.url)
    assert result.code == 0 and result.finished["applied"] == ["r1"], result.finished
    again = run_job("migrate", cwd=tmp_path, url=database.url)
    assert again.code == 0 and again.finished["applied"] == [], again.finished


def test_a_failure_that_env_py_swallows_is_still_a_failure(database: Database, tmp_path: Path) -> None:
    """env.py prints the exception and goes on: bare Alembic exits 0, the job does not."""
    call = (
        "try:\n            context.run_migrations()\n        except Exception as error:\n            print('oh', error)"
    )
    project = make_project(tmp_path, [TABLE, sql("SELECT 1/0")], env=ENV.replace("context.run_migrations()", call))
    result = run_job("migrate", cwd=project, url=database.url)
    assert result.code == 23 and "r2" in result.finished["error"], result.finished
    assert result.finished["applied"] == ["r1"]
