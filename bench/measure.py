"""Runs one command and says what it cost: wall time, CPU time of it and its children, peak memory.

A program of its own, started as `python -I -S measure.py RESULT PROGRAM ARGS…`: Linux counts the memory of the process
that forks into the child's peak, so the one that forks has to be smaller than anything that is measured.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main(result: str, argv: list[str]) -> None:
    """Writes one JSON object into the file `result`: seconds, bytes, the exit code."""
    begun = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        try:
            os.execv(argv[0], argv)
        finally:
            os._exit(127)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - begun
    cost = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss * 1024}
    with open(result, "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib would make this process larger
        json.dump(cost | {"code": os.waitstatus_to_exitcode(status)}, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
