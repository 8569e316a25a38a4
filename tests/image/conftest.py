"""A real Docker engine, the image built on it, a PostgreSQL container: what the tests of this folder share."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import Result
from tests.image.builds import build
from tests.image.engine import Engine, running_engine
from tests.image.standins import ensure_bases

PASSWORD = "pa ss'w\"o@r:d/%41?#&$x€"
"""Whatever breaks a URL, a shell or a format string; never to be seen in a log or an image."""

SESSION = f"alembic-job-test-{secrets.token_hex(4)}"
"""The prefix of every container and network of this run."""

_numbers = itertools.count(1)


@dataclass
class Postgres:
    """A PostgreSQL container on a network, where its name is `alias`."""

    engine: Engine
    container: str
    network: str
    alias: str

    def url(self, database: str) -> str:
        """The address of a database for a container on the same network."""
        return f"postgresql://postgres:{quote(PASSWORD, safe='')}@{self.alias}:5432/{database}"

    def psql(self, sql: str, database: str = "postgres") -> str:
        """The rows of a query, columns parted by |."""
        psql = ["psql", "-XAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-c", sql]
        return self.engine.run("exec", self.container, *psql).stdout.strip()

    def await_ready(self) -> None:
        """Waits for a server that listens on TCP: the temporary one of the first start does not."""
        probe = ("exec", self.container, "pg_isready", "-q", "-h", "127.0.0.1", "-U", "postgres")
        await_condition(
            lambda: self.engine.run(*probe, check=False).returncode == 0,
            give_up=lambda: not is_running(self.engine, self.container),
            said=lambda: self.engine.run("logs", self.container, check=False).stderr,
        )


@dataclass
class Database:
    """A fresh database on the container."""

    server: Postgres
    name: str

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    def psql(self, sql: str) -> str:
        return self.server.psql(sql, self.name)

    @property
    def revision(self) -> str:
        return self.psql("SELECT string_agg(version_num, ',') FROM alembic_version")


@dataclass
class Job:
    """`docker run IMAGE …` against one database, as the user would type it."""

    engine: Engine
    image: str
    database: Database

    def options(self, name: str) -> list[str]:
        url = f"DATABASE_URL={self.database.url}"
        return ["--name", name, "--network", self.database.server.network, "--env", url]

    def run(self, *words: str, options: tuple[str, ...] = (), image: str | None = None) -> Result:
        """Runs to the end and keeps the container until the test session ends, for a look at it."""
        name = new_name()
        done = self.engine.run("run", *self.options(name), *options, image or self.image, *words, check=False)
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str, options: tuple[str, ...] = ()) -> str:
        """Starts in the background and returns the container's name."""
        name = new_name()
        self.engine.run("run", "--detach", *self.options(name), *options, self.image, *words)
        return name


def is_running(engine: Engine, container: str) -> bool:
    """Whether that container has not ended yet."""
    return engine.run("inspect", "--format", "{{.State.Running}}", container).stdout.strip() == "true"


def await_condition(
    condition: Callable[[], bool],
    *,
    seconds: float = 60,
    give_up: Callable[[], bool] = lambda: False,
    said: Callable[[], str] = lambda: "",
) -> None:
    """Waits until the condition holds; fails with what `said` returns after that time, or when `give_up` does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {said()}"
        assert not give_up(), said()
        time.sleep(0.1)


def new_name() -> str:
    """A name for a container, image or database that nothing else has."""
    return f"{SESSION}-{next(_numbers)}"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with running_engine() as found:
        ensure_bases(found)
        try:
            yield found
        finally:
            _remove_containers(found)


def _remove_containers(engine: Engine) -> None:
    names = engine.run("ps", "--all", "--quiet", "--filter", f"name={SESSION}").stdout.split()
    if names:
        engine.run("rm", "--force", "--volumes", *names)


@pytest.fixture(scope="session")
def image(engine: Engine) -> str:
    """The job's image, built from the Dockerfile as it is."""
    return build(engine, "alembic-job-test:job")


@pytest.fixture(scope="session")
def network(engine: Engine) -> Iterator[str]:
    name = new_name()
    engine.run("network", "create", name)
    yield name
    _remove_containers(engine)
    engine.run("network", "rm", name)


@pytest.fixture(scope="session")
def postgres(engine: Engine, network: str) -> Postgres:
    return start_postgres(engine, network, "postgres:18", "postgres")


def start_postgres(engine: Engine, network: str, image: str, alias: str) -> Postgres:
    """Starts a server, known as `alias` on that network, and waits until it is ready."""
    name = new_name()
    where = ["--name", name, "--network", network, "--network-alias", alias]
    engine.run("run", "--detach", *where, "--env", f"POSTGRES_PASSWORD={PASSWORD}", image, "-c", "fsync=off")
    server = Postgres(engine, name, network, alias)
    server.await_ready()
    return server


@pytest.fixture
def database(postgres: Postgres) -> Database:
    return new_database(postgres)


def new_database(server: Postgres) -> Database:
    """A fresh database on that server."""
    name = new_name()
    server.psql(f'CREATE DATABASE "{name}"')
    return Database(server, name)


@pytest.fixture
def job(engine: Engine, image: str, database: Database) -> Job:
    return Job(engine, image, database)


@pytest.fixture
def shell(engine: Engine, image: str) -> Callable[..., str]:
    """Runs a shell command in the image, by default as its own user, and returns its output."""

    def run(command: str, *options: str) -> str:
        return engine.run("run", "--rm", "--entrypoint", "/bin/sh", *options, image, "-c", command).stdout

    return run


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that a container's unknown user may enter and read: pytest's own is private."""
    tmp_path.chmod(0o755)
    return tmp_path
