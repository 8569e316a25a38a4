"""A fixture tree laid out on disk, with databases of its own, run by bare Alembic or by the job."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from psycopg2.extensions import make_dsn, parse_dsn

from tests.conftest import Database, Result, job_environment
from tests.projects.bare import run_alembic

TREES = Path(__file__).with_name("trees")
DEV = Path(sys.executable).parent  # the programs beside the interpreter that runs the tests
# What an ini holds that is not meant for production: by `alembic init`, by mlflow, by optuna, by accident.
_NOT_MEANT = re.compile(
    r"(?P<key>^sqlalchemy\.url *= *)"
    r"(?:driver://user:pass@localhost/dbname|\"\"|sqlite:///alembic\.db|(?P<driver>postgresql\S*)://dev:dev@\S*)$",
    re.MULTILINE,
)

STOCK = ("3f1c9a2b7d10", "5b8e4d6a1c22", "9d2f7c3e8b34")  # the revisions of trees/_versions

_ROWS = """
    SELECT table_schema, table_name FROM information_schema.tables
    WHERE table_schema NOT IN ('pg_catalog', 'information_schema', 'alembic_job') AND table_type = 'BASE TABLE'
    ORDER BY 1, 2
"""

# Whatever the tree loses: what is undone is compared with what bare Alembic undoes.
_AGREED = ("--no-backup", "--allow-data-loss", "--allow-empty-downgrade")


@dataclass(frozen=True)
class Tree:
    """One situation: the folders that make the project, how it is started, what it must apply.

    `on` names the folders of `trees/` which are laid down first, `folder` the one that comes on top. Everywhere (files,
    environment, options, `setup`) `@URL@` and the other tokens of `tokens()` stand for the fresh database.
    """

    name: str
    folder: str = ""
    on: tuple[str, ...] = ("_env", "_versions")
    applied: tuple[str, ...] = STOCK
    url: str | None = "@URL@"  # DATABASE_URL; None: not set
    bare_url: str = ""  # the same as bare Alembic needs it, where that differs
    env: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()  # Alembic's own, before the command
    tag: str = ""
    target: str = "head"
    cwd: str = "."
    says: tuple[str, ...] = ()  # what must be found in the job's log
    setup: str = ""  # SQL, before the first run
    databases: int = 1
    repeatable: bool = True  # False: bare Alembic refuses the same command a second time
    down: str | None = "-1"  # None: the rollback is not looked at
    bare_up: tuple[str, ...] = ()  # where it is not `alembic upgrade`
    bare_down: tuple[str, ...] = ()
    empty_folders: tuple[str, ...] = ()  # what git cannot hold
    thorough: bool = False  # a variation: left out where time is short
    prepare: Callable[[Path], None] | None = None

    def __str__(self) -> str:
        return self.name


class Project:
    """A copy of a tree and its fresh databases. `bin` is the folder of the programs (alembic, alembic-job) to use."""

    def __init__(self, tree: Tree, folder: Path, new_database: Callable[[], Database], bin: Path = DEV) -> None:
        self.tree = tree
        self.folder = folder
        self.bin = bin
        self.databases = [new_database() for _ in range(tree.databases)]
        self.tokens = tokens(self.databases) | {"FOLDER": str(folder)}
        lay(tree, folder, self.tokens)
        if tree.setup:
            for database in self.databases:
                database.execute(self.fill(tree.setup))

    def job(self, command: str, *args: str, timeout: float = 120) -> Result:
        """`alembic-job OPTIONS COMMAND ARGS` in the project's working directory."""
        tag = ("--tag", self.tree.tag) if self.tree.tag else ()
        return self.run("alembic-job", *self._options(), command, *args, *tag, url=self.tree.url, timeout=timeout)

    def migrate(self) -> Result:
        return self.job("migrate", *(() if self.tree.target == "head" else ("--to", self.tree.target)))

    def rollback(self, down: str) -> Result:
        steps = ("--steps", down[1:]) if down.startswith("-") else ("--to", down)
        return self.job("rollback", *steps, "--yes", *_AGREED)

    def bare_upgrade(self) -> Result:
        self._write_url_into_ini()
        tag = ("--tag", self.tree.tag) if self.tree.tag else ()
        return self._bare(*(self.tree.bare_up or ("alembic", *self._options(), "upgrade", self.tree.target)), *tag)

    def bare(self, command: str) -> Result:
        """One of bare Alembic's questions, or Flask-Migrate's."""
        return self._bare(*((*self.tree.bare_up[:-1], command) if self.tree.bare_up else ("alembic", command)))

    def bare_downgrade(self, down: str) -> Result:
        tag = ("--tag", self.tree.tag) if self.tree.tag else ()
        return self._bare(*(self.tree.bare_down or ("alembic", *self._options(), "downgrade", down)), *tag)

    def schema(self) -> str:
        return "\n".join(database.schema() for database in self.databases)

    def contents(self) -> list[dict[str, list[str]]]:
        """Each table's rows as text, the version tables' too."""
        return [contents(database) for database in self.databases]

    def fill(self, text: str) -> str:
        return fill(text, self.tokens)

    def _bare(self, program: str, *args: str) -> Result:
        url = self.tree.bare_url or self.tree.url
        if program == "alembic" and self.bin == DEV:
            done = Result(*run_alembic(args, self.folder / self.tree.cwd, self._environment(url)))
        else:
            done = self.run(program, *args, url=url)
        assert done.code == 0, f"bare {program} {' '.join(args)}: exit {done.code}\n{done.out}\n{done.err}"
        return done

    def run(self, program: str, *args: str, url: str | None = None, timeout: float = 120) -> Result:
        """One of the programs in the project's working directory; `url` is DATABASE_URL."""
        done = subprocess.run(
            [str(self.bin / program), *args],
            cwd=self.folder / self.tree.cwd,
            env=self._environment(url),
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def _environment(self, url: str | None) -> dict[str, str]:
        env = {name: self.fill(value) for name, value in self.tree.env.items()}
        if self.bin != DEV:
            env["PYTHONPATH"] = ""
        return job_environment(None if url is None else self.fill(url), **env)

    def _options(self) -> Iterable[str]:
        return (self.fill(option) for option in self.tree.options)

    def _write_url_into_ini(self) -> None:
        """What a person without the job does first: the real URL put into the ini, its driver kept, `%` doubled."""
        url = self.fill(self.tree.bare_url or self.tree.url or "").replace("%", "%%")
        scheme, _, rest = url.partition("://")
        for ini in self.folder.rglob("*.ini"):
            text = ini.read_text()
            ini.write_text(_NOT_MEANT.sub(lambda line: f"{line['key']}{line['driver'] or scheme}://{rest}", text))


def lay(tree: Tree, folder: Path, values: Mapping[str, str]) -> None:
    """Copies the tree's layers into the folder and fills in the tokens."""
    top = tree.folder or tree.name
    for layer in (*tree.on, *([top] if (TREES / top).is_dir() else [])):
        shutil.copytree(TREES / layer, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in tree.empty_folders:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for file in folder.rglob("*"):
        if file.is_file():
            text = file.read_text()
            if "@" in text:
                file.write_text(fill(text, values))
    if tree.prepare:
        tree.prepare(folder)


def fill(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def tokens(databases: list[Database]) -> dict[str, str]:
    """What may stand between `@` signs: the first database's URL by driver, its parts, further databases' URLs."""
    first = databases[0]
    server = first.server
    found = {
        "URL": first.url,
        "POSTGRES": first.url.replace("postgresql:", "postgres:"),
        "HOST": "127.0.0.1",
        "PORT": str(server.port),
        "PASSWORD": server.password,
        "DATABASE": first.name,
        "SOCKETS": str(server.root),
        "DSN": make_dsn(**parse_dsn(first.url)),
    }
    found |= {driver.upper(): server.url(first.name, driver) for driver in ("asyncpg", "psycopg", "psycopg2")}
    return found | {f"URL{n}": database.url for n, database in enumerate(databases[1:], start=2)}


def contents(database: Database) -> dict[str, list[str]]:
    """Each table's rows as text, sorted: what the migrations wrote, and the version tables."""
    found = {}
    for schema, table in database.query(_ROWS):
        name = '"{}"."{}"'.format(schema, table.replace('"', '""'))
        found[f"{schema}.{table}"] = [row for (row,) in database.query(f"SELECT t::text FROM {name} t ORDER BY 1")]
    return found
