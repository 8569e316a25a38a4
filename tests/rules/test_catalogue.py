"""Asking the catalogue: through each driver, as anybody, without waiting, and whatever things are called."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import psycopg
import psycopg2
import pytest

from alembic_job.gateways.catalogue import effect_of, literal
from alembic_job.rules.effect import Effect, Mode
from tests.conftest import Database
from tests.rules.forms import FORMS, SETUP

NAMES = ["plain", "a b", "ä", 'Q"q', "%s", "100%", "'", "\\", "sel;ect", ":x", "{x}", "$1", "😀", "x" * 63, "table"]
TEMPLATES = [
    ("ALTER TABLE {0} ADD COLUMN more int", 1),
    ("ALTER TABLE {0}.{0} DROP COLUMN {0}", 1),
    ("CREATE INDEX CONCURRENTLY ON {0} ({0})", 1),
    ("DROP INDEX {1}", 1),
    ("DROP TABLE {0} CASCADE", 1),
    ("ALTER TABLE {0}.{0} ALTER COLUMN {0} TYPE bigint", 1),
    ("ALTER TABLE {0} ADD CONSTRAINT x CHECK ({0} > 0)", 1),
    ("DROP SCHEMA {0} CASCADE", 2),
]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_odd_names(database: Database, name: str) -> None:
    """A schema, table, column and index of any name are found, and told ready for SQL."""
    me, index = quoted(name), quoted(name[:60] + "_i")
    connection = database.connect()

    def execute(sql: str) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    execute(
        f"CREATE SCHEMA {me}; SET search_path = {me}; CREATE TABLE {me} ({me} int); CREATE INDEX {index} ON {me} ({me})"
    )
    for template, count in TEMPLATES:
        [effect] = effect_of(template.format(me, index), execute)
        tables = [lock for lock in effect.locks if lock.kind == "r"]
        assert len(effect.locks) <= count and len(tables) == 1, (template, effect)
        execute(f"SELECT * FROM {tables[0].name}")
    execute("SET standard_conforming_strings = off")
    assert execute(f"SELECT {literal(name)}") == [(name,)]
    connection.close()


def test_what_stands_around_makes_no_difference(database: Database) -> None:
    """Comments, semicolons and blanks around a form do not change what is told of it."""
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute(
        "CREATE SCHEMA f; SET search_path = f, public; SET client_min_messages = error;" + SETUP.format(schema="f")
    )

    def execute(sql: str) -> list[tuple[Any, ...]]:
        cursor.execute(sql)
        return list(cursor.fetchall())

    for form in FORMS[::6]:
        sql = form.sql.format(schema="f")
        [plain] = effect_of(sql, execute)
        assert effect_of(f" -- ä\n/* ; */ ;\n{sql} ;; -- end", execute) == [plain]
        assert effect_of(f"SELECT 'ä';{sql}", execute) == [Effect(), plain]
    connection.close()


def test_waits_for_nobody(database: Database) -> None:
    """While another session holds ACCESS EXCLUSIVE on the table and its index, the answer comes all the same."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY, a int CHECK (a > 0)); CREATE VIEW v AS SELECT * FROM t")
    holder, asker = psycopg2.connect(database.url), database.connect()
    holder.cursor().execute(
        "LOCK TABLE t; ALTER INDEX t_pkey SET (fillfactor = 50); CREATE OR REPLACE VIEW v AS SELECT * FROM t"
    )
    with asker.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")

    def execute(sql: str) -> list[tuple[Any, ...]]:
        with asker.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    for sql in (
        "ALTER TABLE t ALTER COLUMN a SET NOT NULL",
        "DROP TABLE t CASCADE",
        "ALTER TABLE t ALTER COLUMN a TYPE bigint",
    ):
        [effect] = effect_of(sql, execute)
        assert {lock.mode for lock in effect.locks} == {Mode.ACCESS_EXCLUSIVE}
    holder.close()
    asker.close()


def test_as_anybody(database: Database) -> None:
    """A role without any privilege gets an answer, not an error that would spoil the transaction."""
    database.execute("CREATE SCHEMA s; CREATE TABLE s.t (id int); CREATE STATISTICS s.x ON id, (id + 1) FROM s.t")
    database.execute("CREATE ROLE nobody_; ")
    connection = psycopg2.connect(database.url)
    cursor = connection.cursor()
    cursor.execute("SET ROLE nobody_")

    def execute(sql: str) -> list[tuple[Any, ...]]:
        cursor.execute(sql)
        return list(cursor.fetchall())

    try:
        [effect] = effect_of("ALTER TABLE s.t ADD COLUMN a int", execute)
        assert [lock.name for lock in effect.locks] == ["s.t"]
        assert effect_of("DROP SCHEMA s CASCADE", execute)[0].loses == ("table s.t",)
        assert effect_of("DROP TABLE pg_catalog.missing, nowhere.t", execute) == [Effect()]
    finally:
        connection.close()
        database.execute("DROP ROLE nobody_")


def test_every_driver(database: Database) -> None:
    """psycopg2, psycopg 3 and asyncpg give the same answer."""
    database.execute('CREATE TABLE "o%s" (id int PRIMARY KEY)')
    sql = 'ALTER TABLE "o%s" ADD COLUMN a int'
    [wanted] = effect_of(sql, database.query)
    with psycopg.connect(database.url) as connection:
        assert effect_of(sql, lambda text: connection.execute(text).fetchall()) == [wanted]

    async def through_asyncpg() -> list[Effect]:
        import asyncpg

        connection = await asyncpg.connect(database.url)
        asked: list[str] = []
        effect_of(sql, lambda text: _remember(asked, text))
        rows = [tuple(row) for row in await connection.fetch(asked[0])]
        await connection.close()
        return effect_of(sql, lambda _: rows)

    assert asyncio.run(through_asyncpg()) == [wanted]
    assert [lock.name for lock in wanted.locks] == ['public."o%s"']


def _remember(asked: list[str], text: str) -> list[tuple[Any, ...]]:
    asked.append(text)
    nothing = {"version": 180000, "block_size": 8192, "access_method": "heap", "user": "x"}
    return [(json.dumps(nothing),)]


def test_what_is_lost_and_what_is_unknown(database: Database) -> None:
    """Lost data is told in words; statements that run code of their own are unknown."""
    database.execute("CREATE TABLE t (id serial PRIMARY KEY, a int, b text); CREATE TABLE u (t int REFERENCES t)")
    database.execute(
        "INSERT INTO t SELECT i FROM generate_series(1, 10000) i; ANALYZE t; CREATE MATERIALIZED VIEW m AS SELECT 1"
    )
    told = {
        "ALTER TABLE t DROP COLUMN a": ("column public.t.a",),
        "DROP TABLE t CASCADE": ("table public.t", "sequence public.t_id_seq"),
        "TRUNCATE t CASCADE": ("rows of public.t", "rows of public.u"),
        "DELETE FROM t": ("rows of public.t",),
        "DELETE FROM t WHERE id = 1": (),
        "DROP MATERIALIZED VIEW m": (),
        "DROP TABLE missing": (),
    }
    for sql, loses in told.items():
        assert set(effect_of(sql, database.query)[0].loses) == set(loses), sql
    for sql in (
        "DO $$ BEGIN END $$",
        "CALL p()",
        "EXECUTE s",
        "CREATE EXTENSION x",
        "DROP OWNED BY x",
        "VACUUM",
        "nonsense",
    ):
        assert effect_of(sql, database.query)[0].unknown, sql
    for sql in ("SELECT f()", "INSERT INTO t VALUES (1)", "CREATE TABLE x (id int)", "SET a.b = 1"):
        assert effect_of(sql, database.query) == [Effect()], sql
    [effect] = effect_of("ALTER TABLE t ALTER COLUMN a TYPE bigint", database.query)
    pages = database.query("SELECT relpages FROM pg_class WHERE relname = 't'")[0][0]
    assert effect.rewrites == ("public.t",) and effect.bytes == pages * 8192 > 100_000
