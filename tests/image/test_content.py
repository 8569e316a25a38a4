"""What is in the image, and what is not."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.image.builds import ROOT, build
from tests.image.conftest import new_name
from tests.image.engine import Engine

Shell = Callable[..., str]


@pytest.fixture
def config(engine: Engine, image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.run("image", "inspect", image).stdout)[0]["Config"]
    return found


def test_runs_as_a_numeric_unprivileged_user(config: dict[str, Any]) -> None:
    """Kubernetes checks runAsNonRoot on a number only; group 0 is what OpenShift gives its arbitrary UIDs."""
    assert config["User"] == "10001:0"


def test_job_is_process_one(config: dict[str, Any]) -> None:
    """Exec form, no shell between: SIGTERM reaches the job. No command is left over from the base."""
    job = ["/opt/alembic-job/bin/python", "-P", "/opt/alembic-job/entrypoint.py"]
    assert config["Entrypoint"] == ["/usr/bin/env", "--block-signal=TERM,INT", *job]
    assert not config["Cmd"]


def test_labels(config: dict[str, Any]) -> None:
    """The OCI labels say what it is, and the version is the package's."""
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["title"] == "alembic-job"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {"description", "revision", "created"} <= labels.keys()


def test_no_compiler_and_no_build_tools(shell: Shell) -> None:
    """Nothing to build with, neither C nor Python packages."""
    unwanted = "gcc cc g++ c++ clang cpp ld as make hatchling git curl wget"
    assert shell(f"command -v {unwanted} || true") == ""
    assert shell("find /opt/alembic-job -name 'hatchling*'") == ""


def test_everything_is_compiled(shell: Shell) -> None:
    """Each module of the job and the standard library's has its .pyc, which is used without a look at the source."""
    script = """
import importlib.util, pathlib, sysconfig, sys
job = pathlib.Path(sysconfig.get_path("purelib")).rglob("*.py")
library = pathlib.Path(sysconfig.get_path("stdlib")).glob("*.py")
for source in [*job, *library]:
    compiled = pathlib.Path(importlib.util.cache_from_source(str(source)))
    flags = compiled.read_bytes()[4:8] if compiled.exists() else b""
    if flags != b"\\x01\\0\\0\\0":
        print(source, flags)
"""
    assert shell(f"python -c '{script}'") == ""


def test_exactly_the_locked_packages(shell: Shell) -> None:
    """The virtual environment holds what requirements.lock says, the job, and nothing more."""
    script = "import importlib.metadata as m; [print(d.name.lower(), d.version) for d in m.distributions()]"
    installed = {
        line.split()[0].replace("_", "-"): line.split()[1] for line in shell(f"python -c '{script}'").splitlines()
    }
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    installed.pop("alembic-job")
    assert installed == {name: version for name, version in locked.items() if name in installed}
    assert {"alembic", "sqlalchemy", "psycopg2-binary"} <= installed.keys()


@pytest.mark.parametrize("program", ["pg_dump", "pg_restore", "psql"])
def test_client_programs_run(shell: Shell, program: str) -> None:
    """As any user, from PATH, with all their libraries found."""
    assert "(PostgreSQL) 18." in shell(f"{program} --version", "--user", "54321:0", "--read-only")
    assert "not found" not in shell(f"ldd $(command -v {program})")


def test_any_user_can_read_it_and_none_can_change_it(shell: Shell) -> None:
    """An arbitrary UID reads every file of the job; nothing is writable by group or others, nothing is setuid."""
    places = "/opt/alembic-job /app /usr/lib/postgresql"
    assert shell(f"find {places} ! -type l ! -perm -o=r", "--user", "0") == ""
    assert shell(f"find {places} ! -type l -perm /go=w", "--user", "0") == ""
    assert shell(f"find {places} -perm /6000", "--user", "0") == ""


def test_build_leaves_no_settings(engine: Engine, image: str, shell: Shell) -> None:
    """The secrets that pip was given at build time are in no layer, no variable, no line of the history."""
    history = engine.run("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
    variables = shell("env")
    for trace in ("pip.conf", "ca.pem", "index-url", "PIP_CERT", "proxy"):
        assert trace.lower() not in history.lower()
        assert trace.lower() not in variables.lower()
    assert shell("ls -d /etc/pip.conf /run/secrets /root/.cache 2>/dev/null || true", "--user", "0") == ""


def test_db_is_the_same_program(shell: Shell) -> None:
    """`db` and `alembic-job` are on PATH and are one file."""
    assert shell("readlink -f $(command -v db)") == shell("readlink -f $(command -v alembic-job)")


def test_context_holds_only_what_is_needed(engine: Engine, tmp_path: Path) -> None:
    """Neither .env files nor the repository's history nor a virtual environment ever reach the engine."""
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    kept = ["pyproject.toml", "src/alembic_job/main.py", "app/main.py", "alembic/env.py"]
    left = [
        ".env",
        "app/.env",
        "app/.env.local",
        ".git/config",
        ".venv/bin/python",
        "tests/t.py",
        "app/__pycache__/m.pyc",
    ]
    for name in [*kept, *left]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    recipe = tmp_path / "Dockerfile"
    recipe.write_text("FROM postgres:18-trixie\nCOPY . /context\n")
    tag = build(engine, f"{new_name()}:context", tmp_path)
    listing = ("run", "--rm", "--entrypoint", "/bin/sh", tag, "-c", "cd /context && find . -type f")
    found = {line.removeprefix("./") for line in engine.run(*listing).stdout.split()}
    assert found == set(kept)
    engine.run("image", "rm", tag)
