"""`test --data`: the pending revisions on some of the real database's rows, which are never told."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from alembic_job.cli.commands import cli
from alembic_job.errors import UsageError
from alembic_job.gateways.embedded import Server
from tests.conftest import Database, Result, job_environment, run_job
from tests.projectkit import add_revision, make_project, sql

SHOP = r"""
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('r1');
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE, phone text, moods mood[],
    upper text GENERATED ALWAYS AS (upper(email)) STORED, boss bigint REFERENCES users, CHECK (id > 0));
INSERT INTO users (email, phone, moods, boss)
    SELECT 'secret' || n || '@example.org', CASE WHEN n % 4 = 0 THEN '+49' || n END, '{bad}',
           CASE WHEN n > 1 THEN n / 2 END FROM generate_series(1, 3000) n;
CREATE TABLE teams (id int PRIMARY KEY, lead int);
CREATE TABLE members (id int PRIMARY KEY, team int NOT NULL REFERENCES teams);
ALTER TABLE teams ADD FOREIGN KEY (lead) REFERENCES members;
INSERT INTO teams SELECT n, NULL FROM generate_series(1, 300) n;
INSERT INTO members SELECT n, 301 - n FROM generate_series(1, 300) n;
UPDATE teams SET lead = 1 + (id * 7) % 300;
CREATE TABLE sales (day date, user_id bigint REFERENCES users, amount numeric(10, 2), PRIMARY KEY (day, user_id))
    PARTITION BY RANGE (day);
CREATE TABLE sales_1 PARTITION OF sales FOR VALUES FROM ('2025-01-01') TO ('2025-06-01');
CREATE TABLE sales_2 PARTITION OF sales FOR VALUES FROM ('2025-06-01') TO ('2026-01-01');
INSERT INTO sales SELECT '2025-01-01'::date + n % 300, 3000 - n, n / 3.0 FROM generate_series(1, 2000) n;
CREATE SCHEMA "od""d %s";
CREATE TABLE "od""d %s"."{} 'ta:ble\" ("from" serial, "%(x)s ""y" text, of int);
INSERT INTO "od""d %s"."{} 'ta:ble\" ("%(x)s ""y", of) VALUES (E'a\tb\n\\.', 1), (NULL, 1), ('', 2), ('', 2);
CREATE VIEW seen AS SELECT id, upper FROM users;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM users;
CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
CREATE TRIGGER no BEFORE INSERT OR UPDATE ON teams FOR EACH ROW EXECUTE FUNCTION no();
ANALYZE;
"""
LOOK = """
SELECT json_build_object(
    'users', (SELECT count(*) FROM users), 'bosses', (SELECT count(*) FROM users u JOIN users b ON b.id = u.boss),
    'sales', (SELECT json_agg(count) FROM (SELECT count(*) FROM sales GROUP BY tableoid) parts),
    'circle', (SELECT count(*) FROM teams t JOIN members m ON m.id = t.lead JOIN teams o ON o.id = m.team),
    'next', nextval('users_id_seq'), 'counted', (SELECT count FROM counted),
    'triggers', (SELECT count(*) FROM pg_trigger WHERE tgname = 'no'))
"""
PROBE = f"""
import json
found = op.get_bind().exec_driver_sql({LOOK!r}).scalar()
with open("probe.json", "w") as file:
    json.dump(found, file)
"""
ODD = 'op.get_bind().exec_driver_sql("DELETE FROM \\"od\\"\\"d %%s\\".\\"{} \'ta:ble\\\\\\" WHERE of = 2")'


def shop(folder: Path, database: Database, *revisions: tuple[str, str]) -> Path:
    """A project whose first revision the database has."""
    database.execute(SHOP)
    made = make_project(folder / "project", ["pass"])
    for number, (upgrade, downgrade) in enumerate(revisions, 2):
        add_revision(made, number, upgrade, downgrade)
    return made


@pytest.fixture
def tmp() -> Iterator[Path]:
    """Where nothing must stay. Embedded servers of root's run as another user, who must get through."""
    with tempfile.TemporaryDirectory(prefix="sampled-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


def tried(folder: Path, database: Database, *args: str, **env: str) -> tuple[Result, dict[str, Any]]:
    result = run_job("test", "--data", "--json", *args, cwd=folder, url=database.url, env=env)
    return result, json.loads(result.out) if result.out else {}


def content(database: Database) -> Any:
    """The schema and each row, with the transaction that wrote it."""
    names = database.query("SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'S') AND oid > 16383")
    rows = {name: database.query(f"SELECT xmin::text, xmax::text, t.* FROM {name} t") for [name] in names}
    return database.schema(), rows


def findings(found: dict[str, Any]) -> dict[str, list[str]]:
    """By revision, what is told of it: the texts of tables, else the kind."""
    return {
        each["revision"]: [
            text
            for finding in each["findings"]
            for text in [table["text"] for table in finding.get("tables", ())] or [finding["kind"]]
        ]
        for each in found["revisions"]
    }


def test_rows_that_a_downgrade_loses_are_counted(tmp_path: Path, tmp: Path, database: Database) -> None:
    """Of a shop with references in circles, partitions and odd names a part is copied, with all that it refers to;
    a downgrade that cannot bring back what went is told by table and column. The shop is as it was, and nothing of
    it stays elsewhere."""
    nick = "ALTER TABLE users ADD nick text; UPDATE users SET nick = email"
    folder = shop(
        tmp_path,
        database,
        (f"{PROBE}\n{sql(nick)}", sql("ALTER TABLE users DROP nick")),
        (f"{sql('ALTER TABLE users DROP phone')}\n{ODD}", sql("ALTER TABLE users ADD phone text")),
    )
    before = content(database)
    result, found = tried(folder, database, "--data-rows", "200", TMPDIR=str(tmp))
    assert content(database) == before and list(tmp.iterdir()) == []
    assert result.code == 3 and "secret" not in result.out + result.err, result.err
    probe = json.loads((folder / "probe.json").read_text())
    users = probe["users"]
    assert 200 <= users < 3000 and probe["bosses"] == users - 1 and probe["counted"] == users
    assert probe["sales"] == [100, 100] and 200 <= probe["circle"] <= 300
    assert probe["next"] > 3000 and probe["triggers"] == 1
    [odd, phones] = findings(found)["r3"]
    assert odd == """od"d %s.{} 'ta:ble\\: 2 of 4 rows did not come back"""
    assert phones.endswith(f" of {users} rows came back changed, columns: phone")
    assert findings(found)["r2"] == [] and found["data"]["database"] == database.name
    assert found["data"]["rows"] == users + 200 + probe["circle"] * 2 + 4 + 1


def test_what_cannot_go_with_data() -> None:
    """What is applied cannot be tried on rows that are past it."""
    for args, words in (
        (["--data", "--from", "r1"], "--from r1 cannot go with --data"),
        (["--data-rows", "5"], "--data-rows needs --data"),
    ):
        result = CliRunner().invoke(cli, ["test", *args])
        assert isinstance(result.exception, UsageError) and words in str(result.exception)


@pytest.mark.thorough
def test_what_fails_on_rows_does_not_tell_them(tmp_path: Path, database: Database) -> None:
    """An upgrade that real rows do not allow, one that fails a second time, errors that hold values: what failed is
    told, never a value. All that is applied: said so, 0."""
    leak = "op.get_bind().exec_driver_sql('SELECT max(email) FROM users').scalar()"
    folder = shop(
        tmp_path,
        database,
        (sql("INSERT INTO users (email) VALUES ('secret')"), sql("SELECT 1")),
        ("pass", sql("ALTER TABLE users DROP phone CASCADE")),
        (sql("DROP TABLE members CASCADE"), sql("CREATE TABLE members (id int PRIMARY KEY, team int NOT NULL)")),
        ("pass", "raise NotImplementedError"),
    )
    for number, upgrade in enumerate(
        (
            sql("ALTER TABLE users ALTER phone SET NOT NULL"),
            sql("ALTER TABLE users DROP upper CASCADE, ALTER email TYPE int USING email::int"),
            sql("CREATE UNIQUE INDEX ON users (boss)"),
            sql("DO $$ BEGIN RAISE 'see %', (SELECT max(email) FROM users); END $$"),
            f"raise ValueError({leak})",
            f"op.execute(f\"UPDATE users SET id = '{{{leak}}}'\")",
            sql("GRANT SELECT ON users TO nobody_at_all"),
            f'op.execute(f"UPDATE users SET {{{leak}}}")',
        ),
        11,
    ):
        add_revision(folder, number, upgrade, down="r5")
    result, found = tried(folder, database)
    assert result.code == 3 and "secret" not in result.out + result.err, result.err
    by_revision = {each["revision"]: each for each in found["revisions"]}
    assert findings(found) == {
        "r2": ["public.users: 1 more than before", "upgrade_again_failed"],
        "r3": ["downgrade_differs", "upgrade_again_differs"],
        "r4": ["downgrade_differs", "public.members: 300 of 300 rows did not come back"],
        "r5": [],
        **{f"r{number}": ["upgrade_failed"] for number in range(11, 19)},
    }
    words = {
        "r2": 'UniqueViolation: duplicate key value violates unique constraint "users_email_key"',
        "r11": 'NotNullViolation: column "phone" of relation "users" contains null values',
        "r12": "r12 failed: InvalidTextRepresentation (",
        "r13": "UniqueViolation: could not create unique index",
        "r14": "r14 failed: RaiseException (",
        "r15": "r15 failed: ValueError (",
        "r17": 'role "nobody_at_all" does not exist',  # nor has the database's own server such a role
    }
    for revision, text in words.items():
        assert text in by_revision[revision]["findings"][-1]["message"], by_revision[revision]
    assert by_revision["r16"]["findings"][0]["statement"] == "UPDATE users SET id = '…'"
    assert "statement" not in by_revision["r18"]["findings"][0]
    assert by_revision["r5"]["outcome"] == "one way"
    database.execute("UPDATE alembic_version SET version_num = 'r5'")
    result, found = tried(folder, database, "--to", "r5")
    assert result.code == 0 and found["revisions"] == [] and "nothing is pending" in found["notes"][0]


MORE = """
CREATE TABLE refunds (id int, day date, user_id bigint, FOREIGN KEY (day, user_id) REFERENCES sales);
INSERT INTO refunds SELECT 1, day, user_id FROM sales;
CREATE TABLE animals (id int PRIMARY KEY);
CREATE TABLE dogs (name text) INHERITS (animals);
INSERT INTO animals SELECT generate_series(1, 9);
INSERT INTO dogs SELECT n, 'secret' FROM generate_series(11, 20) n;
CREATE TABLE owners (id numeric PRIMARY KEY, animal bigint REFERENCES animals, gone int);
INSERT INTO owners VALUES (1, 9, 4), (2, 8, 5000);
ALTER TABLE owners ADD FOREIGN KEY (gone) REFERENCES members NOT VALID;
CREATE TABLE rooms (id int4range, during daterange, PRIMARY KEY (id, during WITHOUT OVERLAPS));
CREATE TABLE stays (
    room int4range, during daterange, FOREIGN KEY (room, PERIOD during) REFERENCES rooms (id, PERIOD during));
INSERT INTO rooms SELECT '[1,1]', daterange(day::date, day::date + 10)
    FROM generate_series('2025-01-01'::date, '2025-12-01', '10 days') day;
INSERT INTO stays VALUES ('[1,1]', '[2025-10-05,2025-11-05)');
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
"""


@pytest.mark.thorough
def test_references_of_every_kind(tmp_path: Path, database: Database, pg18: Server) -> None:
    """To partitioned tables, by periods, not valid, of other types; a login that is no superuser, another server
    instead of an embedded one; rows that refer to ever more others are refused: 26."""
    one = sql("DELETE FROM rooms WHERE during @> '2025-12-02'::date")
    folder = shop(tmp_path, database, (one, sql("SELECT 1")), (sql("CREATE SCHEMA made"), sql("DROP SCHEMA made")))
    login = f'shop "{database.name}'
    role = '"' + login.replace('"', '""') + '"'
    database.execute(MORE)
    database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT CREATE ON DATABASE {database.name} TO {role}")
    try:
        names = database.query(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p', 'm') AND oid > 16383"
        )
        for [name] in names:
            database.execute(f"ALTER TABLE {name} OWNER TO {role}")
        database.execute(f'ALTER SCHEMA "od""d %s" OWNER TO {role}; ALTER FUNCTION no OWNER TO {role}')
        result, found = tried(folder, Login(pg18, database.name, login))
        assert result.code == 3 and "secret" not in result.out + result.err, result.err
        assert findings(found) == {"r2": ["public.rooms: 1 of 34 rows did not come back"], "r3": []}
        result, found = tried(
            folder, database, "--data-rows", "2", MIGRATE_REHEARSAL_URL=pg18.url(), MIGRATE_PG_BINDIR=str(pg18.bin)
        )
        assert result.code in (0, 3), result.err
        database.execute("CREATE TABLE chain (id int PRIMARY KEY, before int REFERENCES chain)")
        database.execute(
            "INSERT INTO chain SELECT n, CASE WHEN n < 5000 THEN n + 1 END FROM generate_series(1, 5000) n"
        )
        result, _ = tried(folder, database, "--data-rows", "2")
        assert result.code == 26 and "refer to more than 200 rows of public.chain" in result.err
    finally:
        database.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.mark.thorough
def test_a_role_that_only_reads(tmp_path: Path, database: Database, pg18: Server) -> None:
    """It migrates the copy all the same, which is said, also if it and the database are set to be read only. A table
    that it may not read, and one whose rows are hidden from it, is named: 21."""
    folder = make_project(tmp_path / "project", ["pass"])
    add_revision(folder, 2, sql("ALTER TABLE notes ADD b int; CREATE TABLE a ()"), sql("ALTER TABLE notes DROP b"))
    database.execute(
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); INSERT INTO alembic_version VALUES ('r1');"
        "CREATE TABLE notes (a serial, t text); INSERT INTO notes (t) VALUES ('secret'); CREATE TABLE hidden (a int)"
    )
    role = f"reader_{database.name}"
    database.execute(
        f"CREATE ROLE {role} LOGIN NOINHERIT PASSWORD 'secret'; GRANT SELECT ON notes, alembic_version TO {role}"
    )
    for whose in (f"ROLE {role}", f"DATABASE {database.name}"):
        database.execute(f"ALTER {whose} SET default_transaction_read_only = on")
    login = Login(pg18, database.name, role)

    def execute(text: str) -> None:
        database.execute(f"SET transaction_read_only = off; {text}")

    try:
        result, _ = tried(folder, login)
        assert result.code == 21 and result.err.splitlines()[0].endswith("permission denied for table hidden"), (
            result.err
        )
        execute(f"GRANT SELECT ON hidden, notes_a_seq TO {role}")
        result, found = tried(folder, login)
        assert findings(found) == {"r2": ["downgrade_differs", "upgrade_again_failed"]}, result.err
        assert found["notes"] == [f"{role} may not migrate {database.name}: in the copy it may do what the owners may"]
        execute("ALTER TABLE notes ENABLE ROW LEVEL SECURITY")
        result, _ = tried(folder, login)
        assert result.code == 21 and 'policy for table "notes"' in result.err and "BYPASSRLS" in result.err, result.err
    finally:
        execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.thorough
def test_pytest_has_an_item_for_each_pending_revision(tmp_path: Path, tmp: Path, database: Database) -> None:
    """`pytest --alembic-job-data`: what rows do not come back is told by table, by the only test of all."""
    phones = sql("ALTER TABLE users DROP phone"), sql("ALTER TABLE users ADD phone text")
    folder = shop(tmp_path, database, phones, (sql("CREATE TABLE a ()"), sql("DROP TABLE a")))

    def run(**env: str) -> str:
        argv = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir=."]
        given = ("--alembic-job-data", "--alembic-job-data-rows=100")
        env = job_environment(**env, TMPDIR=str(tmp))
        return subprocess.run([*argv, *given], cwd=folder, env=env, capture_output=True, text=True, check=False).stdout

    out = run(DATABASE_URL=database.url)
    assert "r2 on data FAILED" in out and "r3 on data PASSED" in out and "1 failed, 1 passed" in out, out
    assert "rows came back changed, columns: phone" in out and "secret" not in out and list(tmp.iterdir()) == []
    assert "alembic-job test --list: " in (out := run()) and "DATABASE_URL" in out, out


class Login(Database):
    """A database, by another login."""

    def __init__(self, server: Server, name: str, login: str) -> None:
        super().__init__(server, name)
        self._login = login

    @property
    def url(self) -> str:
        return f"postgresql://{quote(self._login)}:secret@127.0.0.1:{self.server.port}/{self.name}"
