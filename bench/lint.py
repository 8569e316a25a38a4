"""`python -m bench.lint`: what `alembic-job lint` takes for a thousand revisions, without a database, whole processes.

In turns with `alembic upgrade head --sql`, which loads and renders the same scripts, one way.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import job_environment
from tests.projects.generated import write_project

_BOUND = 3.0  # seconds
_DEV = Path(sys.executable).parent
_BARE = (str(_DEV / "alembic"), "upgrade", "head", "--sql")
_JOB = (str(_DEV / "alembic-job"), "lint", "--fail-on", "never")


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="alembic-job-bench-") as folder:
        project = Path(folder) / "project"
        write_project(project, options.revisions)
        ini = project / "alembic.ini"
        ini.write_text(ini.read_text().replace("driver://user:pass@localhost/dbname", "postgresql+psycopg2://nowhere"))
        _seconds(_BARE, project)  # writes what Python compiles
        pairs = [(_seconds(_BARE, project), _seconds(_JOB, project)) for _ in range(options.runs)]
    bare, job = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(theirs and ours / theirs for theirs, ours in pairs)
    squawk = "with squawk" if shutil.which("squawk", path=str(_DEV)) else "without squawk"
    print(f"lint of {options.revisions:,} revisions, {squawk}: {job:.2f} s (fastest {min(o for _, o in pairs):.2f} s)")
    print(f"alembic upgrade head --sql: {bare:.2f} s; ratio {ratio:.2f}")
    if options.revisions == 1000:
        print(f"bound {_BOUND:g} s: {'kept' if job <= _BOUND else 'NOT KEPT'}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.lint", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--revisions", type=int, default=1000, help="of the generated project  [default 1000]")
    parser.add_argument("--runs", type=int, default=5, help="of each program  [default 5]")
    return parser.parse_args()


def _seconds(command: tuple[str, ...], folder: Path) -> float:
    begun = time.perf_counter()
    subprocess.run(command, cwd=folder, env=job_environment(), capture_output=True, check=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
