"""compose.yaml, really brought up: the API answers only after the migrations have ended well."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.image.builds import ROOT, build
from tests.image.conftest import PASSWORD, await_condition, new_name
from tests.image.engine import Engine, EngineError


@dataclass
class Compose:
    """One project of compose.yaml, with variables of its own."""

    engine: Engine
    program: list[str]
    name: str
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [*self.program, "--project-name", self.name, "--file", str(ROOT / "compose.yaml"), *words]
        environment = self.engine.environment | self.variables
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        if check and done.returncode != 0:
            raise EngineError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def container(self, service: str) -> str:
        """The id of a service's container, "" before there is one; also of one that has ended."""
        labels = (f"com.docker.compose.project={self.name}", f"com.docker.compose.service={service}")
        filters = [word for label in labels for word in ("--filter", f"label={label}")]
        return self.engine.run("ps", "--all", "--quiet", *filters).stdout.strip()

    def state(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.engine.run("inspect", self.container(service)).stdout)[0]["State"]
        return found

    def logs(self, service: str) -> str:
        return self.engine.run("logs", self.container(service)).stdout


@pytest.fixture
def compose(engine: Engine, image: str) -> Iterator[Compose]:
    port = _free_port()
    images = {"ALEMBIC_JOB_IMAGE": image, "ALEMBIC_JOB_API_IMAGE": build_api(engine)}
    variables = {**images, "API_PORT": str(port), "POSTGRES_PASSWORD": PASSWORD}
    project = Compose(engine, _program(engine), new_name(), variables)
    try:
        yield project
    finally:
        project.run("down", "--volumes", "--timeout", "2")


def build_api(engine: Engine) -> str:
    """The sample application's image, from the same Dockerfile."""
    return build(engine, "alembic-job-test:api", ROOT, "--target", "api")


def _program(engine: Engine) -> list[str]:
    """Compose v2 as docker's plugin, else docker-compose."""
    if engine.run("compose", "version", check=False).returncode == 0:
        return [engine.docker, "compose"]
    program = shutil.which("docker-compose")
    if program is None:
        raise EngineError("neither `docker compose` nor docker-compose is here")
    return [program]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: str, path: str = "/healthz") -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_api_answers_after_the_migrations(compose: Compose) -> None:
    """`up`: the migrations end with 0, only then does the API start, and its tables are there."""
    compose.run("up", "--detach")
    port = compose.variables["API_PORT"]
    await_condition(lambda: _answers(port), said=lambda: compose.run("logs").stdout)
    migrated = compose.state("migrate")
    assert (migrated["Status"], migrated["ExitCode"]) == ("exited", 0)
    finished = json.loads(compose.logs("migrate").splitlines()[-1])
    assert (finished["event"], finished["outcome"]) == ("job.finished", "done")
    assert _time(migrated["FinishedAt"]) < _time(compose.state("api")["StartedAt"])
    assert _answers(port, "/users")


def test_api_does_not_start_when_the_migrations_fail(compose: Compose, tmp_path: Path) -> None:
    """A migration that fails ends `up` with an error; the API's container never runs."""
    broken = tmp_path / "Dockerfile"
    broken.write_text('ARG JOB\nFROM ${JOB}\nCMD ["--to", "no_such_revision"]\n')
    argument = f"JOB={compose.variables['ALEMBIC_JOB_IMAGE']}"
    tag = build(compose.engine, "alembic-job-test:broken", tmp_path, "--build-arg", argument)
    compose.variables["ALEMBIC_JOB_IMAGE"] = tag
    done = compose.run("up", "--detach", check=False)
    assert done.returncode != 0
    assert compose.state("migrate")["ExitCode"] not in (0, None)
    assert compose.container("api") == "" or compose.state("api")["Status"] == "created"
    assert not _answers(compose.variables["API_PORT"])


def _time(stamp: str) -> datetime:
    """Docker writes nanoseconds, which Python does not read."""
    return datetime.fromisoformat(stamp[:26])
