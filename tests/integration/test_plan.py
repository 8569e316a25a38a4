"""`plan`: what is told of each statement agrees with what the run then takes; and all of it is only told."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Database, Result, run_job
from tests.integration.test_lock_policy import ASYNC_ENV
from tests.projectkit import ENV, make_project, sql

CONTENT = """
    CREATE TABLE users (id serial PRIMARY KEY, email varchar(40));
    CREATE TABLE orders (id serial PRIMARY KEY, total int, note varchar(10), user_id int, kind text);
    CREATE TABLE items (id serial PRIMARY KEY, price numeric(8, 2), order_id int REFERENCES orders);
    CREATE TABLE events (id int, at date) PARTITION BY RANGE (id);
    CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (1000);
    CREATE INDEX by_kind ON orders (kind);
    CREATE VIEW kinds AS SELECT kind FROM orders;
    INSERT INTO users (email) SELECT 'u' || n FROM generate_series(1, 100) n;
    INSERT INTO orders (total, user_id) SELECT n, n FROM generate_series(1, 100) n;
    CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('r1');
    ANALYZE;
"""
SEEN = """
    CREATE TABLE seen (revision text, relation text, mode text);
    CREATE TABLE files (n serial, revision text, id oid, relation text, node oid);
    INSERT INTO files (revision, id, relation, node) SELECT 'r1', oid, oid::regclass, relfilenode FROM pg_class
    WHERE relkind IN ('r', 'p', 'v', 'S') AND relnamespace = 'public'::regnamespace;
"""
# Each revision writes down what it holds on what was there before it, and where the files are then.
LOOK = """
INSERT INTO seen SELECT '{0}', (SELECT relation FROM files WHERE id = l.relation ORDER BY n DESC LIMIT 1), mode
FROM pg_locks l WHERE pid = pg_backend_pid() AND relation IN (SELECT id FROM files)
AND mode NOT IN ('AccessShareLock', 'RowExclusiveLock');
INSERT INTO files (revision, id, relation, node) SELECT '{0}', oid, oid::regclass, relfilenode FROM pg_class
WHERE relkind IN ('r', 'p', 'v', 'S') AND relnamespace = 'public'::regnamespace
"""
WATCHING = ENV.replace(
    "connection=connection)",
    "connection=connection, on_version_apply=lambda ctx, step, **_:"
    f" [ctx.connection.exec_driver_sql(each.format(step.up_revision_id)) for each in {LOOK.split(';')!r}])",
)
FORMS = (  # a revision each, r2 and on; later ones are about what earlier ones have made
    "ALTER TABLE orders ADD COLUMN random_id uuid DEFAULT gen_random_uuid()",
    "ALTER TABLE orders ADD COLUMN size int DEFAULT 0 NOT NULL",
    "ALTER TABLE orders ALTER COLUMN total TYPE bigint",
    "ALTER TABLE users ALTER COLUMN email TYPE varchar(80)",
    "ALTER TABLE users ALTER COLUMN email TYPE varchar(20)",
    "ALTER TABLE orders ALTER COLUMN total SET NOT NULL",
    "CREATE INDEX by_total ON orders (total)",
    "ALTER TABLE orders ADD CONSTRAINT buyer FOREIGN KEY (user_id) REFERENCES users NOT VALID",
    "ALTER TABLE orders VALIDATE CONSTRAINT buyer",
    "ALTER TABLE orders ADD CONSTRAINT positive CHECK (size >= 0)",
    "DROP INDEX by_total",
    "ALTER TABLE orders DROP CONSTRAINT buyer",
    "ALTER TABLE events ADD COLUMN note text",
    "CREATE TABLE parcels (id int PRIMARY KEY, order_id int REFERENCES orders)",
    "CREATE INDEX parcels_order ON parcels (order_id)",
    "ALTER TABLE items RENAME TO lines",
    "ALTER TABLE lines ALTER COLUMN price TYPE numeric(12, 4)",
    "CREATE OR REPLACE VIEW kinds AS SELECT kind FROM orders WHERE id > 0",
    "COMMENT ON TABLE users IS 'people'",
    "CREATE TRIGGER noop BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "DROP TABLE lines",
    "TRUNCATE users",
)
_REWRITTEN = """
    SELECT a.relation FROM files a JOIN files b ON b.id = a.id AND b.revision = %s
    WHERE a.revision = %s AND a.node <> b.node ORDER BY 1"""


def plan(folder: Path, database: Database, *args: str, **env: str) -> Result:
    return run_job("plan", *args, cwd=folder, url=database.url, env=env)


def planned(folder: Path, database: Database, *args: str) -> dict[str, Any]:
    """The plan as `--json` tells it."""
    result = plan(folder, database, "--json", *args)
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


def statements(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for table in found["tables"] for revision in table["pending"] for each in revision["statements"]]


def content(database: Database) -> tuple[Any, ...]:
    """The schema, and each table's rows as they are stored."""
    tables = database.query("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid >= 16384")
    rows = {name: database.query(f"SELECT xmin::text, ctid::text, t::text FROM {name} t") for [name] in tables}
    return database.schema(), rows


def bare(name: str) -> str:
    return name.removeprefix("public.")


def mode(text: str) -> str:
    """`AccessExclusiveLock` as SQL writes it."""
    words = "".join(f" {letter}" if letter.isupper() else letter for letter in text.removesuffix("Lock"))
    return words.strip().upper()


def test_the_plan_agrees_with_the_run(database: Database, tmp_path: Path) -> None:
    """Locks and rewrites of every form are those that the run takes, also where an earlier revision has made, renamed
    or altered what a later one is about; and planning changes nothing."""
    folder = make_project(tmp_path, ["pass", *map(sql, FORMS)], env=WATCHING)
    database.execute(CONTENT)
    database.execute(SEEN)
    before = content(database)
    found = planned(folder, database)
    assert content(database) == before
    told = statements(found)
    assert [each["sql"] for each in told] == list(FORMS)

    done = run_job("migrate", cwd=folder, url=database.url, env={"MIGRATE_LOCK_POLICY": "off"})
    assert done.code == 0, done.out
    for number, each in enumerate(told, 2):
        taken = database.query("SELECT relation, mode FROM seen WHERE revision = %s", f"r{number}")
        strongest: dict[str, str] = {}
        for relation, name in taken:
            if relation in each["new_tables"]:
                continue
            strongest[relation] = max(strongest.get(relation, ""), mode(name), key=_MODES.index)
        assert {bare(lock["relation"]): lock["mode"] for lock in each["locks"]} == strongest, each["sql"]
        rewritten = database.query(_REWRITTEN, f"r{number - 1}", f"r{number}")
        if not each["sql"].startswith("TRUNCATE"):
            assert [(bare(name),) for name in each["rewrites"]] == rewritten, each["sql"]


_MODES = ["", "ROW SHARE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"]


# Revisions that ask the database. What each is told as: `now`, or the reason why not; and its statements.
ASKING: tuple[tuple[str, str, list[str]], ...] = (
    (
        """
        names = [column["name"] for column in sa.inspect(op.get_bind()).get_columns("users")]
        op.add_column("users", sa.Column("_".join(names), sa.Integer))
        """,
        "now",
        ["ALTER TABLE users ADD COLUMN id_email INTEGER"],
    ),
    (
        """
        bind = op.get_bind()
        for (n,) in bind.execute(sa.text("SELECT id FROM users WHERE id <= :most ORDER BY id"), {"most": 2}):
            bind.execute(sa.text("UPDATE users SET email = :to WHERE id = :n"), {"to": f"it's 100% {n}", "n": n})
        with op.get_context().autocommit_block():
            op.create_index("by_email", "users", ["email"], postgresql_concurrently=True)
        """,
        "now",
        [
            "UPDATE users SET email = 'it''s 100% 1' WHERE id = 1",
            "UPDATE users SET email = 'it''s 100% 2' WHERE id = 2",
            "CREATE INDEX CONCURRENTLY by_email ON users (email)",
        ],
    ),
    (  # what changes something is never executed, however it is said
        """
        bind = op.get_bind()
        assert bind.scalar(sa.text("SELECT count(*) FROM users")) == 100
        for text in ("SELECT touch()", "SELECT 1; COMMIT; DROP TABLE orders", "SELECT * INTO copied FROM users",
                     "WITH gone AS (DELETE FROM users RETURNING id) SELECT id FROM gone"):
            bind.exec_driver_sql(text)
        """,
        "now",
        [
            "SELECT touch()",
            "SELECT 1",
            "COMMIT",
            "DROP TABLE orders",
            "SELECT * INTO copied FROM users",
            "WITH gone AS (DELETE FROM users RETURNING id) SELECT id FROM gone",
        ],
    ),
    ('op.get_bind().execute(sa.text("DELETE FROM items RETURNING id")).fetchall()', "returns", []),
    ('op.get_bind().execute(sa.text("SELECT * FROM not_yet"))', 'relation "not_yet" does not exist', []),
    (
        """
        while op.get_bind().scalar(sa.text("SELECT count(*) FROM users WHERE email LIKE 'u%'")):
            op.execute("UPDATE users SET email = 'x' WHERE id IN (SELECT id FROM users LIMIT 10)")
        """,
        "nothing is changed",
        [],
    ),
    (
        """
        import os
        with sa.create_engine(os.environ["DATABASE_URL"]).begin() as connection:
            connection.exec_driver_sql("DROP TABLE users")
        """,
        "it connects to a database by itself",
        [],
    ),
    ("import os; os._exit(0)", "ended the process", []),
    (
        "op.add_column('orders', sa.Column('last', sa.Integer))",
        "offline",
        ["ALTER TABLE orders ADD COLUMN last INTEGER"],
    ),
)
TOUCH = """
    CREATE FUNCTION touch() RETURNS int LANGUAGE sql AS 'INSERT INTO users (email) VALUES (1) RETURNING id';
"""


def test_revisions_that_ask_the_database(database: Database, tmp_path: Path) -> None:
    """They are answered with what is there now, and nothing they do changes anything; of what cannot be told there is
    the reason, and the plan goes on: 0, or 3 where asked."""
    env = ENV + "raise SystemExit(0)\n"  # ends like a program, as some do
    folder = make_project(tmp_path, ["pass", *(body for body, _, _ in ASKING)], env=env)
    database.execute(CONTENT)
    database.execute(TOUCH)
    before = content(database)
    result = plan(folder, database, "--json", "--exit-code")
    assert result.code == 3, result.err
    assert content(database) == before
    [table] = json.loads(result.out)["tables"]
    for each, (_, expected, told) in zip(table["pending"], ASKING, strict=True):
        assert [one["sql"] for one in each["statements"]] == told, each
        if told:
            assert (each["rendered"], each["reason"]) == (expected, None)
        else:
            assert each["rendered"] == "no" and expected in each["reason"], each
    update, _, concurrently = table["pending"][1]["statements"]
    assert update["row_locks"] == {"relation": "public.users", "rows": 1, "estimated": True}
    assert concurrently["autocommit"] and not update["autocommit"]


HOSTILE = "</code></summary>| <script>alert(1)</script> @everyone `x` ``` \x1b[31m \u202e"


@pytest.mark.thorough
def test_formats(database: Database, tmp_path: Path) -> None:
    """The SQL is what the run executes, to the same schema; markdown and text hold nothing that breaks out of them."""
    folder = make_project(
        tmp_path,
        [
            "pass",
            sql("ALTER TABLE orders DROP COLUMN note"),
            """
            op.create_table("made", sa.Column("id", sa.Integer, primary_key=True))
            with op.get_context().autocommit_block():
                op.create_index("by_user", "orders", ["user_id"], postgresql_concurrently=True)
            op.execute("COMMENT ON TABLE made IS 'a\\n````\\n</details><b>'")
            """,
        ],
    )
    file = folder / "migrations" / "versions" / "r3_.py"
    file.write_text(file.read_text().replace('"""step 3"""', f'"""{HOSTILE}"""'))
    database.execute(CONTENT)

    markdown = plan(folder, database, "--format", "markdown").out
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert [line.count("|") for line in rows] == [7, 7, 7]
    assert "**may lose data**" in rows[1]
    outside = re.sub(r"^(`{3,})sql\n.*?^\1`*$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"<(?!/?(details|summary|code|sub)>)|@|`|\x1b|\u202e", outside)
    assert outside.count("<details>") == outside.count("</details>") == 2
    text = plan(folder, database).out
    assert "r2  step 2  (migrations/versions/r2_.py)" in text
    assert "\x1b" not in text and "\u202e" not in text and "blocks reads and writes" in text

    script = plan(folder, database, "--format", "sql").out
    copy = Database(database.server, f"{database.name}_sql")
    Database(database.server, "postgres").execute(f"CREATE DATABASE {copy.name} TEMPLATE {database.name}")
    psql = [str(database.server.bin / "psql"), "--set=ON_ERROR_STOP=1", "--quiet", copy.url]
    subprocess.run(psql, input=script, text=True, check=True, capture_output=True)
    assert run_job("migrate", cwd=folder, url=database.url).code == 0
    assert copy.schema() == database.schema()
    assert copy.query("TABLE alembic_version") == database.query("TABLE alembic_version") == [("r3",)]


@pytest.mark.thorough
def test_the_same_with_asyncpg(database: Database, tmp_path: Path) -> None:
    """What a revision asks is asked on a connection of the job's own, whatever the project's driver is."""
    chosen = [each for each in ASKING if each[2]]
    folder = make_project(tmp_path, ["pass", *(body for body, _, _ in chosen)], env=ASYNC_ENV)
    database.execute(CONTENT)
    database.execute(TOUCH)
    [table] = planned(folder, database)["tables"]
    found = [[one["sql"] for one in each["statements"]] for each in table["pending"]]
    assert found == [told for _, _, told in chosen]


@pytest.mark.thorough
def test_estimates(database: Database, tmp_path: Path) -> None:
    """From the size of a table, which nobody has analyzed yet, too; and from how long it took the last time."""
    folder = make_project(tmp_path, ["pass", sql("SELECT pg_sleep(1.2)"), sql("ALTER TABLE big ALTER id TYPE bigint")])
    database.execute(CONTENT)
    slept = planned(folder, database, "--to", "r2")["worst"]["estimated_seconds"]
    assert slept == 0
    assert run_job("migrate", "--to", "r2", cwd=folder, url=database.url).code == 0
    assert run_job("rollback", "--yes", "--no-backup", cwd=folder, url=database.url).code == 0
    database.execute("CREATE TABLE big AS SELECT n AS id, repeat('x', 1000) AS note FROM generate_series(1, 20000) n")
    first, second = planned(folder, database)["tables"][0]["pending"]
    assert first["worst"]["estimated_seconds"] == round(first["seconds_last_time"], 1) >= 1.2
    [statement] = second["statements"]
    [lock] = statement["locks"]
    assert lock["size_bytes"] > 20_000_000 and lock["blocks"] == ["reads", "writes"]
    assert second["worst"]["estimated_seconds_held"] == statement["estimated_seconds"] > 0.3
