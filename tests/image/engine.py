"""The Docker engine of these tests: the one that answers, else one of our own that ends with them."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alembic-job-images"
"""Where an engine of our own keeps its images, so that a second run is fast."""

_START_SECONDS = 60


class EngineError(Exception):
    """No Docker engine answers and none could be started, or a docker command failed."""


@dataclass(frozen=True)
class Engine:
    """A Docker engine and the client program that can build with BuildKit on it."""

    docker: str
    host: str = ""

    @cached_property
    def environment(self) -> dict[str, str]:
        """What docker and docker-compose need in their environment to reach this engine and build on it."""
        address = {"DOCKER_HOST": self.host} if self.host else {}
        return {**os.environ, **address, "DOCKER_BUILDKIT": "1", "COMPOSE_DOCKER_CLI_BUILD": "1"}

    def run(self, *args: str, timeout: float = 600, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`docker ARGS…`; raises `EngineError` with its output if it fails and `check` is set."""
        command = [self.docker, *args]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=timeout)
        if check and done.returncode != 0:
            raise EngineError(f"docker {' '.join(args)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def answers(self) -> bool:
        """Whether an engine, not just the client, is there."""
        return self.run("version", check=False).returncode == 0

    def has_image(self, name: str) -> bool:
        """Whether the engine holds that image."""
        return self.run("image", "inspect", name, check=False).returncode == 0

    def image_label(self, name: str, label: str) -> str:
        """A label of an image, "" where it has none or there is no such image."""
        form = f'{{{{index .Config.Labels "{label}"}}}}'
        return self.run("image", "inspect", "--format", form, name, check=False).stdout.strip()


@contextmanager
def running_engine() -> Iterator[Engine]:
    """The engine that answers (DOCKER_HOST or the default socket), else our own `dockerd`, ended afterwards."""
    client = _building_client()
    engine = Engine(client)
    if engine.answers():
        yield engine
        return
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        raise EngineError("no Docker engine answers; start one, or install dockerd and run these tests as root")
    with _own_engine(client) as own:
        yield own


@contextmanager
def _own_engine(client: str) -> Iterator[Engine]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock, tempfile.TemporaryDirectory(prefix="dockerd-") as run:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one dockerd a data root: a second test session waits here
        engine = Engine(client, f"unix://{run}/docker.sock")
        with (CACHE / "dockerd.log").open("w") as log:
            daemon = subprocess.Popen(_daemon_command(Path(run), engine.host), stdout=log, stderr=log)
        try:
            _await_start(engine, daemon)
            yield engine
            engine.run("image", "prune", "--force")
        finally:
            daemon.terminate()
            daemon.wait(_START_SECONDS)


def _daemon_command(run: Path, host: str) -> list[str]:
    folders = ["--data-root", str(CACHE / "docker"), "--exec-root", str(run / "exec"), "--pidfile", str(run / "pid")]
    return ["dockerd", "--host", host, *folders]


def _await_start(engine: Engine, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not engine.answers():
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise EngineError(f"dockerd did not start, see {CACHE / 'dockerd.log'}")
        time.sleep(0.2)


def _building_client() -> str:
    """The first `docker` on PATH that can build with BuildKit: with the buildx plugin, or older than 23."""
    for folder in os.get_exec_path():
        program = Path(folder) / "docker"
        if os.access(program, os.X_OK) and _builds(str(program)):
            return str(program)
    raise EngineError("no docker client here that can build with BuildKit: install the buildx plugin")


def _builds(program: str) -> bool:
    if subprocess.run([program, "buildx", "version"], capture_output=True).returncode == 0:
        return True
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout  # "Docker version 20.10.24, …"
    major = said.removeprefix("Docker version ").split(".", 1)[0]
    return major.isdigit() and int(major) < 23
