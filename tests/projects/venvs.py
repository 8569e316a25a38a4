"""Virtual environments of their own for tests: made once under `.build/venvs`, shared by every worker and run."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements")
VENVS = ROOT / ".build" / "venvs"


def venv(name: str, python: str = sys.executable) -> Path:
    """The `bin` folder of a virtual environment with `requirements/NAME.txt` and this checkout of the job.

    Both are installed without dependencies: the file names every version that the tests are about. Raises
    `subprocess.CalledProcessError` when pip fails.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    folder = VENVS / f"{name}-{_key(requirements, python)}"
    with _locked(VENVS / f"{name}.lock"):
        if not (folder / "ready").exists():
            for old in VENVS.glob(f"{name}-*"):
                shutil.rmtree(old)
            _make(folder, requirements, python)
            (folder / "ready").touch()
    return folder / "bin"


def interpreter(version: str) -> str | None:
    """A Python of that version: from PATH, else from where pyenv keeps them."""
    found = shutil.which(f"python{version}")
    if found and subprocess.run([found, "--version"], capture_output=True).returncode == 0:
        return found
    kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    return str(kept[-1]) if kept else None


def _key(requirements: Path, python: str) -> str:
    """What the environment depends on: the interpreter, the pins, and the job's own metadata (not its code)."""
    version = subprocess.run([python, "--version"], check=True, capture_output=True, text=True).stdout
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    metadata = (version, requirements.read_text(), project["version"], str(project["scripts"]))
    return hashlib.sha256("\n".join(metadata).encode()).hexdigest()[:12]


def _make(folder: Path, requirements: Path, python: str) -> None:
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
    pip = (sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--no-deps", "--quiet")
    quiet = ("--no-input", "--disable-pip-version-check")
    subprocess.run([*pip, *quiet, "--only-binary=:all:", "--requirement", str(requirements)], check=True)
    subprocess.run([*pip, *quiet, "--editable", str(ROOT)], check=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
