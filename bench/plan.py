"""`python -m bench.plan`: `alembic-job plan` against `alembic upgrade head --sql`, whole processes in turns, as ratios.

Everything is pending: of a generated project on an empty database, and of mlflow's revisions on its base tables.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.projects.test_real_projects import MLFLOW_BEFORE
from tests.projects.venvs import venv

from alembic_job.gateways.embedded import Server
from alembic_job.gateways.parser import library
from bench.contenders import Contender, Field, _replaced
from bench.database import query
from bench.figures import Comparison, Cost, Target, table

GENERATED, MLFLOW = "plan, generated", "plan, mlflow"
TARGETS = (Target(GENERATED, "wall", 2.0), Target(MLFLOW, "wall", 2.0))
_SETTLED = 11.0  # seconds: a younger server may be looked at twice
_MLFLOW_URL = "sqlalchemy.url = "
_PLACE = ("-c", "mlflow/store/db_migrations/alembic.ini")


def main() -> None:
    options = _options()
    begun = time.monotonic()
    with Server() as server, tempfile.TemporaryDirectory(prefix="alembic-job-bench-") as root:
        found = []
        pairs = [(GENERATED, count, _generated(server, Path(root) / str(count), count)) for count in options.revisions]
        pairs += [(MLFLOW, 67, _mlflow(server, Path(root) / "mlflow"))] if options.mlflow else []
        time.sleep(max(0.0, _SETTLED - (time.monotonic() - begun)))
        for title, count, (bare, job) in pairs:
            found.append(Comparison(title, count, *_costs(bare, job, options.pairs)))
    print(table(found))
    for target in TARGETS:
        for line in target.verdicts(found):
            print(line)


def _costs(bare: Contender, job: Contender, pairs: int) -> tuple[list[Cost], list[Cost]]:
    bare.run()
    job.run()  # everybody once, to warm up
    found = [(bare.run(), job.run()) if number % 2 else (job.run(), bare.run())[::-1] for number in range(pairs)]
    return [each for each, _ in found], [each for _, each in found]


def _generated(server: Server, folder: Path, revisions: int) -> tuple[Contender, Contender]:
    field = Field(server, folder, revisions, "psycopg2")
    field.renew()
    bare = (*field.bare.argv, "--sql")
    url = server.url(field.name)
    return Contender(bare, field.bare.folder), Contender(_plan(field.job.argv[0]), field.job.folder, DATABASE_URL=url)


def _mlflow(server: Server, folder: Path) -> tuple[Contender, Contender]:
    """Bare Alembic ends at the first revision that asks the database: in its copy those do nothing."""
    programs = venv("real")
    query(server.url(), "CREATE DATABASE mlflow")
    url = server.url("mlflow")
    subprocess.run([programs / "python", "-c", MLFLOW_BEFORE], env={**os.environ, "DATABASE_URL": url}, check=True)
    for name in ("bare", "job"):
        _copy_mlflow(programs, folder / name, server.url("mlflow", "psycopg2"))
    bare = Contender((str(programs / "alembic"), *_PLACE, "upgrade", "head", "--sql"), folder / "bare")
    while (asks := _asking(bare)) is not None:
        function, text = r"^def upgrade\(\):.*?(?=^def )", asks.read_text()
        asks.write_text(re.sub(function, "def upgrade():\n    pass\n\n\n", text, flags=re.M | re.S))
    parser = library().parent  # that environment has no PostgreSQL grammar
    (folder / "with_grammar").mkdir()
    (folder / "with_grammar" / parser.name).symlink_to(parser)
    env = {"DATABASE_URL": url, "PYTHONPATH": str(folder / "with_grammar")}
    return bare, Contender(_plan(str(programs / "alembic-job"), *_PLACE), folder / "job", **env)


def _copy_mlflow(programs: Path, folder: Path, url: str) -> None:
    package = next((programs.parent / "lib").glob("python*/site-packages/mlflow"))
    home = folder / "mlflow" / "store" / "db_migrations"
    shutil.copytree(package / "store" / "db_migrations", home, ignore=shutil.ignore_patterns("__pycache__"))
    ini = home / "alembic.ini"
    ini.write_text(_replaced(ini.read_text(), f'{_MLFLOW_URL}""', _MLFLOW_URL + url.replace("%", "%%")))


def _asking(bare: Contender) -> Path | None:
    """The revision at which it fails."""
    try:
        bare.run()
    except RuntimeError as error:
        found = re.findall(r'File "(\S+/versions/\S+\.py)", line \d+, in upgrade', str(error))
        if not found:
            raise
        return Path(found[-1])
    return None


def _plan(program: str, *options: str) -> tuple[str, ...]:
    return (program, *options, "plan", "--json")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.plan", description=__doc__)
    parser.add_argument("--pairs", type=int, default=9, help="[default 9]")
    parser.add_argument("--revisions", type=int, nargs="+", default=[67, 1000], help="[default 67 1000]")
    parser.add_argument("--no-mlflow", dest="mlflow", action="store_false", help="leave mlflow out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
