"""`plan`, and `plan --rehearse`: what is measured on the copy, and that nothing but the copy is ever touched."""

from __future__ import annotations

import json
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from alembic_job.gateways import scratch
from alembic_job.gateways.embedded import Server
from alembic_job.logs.events import json_log
from alembic_job.logs.lines import Redactor
from alembic_job.pipeline.rehearsal_report import as_text
from tests.conftest import Database, Result, finish, run_job, start_job
from tests.projectkit import ENV, add_revision, make_project, sql
from tests.waiting import until

FIRST = sql("SELECT 1")  # was applied before
CONTENT = """
    CREATE TABLE orders (id serial PRIMARY KEY, total int);
    CREATE TABLE users (id serial PRIMARY KEY);
    INSERT INTO orders (total) SELECT generate_series(1, 1000);
    CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('r1');
"""
NAME = "alembic_job_rehearsal_%"
SILENT = json_log(lambda line: None, Redactor(), "error")


@dataclass
class Home:
    """A database at r1 with rows, its project, and the command run on both."""

    database: Database
    folder: Path
    tmp: Path  # for what rehearsals need on this side

    def plan(self, *args: str, url: str | None = None, **env: str) -> Result:
        return run_job("plan", *args, cwd=self.folder, url=url or self.database.url, env=self.env(**env))

    def rehearse(self, *args: str, **env: str) -> dict[str, Any]:
        result = self.plan("--rehearse", "--json", *args, **env)
        assert result.code == 0, result.err
        found: dict[str, Any] = json.loads(result.out)
        return found

    def env(self, **more: str) -> dict[str, str]:
        return {"MIGRATE_PG_BINDIR": str(self.database.server.bin), "TMPDIR": str(self.tmp), **more}

    @property
    def beside(self) -> Database:
        return Database(self.database.server, "postgres")

    def scratches(self) -> list[str]:
        return [name for [name] in self.beside.query("SELECT datname FROM pg_database WHERE datname LIKE %s", NAME)]

    def left(self) -> list[str]:
        """What a rehearsal has left on the server and on this side."""
        return [*self.scratches(), *(path.name for path in self.tmp.iterdir())]

    def content(self) -> tuple[Any, ...]:
        """The schema, and of every table its rows as they are stored, down to the transaction that wrote them."""
        tables = self.database.query("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid >= 16384")
        rows = {name: self.database.query(f"SELECT xmin::text, ctid::text, t::text FROM {name} t") for [name] in tables}
        files = self.database.query("SELECT oid, relfilenode FROM pg_class WHERE oid >= 16384 ORDER BY 1")
        return self.database.schema(), rows, files


@contextmanager
def home_of(database: Database, folder: Path) -> Iterator[Home]:
    made = make_project(folder / "project", [FIRST])
    database.execute(CONTENT)
    with tempfile.TemporaryDirectory(prefix="rehearsed-") as tmp:
        Path(tmp).chmod(0o711)  # embedded servers of root's run as another user, who must get through
        yield Home(database, made, Path(tmp))


@pytest.fixture
def home(database: Database, tmp_path: Path) -> Iterator[Home]:
    with home_of(database, tmp_path) as made:
        yield made


# plan


def test_plan_lists_what_is_pending(home: Home) -> None:
    """Without --rehearse: revisions with message and file; 3 where asked, and 0 where nothing is pending."""
    add_revision(home.folder, 2, sql("SELECT 1"))
    before = home.content()
    result = home.plan("--json", "--exit-code")
    assert result.code == 3
    [table] = json.loads(result.out)["tables"]
    [pending] = table.pop("pending")
    assert table == {
        "version_table": "public.alembic_version",
        "current": ["r1"],
        "unknown": [],
        "transaction": "per-revision",
    }
    known = {"revision": "r2", "message": "step 2", "file": "migrations/versions/r2_.py", "rendered": "offline"}
    assert pending.items() >= known.items() and [each["sql"] for each in pending["statements"]] == ["SELECT 1"]
    assert home.plan("--exit-code", "--to", "r1").code == 0
    assert home.content() == before


# What is measured


KINDS = (  # upgrade and downgrade of r2, r3, …
    (
        'op.execute("ALTER TABLE orders ALTER total TYPE bigint"); op.execute("SELECT pg_sleep(0.3)")',
        'op.execute("ALTER TABLE orders ALTER total TYPE int")',
    ),
    (
        'op.add_column("orders", sa.Column("user_id", sa.Integer)); op.execute("DELETE FROM orders WHERE id <= 10")',
        'op.drop_column("orders", "user_id")',
    ),
    ('op.create_index("by_total", "orders", ["total"])', 'op.drop_index("by_total")'),
    (
        'op.create_foreign_key("fk", "orders", "users", ["user_id"], ["id"])',
        'op.drop_constraint("fk", "orders")',
    ),
    (sql("UPDATE orders SET total = total + 1 WHERE id <= 20"), "pass"),
    (
        """
        op.execute("CREATE FUNCTION slow(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM"
                   " pg_catalog.pg_sleep(0.0005); RETURN n; END'")
        with op.get_context().autocommit_block():
            op.create_index("slowly", "orders", [sa.text("slow(id)")], postgresql_concurrently=True)
        """,
        'op.drop_index("slowly"); op.execute("DROP FUNCTION slow")',
    ),
)


def locks(each: dict[str, Any]) -> dict[str, str]:
    return {lock["relation"].removeprefix("public."): lock["mode"] for lock in each["locks"]}


def test_each_statement_is_measured(home: Home) -> None:
    """Locks, rows, rewrites and sizes are exact, and how long a lock is held; up, down, up gives the same; 0. The
    database is as it was to the last byte, the scratch database gone, no secret told."""
    for number, (upgrade, downgrade) in enumerate(KINDS, 2):
        add_revision(home.folder, number, upgrade, downgrade)
    before = home.content()
    result = home.plan("--rehearse", "--json", "--exit-code")
    assert result.code == 0, result.err
    assert home.content() == before and home.left() == []
    assert home.database.server.password not in result.out + result.err

    found = json.loads(result.out)
    up = [each for each in found["statements"] if each["direction"] == "up"]
    rewrite, slept, column, delete, index, key, update, _function, concurrently = up
    assert slept["sql"] == "SELECT pg_sleep(0.3)" and slept["locks"] == []  # no quick look at the catalogue
    rows_and_locks = [
        (rewrite, None, {"orders": "ACCESS EXCLUSIVE"}),
        (column, None, {"orders": "ACCESS EXCLUSIVE"}),
        (delete, 10, {}),  # its lock was held already
        (index, None, {"orders": "SHARE"}),
        (key, None, {"orders": "SHARE ROW EXCLUSIVE", "users": "SHARE ROW EXCLUSIVE"}),
        (update, 10, {"orders": "ROW EXCLUSIVE"}),
        (concurrently, None, {"orders": "SHARE UPDATE EXCLUSIVE"}),
    ]
    for each, rows, modes in rows_and_locks:
        assert (each["rows"], locks(each), each["failed"]) == (rows, modes, False), each["sql"]
        assert each["rewrites"] == (["public.orders"] if each is rewrite else []), each["sql"]
    # A lock is held until the revision commits; what the measuring takes does not count.
    assert rewrite["seconds"] < 0.25 and 0.3 <= rewrite["locks"][0]["held_seconds"] < 3
    assert rewrite["wal_bytes"] > 1000 * 30
    assert index["size_changes"] == {"public.orders": index["size_change_bytes"]}
    assert 2 * 8192 <= index["size_change_bytes"] <= 20 * 8192
    assert concurrently["autocommit"] and concurrently["seconds"] >= 0.4
    assert concurrently["locks"][0]["held_seconds"] == concurrently["seconds"]
    assert found["summary"]["longest_lock"] == {**rewrite["locks"][0], "statement": rewrite["number"]}
    assert found["summary"]["rewrites"] == ["public.orders"]

    assert (found["up_down_up"], found["findings"], found["pending"]) == ("same", [], 6)
    down = [each["revision"] for each in found["statements"] if each["direction"] == "down"]
    assert list(dict.fromkeys(down)) == ["r7", "r5", "r4", "r3", "r2"]
    text = as_text(found)
    assert "ACCESS EXCLUSIVE public.orders" in text and "rewrites  public.orders\n" in text
    assert text.endswith("up, down, up: the same schema")


# Findings


@pytest.mark.thorough
def test_what_is_wrong_with_the_way_back(home: Home) -> None:
    """A type that a downgrade leaves behind shows in a diff, and in that the upgrade cannot be applied again: 3."""
    upgrade = 'op.create_table("k", sa.Column("kind", sa.Enum("a", name="kind")))'
    add_revision(home.folder, 2, upgrade, 'op.drop_table("k")')
    result = home.plan("--rehearse", "--json", "--exit-code")
    found = json.loads(result.out)
    kinds = [each["kind"] for each in found["findings"]]
    assert (result.code, found["up_down_up"], kinds) == (3, "failed", ["upgrade_again_failed", "downgrade_differs"])
    assert "+CREATE TYPE public.kind AS ENUM (" in found["findings"][1]["diff"]
    assert 'type "kind" already exists' in found["findings"][0]["message"]
    assert home.left() == []


@pytest.mark.thorough
def test_a_failed_upgrade_names_its_statement(home: Home) -> None:
    """The report says how far it came; the exit code is that of the migration: 23."""
    add_revision(home.folder, 2, 'op.add_column("users", sa.Column("x", sa.Integer)); op.execute("SELECT 1 / 0")')
    before = home.content()
    result = home.plan("--rehearse", "--json")
    assert result.code == 23 and "division by zero" in result.err and "SELECT 1 / 0" in result.err
    found = json.loads(result.out)
    assert [(each["sql"], each["failed"]) for each in found["statements"]] == [
        ("ALTER TABLE users ADD COLUMN x INTEGER", False),
        ("SELECT 1 / 0", True),
    ]
    assert home.content() == before and home.left() == []


@pytest.mark.thorough
def test_a_downgrade_that_raises_is_a_finding(home: Home) -> None:
    """Not a crash; and columns that come back in another order are a note, not a difference."""
    home.database.execute("ALTER TABLE orders ADD later int")
    add_revision(home.folder, 2, sql("ALTER TABLE orders DROP total"), sql("ALTER TABLE orders ADD total int"))
    found = home.rehearse("--exit-code")
    assert (found["findings"], found["up_down_up"]) == ([], "same")
    assert found["notes"] == ["the columns of public.orders come back in another order"]
    add_revision(home.folder, 3, sql("CREATE TABLE more (n int)"), "raise NotImplementedError('no way back')")
    result = home.plan("--rehearse", "--json", "--exit-code")
    [finding] = json.loads(result.out)["findings"]
    assert (result.code, finding["kind"], finding["revision"]) == (3, "downgrade_failed", "r3")
    assert "no way back" in finding["message"]


# The one thing that must never happen

HARD = """
from alembic import context
from sqlalchemy import create_engine

with create_engine("{url}").connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
ASYNC = """
import asyncio, os
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()

asyncio.run(main())
"""
CREATOR = """
import os
import psycopg2
from alembic import context
from sqlalchemy import create_engine

engine = create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(os.environ["DATABASE_URL"]))
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
PSYCOPG = ENV.replace('os.environ["DATABASE_URL"]', 'os.environ["DATABASE_URL"].replace("://", "+psycopg://", 1)')


@pytest.mark.parametrize(
    "env",
    [
        pytest.param("hard", id="hard-coded", marks=pytest.mark.thorough),
        pytest.param(ASYNC, id="asyncpg", marks=pytest.mark.thorough),
        pytest.param(CREATOR, id="creator", marks=pytest.mark.thorough),
        pytest.param(PSYCOPG, id="psycopg", marks=pytest.mark.thorough),
    ],
)
def test_however_env_py_connects_it_lands_in_the_copy(home: Home, env: str) -> None:
    """A URL in the code (under another spelling of the host), an async driver, a connection SQLAlchemy only gets."""
    url = home.database.url.replace("127.0.0.1", "localhost")
    (home.folder / "migrations" / "env.py").write_text(HARD.format(url=url) if env == "hard" else env)
    add_revision(home.folder, 2, sql("UPDATE orders SET total = 0"), sql("UPDATE orders SET total = 1"))
    before = home.content()
    found = home.rehearse()
    up, down = found["statements"]
    assert (up["rows"], down["rows"], found["up_down_up"]) == (1000, 1000, "same")
    assert home.content() == before and home.left() == []


@pytest.mark.thorough
def test_without_database_url_it_is_the_database_that_env_py_names(home: Home) -> None:
    """env.py is loaded to know it, and gets no connection."""
    (home.folder / "migrations" / "env.py").write_text(HARD.format(url=home.database.url))
    add_revision(home.folder, 2, sql("UPDATE orders SET total = 0"))
    before = home.content()
    result = run_job("plan", "--rehearse", "--json", cwd=home.folder, env=home.env())
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert (found["database"], found["statements"][0]["rows"]) == (home.database.name, 1000)
    assert home.content() == before and home.left() == []


ELSEWHERE = {
    "env.py": (HARD, None),
    "a second engine": (
        ENV,
        'sa.create_engine("{url}").connect().execute(sa.text("CREATE TABLE escaped (n int)")).connection.commit()',
    ),
    "the driver": (ENV, 'import psycopg2; psycopg2.connect("{url}").cursor().execute("CREATE TABLE escaped (n int)")'),
    "psycopg": (
        ENV,
        'import psycopg; psycopg.connect("{url}", autocommit=True).execute("CREATE TABLE escaped (n int)")',
    ),
    "asyncpg": (ENV, 'import asyncio, asyncpg; asyncio.run(asyncpg.connect("{url}"))'),
    "swallowed": (ENV, 'try:\n    sa.create_engine("{url}").connect()\nexcept Exception:\n    pass'),
    "psql": (ENV, 'import subprocess; subprocess.run(["psql", "{url}", "-c", "CREATE TABLE escaped (n int)"])'),
    "a program": (ENV, 'import subprocess, sys; subprocess.run([sys.executable, "-c", "pass", "{url}"])'),
    "a shell": (ENV, "import os; os.system(\"true; psql '{url}' -c 'CREATE TABLE escaped (n int)'\")"),
}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=() if way == "the driver" else pytest.mark.thorough) for way in ELSEWHERE],
)
def test_another_database_is_never_connected_to(home: Home, new_database: Callable[[], Database], way: str) -> None:
    """By env.py or a migration, also if what refuses it is swallowed: 26, and nothing was done anywhere."""
    other = new_database()
    other.execute("CREATE TABLE mine (n int)")
    env, body = ELSEWHERE[way]
    (home.folder / "migrations" / "env.py").write_text(env.replace("{url}", other.url))
    add_revision(home.folder, 2, (body or "pass").replace("{url}", other.url))
    before, schema = home.content(), other.schema()
    result = home.plan("--rehearse")
    assert (result.code, result.out) == (26, ""), result.err
    assert "nothing was done there" in result.err
    assert other.server.password not in result.err
    assert home.content() == before and other.schema() == schema and home.left() == []


# Where the copy is made


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["embedded", "another"])
def test_on_another_server(pg16: Server, home: Home, how: str) -> None:
    """An embedded one, with the roles of the database's; or one that a URL names."""
    add_revision(home.folder, 2, sql("CREATE TABLE made AS SELECT current_user, session_user"))
    if how == "embedded":
        found = home.rehearse(MIGRATE_REHEARSAL_URL="embedded")
        assert found["rehearsal"]["server"] == "an embedded server of PostgreSQL 18"
    else:
        found = home.rehearse(MIGRATE_REHEARSAL_URL=pg16.url("postgres"))
        assert found["rehearsal"]["server"] == f"127.0.0.1:{pg16.port}"
        assert found["rehearsal"]["server_version"] // 10_000 == 16
        assert Database(pg16, "postgres").query("SELECT 1 FROM pg_database WHERE datname LIKE %s", NAME) == []
    assert found["statements"][0]["rows"] == 1 and home.left() == []


@pytest.mark.thorough
def test_the_projects_own_login_counts_on_an_embedded_server(home: Home) -> None:
    """What the role may not do fails in the rehearsal too; its settings are there."""
    name = home.database.name
    home.beside.execute(f"CREATE ROLE {name}_app LOGIN PASSWORD 'secret-of-app'")
    home.beside.execute(f"ALTER ROLE {name}_app SET work_mem = '5MB'")
    try:
        home.database.execute(f"GRANT ALL ON SCHEMA public TO {name}_app; GRANT ALL ON alembic_version TO {name}_app")
        url = home.database.url.replace(f"postgres:{home.database.server.password}@", f"{name}_app:secret-of-app@")
        (home.folder / "migrations" / "env.py").write_text(HARD.format(url=url))
        add_revision(home.folder, 2, "assert op.get_bind().exec_driver_sql('SHOW work_mem').scalar() == '5MB'")
        assert home.rehearse(MIGRATE_REHEARSAL_URL="embedded")["up_down_up"] == "same"
        add_revision(home.folder, 3, sql("ALTER TABLE orders ADD x int"))
        result = home.plan("--rehearse", MIGRATE_REHEARSAL_URL="embedded")
        assert result.code == 21 and "must be owner of table orders" in result.err
        assert "secret-of-app" not in result.out + result.err
    finally:
        home.database.execute(f"DROP OWNED BY {name}_app; DROP ROLE {name}_app")


@pytest.mark.thorough
def test_a_role_without_createdb_is_told_the_way_out(home: Home) -> None:
    """21 before anything is dumped."""
    role = f"{home.database.name}_poor"
    home.beside.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'few-rights'")
    try:
        url = home.database.url.replace(f"postgres:{home.database.server.password}@", f"{role}:few-rights@")
        result = home.plan("--rehearse", url=url)
        assert result.code == 21 and "MIGRATE_REHEARSAL_URL=embedded" in result.err and role in result.err
    finally:
        home.beside.execute(f"DROP ROLE {role}")


@pytest.mark.thorough
def test_the_newest_backup_is_used_if_it_is_at_the_revision(home: Home) -> None:
    """Its rows are what the statements meet; one of another revision is passed over."""
    env = {"MIGRATE_BACKUP_URL": str(home.folder.parent / "backups")}
    assert run_job("backup", cwd=home.folder, url=home.database.url, env=home.env(**env)).code == 0
    home.database.execute("DELETE FROM orders WHERE id <= 400")
    add_revision(home.folder, 2, sql("UPDATE orders SET total = 0"))
    found = home.rehearse(**env)
    assert found["rehearsal"]["backup"] is not None and found["statements"][0]["rows"] == 1000
    home.database.execute("UPDATE alembic_version SET version_num = 'r0'")
    add_revision(home.folder, 0, "pass")
    add_revision(home.folder, 1, "pass", down="r0")
    found = home.rehearse(**env)
    assert found["rehearsal"]["backup"] is None and found["statements"][0]["rows"] == 600


# Ended from outside

SLEEP = sql("SELECT pg_sleep(60)")
AT_WORK = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(60)%%' AND datname LIKE %s"


def at_work(home: Home) -> bool:
    return bool(home.beside.query(AT_WORK, NAME))


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.thorough)])
def test_a_signal_ends_it_and_leaves_nothing(home: Home, number: int) -> None:
    """In the middle of a statement: 14, and the scratch database is gone when the process is."""
    add_revision(home.folder, 2, SLEEP)
    process = start_job("plan", "--rehearse", cwd=home.folder, url=home.database.url, env=home.env())
    until(lambda: at_work(home))
    process.send_signal(number)
    result = finish(process, timeout=20)
    assert (result.code, result.out, home.left()) == (14, "", []), result.err


@pytest.mark.thorough
def test_what_a_killed_one_left_goes_with_the_next(home: Home) -> None:
    """SIGKILL leaves database and folder; their marks go with the process, and the next rehearsal removes both."""
    add_revision(home.folder, 2, SLEEP)
    process = start_job("plan", "--rehearse", cwd=home.folder, url=home.database.url, env=home.env())
    until(lambda: at_work(home))
    process.kill()
    process.communicate()
    assert len(home.left()) == 2
    until(lambda: not at_work(home), what="the orphan's end")
    add_revision(home.folder, 2, "pass")
    assert home.rehearse()["pending"] == 1
    assert home.left() == []


def test_one_that_is_alive_is_left_alone(home: Home) -> None:
    """Between making a database and filling it nobody is in it; its mark tells that it is somebody's."""
    with closing(home.beside.connect()) as one, closing(home.beside.connect()) as other:
        name = scratch.name_of("0123456789ab")
        with scratch.database(one, name, {}, home.beside.connect, lambda: None, SILENT):
            scratch.clear_abandoned(other, SILENT)
            assert name in home.scratches()
    with closing(home.beside.connect()) as other:
        home.beside.execute(f"CREATE DATABASE {name}")
        scratch.clear_abandoned(other, SILENT)
        assert name not in home.scratches()


@pytest.mark.thorough
def test_nothing_leads_out_of_the_copy(home: Home) -> None:
    """Logins at foreign servers and subscriptions are taken away before a migration could use them."""
    home.database.execute(
        "CREATE FOREIGN DATA WRAPPER dummy; CREATE SERVER elsewhere FOREIGN DATA WRAPPER dummy;"
        "CREATE USER MAPPING FOR PUBLIC SERVER elsewhere; CREATE USER MAPPING FOR postgres SERVER elsewhere"
    )
    home.database.execute("CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)")
    try:
        add_revision(
            home.folder,
            2,
            """
            here = "(SELECT oid FROM pg_database WHERE datname = current_database())"
            for name in ("pg_user_mappings", f"pg_subscription WHERE subdbid = {here}"):
                assert op.get_bind().exec_driver_sql(f"SELECT count(*) FROM {name}").scalar() == 0
            """,
        )
        before = home.content()
        assert home.rehearse()["up_down_up"] == "same"
        assert home.content() == before and home.left() == []
    finally:
        home.database.execute("ALTER SUBSCRIPTION s SET (slot_name = NONE)")
        home.database.execute("DROP SUBSCRIPTION s")


@pytest.mark.thorough
def test_nothing_pending_needs_no_copy(home: Home) -> None:
    """No dump is taken, so that it can be asked in every build."""
    found = home.rehearse("--exit-code")
    assert (found["pending"], found["rehearsal"]) == (0, None)
    assert "nothing is pending" in home.plan("--rehearse").out


@pytest.mark.thorough
def test_a_password_command_counts_on_the_copy(home: Home) -> None:
    """For the job's own connections and env.py's; a password that expires meanwhile is asked for anew."""
    password = home.database.server.password
    file = home.folder / "password.py"
    file.write_text(f"print({password!r})")
    add_revision(home.folder, 2, sql("UPDATE orders SET total = 0"))
    url = home.database.url.replace(f":{password}@", "@")
    env = {"MIGRATE_PASSWORD_COMMAND": f"{sys.executable} {file}"}
    result = home.plan("--rehearse", "--json", url=url, **env)
    assert result.code == 0, result.err
    assert json.loads(result.out)["statements"][0]["rows"] == 1000
    assert password not in result.out + result.err and home.left() == []


@pytest.mark.thorough
def test_the_page_has_what_was_measured(home: Home) -> None:
    add_revision(home.folder, 2, sql("ALTER TABLE orders ALTER total TYPE bigint"), sql("SELECT 1"))
    result = home.plan("--rehearse", "--format", "html")
    assert result.code == 0, result.err
    seen = re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", result.out.partition("</style>")[2]))
    assert "after up and down the schema is not what it was" in seen
    assert re.search(r"r2 step 2 ACCESS EXCLUSIVE on public.orders writes public.orders anew", seen)
    assert "outside of a transaction" not in seen
