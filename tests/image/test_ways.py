"""The three ways to use the image, each as docs/how-to/image.md shows it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from tests.image.builds import ROOT, build
from tests.image.conftest import Job
from tests.image.engine import Engine
from tests.image.projects import write_project
from tests.image.test_clients import RESTORE

_WAYS = Path(__file__).parent / "ways"
_GUIDE = ROOT / "docs/how-to/image.md"
_TABLES = ("CREATE TABLE t1 (id int)", "CREATE TABLE t2 (id int)")
_APPLIED = ["r1", "r2"]

_PIP_MOUNTS = "RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem "

_NO_DEPS = """\
RUN pip install --no-cache-dir --no-deps /tmp/wheel/*.whl \\
 && pip install --no-cache-dir tenacity structlog click
"""

_VERSIONS_IN_USE = """
import runpy
runpy.run_path("/opt/alembic-job/entrypoint.py")["find_job"]()
import alembic, alembic_job, psycopg2, sqlalchemy
print(alembic.__version__, sqlalchemy.__version__, psycopg2.__version__.split()[0])
print(psycopg2.__file__.startswith("/opt"), alembic_job.__file__.startswith("/opt"))
"""

_CHANGED_FILES = """
import base64, hashlib, importlib.metadata
def digest(file):
    return base64.urlsafe_b64encode(hashlib.sha256(file.read_binary()).digest()).decode().rstrip("=")
files = [file for file in importlib.metadata.files("psycopg2") if file.hash]
assert len(files) > 10
print([str(file) for file in files if digest(file) != file.hash.value])
"""


def _build(engine: Engine, way: str, context: Path, requirements: str, job_image: str) -> str:
    """Builds a Dockerfile of the guide in a project's folder; only pip's secrets are put in."""
    (context / "requirements.txt").write_text(requirements)
    recipe = (_WAYS / f"{way}.Dockerfile").read_text().replace("RUN ", _PIP_MOUNTS)
    (context / "Dockerfile").write_text(recipe)
    return build(engine, f"alembic-job-test:{way}", context, "--build-arg", f"ALEMBIC_JOB={job_image}")


@pytest.mark.parametrize("way", sorted(path.name for path in _WAYS.iterdir()))
def test_guide_shows_what_is_tested(way: str) -> None:
    """Each Dockerfile here stands in the guide, letter for letter."""
    assert (_WAYS / way).read_text() in _GUIDE.read_text()


@pytest.mark.parametrize("command", [RESTORE, _NO_DEPS], ids=["restore", "no dependencies"])
def test_guide_shows_the_tested_commands(command: str) -> None:
    """So do the commands that restore a backup by hand and install without dependencies."""
    assert command in _GUIDE.read_text()


@pytest.mark.parametrize("location", ["%(here)s/migrations", "migrations", "alembic"])
def test_derive(engine: Engine, job: Job, open_folder: Path, location: str) -> None:
    """FROM alembic-job with a project of its own: nothing of the sample is left, its own packages are there."""
    url = '.replace("postgresql:", "postgresql+psycopg:")'
    write_project(open_folder, *_TABLES, location=location, imports="import psycopg", url=url)
    derived = dataclasses.replace(job, image=_build(engine, "derive", open_folder, "psycopg[binary]\n", job.image))
    done = derived.run(options=("--read-only",))
    assert done.code == 0, done.out + done.err
    assert done.finished["applied"] == _APPLIED


def test_base_target_holds_no_project(engine: Engine, job: Job) -> None:
    """`--target base` is the job alone: without a project it says so and touches nothing."""
    alone = dataclasses.replace(job, image=build(engine, "alembic-job-test:base", ROOT, "--target", "base"))
    done = alone.run()
    assert done.finished["exit_code"] == 20
    assert "alembic.ini" in done.finished["error"]


def test_own_image(engine: Engine, job: Job, open_folder: Path) -> None:
    """Installed into an application's image, the job moves none of its pins and runs its project."""
    url = '.replace("postgresql:", "postgresql+psycopg:")'
    write_project(open_folder, *_TABLES, url=url)
    pins = "alembic==1.16.5\nsqlalchemy==2.0.43\npsycopg[binary]\n"
    own = dataclasses.replace(job, image=_build(engine, "own-image", open_folder, pins, job.image))
    done = own.run("alembic-job", "migrate", options=("--read-only",))
    assert done.code == 0, done.out + done.err
    assert done.finished["applied"] == _APPLIED
    installed = own.run("pip", "freeze").out.lower().splitlines()
    assert {"alembic==1.16.5", "sqlalchemy==2.0.43"} <= set(installed)


@pytest.fixture(scope="module")
def source_built(engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An application's image with psycopg2 built from source, and the job copied beside it."""
    context = tmp_path_factory.mktemp("beside")
    write_project(context, *_TABLES)
    return _build(engine, "beside", context, "alembic==1.16.5\nsqlalchemy==2.0.43\npsycopg2==2.9.11\n", image)


def test_beside_psycopg2_from_source(job: Job, source_built: str, open_folder: Path) -> None:
    """Beside an application with its own psycopg2 the job uses that one, and overwrites no file of it."""
    own = dataclasses.replace(job, image=source_built)
    open_folder.chmod(0o777)
    backup = ("--volume", f"{open_folder}:/backup", "--env", "MIGRATE_BACKUP_URL=/backup")
    done = own.run("python", "-P", "/opt/alembic-job/entrypoint.py", options=("--read-only", *backup))
    assert done.code == 0, done.out + done.err
    assert done.finished["applied"] == _APPLIED
    assert len(list(open_folder.glob("*.dump"))) == 1
    assert own.run("python", "-c", _VERSIONS_IN_USE).out.splitlines() == ["1.16.5 2.0.43 2.9.11", "False True"]
    assert own.run("python", "-c", _CHANGED_FILES).out.strip() == "[]"


def test_into_psycopg2_from_source_without_dependencies(
    engine: Engine, job: Job, source_built: str, tmp_path: Path
) -> None:
    """pip with --no-deps and the list of the guide leaves the application's psycopg2 alone too."""
    recipe = f"FROM {source_built}\nUSER 0\nRUN ln -s /opt/alembic-job/wheel /tmp/wheel\n{_NO_DEPS}USER 10001:0\n"
    (tmp_path / "Dockerfile").write_text(recipe.replace("RUN ", _PIP_MOUNTS))
    own = dataclasses.replace(job, image=build(engine, "alembic-job-test:no-deps", tmp_path))
    done = own.run("alembic-job", "migrate")
    assert done.code == 0, done.out + done.err
    assert done.finished["applied"] == _APPLIED
    assert own.run("python", "-c", _CHANGED_FILES).out.strip() == "[]"
    assert "psycopg2-binary" not in own.run("pip", "freeze").out


@pytest.mark.parametrize("location", ["%(here)s/migrations", "migrations", "%(here)s/alembic", "alembic"])
def test_mount(job: Job, open_folder: Path, location: str) -> None:
    """A mounted project is the one that runs, wherever its ini file looks for its scripts; never the sample."""
    write_project(open_folder, *_TABLES, location=location)
    mount = ("--volume", f"{open_folder}:/migrations:ro", "--env", "ALEMBIC_CONFIG=/migrations/alembic.ini")
    done = job.run(options=(*mount, "--read-only"))
    assert done.code == 0, done.out + done.err
    assert done.finished["applied"] == _APPLIED


def test_mount_over_the_working_directory(job: Job, open_folder: Path) -> None:
    """Mounted at /app, a project needs no setting at all."""
    write_project(open_folder, *_TABLES, location="alembic")
    done = job.run(options=("--volume", f"{open_folder}:/app:ro"))
    assert done.finished["applied"] == _APPLIED


def test_another_python_is_told_so(engine: Engine, job: Job, tmp_path: Path) -> None:
    """Beside a Python whose packages the job lacks, it says what to do instead."""
    shutil.copy(ROOT / "entrypoint.py", tmp_path)
    (tmp_path / "entrypoint.py").chmod(0o644)
    tmp_path.chmod(0o755)
    mount = ("--volume", f"{tmp_path}:/elsewhere:ro", "--entrypoint", "python3")
    done = job.run("/elsewhere/entrypoint.py", options=mount, image="python:3.13-slim-trixie")
    assert done.code == 1
    assert "install it with pip" in done.err
