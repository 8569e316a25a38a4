"""How far long statements are, on real servers, made slow without big data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from alembic_job.gateways.embedded import Server
from alembic_job.gateways.progress import Progress, bar, progress
from tests.conftest import Database
from tests.integration.test_blockers import Session, Site
from tests.waiting import until

# IMMUTABLE is a lie that lets an index sleep.
SLOW = (
    "CREATE FUNCTION slow(id int) RETURNS int LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE AS"
    " $$ BEGIN IF id % 100 = 0 THEN PERFORM pg_sleep(0.05); END IF; RETURN id; END $$"
)
ROWS = "INSERT INTO users SELECT generate_series(1, 3000)"


@pytest.fixture(params=[pytest.param("pg16", marks=pytest.mark.thorough), "pg18"])
def site(request: pytest.FixtureRequest, new_database: Callable[[Server], Database]) -> Iterator[Site]:
    site = Site(new_database(request.getfixturevalue(request.param)))
    site.own.run(f"ALTER TABLE users SET (autovacuum_enabled = off); {ROWS}; {SLOW}")
    yield site
    site.close()


def seen(site: Site, session: Session, wanted: Callable[[Progress], bool]) -> Progress:
    """The first look at the session's progress which is like that."""

    def look() -> Progress | None:
        return next((found for found in progress(site.own.connection, [session.pid]) if wanted(found)), None)

    found = until(look, what="that progress")
    assert found is not None
    return found


def test_an_index_build_has_a_percentage(site: Site) -> None:
    """CREATE INDEX: the table, the phase and a percentage that grows; then nothing, since the session is idle."""
    builder = site.session()
    built = builder.start("CREATE INDEX total_idx ON users (slow(id))")
    early = seen(site, builder, lambda found: 0 < (found.percent or 0) < 50)
    assert (early.command, early.phase, early.unit) == ("CREATE INDEX", "building index: scanning table", "blocks")
    assert early.relation == "public.users"
    assert early.index_name is None, "an index that is not committed cannot be seen by others"
    late = seen(site, builder, lambda found: 60 < (found.percent or 0) < 100)
    assert late.total == early.total and late.done is not None and late.total is not None
    assert late.percent == round(100 * late.done / late.total, 1)
    assert (late.seconds or 0) > (early.seconds or 0) > 0
    assert json.loads(json.dumps(late.as_fields())) == late.as_fields()
    assert None not in late.as_fields().values()
    assert bar(late, 120).startswith("CREATE INDEX on public.users: building index: scanning table  [██████")
    built.result(30)
    assert progress(site.own.connection, [builder.pid]) == []


def test_concurrently_names_whom_it_waits_for(site: Site) -> None:
    """CREATE INDEX CONCURRENTLY: the index by name, how many transactions it waits for and whose, then the scan."""
    writers = [site.session() for _ in range(2)]
    for writer in writers:
        writer.run(
            "BEGIN; DELETE FROM users WHERE id = 1" if writer is writers[0] else "BEGIN; INSERT INTO users VALUES (0)"
        )
    builder = site.session()
    built = builder.start("CREATE INDEX CONCURRENTLY total_idx ON users (slow(id))")
    # A look's snapshot may be older than the index's own commit, and the view names the locker before the wait begins.
    waiting = seen(site, builder, lambda found: bool(found.locker_pid and found.index_name and found.waiting_for))
    assert (waiting.command, waiting.index_name) == ("CREATE INDEX CONCURRENTLY", "public.total_idx")
    assert (waiting.done, waiting.total, waiting.unit, waiting.percent) == (0, 2, "transactions", None)
    assert waiting.waiting_for == "Lock/virtualxid"
    assert waiting.locker_pid in {writer.pid for writer in writers}
    assert bar(waiting, 120).startswith(
        "CREATE INDEX CONCURRENTLY public.total_idx: waiting for writers before build: 0 of 2"
        f" (pid {waiting.locker_pid})  "
    )
    next(writer for writer in writers if writer.pid == waiting.locker_pid).run("COMMIT")
    assert seen(site, builder, lambda found: found.done == 1).total == 2
    for writer in writers:
        writer.run("COMMIT")
    scanning = seen(site, builder, lambda found: bool(found.percent))
    assert (scanning.phase, scanning.waiting_for) == ("building index: scanning table", None)
    built.result(30)


def test_loading_is_counted_in_tuples(site: Site) -> None:
    """The blocks of the scan stay in the view when the sorted tuples are loaded: what counts then is tuples."""
    site.own.run("INSERT INTO users SELECT generate_series(3001, 400000)")
    builder = site.session()
    builder.run("SET max_parallel_maintenance_workers = 0")
    for attempt in range(20):
        built = builder.start(f"CREATE INDEX loaded{attempt} ON users (id)")
        while not built.done():
            for found in progress(site.own.connection, [builder.pid]):
                if found.phase == "building index: loading tuples in tree" and found.percent:
                    assert (found.unit, found.total) == ("tuples", 400000)
                    return
        built.result()
    pytest.fail("the phase was never seen")


def test_a_vacuum(site: Site) -> None:
    """VACUUM: blocks of the heap, while it sleeps to be easy on the disk."""
    vacuum = site.session()
    vacuum.run("DELETE FROM users WHERE id % 2 = 0")
    vacuum.run("SET vacuum_cost_delay = 50; SET vacuum_cost_limit = 1")
    vacuum.start("VACUUM users")
    found = seen(site, vacuum, lambda found: found.phase == "scanning heap" and bool(found.percent))
    assert (found.command, found.relation, found.unit) == ("VACUUM", "public.users", "blocks")
    assert bar(found).startswith("VACUUM public.users: scanning heap  [")
    later = seen(site, vacuum, lambda found: found.phase in {"vacuuming indexes", "vacuuming heap"})
    if later.phase == "vacuuming indexes" and site.own.connection.server_version >= 170000:
        assert (later.total, later.unit) == (1, "indexes")


@pytest.mark.thorough
def test_analyze_counts_sample_blocks(site: Site) -> None:
    analyzer = site.session()
    analyzer.run("SET vacuum_cost_delay = 20; SET vacuum_cost_limit = 1")
    analyzer.start("ANALYZE users")
    found = seen(site, analyzer, lambda found: bool(found.percent))
    assert (found.command, found.phase) == ("ANALYZE", "acquiring sample rows")
    assert (found.unit, found.relation) == ("sample blocks", "public.users")


def test_cluster_and_vacuum_full(site: Site) -> None:
    """A rewrite: what it rebuilds an index of in the end, and the name of the command that was given."""
    site.own.run("CREATE INDEX slow_idx ON users (slow(id))")
    rewriter = site.session()
    rewriter.start("VACUUM FULL users")
    found = seen(site, rewriter, lambda found: found.phase == "rebuilding index")
    assert (found.command, found.relation, found.unit, found.percent) == (
        "VACUUM FULL",
        "public.users",
        "indexes",
        None,
    )
    assert (found.done is not None, found.total) == (True, None)


def test_copy_counts_tuples_without_a_size(site: Site) -> None:
    """COPY FROM a trigger's pace: tuples, since nobody knows how many will come."""
    site.own.run("CREATE TABLE target (id int CHECK (slow(id) = id))")
    copier = site.session()
    copier.start("COPY target FROM PROGRAM 'seq 3000'")
    found = seen(site, copier, lambda found: bool(found.done))
    assert (found.command, found.relation, found.unit) == ("COPY FROM", "public.target", "tuples")
    assert (found.total, found.percent) == (None, None)
    assert f"  {found.done} tuples  " in bar(found)


@pytest.mark.thorough
def test_copy_of_a_file_counts_bytes(site: Site) -> None:
    site.own.run("CREATE TABLE target (id int CHECK (slow(id) = id))")
    file = site.database.server.data / "numbers"
    site.own.run(f"COPY users TO '{file}'")
    copier = site.session()
    copier.start(f"COPY target FROM '{file}'")
    found = seen(site, copier, lambda found: bool(found.percent))
    assert (found.unit, found.total) == ("bytes", file.stat().st_size)


@pytest.mark.thorough
def test_a_partitioned_index_tells_the_partition(site: Site) -> None:
    """Each partition begins at 0 per cent again: it is said which of how many."""
    site.own.run(
        "CREATE TABLE parts (id int) PARTITION BY HASH (id);"
        "CREATE TABLE p0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE p1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
        "INSERT INTO parts SELECT generate_series(1, 2000)"
    )
    builder = site.session()
    builder.start("CREATE INDEX ON parts (slow(id))")
    found = seen(site, builder, lambda found: (found.phase or "").endswith("(partition 2 of 2)"))
    assert found.command == "CREATE INDEX"


def test_where_the_server_tells_nothing(site: Site) -> None:
    """An ALTER TABLE that waits for a lock: its first words, its seconds, and what it waits for; no data of it."""
    other, ours = site.session(), site.session()
    other.run("BEGIN; SELECT * FROM users")
    ours.start("/* who */ -- why\n  alter   table users ADD COLUMN secret text DEFAULT 'hunter2'")
    found = seen(site, ours, lambda found: bool(found.waiting_for))
    assert found[1:9] == ("ALTER TABLE", *[None] * 7)
    assert found.waiting_for == "Lock/relation"
    assert bar(found) == "ALTER TABLE: waits for Lock/relation  0 s"


def test_only_the_sessions_asked_for(site: Site) -> None:
    """Another's statement is none of ours; one who idles in a transaction executes nothing."""
    other, idle = site.session(), site.session()
    other.start("SELECT pg_sleep(60)")
    idle.run("BEGIN; SELECT 1")
    seen(site, other, lambda found: found.command == "SELECT")
    assert progress(site.own.connection, [idle.pid]) == []
    assert progress(site.own.connection, []) == []
    assert [found.pid for found in progress(site.own.connection, [idle.pid, other.pid])] == [other.pid]


INDEX = Progress(
    1, "CREATE INDEX CONCURRENTLY", "building index: scanning table", 61.0, 61, 100, "blocks", "public.orders",
    "public.orders_total_idx", 12.7, None, None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "width", "line"),
    [
        ({}, 120,
         "CREATE INDEX CONCURRENTLY public.orders_total_idx: building index: scanning table  [██████░░░░] 61 %  12 s"),
        ({}, 60, "CREATE INDEX CONCURRENTLY public.o…  [██████░░░░] 61 %  12 s"),
        ({"percent": 0.0, "seconds": 185.0, "command": "REINDEX", "phase": None}, 80,
         "REINDEX public.orders_total_idx  [░░░░░░░░░░] 0 %  3 min 05 s"),
        ({"percent": 100.0, "seconds": 8055.0, "command": "VACUUM", "phase": "truncating heap", "index_name": None}, 80,
         "VACUUM public.orders: truncating heap  [██████████] 100 %  2 h 14 min"),
        ({"percent": 99.9, "index_name": None, "command": "REINDEX", "phase": None}, 80,
         "REINDEX on public.orders  [█████████░] 99 %  12 s"),
    ],
)  # fmt: skip
def test_the_line_at_a_terminal(changes: dict[str, object], width: int, line: str) -> None:
    """It fits the terminal's width; the numbers at its end are never cut, and 100 % means all."""
    shown = bar(INDEX._replace(**changes), width)  # type: ignore[arg-type]
    assert shown == line
    assert len(shown) <= width
