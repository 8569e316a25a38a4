"""Statements that run outside of a transaction only, watched while somebody makes them wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg2
import pytest

from alembic_job.gateways.catalogue import effect_of
from alembic_job.gateways.embedded import Server
from alembic_job.rules.effect import Mode
from tests.conftest import Database
from tests.rules.test_against_pg_locks import MODES
from tests.waiting import until

SETUP = """
CREATE TABLE t (id int PRIMARY KEY, a int, b text);
INSERT INTO t SELECT i, i, i FROM generate_series(1, 50) i;
CREATE INDEX t_a ON t (a);
CREATE TABLE p (k int NOT NULL, v text) PARTITION BY RANGE (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
CREATE INDEX p_k ON p (k);
CREATE MATERIALIZED VIEW m AS SELECT * FROM t;
CREATE SCHEMA small;
CREATE SCHEMA "S.q";
CREATE TABLE "S.q"."o""d.d" (a int);
CREATE TABLE small.one (id int PRIMARY KEY);
"""

# Statement, what the other session holds, the relations on which its lock is compared.
WAITING = [
    ("CREATE INDEX CONCURRENTLY x ON t (b)", "LOCK t IN ROW EXCLUSIVE MODE", "t"),
    ("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS x ON t (b) WHERE a > 0", "LOCK t IN ROW EXCLUSIVE MODE", "t"),
    ("DROP INDEX CONCURRENTLY t_a", "SELECT * FROM t", "t"),
    ("REINDEX INDEX CONCURRENTLY t_a", "LOCK t IN ROW EXCLUSIVE MODE", "t"),
    ("REINDEX TABLE CONCURRENTLY t", "LOCK t IN ROW EXCLUSIVE MODE", "t"),
    ("REINDEX (CONCURRENTLY) TABLE p1", "LOCK p1 IN ROW EXCLUSIVE MODE", "p1"),
    ("ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY", "LOCK p IN SHARE UPDATE EXCLUSIVE MODE", "p"),
    ("VACUUM t", "LOCK t IN SHARE MODE", "t"),
    ("VACUUM (ANALYZE) t", "LOCK t IN SHARE MODE", "t"),
    ("VACUUM FULL t", "LOCK t IN ACCESS SHARE MODE", "t"),
    ("VACUUM (FULL, VERBOSE) t", "LOCK t IN ACCESS SHARE MODE", "t"),
    ("VACUUM (FULL off) t", "LOCK t IN SHARE MODE", "t"),
    ("VACUUM p", "LOCK p1 IN SHARE MODE", "p1"),
    ("REINDEX TABLE p", "LOCK p1 IN ROW EXCLUSIVE MODE", "p1"),
    ("REINDEX SCHEMA small", "LOCK small.one IN ROW EXCLUSIVE MODE", "small.one"),
    ("REINDEX SCHEMA CONCURRENTLY small", "LOCK small.one IN SHARE MODE", "small.one"),
]

AT_ONCE = [
    "CREATE DATABASE x",
    "ALTER SYSTEM SET work_mem = '8MB'",
    "REINDEX DATABASE",
    "VACUUM",
    "CREATE TABLESPACE x LOCATION ''",
    "DROP TABLESPACE IF EXISTS x",
    "DROP DATABASE IF EXISTS x",
    "CREATE INDEX CONCURRENTLY x ON t (a)",
    "REINDEX TABLE p",
]

_SHOWN = """SELECT relation::regclass::text, mode FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'relation' AND application_name = 'watched' AND relation >= 16384
    AND EXISTS (SELECT FROM pg_locks waits WHERE waits.pid = pg_stat_activity.pid AND NOT granted)"""


@pytest.fixture(params=[pytest.param(16, marks=pytest.mark.thorough), 18])
def shop(request: pytest.FixtureRequest, new_database: object) -> Database:
    server: Server = request.getfixturevalue(f"pg{request.param}")
    made: Database = new_database(server)  # type: ignore[operator]
    made.execute(SETUP)
    return made


@pytest.fixture
def watched(shop: Database) -> Iterator[psycopg2.extensions.connection]:
    connection = psycopg2.connect(shop.url, application_name="watched")
    connection.autocommit = True
    yield connection
    connection.close()


@pytest.mark.parametrize(("sql", "held", "names"), WAITING, ids=[row[0] for row in WAITING])
def test_locks_while_it_waits(
    shop: Database, watched: psycopg2.extensions.connection, sql: str, held: str, names: str
) -> None:
    """Behind another session, `pg_locks` shows on the table what was told, and the statement needs no transaction."""
    [effect] = effect_of(sql, shop.query)
    assert not effect.transactional
    holder = psycopg2.connect(shop.url)
    holder.cursor().execute(held)
    runner = threading.Thread(target=run, args=(watched, sql))
    runner.start()
    try:
        shown = until(lambda: shop.query(_SHOWN), what=f"{sql} waiting")
    finally:
        holder.rollback()
        holder.close()
        runner.join()
    strongest: dict[str, Mode] = {}
    for name, mode in shown:
        strongest[name] = max(MODES[mode], strongest.get(name, MODES[mode]))
    told = {lock.name.removeprefix("public."): lock.mode for lock in effect.locks}
    for name in names.split():
        assert told.get(name) == strongest.get(name), (told, strongest)


def run(connection: psycopg2.extensions.connection, sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.parametrize("sql", AT_ONCE)
def test_refused_in_a_transaction(shop: Database, sql: str) -> None:
    """What is told to run outside of a transaction is refused within one."""
    assert [effect.transactional for effect in effect_of(sql, shop.query)] == [False]
    connection = psycopg2.connect(shop.url)
    try:
        with pytest.raises(psycopg2.errors.ActiveSqlTransaction):
            connection.cursor().execute(sql)
    finally:
        connection.close()


def test_patience_and_what_is_built(shop: Database) -> None:
    """CONCURRENTLY and VALIDATE are told to need patience; an index being built has a name to drop it by."""
    wanted = {
        'CREATE INDEX CONCURRENTLY "We%ird" ON t (a)': (True, 'public."We%ird"'),
        "CREATE INDEX CONCURRENTLY ON t (a)": (True, None),
        'CREATE INDEX CONCURRENTLY "table" ON t (a)': (True, 'public."table"'),
        'CREATE INDEX CONCURRENTLY x ON "S.q"."o""d.d" (a)': (True, '"S.q".x'),
        "CREATE INDEX x ON t (a)": (False, None),
        "DROP INDEX CONCURRENTLY t_a": (True, None),
        "REINDEX (CONCURRENTLY) TABLE t": (True, None),
        "REINDEX (CONCURRENTLY off) TABLE t": (False, None),
        "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY": (True, None),
        "ALTER TABLE p DETACH PARTITION p1": (False, None),
        "ALTER TABLE t VALIDATE CONSTRAINT x": (True, None),
        "ALTER TABLE t VALIDATE CONSTRAINT x, ADD COLUMN c int": (False, None),
    }
    for sql, expected in wanted.items():
        [effect] = effect_of(sql, shop.query)
        assert (effect.patient, effect.builds) == expected, sql
