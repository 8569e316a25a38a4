"""What statements would destroy or fail on: rows are planted, each figure is compared, and then the server is asked."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from alembic_job.gateways.embedded import Server
from alembic_job.gateways.evidence import Finding, gather, is_refused, is_unsure, loses_data, reading
from alembic_job.rules import narrowing
from tests.conftest import Database
from tests.integration.evidence_cases import (
    CONSTRAINED,
    DML,
    DROPS,
    LINES,
    ORDER,
    OVER,
    PLANTED,
    SAME,
    TYPES,
    UNKNOWN,
    USERS,
    Case,
    lost,
    refused,
    values,
)


@pytest.fixture(scope="module", params=[pytest.param(16, marks=pytest.mark.thorough), 18])
def planted(request: pytest.FixtureRequest) -> Iterator[Database]:
    server: Server = request.getfixturevalue(f"pg{request.param}")
    name = f"evidence_{request.param}"
    Database(server, "postgres").execute(f"CREATE DATABASE {name}")
    database = Database(server, name)
    database.execute(PLANTED)
    yield database
    Database(server, "postgres").execute(f"DROP DATABASE {name} WITH (FORCE)")


def evidence(database: Database, *statements: str, **given: Any) -> list[Finding]:
    connection = database.connect()
    try:
        return gather(connection, statements, version_table=(None, "alembic_version"), **given)
    finally:
        connection.close()


def fails(database: Database, statements: str) -> bool:
    """Whether the server itself refuses them; nothing stays."""
    connection = database.connect()
    try:
        connection.autocommit = False
        connection.cursor().execute(statements)
    except psycopg2.Error:
        return True
    finally:
        connection.close()
    return False


@pytest.mark.parametrize("case", [*DROPS, *DML, *ORDER, *TYPES, *CONSTRAINED], ids=lambda case: case.name)
def test_figures(planted: Database, case: Case) -> None:
    """Each figure is that of the planted rows, and the server fails on what would be refused, and on nothing else."""
    found = evidence(planted, case.statements)
    assert [finding.text for finding in found] == list(case.expected)
    assert not any(finding.estimated for finding in found)
    assert is_refused(found) == fails(planted, case.statements)


@pytest.mark.parametrize("case", UNKNOWN, ids=lambda case: case.name)
def test_what_cannot_be_told(planted: Database, case: Case) -> None:
    """It is said so, and nothing is executed to find out."""
    found = evidence(planted, case.statements)
    assert [finding.text for finding in found] == list(case.expected)
    assert is_unsure(found) and not is_refused(found)
    assert planted.query("SELECT count(*) FROM users") == [(100,)]


def test_as_alembic_renders_it(planted: Database) -> None:
    """A downgrade's operations, offline: the texts that a rollback asks about."""
    buffer = io.StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": buffer})
    op = Operations(context)
    op.drop_index("ix_nothing", table_name="users", if_exists=True)
    op.drop_constraint("small", "lines", type_="check")
    op.drop_column("users", "email")
    op.alter_column("users", "code", existing_type=sa.Text(), type_=sa.String(2), existing_nullable=True)
    op.alter_column("orders", "total", existing_type=sa.Integer(), type_=sa.SmallInteger())
    op.alter_column("lines", "loose", existing_type=sa.Integer(), nullable=False)
    op.create_unique_constraint("one_grade", "users", ["grade"])
    op.create_foreign_key("fk", "lines", "users", ["loose"], ["id"])
    op.add_column("lines", sa.Column("place", sa.String(5), nullable=False))
    op.drop_table("events")
    op.execute("DELETE FROM lines WHERE id > 30")
    op.execute(sa.text("UPDATE orders SET total = 0 WHERE total < 5"))
    statements = buffer.getvalue().split(";\n\n")
    found = evidence(planted, "BEGIN", *statements, "UPDATE alembic_version SET version_num='a'", "COMMIT")
    assert [finding.text for finding in found] == [
        values(75, "users.email"),
        values(6, "users.code", "from text to varchar(2)", "refused"),
        refused(98, USERS, f"UNIQUE (grade), {SAME}"),
        refused(30, LINES, "FOREIGN KEY (loose), public.users has no such row"),
        refused(40, LINES, "place would be NOT NULL, and is null"),
        lost(59, "table public.events"),
        lost(10, LINES),
        values(40, "orders.total", OVER),
    ]
    assert [statements[finding.index - 1].strip() for finding in found] == [finding.statement for finding in found]
    assert loses_data(found) and is_refused(found) and not is_unsure(found)


def test_large_tables_are_estimated(new_database: Callable[[], Database]) -> None:
    """Above the limit the planner, a look for one row, or a sample answers; what neither can tell is unknown."""
    statements = {
        "DROP TABLE lines": "about 40 rows of table public.lines would be lost",
        "DROP TABLE empty": "0 rows of table public.empty would be lost",
        "ALTER TABLE users DROP COLUMN email": "about 75 values of column public.users.email would be lost",
        "ALTER TABLE users DROP COLUMN note": "0 values of column public.users.note would be lost",
        "ALTER TABLE users ALTER email SET NOT NULL": f"about 25 rows of {USERS} would be refused:"
        " email would be NOT NULL, and is null",
        "ALTER TABLE users ALTER age TYPE int": "about 3 values of column public.users.age would be refused:"
        " from bigint to int",
    }
    database = new_database()
    database.execute(PLANTED)
    for statement, text in statements.items():
        [finding] = evidence(database, statement, exact_below=10 if "empty" not in statement else -1)
        assert finding.text == text
        assert finding.estimated == text.startswith("about")
        assert loses_data([finding]) == (finding.kind == "lost" and finding.count != 0)
    assert evidence(database, "ALTER TABLE users ALTER grade SET NOT NULL", exact_below=10) == []


@pytest.mark.thorough
def test_a_sample_that_shows_nothing_proves_nothing(
    new_database: Callable[[], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rare value in a large table: all rows are read if there is time; if not, the answer is that it is not known."""
    database = new_database()
    database.execute(
        "CREATE TABLE big (n bigint);"
        "INSERT INTO big SELECT CASE WHEN n = 50000 THEN 3000000000 ELSE n END FROM generate_series(1, 100000) n;"
        "ANALYZE big"
    )
    monkeypatch.setattr(reading, "_SAMPLED_ROWS", 500)
    [finding] = evidence(database, "ALTER TABLE big ALTER n TYPE int", exact_below=1000)
    assert finding.text == values(1, "big.n", "from bigint to int", "refused")
    unseen = (
        "WITH u AS (SELECT n FROM big EXCEPT SELECT n FROM big TABLESAMPLE SYSTEM (0.500000) REPEATABLE (1))"
        " SELECT n FROM u WHERE n + 1 IN (SELECT n FROM u) LIMIT 1"
    )
    [[number]] = database.query(unseen)
    database.execute(
        "CREATE FUNCTION slow(bigint) RETURNS bool STABLE LANGUAGE plpgsql AS"
        f" 'BEGIN IF $1 = {number} THEN PERFORM pg_sleep(60); END IF; RETURN true; END';"
        "CREATE FUNCTION slower(bigint) RETURNS bool STABLE LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(60); RETURN true; END'"
    )
    [finding] = evidence(database, "ALTER TABLE big ADD CHECK (slow(n))", exact_below=1000, patience=1)
    assert finding.kind == "unknown" and "none of 500 sampled rows would be refused" in finding.text
    rare = f"ALTER TABLE big ADD CHECK (n <> {number})"
    assert evidence(database, rare, exact_below=1000)[0].count == 1
    [finding] = evidence(database, f"{rare[:-1]} AND slow(n - 1))", exact_below=1000, patience=1)
    assert finding.text.startswith("some rows of table public.big would be refused: CHECK")  # one was looked for
    [finding] = evidence(database, "ALTER TABLE big ADD CHECK (n % 4 > 0)", exact_below=1000)
    assert finding.kind == "refused" and finding.estimated and finding.count and 5_000 < finding.count < 60_000
    [finding] = evidence(database, "ALTER TABLE big ALTER n TYPE text USING slower(n)::text", patience=0.3)
    assert finding.text == "column public.big.n: it would take too long to count"
    [finding] = evidence(database, "CREATE UNIQUE INDEX u ON big (slower(n), n)", patience=0.3)
    assert finding.text == "table public.big: it would take too long to look for equal rows"


def test_nobody_waits_and_nobody_is_waited_for(planted: Database) -> None:
    """Beside EXCLUSIVE locks all is counted: it needs ACCESS SHARE alone. Beside ACCESS EXCLUSIVE it gives up."""
    other = planted.connect()
    cursor = other.cursor()
    cursor.execute("BEGIN; LOCK TABLE users, orders, lines IN EXCLUSIVE MODE")
    statements = ["DROP TABLE lines", "ALTER TABLE users ALTER age TYPE int", "ALTER TABLE users ADD UNIQUE (grade)"]
    assert [one.count for one in evidence(planted, *statements)] == [40, 3, 98]
    cursor.execute("ROLLBACK; BEGIN; LOCK TABLE lines IN ACCESS EXCLUSIVE MODE")
    found = evidence(planted, "DROP TABLE lines", "DROP TABLE empty")
    assert [one.text for one in found] == [
        "table public.lines: another session has it locked",
        "0 rows of table public.empty would be lost",
    ]
    other.close()


def test_what_a_role_may_not_read(planted: Database) -> None:
    """No privilege, or only some rows: that is no figure."""
    planted.execute(
        "DROP OWNED BY no_reader; DROP ROLE no_reader"
        if planted.query("SELECT FROM pg_roles WHERE rolname = 'no_reader'")
        else "SELECT 1"
    )
    planted.execute(
        "CREATE ROLE no_reader; GRANT SELECT ON users, lines TO no_reader; ALTER TABLE lines ENABLE ROW LEVEL SECURITY"
    )
    try:
        statements = ["DROP TABLE users", "DROP TABLE orders", "DROP TABLE lines"]
        found = evidence(planted, *statements, settings={"role": "no_reader"})
        assert [one.text for one in found] == [
            lost(100, USERS),
            "table public.orders: this role may not read it, or only a part of its rows",
            "table public.lines: this role may not read it, or only a part of its rows",
        ]
        assert [one.count for one in evidence(planted, "SET ROLE no_reader", *statements)] == [100, None, None]
    finally:
        planted.execute("ALTER TABLE lines DISABLE ROW LEVEL SECURITY; DROP OWNED BY no_reader; DROP ROLE no_reader")


def test_secrets_are_not_shown(planted: Database) -> None:
    """A statement in a finding is short, on one line, and without passwords; no value of a row is in a text."""
    [finding] = evidence(planted, "DO $$ BEGIN EXECUTE 'x';\n END $$; ALTER USER me PASSWORD 'geheim' wrong")
    assert "geheim" not in str(finding.as_fields())
    statement = "SELECT 1;\n ALTER USER me PASSWORD 'geheim' wrong" + " x" * 500
    [finding] = evidence(planted, statement)
    assert "geheim" not in str(finding.as_fields()) and len(finding.statement) == 200 and "\n" not in finding.statement
    [finding] = evidence(planted, "ALTER TABLE users ALTER code TYPE uuid[] USING ARRAY[code::uuid]")
    assert finding.kind == "refused" and finding.count is None and "n/a" not in finding.text


def test_a_lost_connection_is_an_error(planted: Database) -> None:
    """It is no finding."""
    connection = planted.connect()
    ended = threading.Event()

    def settings() -> dict[str, str]:
        planted.query("SELECT pg_terminate_backend(%s)", connection.info.backend_pid)
        ended.set()
        return {}

    with pytest.raises(psycopg2.Error):
        gather(connection, ["DROP TABLE users"], settings=settings())
    assert ended.is_set() and connection.closed


def test_nothing_is_left_behind(planted: Database) -> None:
    """The connection is as it was: no transaction, no setting, no lock."""
    connection = planted.connect()
    gather(connection, ["SET search_path = nowhere; DROP TABLE public.users; SELECT 1"], settings={"timezone": "UTC"})
    cursor = connection.cursor()
    cursor.execute(
        "SELECT current_setting('search_path'), current_setting('transaction_read_only'),"
        " current_setting('lock_timeout'),"
        " (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation > 16000)"
    )
    assert cursor.fetchall() == [('"$user", public', "off", "0", 0)]
    connection.close()


def test_before_postgresql_16(planted: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pg_input_is_valid() it is known that the conversion fails, and not of how many values."""
    monkeypatch.setattr(narrowing, "_INPUT_IS_VALID", 10**9)
    [finding] = evidence(planted, "ALTER TABLE users ALTER code TYPE int USING code::int")
    assert finding.text == "some values of column public.users.code would be refused: from text to int"
    assert evidence(planted, "ALTER TABLE users ALTER code TYPE varchar(3) USING code::varchar(3)") == []


def test_without_protobuf(planted: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside an application postgast is installed without it: plain expressions are read, others are unknown."""
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    monkeypatch.setitem(sys.modules, "google.protobuf.json_format", None)
    named = {
        "shorter, cut": 15,
        "scale": 7,
        "text to int": 5,
        "text to char": 6,
        "enum made anew": 12,
        "array": 100,
        "array of shorter elements": 100,
        "time of day": 9,
        "check": 4,
        "delete": 10,
        "update": 50,
        "unique index, partial": 3,
        "float to int": 6,
    }
    cases = {case.name: case for case in (*TYPES, *CONSTRAINED, *DML)}
    for name, count in named.items():
        [finding] = evidence(planted, cases[name].statements)
        assert finding.count == count, finding.text
    [finding] = evidence(planted, "DELETE FROM lines WHERE abs(id) > 30")
    assert finding.text == "table public.lines: it cannot be evaluated without the package protobuf"
