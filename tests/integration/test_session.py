"""What sessions of a run are like: which timeouts hold, what they are called, which role and search_path they have."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest

from alembic_job import dsn
from alembic_job.fingerprint import request_key, waiting_key
from alembic_job.gateways import postgres
from alembic_job.gateways.embedded import Server
from tests.conftest import Database, Result, finish, run_job, start_job
from tests.integration.test_pooler import Bouncer, bouncer
from tests.projectkit import make_project, sql
from tests.waiting import until

__all__ = ["bouncer"]

SYNC = """\
import os
from alembic import context
from sqlalchemy import create_engine, pool

url = os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+{driver}:")
engine = create_engine(url, poolclass=pool.NullPool, connect_args={connect_args})
with engine.connect() as connection:
    {first}
    connection.rollback()
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""

ASYNC = """\
import asyncio
import os
from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine

def work(connection):
    {first}
    connection.rollback()
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    url = os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+{driver}:")
    engine = create_async_engine(url, poolclass=pool.NullPool, connect_args={connect_args})
    async with engine.connect() as connection:
        await connection.run_sync(work)
    await engine.dispose()

asyncio.run(main())
"""

TIMEOUTS = (
    "statement_timeout",
    "transaction_timeout",
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
    "lock_timeout",
)
SNAPSHOT = """
op.execute("CREATE TABLE seen AS SELECT name, setting, source FROM pg_settings")
op.execute("CREATE TABLE sessions AS SELECT * FROM pg_stat_activity WHERE datname = current_database()")
"""
SLOW = sql("SELECT pg_sleep(1)") + "\ntime.sleep(0.5)\n" + SNAPSHOT
ONE = "connection.exec_driver_sql('SELECT 1')"
PSYCOPG = pytest.param("psycopg", marks=pytest.mark.thorough)
drivers = pytest.mark.parametrize("driver", ["psycopg2", pytest.param("asyncpg", marks=pytest.mark.thorough), PSYCOPG])


def env(driver: str, connect_args: str = "{}", first: str = ONE) -> str:
    return (ASYNC if driver == "asyncpg" else SYNC).format(driver=driver, connect_args=connect_args, first=first)


def ident(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Login:
    """A role that may log in and make things in its database."""

    database: Database
    name: str

    @property
    def url(self) -> str:
        server = self.database.server
        return f"postgresql://{quote(self.name)}:secret@127.0.0.1:{server.port}/{self.database.name}"

    def set(self, **parameters: str) -> None:
        for name, value in parameters.items():
            self.database.execute(f"ALTER ROLE {ident(self.name)} SET {name} = '{value}'")


@pytest.fixture
def new_login(database: Database) -> Callable[..., Login]:
    def create(suffix: str = "login", options: str = "", of: Database = database) -> Login:
        name = f"{of.name}_{suffix}"
        of.execute(f"DROP ROLE IF EXISTS {ident(name)}")
        of.execute(f"CREATE ROLE {ident(name)} LOGIN PASSWORD 'secret' {options}")
        of.execute(f"GRANT CREATE ON DATABASE {of.name} TO {ident(name)}")
        of.execute(f"GRANT ALL ON SCHEMA public TO {ident(name)}")
        return Login(of, name)

    return create


@pytest.fixture
def new_role(database: Database) -> Callable[[str], str]:
    """A role that owns things and cannot log in."""

    def create(suffix: str) -> str:
        name = f"{database.name}{suffix}"
        database.execute(f"CREATE ROLE {ident(name)}")
        database.execute(f"GRANT ALL ON SCHEMA public TO {ident(name)}")
        return name

    return create


def seen(database: Database) -> dict[str, str]:
    """The settings of the work connection, as a migration saw them."""
    return dict(database.query("SELECT name, setting FROM seen"))


def names(database: Database) -> set[str]:
    """What the sessions of the database were called meanwhile; the tests' own have no name."""
    return {name for [name] in database.query("SELECT DISTINCT application_name FROM sessions")}


def lifted(result: Result) -> set[tuple[str, str, str]]:
    events = result.events("session.timeouts_lifted")
    assert len(events) <= 1, events
    return {(one["name"], one["value"], one["source"]) for event in events for one in event["timeouts"]}


# Timeouts.


@drivers
def test_timeouts_of_the_role_end_nothing(
    database: Database, new_login: Callable[..., Login], tmp_path: Path, driver: str
) -> None:
    """200 ms each, set for the application: a statement of 1 s and a pause of 0.5 s live on, and so does our lock."""
    login = new_login()
    login.set(**dict.fromkeys(TIMEOUTS, "200ms"), application_name="shop")
    result = run_job("migrate", cwd=make_project(tmp_path, [SLOW], env=env(driver)), url=login.url)
    assert result.code == 0, result.finished
    assert lifted(result) == {(name, "200ms", "user") for name in TIMEOUTS}
    assert not result.events("lock.regained")
    assert {name: seen(database)[name] for name in TIMEOUTS} == dict.fromkeys(TIMEOUTS, "0")
    assert names(database) and all(result.finished["run_id"] in name for name in names(database)), names(database)


@pytest.mark.parametrize("level", ["database", pytest.param("database user", marks=pytest.mark.thorough)])
def test_timeouts_of_the_database(
    database: Database, new_login: Callable[..., Login], tmp_path: Path, level: str
) -> None:
    """Wherever a default comes from, the event says it; zero is no timeout, and not mentioned."""
    login = new_login()
    role = f"ROLE {ident(login.name)} IN " if level == "database user" else ""
    for value in ("statement_timeout = '200ms'", "idle_session_timeout = '300ms'", "lock_timeout = 0"):
        database.execute(f"ALTER {role}DATABASE {database.name} SET {value}")
    result = run_job("migrate", cwd=make_project(tmp_path, [SLOW]), url=login.url)
    assert result.code == 0, result.finished
    assert lifted(result) == {("statement_timeout", "200ms", level), ("idle_session_timeout", "300ms", level)}
    assert not result.events("lock.regained")


@pytest.mark.thorough
def test_the_roles_lock_timeout_without_our_lock_policy(
    database: Database, new_login: Callable[..., Login], tmp_path: Path
) -> None:
    """Who has PostgreSQL wait for locks in its own way keeps the bound for that."""
    login = new_login()
    login.set(lock_timeout="7s", statement_timeout="9s")
    project = make_project(tmp_path, [SNAPSHOT])
    result = run_job("migrate", cwd=project, url=login.url, env={"MIGRATE_LOCK_POLICY": "off"})
    assert result.code == 0 and lifted(result) == {("statement_timeout", "9000ms", "user")}, result.finished
    assert seen(database)["lock_timeout"] == "7000"


@pytest.mark.thorough
def test_timeouts_of_the_server(tmp_path: Path) -> None:
    """In postgresql.conf."""
    with Server(16, {"statement_timeout": "200ms", "idle_session_timeout": "300ms"}) as server:
        database = Database(server, "postgres")
        result = run_job("migrate", cwd=make_project(tmp_path, [SLOW]), url=database.url)
        assert result.code == 0, result.finished
        where = "configuration file"
        assert lifted(result) == {("statement_timeout", "200ms", where), ("idle_session_timeout", "300ms", where)}


@pytest.mark.parametrize(
    ("driver", "connect_args"),
    [
        ("psycopg2", '{"options": "-c statement_timeout=300"}'),
        pytest.param("asyncpg", '{"server_settings": {"statement_timeout": "300"}}', marks=pytest.mark.thorough),
        pytest.param("psycopg", '{"options": "-c statement_timeout=300"}', marks=pytest.mark.thorough),
    ],
)
def test_the_projects_own_timeout_holds(
    database: Database, new_login: Callable[..., Login], tmp_path: Path, driver: str, connect_args: str
) -> None:
    """A project that asks for one when it connects means it: the migration fails by it, and says so."""
    login = new_login()
    login.set(statement_timeout="200ms", idle_session_timeout="300ms")
    project = make_project(tmp_path, [sql("SELECT pg_sleep(5)")], env=env(driver, connect_args))
    result = run_job("migrate", cwd=project, url=login.url)
    assert (result.code, "statement timeout" in result.finished["error"]) == (23, True), result.finished
    assert lifted(result) == {("idle_session_timeout", "300ms", "user")}


def test_a_timeout_that_env_py_sets_holds(database: Database, new_login: Callable[..., Login], tmp_path: Path) -> None:
    """After it has connected, by SET."""
    login = new_login()
    login.set(statement_timeout="200ms")
    first = "connection.exec_driver_sql('SET statement_timeout = 400'); connection.commit()"
    project = make_project(tmp_path, [SNAPSHOT, sql("SELECT pg_sleep(5)")], env=env("psycopg2", first=first))
    result = run_job("migrate", cwd=project, url=login.url)
    assert (result.code, "statement timeout" in result.finished["error"]) == (23, True), result.finished
    assert seen(database)["statement_timeout"] == "400"


@pytest.mark.thorough
def test_a_timeout_for_idle_sessions_spares_ours(database: Database, new_login: Callable[..., Login]) -> None:
    """Our own connections live longer than 300 ms of idleness, and their server notices when we are gone."""
    login = new_login()
    login.set(idle_session_timeout="300ms", application_name="shop")
    own = dsn.parse(login.url + "?application_name=mine")
    with closing(postgres.connect(own, "alembic-job 4711")) as connection:
        for name in ("idle_session_timeout", "client_connection_check_interval", "tcp_keepalives_idle"):
            expected = {
                "idle_session_timeout": "0",
                "client_connection_check_interval": "2s",
                "tcp_keepalives_idle": "10",
            }
            assert postgres.query(connection, f"SHOW {name}") == [(expected[name],)]
        assert postgres.query(connection, "SHOW application_name") == [("alembic-job 4711",)]


# Names and keepalives.

SOCKET = """
import asyncio, os, socket
own = op.get_bind().connection.driver_connection
number = own.fileno() if hasattr(own, "fileno") else own._transport.get_extra_info("socket").fileno()
with socket.socket(fileno=os.dup(number)) as sock:
    alive = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    after = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
op.execute(f"CREATE TABLE client_{alive}_{after} (id int)")
"""


@drivers
def test_a_dead_end_is_noticed(database: Database, tmp_path: Path, driver: str) -> None:
    """By the server in the middle of a statement and between two; by us while we wait for an answer."""
    result = run_job("migrate", cwd=make_project(tmp_path, [SNAPSHOT + SOCKET], env=env(driver)), url=database.url)
    assert result.code == 0, result.finished
    found = seen(database)
    assert (found["client_connection_check_interval"], found["tcp_keepalives_idle"]) == ("2000", "10")
    assert (found["tcp_keepalives_interval"], found["tcp_user_timeout"]) == ("5", "20000")
    assert database.query("SELECT relname::text FROM pg_class WHERE relname ~ '^client_'") == [("client_1_10",)]
    assert lifted(result) == set()


@pytest.mark.parametrize(
    ("parameters", "table"),
    [("keepalives_idle=77", "client_1_77"), pytest.param("keepalives=0", "client_0", marks=pytest.mark.thorough)],
)
def test_the_projects_own_name_and_keepalives(database: Database, tmp_path: Path, parameters: str, table: str) -> None:
    """Those of its URL are left as they are. Our own connections have our name all the same."""
    args = "{" + ", ".join(f"'{name}': {value}" for name, value in [parameters.split("=")]) + "}"
    project = make_project(tmp_path, [SNAPSHOT + SOCKET], env=env("psycopg2", args))
    result = run_job("migrate", cwd=project, url=database.url + "?application_name=shop")
    assert result.code == 0, result.finished
    [[made]] = database.query("SELECT relname::text FROM pg_class WHERE relname ~ '^client_'")
    assert made.startswith(table)
    own = names(database) - {"shop"}
    assert "shop" in names(database) and own and all(result.finished["run_id"] in name for name in own)


@pytest.mark.thorough
def test_a_second_engine_is_named_too(database: Database, tmp_path: Path) -> None:
    """Every connection that a migration opens carries the run's id."""
    body = """
        import os
        with sa.create_engine(os.environ["DATABASE_URL"]).connect() as second:
            here = "SELECT * FROM pg_stat_activity WHERE datname = current_database()"
            second.exec_driver_sql(f"CREATE TABLE sessions AS {here} AND backend_type = 'client backend'")
            second.commit()
    """
    result = run_job("migrate", cwd=make_project(tmp_path, [body]), url=database.url)
    assert result.code == 0, result.finished
    assert database.query("SELECT count(*) >= 3 FROM sessions") == [(True,)]
    assert all(result.finished["run_id"] in name for name in names(database))


# Roles.

INHERITS_NOT = "NOINHERIT"


def owners(database: Database) -> dict[str, str]:
    rows = database.query("SELECT tablename::text, tableowner::text FROM pg_tables WHERE schemaname !~ '^(pg_|infor)'")
    return dict(rows)


def agree(project: Path, url: str, env: dict[str, str]) -> None:
    """Questions and waits see what a run has left."""
    env = env | {"MIGRATE_HISTORY": "off"}  # no short cut
    status = run_job("status", "--json", cwd=project, url=url, env=env)
    assert status.code == 0 and '"up_to_date": true' in status.out, status.out + status.err
    waited = run_job("wait-for-migrations", cwd=project, url=url, env=env | {"MIGRATE_MIGRATIONS_TIMEOUT": "20s"})
    assert waited.code == 0, waited.finished


def is_proven(project: Path, url: str, env: dict[str, str]) -> bool:
    """True if a wait takes the short cut; unlike a run's it is taken on a server that is seconds old, too."""
    result = run_job("wait-for-migrations", cwd=project, url=url, env=env)
    [ready] = result.events("migrations.ready")
    return bool(ready.get("proven"))


@pytest.mark.parametrize(
    ("suffix", "driver"),
    [
        (' we "ird', "psycopg2"),
        pytest.param("_ä%s:x'\\", "asyncpg", marks=pytest.mark.thorough),
        pytest.param("_plain", "psycopg", marks=pytest.mark.thorough),
        pytest.param("_Ä$1 ; --", "psycopg", marks=pytest.mark.thorough),
    ],
)
def test_what_is_made_belongs_to_the_role(
    database: Database,
    new_login: Callable[..., Login],
    new_role: Callable[[str], str],
    tmp_path: Path,
    suffix: str,
    driver: str,
) -> None:
    """SET ROLE outlasts a rollback of env.py's, for a login that inherits nothing: it cannot even read the version
    table, and yet the run reads it back, and questions, waits and the short cut agree."""
    login, role = new_login(options=INHERITS_NOT), new_role(suffix)
    database.execute(
        f"REVOKE ALL ON SCHEMA public FROM {ident(login.name)}; GRANT {ident(role)} TO {ident(login.name)}"
    )
    # A short cut is only for projects whose env.py asks the database nothing itself.
    text = env(driver, first="pass") if driver == "psycopg2" else env(driver)
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)"), sql("CREATE TABLE b (id int)")], env=text)
    chosen = {"MIGRATE_ROLE": role}
    result = run_job("migrate", cwd=project, url=login.url, env=chosen)
    assert result.code == 0 and result.finished["applied"] == ["r1", "r2"], result.finished
    made = owners(database)
    assert {made[table] for table in ("a", "b", "alembic_version")} == {role}
    refused = pytest.raises(psycopg2.errors.InsufficientPrivilege)
    with closing(psycopg2.connect(login.url)) as alone, alone.cursor() as cursor, refused:
        cursor.execute("SELECT * FROM public.alembic_version")
    agree(project, login.url, chosen)
    assert is_proven(project, login.url, chosen) is (driver == "psycopg2")


@pytest.mark.thorough
def test_roles_that_cannot_be_taken(
    database: Database, new_login: Callable[..., Login], new_role: Callable[[str], str], tmp_path: Path
) -> None:
    """Missing, or not ours to take: 21 with the setting and the GRANT, and nothing has changed; a GRANT as it says
    helps."""
    login, role = new_login(), new_role(" we ird")
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)")])
    missing = run_job("migrate", cwd=project, url=login.url, env={"MIGRATE_ROLE": "none"})
    assert missing.code == 21 and "MIGRATE_ROLE" in missing.finished["error"], missing.finished
    chosen = {"MIGRATE_ROLE": role}
    refused = run_job("migrate", cwd=project, url=login.url, env=chosen)
    assert refused.code == 21 and "MIGRATE_ROLE" in refused.finished["error"], refused.finished
    grant = f"GRANT {ident(role)} TO {login.name}"
    assert refused.finished["hint"].endswith(grant)
    asked = run_job("status", cwd=project, url=login.url, env=chosen)
    assert asked.code == 21 and grant in asked.err
    assert owners(database) == {}
    database.execute(f"{grant} WITH SET FALSE")
    half = run_job("migrate", cwd=project, url=login.url, env=chosen)
    assert half.code == 21 and half.finished["hint"].endswith(f"{grant} WITH SET TRUE"), half.finished
    database.execute(f"{grant} WITH SET TRUE")
    assert run_job("migrate", cwd=project, url=login.url, env=chosen).code == 0
    assert owners(database)["a"] == role


def test_a_dead_run_of_a_role_is_ended(
    database: Database, new_login: Callable[..., Login], new_role: Callable[[str], str], tmp_path: Path
) -> None:
    """Its backend belongs to the login, whatever role it has taken: the next run ends it."""
    login, role = new_login(options=INHERITS_NOT), new_role("_owner")
    database.execute(f"GRANT {ident(role)} TO {ident(login.name)}")
    body = "if not op.get_bind().exec_driver_sql(\"SELECT to_regclass('calm')\").scalar():\n    "
    lasting = env("psycopg2", '{"options": "-c client_connection_check_interval=0"}')  # else the server ends it itself
    project = make_project(tmp_path, [body + sql("SELECT pg_sleep(60)")], env=lasting)
    job = start_job("migrate", cwd=project, url=login.url, env={"MIGRATE_ROLE": role})
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    until(lambda: database.query(sleeping))
    job.send_signal(signal.SIGKILL)
    finish(job)
    database.execute(f"CREATE TABLE calm (id int); GRANT SELECT ON calm TO {ident(role)}")
    result = run_job("migrate", cwd=project, url=login.url, env={"MIGRATE_ROLE": role})
    assert result.code == 0 and result.events("orphan.ended"), result.finished


# search_path.


@pytest.mark.parametrize(
    "driver",
    ["psycopg2", *(pytest.param(driver, marks=pytest.mark.thorough) for driver in ("asyncpg", "psycopg"))],
)
def test_a_search_path(database: Database, tmp_path: Path, driver: str) -> None:
    """The version table goes to its first schema, and everybody looks there; another search_path is another question,
    for the short cut too."""
    database.execute('CREATE SCHEMA "my Schema"; CREATE SCHEMA other')
    body = (
        sql("CREATE TABLE a (id int)")
        + "\nassert sa.inspect(op.get_bind()).default_schema_name in ('my Schema', 'other')"
    )
    project = make_project(tmp_path, [body], env=env(driver, first="pass"))
    chosen = {"MIGRATE_SEARCH_PATH": '"my Schema", public'}
    assert run_job("migrate", cwd=project, url=database.url, env=chosen).code == 0
    assert is_proven(project, database.url, chosen)
    agree(project, database.url, chosen)
    current = run_job("current", cwd=project, url=database.url, env=chosen)
    assert current.out.startswith("r1"), current.out + current.err
    other = {"MIGRATE_SEARCH_PATH": "other, public"}
    elsewhere = run_job("status", "--json", cwd=project, url=database.url, env=other)
    assert '"up_to_date": false' in elsewhere.out, elsewhere.out + elsewhere.err
    result = run_job("migrate", cwd=project, url=database.url, env=other)
    assert result.finished["applied"] == ["r1"], result.finished
    assert database.query("SELECT schemaname::text FROM pg_tables WHERE tablename = 'alembic_version' ORDER BY 1") == [
        ("my Schema",),
        ("other",),
    ]
    assert not result.events("session.schema_missing")


def test_schemas_that_are_not_there(database: Database, tmp_path: Path) -> None:
    """A migration may be about to make them: a warning that names them, and what PostgreSQL makes of it."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)")])
    chosen = {"MIGRATE_SEARCH_PATH": '$user, "to ä come", missing, public'}
    result = run_job("migrate", cwd=project, url=database.url, env=chosen)
    assert result.code == 0, result.finished
    [warning] = result.events("session.schema_missing")
    assert warning["schemas"] == ["to ä come", "missing"] and warning["level"] == "warning"


def test_a_malformed_search_path(database: Database, tmp_path: Path) -> None:
    """20, which names the setting, before anything."""
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)")])
    result = run_job("migrate", cwd=project, url=database.url, env={"MIGRATE_SEARCH_PATH": '"app, public'})
    assert result.code == 20 and "MIGRATE_SEARCH_PATH" in result.finished["error"], result.finished
    assert owners(database) == {}


# Poolers.


def states(url: str, count: int = 5) -> set[tuple[Any, ...]]:
    """What clients of a pooler find on all its connections to the server."""
    connections = [psycopg2.connect(url) for _ in range(count)]
    found: set[tuple[Any, ...]] = set()
    for connection in connections:  # all at once: so each has another server
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_user::text, current_setting('search_path'), current_setting('statement_timeout'),"
                " current_setting('tcp_keepalives_idle')"
            )
            found.add(cursor.fetchone())
    for connection in connections:
        connection.close()
    return found


@pytest.mark.thorough
def test_a_pooler_gets_its_sessions_back(
    database: Database, new_role: Callable[[str], str], tmp_path: Path, bouncer: Bouncer
) -> None:
    """In session mode PgBouncer resets them: nobody inherits a role, a search_path or a missing timeout."""
    role = new_role("_owner")
    database.execute(
        f"CREATE SCHEMA app AUTHORIZATION {role}; ALTER DATABASE {database.name} SET statement_timeout = '9s'"
    )
    chosen = {"MIGRATE_ROLE": role, "MIGRATE_SEARCH_PATH": "app"}
    project = make_project(tmp_path, [SNAPSHOT])
    with bouncer("session") as url:
        before = states(url)
        result = run_job("migrate", cwd=project, url=url, env=chosen)
        assert result.code == 0, result.finished
        assert dict(database.query("SELECT name, setting FROM app.seen"))["statement_timeout"] == "0"
        assert states(url) == before


@pytest.mark.thorough
def test_a_pooler_that_loses_sessions_is_asked_a_transaction_at_a_time(
    database: Database, new_role: Callable[[str], str], tmp_path: Path, bouncer: Bouncer
) -> None:
    """A run is refused there, and has set nothing; questions and waits are answered, and leave nothing either."""
    role = new_role("_owner")
    database.execute(f"CREATE SCHEMA app AUTHORIZATION {role}")
    chosen = {"MIGRATE_ROLE": role, "MIGRATE_SEARCH_PATH": "app"}
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)")])
    with bouncer("transaction") as url:
        before = states(url)
        assert run_job("migrate", cwd=project, url=url, env=chosen).code == 20
        assert states(url) == before
        assert run_job("migrate", cwd=project, url=database.url, env=chosen).code == 0
        agree(project, url, chosen)
        assert states(url) == before


@pytest.mark.thorough
def test_a_pooler_that_only_the_project_knows(database: Database, tmp_path: Path, bouncer: Bouncer) -> None:
    """DATABASE_URL leads to the server, env.py to a pooler before it that loses sessions: refused, nothing is set."""
    text = env("psycopg2", first="pass").replace('"DATABASE_URL"', '"POOLER_URL"')
    project = make_project(tmp_path, [sql("CREATE TABLE a (id int)")], env=text)
    with bouncer("transaction") as url:
        before = states(url)
        chosen = {"POOLER_URL": url, "MIGRATE_SEARCH_PATH": "pg_catalog"}
        result = run_job("migrate", cwd=project, url=database.url, env=chosen)
        assert result.code == 20 and "pooler" in result.finished["error"], result.finished
        assert states(url) == before and owners(database) == {}


def test_the_short_cut_asks_for_role_and_search_path() -> None:
    """What one of them proved says nothing about another; how a lock is waited for says nothing about the answer."""

    def keys(**environ: str) -> tuple[str | None, str | None]:
        return request_key(["migrate"], environ), waiting_key(["wait-for-migrations"], environ)

    for changed in ({"MIGRATE_ROLE": "owner"}, {"MIGRATE_SEARCH_PATH": "app"}):
        for key, other in zip(keys(), keys(**changed), strict=True):
            assert key is not None and other is not None and key != other
    assert keys(MIGRATE_LOCK_POLICY="off")[1] == keys()[1]
