"""A PgBouncer in front of a database."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from alembic_job.gateways.embedded import _free_port
from tests.conftest import Database
from tests.waiting import until


class Bouncer:
    """PgBouncer with a pool mode: `url` leads through it; it can be killed and started again at the same port."""

    def __init__(self, program: str, folder: Path, database: Database, mode: str) -> None:
        self._folder, self._program = folder, program
        port, password = _free_port(), database.server.password
        (folder / "users").write_text(f'"postgres" "{password}"\n')
        (folder / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={database.server.port}\n[pgbouncer]\npool_mode = {mode}\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = scram-sha-256\nauth_file = {folder}/users\n"
            "unix_socket_dir =\ndefault_pool_size = 10\n"
        )
        self.url = f"postgresql://postgres:{password}@127.0.0.1:{port}/{database.name}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        command = [self._program, "-q", *user, str(self._folder / "ini")]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until(self._answers, what="PgBouncer")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.url).close()
        except psycopg2.OperationalError:
            return False
        return True


def find() -> str | None:
    """The program, if it is installed."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@contextmanager
def bouncer(program: str, folder: Path, database: Database, mode: str) -> Iterator[Bouncer]:
    """A PgBouncer that runs; `folder` must be readable for every user."""
    pooler = Bouncer(program, folder, database, mode)
    try:
        pooler.start()
        yield pooler
    finally:
        pooler.kill()
