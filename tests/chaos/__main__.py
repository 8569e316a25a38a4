"""`python -m tests.chaos`: every fault with every kind of project, and a table of what was survived."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time

from tests.chaos import suite
from tests.chaos.faults import FAULTS
from tests.chaos.projects import KINDS
from tests.chaos.suite import Result


def main() -> int:
    options = _options()
    if options.list:
        _list()
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or servers would be left behind
    begun = time.monotonic()
    print(f"seed {options.seed}, {options.kills} kills, {options.processes} processes", flush=True)
    results: list[Result] = []
    for result in suite.run(options.seed, options.kills, options.only, options.processes):
        results.append(result)
        if options.verbose or result.error or result.slowness > 1:
            _tell(result, options.seed)
    if not results:
        print(f"no case is named {options.only}", file=sys.stderr)
        return 2
    _table(results)
    return _verdict(results, options.seed, time.monotonic() - begun)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed does the same (default: 1)")
    parser.add_argument("--kills", type=int, default=300, help="how many SIGKILLs over all (default: 300)")
    parser.add_argument("--only", default="", help="FAULT, FAULT/KIND or FAULT/KIND/NUMBER")
    parser.add_argument("--processes", type=int, default=4, help="how many tries at a time (default: 4)")
    parser.add_argument("--verbose", action="store_true", help="a line for each try as it ends")
    parser.add_argument("--list", action="store_true", help="list the faults and the kinds of migrations")
    return parser.parse_args()


def _list() -> None:
    for fault in FAULTS.values():
        tries = f"{fault.tries} for each kind" if fault.tries else "as many as --kills says"
        print(f"{fault.name:22} {fault.why} ({tries})")
    print()
    for kind in KINDS.values():
        print(f"{kind.name:22} {kind.why}")


def _tell(result: Result, seed: int) -> None:
    went_on = "" if result.goes_on is None else f", next at work after {result.goes_on:.1f} s"
    fine = "ok" if result.struck else "ok, no hit"
    word = "FAILED" if result.error else "not possible here" if result.impossible else fine
    slow = f", machine {result.slowness:.1f} times too slow" if result.slowness > 1 else ""
    print(f"{word}: {result.case.name} ({result.seconds:.1f} s{went_on}{slow})", flush=True)
    if result.error:
        print("    " + result.error.strip().replace("\n", "\n    "))
        print(f"    again: {_command(result, seed)}", flush=True)


def _command(result: Result, seed: int) -> str:
    return f"python -m tests.chaos --seed {seed} --only {result.case.name}"


def _table(results: list[Result]) -> None:
    print(f"\n{'fault':22} {'migrations':18} {'tries':>6} {'hit':>6} {'survived':>9} {'slowest next run':>17}")
    for fault in FAULTS:
        for kind in KINDS:
            rows = [r for r in results if (r.case.fault, r.case.kind) == (fault, kind)]
            if rows:
                print(f"{fault:22} {kind:18} {_numbers(rows)}")
    print(f"{'all':22} {'':18} {_numbers(results)}")
    kills = [r for r in results if r.case.fault in suite.KILLS]
    if kills:
        print(f"{'SIGKILLs among them':22} {'':18} {_numbers(kills)}")


def _numbers(rows: list[Result]) -> str:
    """Tries, how many hit a run, survived, the longest time from the fault until the next runner worked."""
    tried = [row for row in rows if not row.impossible]
    if not tried:
        return f"not possible here: {rows[0].impossible}"
    survived = sum(not row.error for row in tried)
    slowest = max((row.goes_on for row in tried if row.goes_on is not None), default=None)
    took = "" if slowest is None else f"{slowest:.1f} s"
    return f"{len(tried):6} {sum(row.struck for row in tried):6} {survived:9} {took:>17}"


def _verdict(results: list[Result], seed: int, seconds: float) -> int:
    failed = [result for result in results if result.error]
    impossible = [result for result in results if result.impossible]
    took = f"{len(results)} tries in {seconds / 60:.1f} min"
    print(f"\n{took}, {len(failed)} not survived, {len(impossible)} not possible here")
    for result in failed:
        print(f"not survived: {_command(result, seed)}")
    return 1 if failed or (impossible and os.environ.get("CI")) else 0


if __name__ == "__main__":
    sys.exit(main())
