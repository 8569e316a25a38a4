"""The same project, migrated by bare Alembic and by the job: folders, commands, databases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.projects.generated import write_project

from alembic_job.gateways.embedded import Server
from bench.database import query
from bench.figures import Cost

_BIN = Path(sys.executable).parent
_MEASURE = Path(__file__).with_name("measure.py")
_PLACEHOLDER = "driver://user:pass@localhost/dbname"
_CONFIGURE = "context.configure(connection=connection, target_metadata=target_metadata"
_OURS = ("PG", "MIGRATE_", "DATABASE_", "ALEMBIC_", "PYTHON")


class Contender:
    """A command in its project's folder; `output` is what its last run wrote."""

    def __init__(self, argv: tuple[str, ...], folder: Path, **env: str) -> None:
        self.argv, self.folder = argv, folder
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)} | env
        self.output = ""

    def run(self) -> Cost:
        """Runs it once, its output read from a pipe. Raises `RuntimeError` with that output if it fails."""
        result = self.folder / "cost.json"
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(_MEASURE), str(result), *self.argv],
            cwd=self.folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        self.output = done.stdout
        cost = json.loads(result.read_text())
        if cost.pop("code") != 0:
            raise RuntimeError(f"{' '.join(self.argv)} failed:\n{self.output}")
        return Cost(**cost)


class Field:
    """One database on one server, and the contenders that migrate it; the ini holds its URL for both."""

    def __init__(self, server: Server, folder: Path, revisions: int, driver: str) -> None:
        self._server = server
        self.name = f"bench_{revisions}"
        url = server.url(self.name, driver)
        single, each = folder / "single", folder / "each"
        for project in (single, each):
            write_project(project, revisions)
            ini = project / "alembic.ini"
            ini.write_text(_replaced(ini.read_text(), _PLACEHOLDER, url))
        env_py = each / "migrations" / "env.py"
        env_py.write_text(_replaced(env_py.read_text(), _CONFIGURE, f"{_CONFIGURE}, transaction_per_migration=True"))
        alembic = (str(_BIN / "alembic"), "upgrade", "head")
        job = (str(_BIN / "alembic-job"), "migrate")
        self.bare = Contender(alembic, single)
        self.bare_each = Contender(alembic, each)
        self.job = Contender(job, single, DATABASE_URL=url)
        self.job_anew = Contender(job, single, DATABASE_URL=url, MIGRATE_HISTORY="off")

    def renew(self) -> None:
        """Makes the database anew, empty."""
        query(
            self._server.url(),
            f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)",
            f"CREATE DATABASE {self.name}",
            "CHECKPOINT",  # what came before is not to be paid by what comes next
        )


def _replaced(text: str, old: str, new: str) -> str:
    if old not in text:
        raise LookupError(f"the generated project has no {old!r} any more")
    return text.replace(old, new)
