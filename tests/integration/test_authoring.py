"""At the desk: every command of the guides, and what the guides call troubleshooting, on a real server."""

from __future__ import annotations

import functools
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import alembic
import pytest

from alembic_job.gateways.locks import LOCK_CLASS
from alembic_job.identity import key_of
from tests.conftest import Database, Result, finish, run_job, start_job
from tests.integration.test_exit_codes import expect
from tests.integration.test_shortcut import age, is_proven
from tests.projectkit import ENV, add_revision, make_project, sql
from tests.terminal import typed
from tests.waiting import until

TEMPLATE = Path(alembic.__file__).parent / "templates" / "generic" / "script.py.mako"
ENV_WITH_MODELS = "import models\n" + ENV.replace(
    "connection=connection", "connection=connection, target_metadata=models.Base.metadata"
)
USERS = """\
from sqlalchemy import Column, Integer, String
from sqlalchemy.orm import declarative_base

Base = declarative_base()


class User(Base):
    __tablename__ = "users"
    id = Column(Integer, primary_key=True)
    name = Column(String(20), nullable=False)
"""
PRODUCTS = """

class Product(Base):
    __tablename__ = "products"
    id = Column(Integer, primary_key=True)
"""
PHONE = "    phone = Column(String(9))\n"

# Every command line of the guides that begins with one of these, with or without what stands before it.
LINES = """
alembic --version
alembic init alembic
alembic revision --autogenerate -m "Migration message"
alembic upgrade head
alembic upgrade <revision_id>
alembic downgrade -1
alembic downgrade <revision_id>
alembic revision --autogenerate -m "Recreate table_name"
alembic history
alembic current
alembic stamp head
alembic merge <revision1> <revision2> -m "Merge conflicts"
alembic downgrade base
alembic revision --autogenerate -m "Reset migrations"
python3 cli/main.py db stamp head
python3 cli/main.py db migrate --message "Initial migration - create users table"
python3 cli/main.py db migrate
python3 cli/main.py db current
python3 cli/main.py db history
db migrate
db migrate -m "message"
db rollback -s 1
db current
db history
db stamp head
db reset
python3 cli/main.py db migrate --message "Add email verification fields"
python3 cli/main.py db rollback --steps 1
python3 cli/main.py db rollback --steps 3
python3 cli/main.py db stamp abc123def
python3 cli/main.py db migrate --message "Add products table"
python3 cli/main.py db migrate --message "Add description to products"
python3 cli/main.py db migrate  # Apply any new migrations
python3 cli/main.py db migrate --message "Your changes"
python3 cli/main.py db migrate --message "Your migration"
alembic branches
alembic merge -m "merge heads" rev1 rev2
db rollback
db stamp
db seed
db reset --force
python3 cli/main.py db stamp head           # Initialize fresh database
python3 cli/main.py db migrate -m "Initial" # Generate first migration
python3 cli/main.py db migrate              # Apply migration
python3 cli/main.py db seed                 # Add seed data
python3 cli/main.py db current              # Verify status
alembic revision --empty -m "create audit_logs table"
poetry run alembic revision --empty -m "create audit_logs table"
alembic revision --autogenerate -m "add last_login column"
poetry run alembic revision --autogenerate -m "add last_login column"
poetry run alembic upgrade head
poetry run alembic downgrade -1
poetry run alembic downgrade base
poetry run alembic history
poetry run alembic current
alembic heads
poetry run alembic heads
poetry run alembic revision --autogenerate -m "update users table"
alembic revision --empty -m "msg"
alembic revision --autogenerate -m "msg"
alembic revision --autogenerate -m "Add users table"
alembic show <revision_id>
"""


def plain(line: str) -> str:
    """A command line of a guide without what stands around it, and with another message."""
    line = re.sub(r"^(poetry run|python3 cli/main\.py) ", "", line.partition("#")[0].strip())
    return re.sub(r'"[^"]*"', '"a message"', line)


TYPED: set[str] = set()


def types_lines(*lines: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Around a test that types these lines of the guides, and no others."""
    TYPED.update(lines)

    def wrapped(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def checked(**desks: Desk) -> None:
            test(**desks)
            [desk] = desks.values()
            assert desk.typed == set(lines)

        return checked

    return wrapped


class Desk:
    """A project with models, a database, and somebody who works through the guides."""

    def __init__(self, project: Path, database: Database) -> None:
        self.project, self.database = project, database
        self.versions = project / "migrations" / "versions"
        self.typed: set[str] = set()

    def run(self, *args: str, **env: str) -> Result:
        env = {"MIGRATE_BACKUP": "off", **env}
        return run_job(*args, cwd=self.project, url=self.database.url, env=env)

    def done(self, *args: str, **env: str) -> str:
        """Runs what has to end with 0; what it wrote to stdout."""
        result = self.run(*args, **env)
        assert result.code == 0, (args, result.out, result.err)
        return result.out

    def guide(self, line: str, *more: str, **named: str) -> str:
        """Types a guide's line as `alembic-job …`; `named` are words that stand for something."""
        assert line == plain(line)
        self.typed.add(line)
        words = [named.get(re.sub(r"\W", "", word), word) for word in shlex.split(line)[1:]]
        return self.done(*words, *more)

    def generate(self, line: str, *more: str, **named: str) -> tuple[str, Path]:
        """The same for what writes a file: the new revision, and the file as it was printed."""
        before = set(self.versions.glob("*.py"))
        out = self.guide(line, *more, **named)
        [file] = set(self.versions.glob("*.py")) - before
        assert f"file      {file.relative_to(self.project)}\n" in out
        [revision] = re.findall(r"^revision: str = '(\w+)'", file.read_text(), re.MULTILINE)
        return str(revision), file

    def at_terminal(self, line: str, answer: str) -> str:
        """Types a guide's line at a terminal, and answers what is asked there; all that was to be seen."""
        self.typed.add(line)
        said, code = typed(shlex.split(line)[1:], answer, cwd=self.project, url=self.database.url)
        assert code == 0, said
        return said

    def models(self, text: str) -> None:
        (self.project / "models.py").write_text(text)

    def tables(self) -> set[str]:
        rows = self.database.query(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        return {name for [name] in rows}

    def version(self) -> list[str]:
        return [row[0] for row in self.database.query("SELECT version_num FROM alembic_version ORDER BY 1")]


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> Desk:
    project = make_project(tmp_path / "project", [], env=ENV_WITH_MODELS)
    shutil.copy(TEMPLATE, project / "migrations" / "script.py.mako")
    made = Desk(project, database)
    made.models(USERS)
    return made


@pytest.fixture
def fresh(database: Database, tmp_path: Path) -> Desk:
    """An empty folder."""
    project = tmp_path / "project"
    project.mkdir()
    made = Desk(project, database)
    made.versions = project / "alembic" / "versions"
    return made


@pytest.fixture
def started(desk: Desk) -> Desk:
    """The first revision makes the users, and is applied."""
    desk.done("revision", "--autogenerate", "-m", "first", "--rev-id", "one")
    desk.done("migrate")
    return desk


@types_lines(
    "alembic --version",
    "db stamp head",
    'db migrate --message "a message"',
    "db migrate",
    *("db current", "alembic current", "alembic heads", "db history", "alembic history"),
    "alembic show <revision_id>",
)
def test_guides_a_fresh_database(desk: Desk) -> None:
    """Stamped, the first revision generated from the models, applied, and looked at."""
    assert desk.guide("alembic --version").startswith("alembic-job")
    desk.guide("db stamp head")
    assert desk.tables() == {"alembic_version"} and desk.version() == []
    first, file = desk.generate('db migrate --message "a message"')
    assert "op.create_table('users'" in file.read_text() and desk.tables() == {"alembic_version"}
    desk.guide("db migrate")
    assert "users" in desk.tables()
    for line in ("db current", "alembic current", "alembic heads", "db history", "alembic history"):
        assert first in desk.guide(line), line
    assert str(file) in desk.guide("alembic show <revision_id>", revision_id=first)


SEED = """\
from sqlalchemy.dialects.postgresql import insert
from models import User


def seed(session):
    session.execute(insert(User).values(id=1, name="Ada").on_conflict_do_nothing())
"""


@types_lines(
    "alembic init alembic",
    *("db stamp head", 'db migrate -m "a message"', "db migrate", "db seed", "db current"),
    *("db reset", "db reset --force"),
)
@pytest.mark.thorough
def test_guides_a_fresh_project(fresh: Desk) -> None:
    """From an empty folder to tables with rows; then all is dropped and made again, asked at a terminal or forced."""
    fresh.guide("alembic init alembic")
    assert (fresh.project / "alembic.ini").is_file() and (fresh.versions.parent / "env.py").is_file()
    base = (fresh.project / "models.py").read_text()
    columns = "from sqlalchemy import Column, Integer, String\n"
    fresh.models(columns + base + USERS.partition("Base = declarative_base()\n")[2])
    (fresh.project / "seed.py").write_text(SEED)
    fresh.guide("db stamp head")
    first, file = fresh.generate('db migrate -m "a message"')
    assert re.fullmatch(rf"\d{{8}}_{first}_a_message\.py", file.name) and "pk_users" in file.read_text()
    fresh.guide("db migrate")
    fresh.guide("db seed")
    assert first in fresh.guide("db current")
    assert fresh.database.query("SELECT * FROM users") == [(1, "Ada")]
    said = fresh.at_terminal("db reset", fresh.database.name)
    assert "public.users (1 rows)" in said, said
    assert fresh.database.query("SELECT * FROM users") == [] and fresh.version() == [first]
    fresh.guide("db reset --force")
    assert fresh.tables() == {"alembic_version", "users"} and fresh.version() == [first]


@types_lines(
    'alembic revision --autogenerate -m "a message"',
    *("alembic upgrade head", "alembic downgrade -1", "alembic upgrade <revision_id>"),
    *("alembic downgrade <revision_id>", "alembic downgrade base"),
)
@pytest.mark.thorough
def test_guides_there_and_back(started: Desk) -> None:
    """Another model, applied and undone; then everything is thrown away, and begun anew."""
    started.models(USERS + PRODUCTS)
    second, file = started.generate('alembic revision --autogenerate -m "a message"')
    assert "op.create_table('products'" in file.read_text() and "users" not in file.read_text()
    started.guide("alembic upgrade head")
    assert started.version() == [second] and "products" in started.tables()
    started.guide("alembic downgrade -1")
    assert started.version() == ["one"] and "products" not in started.tables()
    started.guide("alembic upgrade <revision_id>", revision_id=second)
    assert started.version() == [second]
    started.guide("alembic downgrade <revision_id>", revision_id="one")
    assert started.version() == ["one"]
    started.guide("alembic downgrade base", "--yes")
    assert started.tables() == {"alembic_version"} and started.version() == []
    for each in started.versions.glob("*.py"):
        each.unlink()
    _, file = started.generate('alembic revision --autogenerate -m "a message"')
    assert "users" in file.read_text() and "products" in file.read_text()
    started.guide("alembic upgrade head")
    assert started.tables() == {"alembic_version", "users", "products"}


@types_lines(
    *("db rollback", "db rollback -s 1", "db rollback --steps 1", "db rollback --steps 3"),
    *("db stamp abc123def", "db stamp", "alembic stamp head", 'alembic revision --empty -m "a message"'),
)
@pytest.mark.thorough
def test_guides_stamps_and_steps_back(started: Desk) -> None:
    """The version table follows a stamp, the tables stay; steps back undo as many as they say."""
    for number in range(2, 8):
        add_revision(started.project, number, sql("SELECT 1"), down="one" if number == 2 else None)
    last, file = started.generate('alembic revision --empty -m "a message"')
    assert re.search(r"def upgrade.*\n.*\n    pass", file.read_text())
    started.guide("db stamp abc123def", abc123def="r5")
    assert started.version() == ["r5"]
    started.guide("db stamp")
    started.guide("alembic stamp head")
    assert started.version() == [last]
    for line, version in (("", "r7"), (" -s 1", "r6"), (" --steps 1", "r5"), (" --steps 3", "r2")):
        started.guide(f"db rollback{line}")
        assert started.version() == [version], line
    assert started.tables() == {"alembic_version", "users"}


@types_lines(
    "alembic branches",
    'alembic merge <revision1> <revision2> -m "a message"',
    'alembic merge -m "a message" rev1 rev2',
    'db migrate -m "a message"',
)
@pytest.mark.thorough
def test_guides_two_heads(started: Desk) -> None:
    """Two branches are shown, joined, and joined once more in the other spelling; the models' change follows."""
    add_revision(started.project, 2, sql("SELECT 1"), down="one")
    add_revision(started.project, 3, sql("SELECT 1"), down="one")
    assert started.guide("alembic branches").startswith("one (branchpoint)")
    one = {"revision1": "r2", "revision2": "r3"}
    first, _ = started.generate('alembic merge <revision1> <revision2> -m "a message"', **one)
    add_revision(started.project, 4, sql("SELECT 1"), down="r3")
    second, file = started.generate('alembic merge -m "a message" rev1 rev2', rev1=first, rev2="r4")
    assert f"('{first}', 'r4')" in file.read_text()
    started.done("migrate")
    assert started.version() == [second]
    started.models(USERS + PHONE)
    _, file = started.generate('db migrate -m "a message"')
    assert "op.add_column('users'" in file.read_text() and f"= '{second}'" in file.read_text()


def test_every_line_of_the_guides_is_typed() -> None:
    """By a test above."""
    assert {plain(line) for line in LINES.strip().splitlines()} == TYPED


@pytest.mark.thorough
def test_migrate_says_which_of_the_two_it_does(started: Desk) -> None:
    """With -m the first line says that nothing is applied; what is for applying does not go with it."""
    started.models(USERS + PRODUCTS)
    result = started.run("migrate", "-m", "add products")
    assert result.code == 0 and "nothing is applied" in result.out.splitlines()[0], result.err
    assert "contains  create table products" in result.out and "products" not in started.tables()
    assert started.run("migrate").events("job.started")[0]["command"] == "migrate"
    assert "products" in started.tables()
    for words in (("-m", " "), ("-m", "x", "--to", "one")):
        wrong = started.run("migrate", *words)
        assert wrong.code == 2, wrong.out
    assert "generate" in started.done("migrate", "--help")


@pytest.mark.thorough
def test_options_mean_what_they_mean_to_alembic(desk: Desk) -> None:
    """Id, label, dependency, head with splice; as JSON, with the file as seen from here."""
    desk.done("revision", "-m", "first", "--rev-id", "one", "--branch-label", "shop")
    desk.done("revision", "-m", "other", "--rev-id", "two", "--head", "base", "--splice", "--depends-on", "one")
    found = json.loads(desk.done("revision", "-m", "It's third", "--rev-id", "three", "--head", "shop@head", "--json"))
    [made] = found["revisions"]
    assert (made["revision"], made["message"], made["follows"]) == ("three", "It's third", ["one"])
    text = (desk.project / made["file"]).read_text()
    assert "down_revision: Union[str, Sequence[str], None] = 'one'" in text
    assert set(desk.done("heads").split()) >= {"two", "three"}
    taken = desk.run("revision", "-m", "first", "--rev-id", "one", "--head", "three")
    assert taken.code == 22 and "there already" in taken.err, taken.err
    resolved = desk.done("heads", "--resolve-dependencies").split()
    assert "two" in resolved and "three" in resolved
    desk.done("revision", "-m", "fourth", "--rev-id", "four", "--head", "three")
    refused = desk.run("merge", "two", "three", "-m", "both")
    assert refused.code == 22 and "--splice" in refused.err, refused.err
    assert "follows   two, three" in desk.done("merge", "two", "three", "-m", "both", "--splice", "--rev-id", "both")
    assert desk.run("current", "--check-heads").code == 3
    desk.done("merge", "heads", "-m", "all")
    desk.done("migrate")
    assert desk.run("current", "--check-heads").code == 0


def test_check_tells_what_differs(started: Desk) -> None:
    """0 where models and database are the same; 3 and each difference where they are not; nothing is changed."""
    same = started.run("check")
    assert same.code == 0 and "nothing differs" in same.out, same.err
    started.models(USERS.replace("String(20), nullable=False", "String(30)") + PRODUCTS)
    before = started.database.schema()
    result = started.run("check", "--json")
    assert result.code == 3, result.err
    assert json.loads(result.out)["differences"] == [
        "create table products",
        "change type of users.name from VARCHAR(20) to VARCHAR(30)",
        "drop NOT NULL of users.name",
    ]
    assert started.run("check").out.splitlines()[0] == "differs   create table products"
    assert started.database.schema() == before and len(list(started.versions.glob("*.py"))) == 1


@pytest.mark.thorough
def test_its_own_schema_is_never_proposed_to_be_dropped(started: Desk) -> None:
    """Also where env.py looks at every schema; tables of other names are the project's business."""
    env = started.project / "migrations" / "env.py"
    env.write_text(env.read_text().replace("connection=connection,", "connection=connection, include_schemas=True,"))
    started.database.execute("CREATE SCHEMA other CREATE TABLE runs (n int)")
    result = started.run("check")
    assert (result.code, result.out) == (3, "differs   drop table other.runs\n"), result.err


DETAILED = """\
from sqlalchemy import CheckConstraint, Column, Enum, Integer, String
from sqlalchemy.orm import declarative_base

Base = declarative_base()


class Order(Base):
    __tablename__ = "orders"
    id = Column(Integer, primary_key=True)
    state = Column(Enum("new", "paid", "sent", name="state"))
    kind = Column(Enum("b", "a", name="kind"))
    colour = Column(Enum("red", name="colour"))
    word = Column(String(9))
    __table_args__ = (
        CheckConstraint("word IN ('x:y', '50%') -- these", name="known"),
        CheckConstraint("word LIKE 'a%' AND id > 2 + 3", name="begins"),
        CheckConstraint("state <> 'sent' OR id > 1", name="lacks_a_value"),
        CheckConstraint("id > 1", name="theirs"),
    )
"""
DETAILS = """
CREATE TYPE state AS ENUM ('new', 'paid', 'lost'); CREATE TYPE kind AS ENUM ('a', 'b');
CREATE TYPE colour AS ENUM ('blue');
CREATE TABLE orders (id serial PRIMARY KEY, state state, kind kind, colour colour, word varchar(9),
    CONSTRAINT known CHECK (word IN ('x:y', '50%')), CONSTRAINT begins CHECK (word LIKE 'b%' AND id > 5) NOT VALID,
    CONSTRAINT lacks_a_value CHECK (state <> 'lost' OR id > 1), CONSTRAINT theirs CHECK (id > 2));
CREATE TABLE log (id int); ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
"""
INCLUDED = """connection=connection, include_object=lambda what, name, kind, *_: name not in ("colour", "theirs"),"""


@pytest.mark.thorough
def test_what_alembic_passes_over_is_compared(desk: Desk) -> None:
    """Values of enums, their order, and what check constraints say: by a role that may only read, in words of whichever
    side; nothing of what env.py leaves out, of foreign tables, or where nobody but the server could tell."""
    desk.models(DETAILED)
    env = desk.project / "migrations" / "env.py"
    env.write_text(env.read_text().replace("connection=connection,", INCLUDED))
    desk.done("stamp", "head")
    desk.database.execute(DETAILS)
    role = f"reader_{desk.database.name}"
    desk.database.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'pw'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    )
    url = desk.database.url.replace(f"postgres:{desk.database.server.password}@", f"{role}:pw@")
    wanted = [
        "add value 'sent' to type state",
        "remove value 'lost' of type state",
        "change order of type kind from 'a', 'b' to 'b', 'a'",
        "change check constraint begins on orders from CHECK (word::text ~~ 'b%'::text AND id > 5)"
        " to CHECK (word LIKE 'a%' AND id > 2 + 3)",
    ]
    try:
        for scheme in ("postgresql", "postgresql+psycopg"):
            result = run_job(
                "check",
                "--json",
                cwd=desk.project,
                url=url.replace("postgresql", scheme),
                env={"MIGRATE_FOREIGN": "log"},
            )
            assert (result.code, json.loads(result.out)["differences"]) == (3, wanted), result.err
        result = desk.run("check")
        assert result.out.splitlines()[0] == "differs   drop table log", result.out
        result = desk.run("revision", "--autogenerate", "-m", "x", MIGRATE_FOREIGN="log")
        assert result.code == 26 and wanted[0] in result.out and "--empty -m x" in result.err, result.out + result.err
        assert run_job("check", cwd=desk.project, url=url, env={"MIGRATE_FOREIGN": "log, orders"}).code == 0
    finally:
        desk.database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


# Troubleshooting.


@pytest.mark.thorough
def test_not_up_to_date(started: Desk) -> None:
    """What is pending is named, and how to apply it; no file is written."""
    add_revision(started.project, 2, sql("SELECT 1"), down="one")
    before = set(started.versions.glob("*.py"))
    for command in (("revision", "--autogenerate", "-m", "x"), ("migrate", "-m", "x"), ("check",)):
        result = started.run(*command)
        assert result.code == 22, result.out
        for text in ("not up to date", "r2 (step 2)", "`alembic-job migrate`", "public.alembic_version"):
            assert text in result.err, result.err
    assert set(started.versions.glob("*.py")) == before


@pytest.mark.thorough
def test_cannot_locate_revision(started: Desk) -> None:
    """28: which revision, and what the history knows of it; `stamp --purge` is the way out, plain `stamp` is none."""
    [file] = started.versions.glob("*.py")
    file.rename(started.project / "lost.py")
    for command in (("revision", "--autogenerate", "-m", "x"), ("check",)):
        result = started.run(*command)
        assert result.code == 28, result.out
        for text in ("'one'", "'first'", "applied", "git log", "its text is kept", "stamp --purge head"):
            assert text in result.err, result.err
    expect(started.run("stamp", "head"), 28, "'one'", "stamp --purge head")
    assert started.version() == ["one"]
    started.done("stamp", "--purge", "head")
    assert started.version() == []
    (started.project / "lost.py").rename(file)
    expect(started.run("stamp", "nonsense"), 22, "nonsense", "alembic-job history")
    started.database.execute("INSERT INTO alembic_version VALUES ('stranger')")
    assert "the history does not know it" in started.run("check").err


@pytest.mark.thorough
def test_nothing_to_write(started: Desk) -> None:
    """A model that env.py does not import: 26, no file, and what was imported and compared; --empty writes it."""
    (started.project / "other.py").write_text("from models import *\n" + PRODUCTS)
    for command in (("revision", "--autogenerate", "-m", "add 'em"), ("migrate", "-m", "add 'em")):
        result = started.run(*command)
        assert result.code == 26 and len(list(started.versions.glob("*.py"))) == 1, result.out
        told = ["nothing differs", "imported  models (users)", "models    users", "database  users"]
        assert all(text in result.out for text in told), result.out
        assert "imported by env.py" in result.err and "revision --empty -m" in result.err, result.err
    started.done("revision", "--autogenerate", "--empty", "-m", "by hand")
    assert len(list(started.versions.glob("*.py"))) == 2


@pytest.mark.thorough
def test_two_heads(started: Desk) -> None:
    """The command that joins them is told with both ids; it works."""
    for name in ("a1", "b2"):
        started.done("revision", "-m", name, "--rev-id", name, "--head", "one", "--splice")
    for command in (("revision", "-m", "x"), ("migrate", "-m", "x")):
        result = started.run(*command)
        assert result.code == 22 and "Multiple head revisions: a1, b2" in result.err, result.err
    expect(started.run("stamp", "head"), 22, "alembic-job merge", "a1 b2")
    [joined] = re.findall(r"`alembic-job ([^`]*a1 b2)`", result.err)
    assert "follows   a1, b2" in started.done(*shlex.split(joined))
    started.done("migrate")
    nothing = started.run("merge", "heads")
    assert nothing.code == 22 and "nothing to merge" in nothing.err, nothing.err


@pytest.mark.thorough
def test_half_written_files_never_stay(started: Desk) -> None:
    """A template that fails, a hook that fails, SIGTERM while a hook runs: there is no file."""
    before = set(started.versions.glob("*.py"))
    ini, template = started.project / "alembic.ini", started.project / "migrations" / "script.py.mako"
    text = template.read_text()
    template.write_text(text + "\n${nonsense()}\n")
    assert started.run("revision", "-m", "x").code == 22
    template.write_text(text + "\nthis is no Python\n")
    broken = started.run("revision", "-m", "x")
    assert broken.code == 22 and "_x.py:" in broken.err, broken.err
    template.write_text(text)
    hook = "import pathlib, sys, time; pathlib.Path('begun').touch(); time.sleep(60)"
    ini.write_text(
        f"{ini.read_text()}\n[post_write_hooks]\nhooks = slow\nslow.type = exec\nslow.executable = {sys.executable}\n"
        f'slow.options = -c "{hook}" REVISION_SCRIPT_FILENAME\n'
    )
    job = start_job("revision", "-m", "x", cwd=started.project, url=started.database.url)
    until((started.project / "begun").exists, 20)
    assert set(started.versions.glob("*.py")) != before
    job.send_signal(signal.SIGTERM)
    assert finish(job).code == 128 + signal.SIGTERM
    assert set(started.versions.glob("*.py")) == before


@pytest.mark.thorough
def test_errors_are_those_of_the_other_commands(started: Desk) -> None:
    """Nobody listens: 10; a wrong password or database: 21; no metadata: 22 with the way out; no secret is told."""
    for url, code in (("postgres://u:hidden-word@127.0.0.1:9/x", 10), (started.database.url + "_not_there", 21)):
        for command in (("check",), ("revision", "--autogenerate", "-m", "x")):
            result = run_job(*command, cwd=started.project, url=url)
            assert result.code == code and "hidden-word" not in result.err + result.out, result.err
    plain_scheme = started.database.url.replace("postgresql://", "postgres://")
    assert run_job("check", cwd=started.project, url=plain_scheme).code == 0
    (started.project / "migrations" / "env.py").write_text(ENV)
    result = started.run("check")
    assert result.code == 22 and "target_metadata=Base.metadata" in result.err, result.err


# Stamping.


@pytest.mark.thorough
def test_a_stamp_is_recorded_and_noticed(database: Database, tmp_path: Path) -> None:
    """From where to where is in the history; the next run takes no short cut, and does what is pending then."""
    project = make_project(tmp_path, [sql("CREATE TABLE IF NOT EXISTS a (id int)"), sql("SELECT 1")])

    def run(*args: str) -> Result:
        result = run_job(*args, cwd=project, url=database.url)
        assert result.code == 0, result.out + result.err
        return result

    run("migrate")
    until(lambda: age(database) > 10.5, 15)
    assert is_proven(run("migrate"))
    stamped = run("stamp", "r1")
    assert (stamped.finished["from"], stamped.finished["to"], stamped.finished["applied"]) == ("r2", "r1", [])
    [event] = stamped.events("revision.stamped")
    assert (event["table"], event["before"], event["after"]) == ("public.alembic_version", ["r2"], ["r1"])
    told = run("history", "--applied").out
    assert re.search(r"stamped +r2 -> r1", told), told
    rows = json.loads(run("history", "--applied", "--json").out)["public.alembic_version"]
    assert [row["command"] for row in rows] == ["migrate", "migrate", "stamp"] and rows[2]["to"] == ["r1"]
    assert run("migrate").finished["applied"] == ["r2"]
    assert is_proven(run("migrate"))
    assert run("stamp", "head").finished["to"] == "r2"
    [[count]] = database.query("SELECT count(*) FROM alembic_job.runs WHERE command = 'stamp'")
    assert count == 1, "a stamp that changed nothing is no run to remember"


@pytest.mark.thorough
def test_a_stamp_waits_for_the_run_lock(started: Desk) -> None:
    """While another runner works: 11, or 14 when it is told to end; the table stays as it was."""
    holder = started.database.connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, key_of("public.alembic_version")))
    expect(started.run("stamp", "base", MIGRATE_RUN_LOCK_TIMEOUT="300ms"), 11)
    job = start_job("stamp", "base", cwd=started.project, url=started.database.url)
    assert job.stdout is not None
    while '"lock.waiting"' not in job.stdout.readline():
        pass
    job.send_signal(signal.SIGTERM)
    expect(finish(job), 14, "SIGTERM")
    assert started.version() == ["one"]
    holder.close()
    started.done("stamp", "base")
    assert started.version() == []


@pytest.mark.thorough
def test_a_stamp_as_sql(started: Desk) -> None:
    """Only the SQL, on stdout; nothing is changed."""
    env = started.project / "migrations" / "env.py"
    env.write_text(OFFLINE)
    out = started.done("stamp", "--sql", "one:base")
    assert "DELETE FROM alembic_version WHERE alembic_version.version_num = 'one'" in out, out
    assert started.version() == ["one"]
    assert started.run("stamp", "--sql", "--purge").code == 2


@pytest.mark.thorough
def test_upgrade_and_downgrade_as_sql(started: Desk) -> None:
    """Alembic's own text, byte for byte; nobody is asked, so a downgrade has to say from where."""
    (started.project / "migrations" / "env.py").write_text(OFFLINE)
    started.done("revision", "-m", "second", "--rev-id", "two")
    for words in (("upgrade", "head"), ("upgrade", "one:two"), ("downgrade", "two:base")):
        bare = subprocess.run(
            [sys.executable, "-m", "alembic", *words, "--sql"], cwd=started.project, capture_output=True, text=True
        )
        assert bare.returncode == 0, bare.stderr
        mine = run_job(*words, "--sql", cwd=started.project)
        assert (mine.code, mine.out.rstrip("\n")) == (0, bare.stdout.rstrip("\n")), mine.err
    assert "CREATE TABLE users" in run_job("upgrade", "head", "--sql", cwd=started.project).out
    assert started.version() == ["one"]
    refused = started.run("downgrade", "base", "--sql")
    assert refused.code == 2 and "FROM:base" in refused.err, refused.err


OFFLINE = """\
from alembic import context

context.configure(dialect_name="postgresql", literal_binds=True)
with context.begin_transaction():
    context.run_migrations()
"""


@pytest.mark.thorough
def test_edit_opens_the_file(started: Desk) -> None:
    """By id, head or current; what is no Python afterwards is said with its line."""
    [file] = started.versions.glob("*.py")
    editor = f"{sys.executable} -c \"import sys; open(sys.argv[1], 'a').write(sys.argv[0] and '# edited' + chr(10))\""
    for word in ("one", "head", "current"):
        assert started.done("edit", word, EDITOR=editor).strip() == str(file)
    assert file.read_text().count("# edited\n") == 3
    broken = started.run("edit", "one", EDITOR=editor.replace("# edited", "def"))
    assert broken.code == 22 and f"{file}:" in broken.err, broken.err
    assert started.run("edit", "one", EDITOR="").code == 2
