"""The situations of the stall experiment: tables, what the application does, who is in the way, the migration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.projectkit import ENV, make_project, sql

from bench.blockers import Autovacuum, Blocker, Idle, Late, Nobody, meeting, running
from bench.load import Application, Load, Pgbench

_ASYNC_ENV = """\
import asyncio
import os
from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine

settings = {"lock_timeout": os.environ["BENCH_LOCK_TIMEOUT"]} if "BENCH_LOCK_TIMEOUT" in os.environ else {}
engine = create_async_engine(
    os.environ["DATABASE_URL"], poolclass=pool.NullPool, connect_args={"server_settings": settings}
)


def migrate(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def main():
    async with engine.connect() as connection:
        await connection.run_sync(migrate)


asyncio.run(main())
"""
_PGBENCH = """\
\\set key :client_id * 1000 + random(1, 1000)
BEGIN;
UPDATE account SET balance = balance + 1 WHERE id = :key;
SELECT balance FROM account WHERE id = :key;
END;
"""


class Scene(NamedTuple):
    """Where a case is played once: a fresh database, a fresh folder, how long a blocker holds (seconds), programs."""

    url: str
    folder: Path
    hold: float
    programs: Path


@dataclass(frozen=True)
class Case:
    """A situation. `statements` are the migration (one revision); `blocker` makes what is in its way."""

    name: str
    title: str
    setup: tuple[str, ...]
    statements: tuple[str, ...]
    asked: tuple[tuple[str, str], ...]
    blocker: Callable[[Scene], Blocker]
    env: str = ENV
    driver: str = ""
    meets: bool = False  # the blocker comes between the first and the second statement
    autovacuum: bool = False  # needs a server whose autovacuum is fast to come and slow to work
    saturates: bool = False  # pgbench instead of clients that pause

    def project(self, folder: Path) -> Path:
        """The Alembic project: r1 is in the database already, r2 is the migration. It makes the file `running`."""
        bodies = [sql(statement) for statement in self.statements]
        if self.meets:
            bodies.insert(1, meeting(folder))
        return make_project(folder / "project", ["pass", "\n".join([running(folder), *bodies])], env=self.env)

    def load(self, scene: Scene) -> Load:
        if self.saturates:
            return Pgbench(scene.programs / "pgbench", scene.url, _PGBENCH, scene.folder)
        return Application(scene.url, self.asked)


VERSION = (
    "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
    "INSERT INTO alembic_version VALUES ('r1')",
)


def table(name: str, rows: int = 10_000) -> tuple[str, ...]:
    return (
        f"CREATE TABLE {name} (id int PRIMARY KEY, balance int NOT NULL, other int NOT NULL, note text)",
        f"INSERT INTO {name} SELECT n, 0, n, repeat('x', 60) FROM generate_series(1, {rows}) n",
        f"VACUUM ANALYZE {name}",
    )


def queries(*tables: str, view: str = "") -> tuple[tuple[str, str], ...]:
    """Two reads and a write of each table (the reads through a view of it)."""
    reads = [("read", f"SELECT balance FROM {view or table} WHERE id = %(key)s") for table in tables]
    writes = [("write", f"UPDATE {table} SET balance = balance + 1 WHERE id = %(key)s") for table in tables]
    return (*reads, *reads, *writes)


def _reader(table: str) -> Callable[[Scene], Blocker]:
    return lambda scene: Idle(scene.url, f"SELECT count(*) FROM {table}", scene.hold)


def _writer(table: str) -> Callable[[Scene], Blocker]:
    statement = f"UPDATE {table} SET balance = balance + 1 WHERE id = 9999"  # no client's row
    return lambda scene: Idle(scene.url, statement, scene.hold)


def _late(scene: Scene) -> Blocker:
    return Late(scene.url, "LOCK TABLE ledger IN ACCESS SHARE MODE NOWAIT", scene.hold, scene.folder)


_ACCOUNT, _TWO = table("account"), table("account") + table("ledger")
_ADD = "ALTER TABLE account ADD COLUMN added int"
_ADD_TWO = (_ADD, "ALTER TABLE ledger ADD COLUMN added int")
_SLOW = "autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 100"
_DEAD = (
    *table("account", 60_000)[:2],
    f"ALTER TABLE account SET (autovacuum_enabled = off, {_SLOW}, autovacuum_vacuum_cost_limit = 20)",
    "UPDATE account SET other = other + 1 WHERE id > 20000",
)

CASES = (
    Case("idle", "ADD COLUMN, an idle reader", _ACCOUNT, (_ADD,), queries("account"), _reader("account")),
    Case(
        "autovacuum",
        "ADD COLUMN, a slow autovacuum",
        _DEAD,
        (_ADD,),
        queries("account"),
        lambda scene: Autovacuum(scene.url, "account"),
        autovacuum=True,
    ),
    Case(
        "index",
        "CREATE INDEX, an idle writer",
        _ACCOUNT,
        ("CREATE INDEX account_other ON account (other)",),
        queries("account"),
        _writer("account"),
    ),
    Case(
        "foreign-key",
        "new FOREIGN KEY, an idle writer of the referenced table",
        _TWO,
        ("ALTER TABLE ledger ADD CONSTRAINT ledger_account FOREIGN KEY (other) REFERENCES account (id)",),
        queries("account", "ledger"),
        _writer("account"),
    ),
    Case(
        "two-tables",
        "ADD COLUMN on two, an idle reader of the second",
        _TWO,
        _ADD_TWO,
        queries("account", "ledger"),
        _reader("ledger"),
    ),
    Case(
        "hot",
        "ADD COLUMN, pgbench at full speed",
        _ACCOUNT,
        (_ADD,),
        (),
        lambda scene: Nobody(),
        saturates=True,
    ),
    Case(
        "drop-index",
        "DROP INDEX, an idle reader of its table",
        (*_ACCOUNT, "CREATE INDEX account_other ON account (other)"),
        ("DROP INDEX account_other",),
        queries("account"),
        _reader("account"),
    ),
    Case(
        "async",
        "as idle, env.py with asyncpg",
        _ACCOUNT,
        (_ADD,),
        queries("account"),
        _reader("account"),
        env=_ASYNC_ENV,
        driver="asyncpg",
    ),
    Case(
        "view",
        "CREATE OR REPLACE VIEW, an idle reader of it",
        (*_ACCOUNT, "CREATE VIEW rich AS SELECT id, balance FROM account"),
        ("CREATE OR REPLACE VIEW rich AS SELECT id, balance, other FROM account",),
        queries("account", view="rich"),
        _reader("rich"),
    ),
    Case(
        "late",
        "as two-tables, the reader comes after the first",
        _TWO,
        _ADD_TWO,
        queries("account", "ledger"),
        _late,
        meets=True,
    ),
)
