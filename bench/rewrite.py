"""The rewrite of a large table: under load to be refused or given up; the way that the hint says has to work."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.conftest import roomy_memory
from tests.projectkit import make_project, sql

from alembic_job.gateways.embedded import Server
from bench.cases import VERSION
from bench.database import query
from bench.load import CLIENTS, Application, Query, Span
from bench.runners import BARE, JOB, TIMEOUT, Contender, Run, said

HOLD = 5.0  # seconds: MIGRATE_MAX_LOCK_HOLD's default
SLACK = 0.5  # seconds beyond it until the lock is given back
_ROW = 1024  # bytes: eight rows a page
_REWRITE = ("ALTER TABLE orders ALTER COLUMN total TYPE bigint",)
_SLOW = """\
CREATE FUNCTION slowly(int) RETURNS bigint LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(0.002); RETURN $1; END $$"""
_UNFORESEEN = ("ALTER TABLE orders ALTER COLUMN total TYPE bigint USING slowly(total)",)
_SMALL = 10 * 2**20  # bytes: 10,240 rows, 20 s and more
_QUERIES = (
    ("read", "SELECT total FROM orders WHERE id = %(key)s"),
    ("read", "SELECT note FROM orders WHERE id = %(key)s"),
    ("write", "UPDATE orders SET total = total + 1 WHERE id = %(key)s"),
)
_STEP = """\
CREATE FUNCTION keep_in_step() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.total_new := NEW.total; RETURN NEW; END $$"""
_FILL = """\
bind = op.get_bind()
last = bind.exec_driver_sql("SELECT max(id) FROM orders").scalar()
with op.get_context().autocommit_block():
    for first in range(1, last + 1, 2000):
        op.execute(
            "UPDATE orders SET total_new = total WHERE total_new IS NULL"
            f" AND id BETWEEN {first} AND {first + 1999}"
        )
"""
# The way of the hint, a revision each: a new column, kept in step, filled in batches, swapped by renaming.
_ONLINE = (
    (
        "ALTER TABLE orders ADD COLUMN total_new bigint",
        _STEP,
        "CREATE TRIGGER keep_in_step BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION keep_in_step()",
        "ALTER TABLE orders ADD CONSTRAINT total_new_there CHECK (total_new IS NOT NULL) NOT VALID",
    ),
    _FILL,
    ("ALTER TABLE orders VALIDATE CONSTRAINT total_new_there",),
    (
        "DROP TRIGGER keep_in_step ON orders",
        "DROP FUNCTION keep_in_step()",
        "ALTER TABLE orders ALTER COLUMN total_new SET NOT NULL",
        "ALTER TABLE orders ALTER COLUMN total DROP NOT NULL",
        "ALTER TABLE orders DROP CONSTRAINT total_new_there",
        "ALTER TABLE orders RENAME COLUMN total TO total_old",
        "ALTER TABLE orders RENAME COLUMN total_new TO total",
    ),
    ("ALTER TABLE orders DROP COLUMN total_old",),
)


class Found(NamedTuple):
    """What one run did. `stall` and `took` in seconds; `stall` is None where there was no application."""

    stall: float | None
    took: float
    codes: list[int]
    said: str
    unchanged: bool  # same files, same type, same revision
    complete: bool  # bigint, and no write of the application lost


class Step(NamedTuple):
    """A run on a fresh copy of the table, and what has to be true of it (nothing: it is shown for comparison)."""

    title: str
    contender: Contender
    revisions: Sequence[str]
    load: bool
    bounds: Sequence[tuple[str, Callable[[Found], bool]]] = ()
    template: str = "large"


def _body(statements: str | Sequence[str]) -> str:
    return statements if isinstance(statements, str) else "\n".join(map(sql, statements))


_PLAIN, _WAY = [_body(_REWRITE)], [_body(each) for each in _ONLINE]
_GIVEN_UP: Sequence[tuple[str, Callable[[Found], bool]]] = (
    ("exit code 26", lambda found: found.codes == [26]),
    ("nothing changed", lambda found: found.unchanged),
    ("a hint", lambda found: "do it online" in found.said),
    (f"longest stall ≤ {HOLD + SLACK} s", lambda found: (found.stall or 0.0) <= HOLD + SLACK),
)
STEPS = (
    Step("alembic-job migrate, under load", JOB, _PLAIN, True, _GIVEN_UP),
    Step("the same, small, but slow for its size", JOB, [_body(_UNFORESEEN)], True, _GIVEN_UP, "small"),
    Step("alembic upgrade head, under load", BARE, _PLAIN, True),
    Step("alembic, lock_timeout 1s, retried", TIMEOUT, _PLAIN, True),
    Step(
        "the hint's way, alembic-job, under load",
        JOB,
        _WAY,
        True,
        (
            ("exit code 0", lambda found: found.codes == [0]),
            ("bigint, no write lost", lambda found: found.complete),
            (f"longest stall ≤ {HOLD + SLACK} s", lambda found: (found.stall or 0.0) <= HOLD + SLACK),
        ),
    ),
    Step(
        "alembic-job migrate, no other client",
        JOB,
        _PLAIN,
        False,
        (("exit code 0", lambda found: found.codes == [0]), ("bigint", lambda found: found.complete)),
    ),
)


def run(size: float) -> list[str]:
    """Plays all steps with a table of so many bytes; prints a line each and returns the verdicts: met or MISSED."""
    conf = {"autovacuum": "off", "wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "1GB"}
    memory = roomy_memory()
    roomy = memory is not None and shutil.disk_usage(memory).free > 5 * size
    with Server(conf=conf, folder=memory if roomy else None) as server:
        begun = time.monotonic()
        _fill(server, "large", size)
        _fill(server, "small", _SMALL)
        where = "in memory" if roomy else "on disk"
        made = f"{size / 2**30:g} GiB {where} (made in {time.monotonic() - begun:.0f} s)"
        print(f"rewrite: int to bigint in a table of {made}", flush=True)
        return [line for step in STEPS for line in _played(server, step)]


def _played(server: Server, step: Step) -> Iterator[str]:
    found = _play(server, step)
    stall = "-" if found.stall is None else f"{found.stall * 1000:,.0f} ms"
    print(
        f"  {step.title:<42}longest stall {stall:>10}   run {found.took:>7.2f} s   exit codes {found.codes}", flush=True
    )
    if step.contender is JOB and found.codes != [0]:
        print(f"    {found.said}")
    if step.bounds:
        broken = [text for text, holds in step.bounds if not holds(found)]
        held = ", ".join(text for text, _ in step.bounds)
        yield (
            f"MISSED  rewrite, {step.title}: not {', '.join(broken)}"
            if broken
            else f"met     rewrite, {step.title}: {held}"
        )


def _play(server: Server, step: Step) -> Found:
    with _copy(server, step.template) as url, tempfile.TemporaryDirectory(prefix="alembic-job-bench-") as root:
        project = make_project(Path(root) / "project", ["pass", *step.revisions])
        before = query(url, _STATE)
        application = Application(url, _QUERIES) if step.load else None
        queries: list[Query] = []
        if application:
            application.start()
        try:
            run = Run(step.contender, project, url)
            run.start()
            run.wait()
        finally:
            queries = application.stop() if application else []
        writes = sum(query.kind == "write" for query in queries) + (
            CLIENTS if step.load else 0
        )  # each warmed up with one
        [[kind, total]] = query(url, _RESULT)
        return Found(
            stall=Span(run.begun, run.ended).longest(queries) if step.load else None,
            took=run.ended - run.begun,
            codes=run.codes,
            said=said(run.output),
            unchanged=query(url, _STATE) == before,
            complete=kind == "bigint" and total == writes,
        )


_STATE = """\
SELECT (SELECT relfilenode FROM pg_class WHERE oid = 'orders'::regclass), (SELECT version_num FROM alembic_version),
 (SELECT array_agg(attname || ' ' || format_type(atttypid, atttypmod) ORDER BY attnum) FROM pg_attribute
  WHERE attrelid = 'orders'::regclass AND attnum > 0 AND NOT attisdropped)"""
_RESULT = "SELECT (SELECT pg_typeof(total)::text FROM orders LIMIT 1), sum(total) FROM orders"
_numbers = itertools.count(1)


def _fill(server: Server, name: str, size: float) -> None:
    """A database from which each run gets a copy, with a table of so many bytes."""
    query(server.url(), f"CREATE DATABASE {name}")
    fill = f"SELECT n AS id, 0 AS total, repeat('x', 900) AS note FROM generate_series(1, {int(size / _ROW)}) n"
    for statement in (
        *VERSION,
        _SLOW,
        f"CREATE TABLE orders AS {fill}",
        "ALTER TABLE orders ALTER COLUMN total SET NOT NULL",
        "ALTER TABLE orders ADD PRIMARY KEY (id)",
        "VACUUM ANALYZE orders",
        "CHECKPOINT",
    ):
        query(server.url(name), statement)


@contextmanager
def _copy(server: Server, template: str) -> Iterator[str]:
    """A copy of that database: its URL."""
    name = f"rewrite_{next(_numbers)}"
    query(server.url(), f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    try:
        yield server.url(name)
    finally:
        query(server.url(), f"DROP DATABASE {name} WITH (FORCE)")
