"""`python -m bench`: the job against bare Alembic, whole processes, run in turns, as ratios."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from alembic_job.gateways.embedded import Server
from bench.contenders import Contender, Field
from bench.figures import Comparison, Cost, Target, table

PROVEN = "nothing pending"
ANEW = "nothing pending, MIGRATE_HISTORY=off"
SINGLE = "all pending, against one transaction, fsync {}"
EACH = "all pending, against transaction_per_migration=True, fsync {}"
TARGETS = (
    Target(PROVEN, "wall", 0.60),
    *(Target(EACH.format(fsync), "wall", 1.10, least_revisions=1000) for fsync in ("on", "off")),
    *(Target(title, "peak", 1.30) for title in (PROVEN, ANEW)),
    *(Target(EACH.format(fsync), "peak", 1.30) for fsync in ("on", "off")),
)
_SETTLED = 11.0  # seconds: with a younger server the job makes sure that it is not initdb's temporary one


def main() -> None:
    options = _options()
    begun = time.monotonic()
    with (
        Server(conf={"fsync": "on"}) as durable,
        Server() as volatile,
        tempfile.TemporaryDirectory(prefix="alembic-job-bench-") as root,
    ):
        time.sleep(max(0.0, _SETTLED - (time.monotonic() - begun)))
        comparisons: list[Comparison] = []
        for revisions in options.revisions:
            folder = Path(root) / str(revisions)
            field = Field(volatile, folder / "off", revisions, options.driver)
            if options.pairs:
                comparisons += nothing_pending(field, revisions, options.pairs)
            if options.pending_pairs:
                comparisons += all_pending(field, revisions, options.pending_pairs, "off")
                field = Field(durable, folder / "on", revisions, options.driver)
                comparisons += all_pending(field, revisions, options.pending_pairs, "on")
    _print(comparisons)


def nothing_pending(field: Field, revisions: int, pairs: int) -> list[Comparison]:
    """A database at head: bare Alembic, the job, the job without its record, in turns."""
    field.renew()
    contenders = (field.bare, field.job, field.job_anew)
    for contender in (field.job, *contenders):  # the first migrates and records; then everybody once, to warm up
        contender.run()
    costs: list[list[Cost]] = [[], [], []]
    for number in range(pairs):
        _progress(f"nothing pending, {revisions:,} revisions", number, pairs)
        for contender, found in zip(contenders, costs, strict=True):
            found.append(contender.run())
            _check(contender, field)
    bare, job, anew = costs
    return [Comparison(PROVEN, revisions, bare, job), Comparison(ANEW, revisions, bare, anew)]


def all_pending(field: Field, revisions: int, pairs: int, fsync: str) -> list[Comparison]:
    """An empty database each time: bare Alembic in one transaction, in one a revision, the job, in turns."""
    contenders = (field.bare, field.bare_each, field.job)
    costs: list[list[Cost]] = [[], [], []]
    for number in range(-1, pairs):  # the first turn warms up
        _progress(f"all pending, {revisions:,} revisions, fsync {fsync}", number, pairs)
        for contender, found in zip(contenders, costs, strict=True):
            field.renew()
            cost = contender.run()
            if number >= 0:
                found.append(cost)
    single, each, job = costs
    return [
        Comparison(EACH.format(fsync), revisions, each, job),
        Comparison(SINGLE.format(fsync), revisions, single, job),
    ]


def _check(contender: Contender, field: Field) -> None:
    """What is compared must be what is meant: the record decides exactly where it is on."""
    proven = '"proven": true' in contender.output
    if proven is not (contender is field.job):
        raise RuntimeError(f"an unexpected path was taken:\n{contender.output}")


def _print(comparisons: list[Comparison]) -> None:
    versions = ", ".join(f"{name} {version(name)}" for name in ("alembic", "sqlalchemy"))
    print(f"Python {platform.python_version()}, {versions}, PostgreSQL 18, {os.cpu_count()} CPUs.")
    print(
        "Ratios: median over the pairs (quartiles). CPU: the process and its children. Memory: the largest of them.\n"
    )
    print(table(comparisons))
    print()
    for target in TARGETS:
        for line in target.verdicts(comparisons):
            print(line)


def _progress(what: str, number: int, of: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if number == of - 1 else ""
        print(f"\r\033[K{what}: {max(number + 1, 0)} of {of}", end=end, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=10, help="with nothing pending; 0 leaves it out  [default 10]")
    parser.add_argument("--pending-pairs", type=int, default=3, help="with all pending; 0 leaves it out  [default 3]")
    parser.add_argument("--revisions", type=int, nargs="+", default=[10, 1000], help="[default 10 1000]")
    parser.add_argument("--driver", default="psycopg2", help="the project's: psycopg2 or psycopg  [default psycopg2]")
    return parser.parse_args()


if __name__ == "__main__":
    main()
