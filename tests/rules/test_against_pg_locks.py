"""Every form of DDL on real servers: what is told is what `pg_locks`, relfilenodes and statistics show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest

from alembic_job.gateways.catalogue import effect_of
from alembic_job.gateways.embedded import Server
from alembic_job.rules.effect import Effect, Mode
from tests.rules.forms import FORMS, SETUP, Form

MODES = {mode.pg_locks: mode for mode in Mode}
SCHEMA = "f"

_LOCKS = """SELECT relation::int8, mode FROM pg_locks WHERE pid = {pid} AND locktype = 'relation'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_RELATIONS = """SELECT c.oid::int8, c.oid::regclass::text, relkind::text, relfilenode::int8, coalesce(indrelid,
    0)::int8,
    CASE WHEN relkind IN ('r', 'm') THEN pg_stat_get_xact_numscans(c.oid) END
    FROM pg_class c LEFT JOIN pg_index ON indexrelid = c.oid
    WHERE c.oid >= 16384 AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname = 'pg_toast')"""


@dataclass
class Known:
    """A relation before a form ran."""

    name: str
    kind: str
    file: int
    table: int
    scans: int


@dataclass
class Desk:
    """A connection with the forms' schema."""

    server: Server
    connection: psycopg2.extensions.connection
    before: dict[int, Known] = field(default_factory=dict)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def relations(self) -> dict[int, Known]:
        return {oid: Known(*rest[:2], *rest[2:]) for oid, *rest in self.query(_RELATIONS)}


def make_desk(server: Server) -> Iterator[Desk]:
    name = "forms"
    admin = psycopg2.connect(server.url("postgres"))
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = 'somebody'")
        if not cursor.fetchall():
            cursor.execute("CREATE ROLE somebody SUPERUSER")
        cursor.execute("SELECT 1 FROM pg_tablespace WHERE spcname = 'elsewhere'")
        if not cursor.fetchall():
            cursor.execute("SET allow_in_place_tablespaces = on")
            cursor.execute("CREATE TABLESPACE elsewhere LOCATION ''")
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name}")
    connection = psycopg2.connect(server.url(name))
    desk = Desk(server, connection)
    desk.query(
        f"CREATE SCHEMA {SCHEMA}; SET search_path = {SCHEMA}, public; SET client_min_messages = error;"
        + SETUP.format(schema=SCHEMA)
    )
    connection.commit()
    yield desk
    connection.close()
    with admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    admin.close()


@pytest.fixture(scope="module")
def desk16(pg16: Server) -> Iterator[Desk]:
    yield from make_desk(pg16)


@pytest.fixture(scope="module")
def desk18(pg18: Server) -> Iterator[Desk]:
    yield from make_desk(pg18)


def told(effect: Effect) -> dict[str, str]:
    return {
        lock.name.removeprefix(SCHEMA + "."): lock.mode.pg_locks
        for lock in effect.locks
        if lock.mode >= Mode.SHARE_UPDATE_EXCLUSIVE
    }


def seen(desk: Desk, before: dict[int, Known], pid: str = "pg_backend_pid()") -> dict[str, str]:
    """The strongest lock of each relation that was there before, without indexes of tables locked as strongly."""
    modes: dict[int, Mode] = {}
    for oid, mode in desk.query(_LOCKS.format(pid=pid)):
        if oid in before and MODES[mode] >= Mode.SHARE_UPDATE_EXCLUSIVE:
            modes[oid] = max(MODES[mode], modes.get(oid, MODES[mode]))
    kept = {oid: mode for oid, mode in modes.items() if modes.get(before[oid].table, 0) < mode}
    return {before[oid].name: mode.pg_locks for oid, mode in kept.items()}


def check(desk: Desk, form: Form) -> None:
    sql = form.sql.format(schema=SCHEMA)
    try:
        before = desk.relations()
        [effect] = effect_of(sql, desk.query)
        assert effect.unknown is None, effect.unknown
        desk.query(sql)
        assert told(effect) == seen(desk, before)
        assert tables(effect.rewrites, before) == rewritten(desk, before, effect)
        read = scanned(desk, before)
        assert tables(effect.scans, before) <= read, "scans"
        assert read - emptied(effect) <= tables(effect.scans + effect.rewrites, before) | partners(desk, before), (
            "unseen scans"
        )
        assert effect.transactional
    finally:
        desk.connection.rollback()


def tables(names: tuple[str, ...], before: dict[int, Known]) -> set[str]:
    plain = {name.removeprefix(SCHEMA + ".") for name in names}
    return {known.name for known in before.values() if known.name in plain and known.kind in "rm"}


def rewritten(desk: Desk, before: dict[int, Known], effect: Effect) -> set[str]:
    now = desk.relations()
    changed = {oid for oid in now.keys() & before.keys() if now[oid].file != before[oid].file}
    return {before[oid].name for oid in changed if before[oid].kind in "rm"} - emptied(effect)


def emptied(effect: Effect) -> set[str]:
    """TRUNCATE gives a table new, empty files, and its indexes too."""
    return {text.removeprefix("rows of ").removeprefix(SCHEMA + ".") for text in effect.loses}


def scanned(desk: Desk, before: dict[int, Known]) -> set[str]:
    """Tables that were read to the end while they were locked."""
    now, locked = desk.relations(), seen(desk, before)
    read = {oid for oid, known in before.items() if known.kind in "rm" and oid in now and now[oid].scans > known.scans}
    return {before[oid].name for oid in read if before[oid].name in locked}


def partners(desk: Desk, before: dict[int, Known]) -> set[str]:
    """Tables that foreign keys refer to: checking a key may read them, or their index."""
    return {
        before[oid].name for [oid] in desk.query("SELECT DISTINCT confrelid::int8 FROM pg_constraint") if oid in before
    }


@pytest.mark.thorough
@pytest.mark.parametrize("form", [form for form in FORMS if form.least <= 16], ids=str)
def test_form_on_16(desk16: Desk, form: Form) -> None:
    """What is told of the statement is what PostgreSQL 16 does."""
    check(desk16, form)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_form_on_18(desk18: Desk, form: Form) -> None:
    """What is told of the statement is what PostgreSQL 18 does."""
    check(desk18, form)
