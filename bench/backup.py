"""`python -m bench.backup`: `alembic-job backup` against raw pg_dump with the same options, in turns, as ratios."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from alembic_job.gateways.embedded import Server
from bench.database import query

_TABLES = 8  # equal ones, so that two jobs have something to share
_RAW, _LIST, _READ, _TWO = "pg_dump", "backup, list", "backup, read", "backup, list, 2 jobs"
_ROW = 250  # bytes, about
_JOB = Path(sys.executable).with_name("alembic-job")


def main() -> int:
    options = _options()
    with Server() as server, tempfile.TemporaryDirectory(prefix="alembic-job-bench-") as root:
        url = _made(server, options.megabytes)
        contenders = _contenders(server, url, Path(root), options.compress)
        if options.list:
            contenders = {name: contenders[name] for name in (_RAW, _LIST)}
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(-1, options.rounds):  # the first warms up
            order = list(contenders.items())
            for name, run in order if turn % 2 else reversed(order):  # nobody always comes after the same one
                begun = time.monotonic()
                run()
                if turn >= 0:
                    seconds[name].append(time.monotonic() - begun)
    return _verdict(seconds, options)


def _made(server: Server, megabytes: int) -> str:
    """A database of about that size: half of each row compresses well, half not at all."""
    with_rows = megabytes * 1_000_000 // _ROW // _TABLES
    query(server.url(), "CREATE DATABASE big")
    url = server.url("big")
    for number in range(_TABLES):
        query(
            url,
            f"CREATE TABLE t{number} AS SELECT n AS id, encode(sha512(n::text::bytea), 'base64') AS noise,"
            f" repeat('the same ', 10) AS text FROM generate_series(1, {with_rows}) n",
        )
    query(url, "VACUUM ANALYZE")
    return url


def _contenders(server: Server, url: str, root: Path, compress: str) -> dict[str, Callable[[], None]]:
    folder = root / "backups"

    def raw(jobs: int) -> None:
        target = root / "raw"
        shape = ["--format=directory", f"--jobs={jobs}"] if jobs > 1 else ["--format=custom"]
        _run([str(server.bin / "pg_dump"), *shape, f"--compress={compress}", f"--file={target}", f"--dbname={url}"], {})
        os.sync()
        _clear(target)

    def ours(verify: str, jobs: int) -> None:
        env = {
            "DATABASE_URL": url,
            "MIGRATE_BACKUP_URL": str(folder),
            "MIGRATE_BACKUP_VERIFY": verify,
            "MIGRATE_BACKUP_JOBS": str(jobs),
            "MIGRATE_BACKUP_COMPRESS": compress,
            "MIGRATE_PG_BINDIR": str(server.bin),
        }
        _run([str(_JOB), "backup"], env)
        _clear(folder)

    return {
        _RAW: lambda: raw(1),
        _LIST: lambda: ours("list", 1),
        _READ: lambda: ours("read", 1),
        "pg_dump, 2 jobs": lambda: raw(2),
        _TWO: lambda: ours("list", 2),
    }


def _verdict(seconds: dict[str, list[float]], options: argparse.Namespace) -> int:
    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))

    print(f"{options.megabytes:,} MB in {_TABLES} tables, --compress={options.compress}, {os.cpu_count()} CPUs\n")
    for name, measured in seconds.items():
        print(f"{name:22} {statistics.median(measured):7.2f} s")
    targets = [(f"{_LIST} : {_RAW}", ratio(_LIST, _RAW), 1.05, True)]
    if _TWO in seconds:
        targets.append((f"{_LIST}, one job : two", ratio(_LIST, _TWO), 1.6, False))
        print(f"\nthe full read takes {ratio(_READ, _LIST) - 1:.0%} of the backup's time more")
    for name, found, bound, at_most in targets:
        word = "met   " if (found <= bound) is at_most or found == bound else "MISSED"
        print(f"{word}  {name}: {found:.2f} {'≤' if at_most else '≥'} {bound}")
    return 0


def _run(argv: list[str], env: dict[str, str]) -> None:
    done = subprocess.run(argv, env=os.environ | env, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed: {done.stdout[-2000:]} {done.stderr[-2000:]}")


def _clear(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.backup", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1200, help="size of the tables  [default 1200]")
    parser.add_argument("--rounds", type=int, default=4, help="[default 4]")
    parser.add_argument("--list", action="store_true", help="only one job with `list`, against pg_dump")
    parser.add_argument("--compress", default="1", help="as pg_dump's  [default 1]")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
