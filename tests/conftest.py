"""Real servers for every test: one PostgreSQL per worker and major, one fresh database per test."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest

from alembic_job.gateways.embedded import Server

_numbers = itertools.count(1)


@dataclass
class Database:
    """A fresh database; `url` for the job, `query` and `execute` for the test's own looks at it."""

    server: Server
    name: str

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    def connect(self) -> psycopg2.extensions.connection:
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        return connection

    def query(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, args or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    execute = query

    def schema(self) -> str:
        """The schema as `pg_dump` sees it, without our own schema and the random restrict key."""
        dump = subprocess.run(
            [str(self.server.bin / "pg_dump"), "--schema-only", "--exclude-schema=alembic_job", "--dbname", self.url],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        return "".join(line for line in dump.splitlines(True) if not line.startswith(("\\restrict", "\\unrestrict")))


@dataclass
class Result:
    """What a finished run left: its exit code, stdout, stderr."""

    code: int
    out: str
    err: str
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def finished(self) -> dict[str, Any]:
        """The last line, which must be `job.finished`. Parsing every line proves that each is one JSON object."""
        events = self.events()
        assert events, f"no output; stderr: {self.err}"
        assert events[-1]["event"] == "job.finished", events[-1]
        return events[-1]

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        if not self.lines:
            self.lines = [json.loads(line) for line in self.out.splitlines()]
            assert all(isinstance(line, dict) for line in self.lines)
        return [line for line in self.lines if name is None or line["event"] == name]


def job_environment(database_url: str | None = None, **extra: str) -> dict[str, str]:
    """This process' environment without anything that would configure the job, plus what the test wants."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "MIGRATE_", "DATABASE_", "ALEMBIC_"))}
    if database_url is not None:
        keep["DATABASE_URL"] = database_url
    return keep | extra


def run_job(
    *args: str, cwd: Path, url: str | None = None, timeout: float = 120, env: dict[str, str] | None = None
) -> Result:
    """Runs `alembic-job ARGS` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic_job", *args],
        cwd=cwd,
        env=job_environment(url, **(env or {})),
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def start_job(
    *args: str, cwd: Path, url: str | None = None, env: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Starts `alembic-job ARGS` and returns at once, for tests that act on a running job."""
    return subprocess.Popen(
        [sys.executable, "-m", "alembic_job", *args],
        cwd=cwd,
        env=job_environment(url, **(env or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = 60) -> Result:
    out, err = process.communicate(timeout=timeout)
    return Result(process.returncode, out, err)


def finish_after(process: subprocess.Popen[str], event: str, act: Callable[[], object]) -> Result:
    """Does something once the job has said this event, and waits for its end."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if f'"{event}"' in line:
            break
    act()
    ended = finish(process)
    return Result(ended.code, "".join(said) + ended.out, ended.err)


def roomy_memory() -> Path | None:
    """A file system in memory with room for hundreds of databases, where the machine has one."""
    folder = Path("/dev/shm")
    enough = folder.is_dir() and shutil.disk_usage(folder).free > 4 << 30
    return folder if enough and os.access(folder, os.W_OK | os.X_OK) else None


@pytest.fixture(scope="session")
def pg18() -> Iterator[Server]:
    with Server(18, folder=roomy_memory()) as server:
        yield server


@pytest.fixture(scope="session")
def pg16() -> Iterator[Server]:
    with Server(16, folder=roomy_memory()) as server:
        yield server


@pytest.fixture
def new_database(pg18: Server) -> Iterator[Callable[[], Database]]:
    made: list[Database] = []

    def create(server: Server = pg18) -> Database:
        database = Database(server, f"t{next(_numbers)}")
        Database(server, "postgres").execute(f"CREATE DATABASE {database.name}")
        made.append(database)
        return database

    yield create
    for database in made:  # hundreds of them would fill the disk
        Database(database.server, "postgres").execute(f"DROP DATABASE IF EXISTS {database.name} WITH (FORCE)")


@pytest.fixture
def database(new_database: Callable[[], Database]) -> Database:
    return new_database()
