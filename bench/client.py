"""One client of an application, as a program: short queries one after another, and how long each took.

Started as `python -I client.py` by `bench.load`: few imports, so that several of them start fast and stay small. The
first line of stdin is a JSON object: `url`, `number` (which of the clients), `rows` (how many rows are its own) and
`queries` (pairs of a kind and SQL with `%(key)s`). Writes `ready` once it works, runs until stdin ends, then writes a
JSON object: kind → list of [begun, took], in seconds of the system-wide monotonic clock.
"""

from __future__ import annotations

import gc
import json
import select
import sys
import time
from typing import Any

import psycopg2


def main() -> None:
    settings: dict[str, Any] = json.loads(sys.stdin.readline())
    gc.disable()  # its pauses would be taken for stalls
    first, rows = settings["number"] * settings["rows"] + 1, settings["rows"]
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind, _ in settings["queries"]}
    connection = psycopg2.connect(settings["url"])
    connection.autocommit = True
    with connection.cursor() as cursor:
        for _, query in settings["queries"]:  # what is slow only once
            cursor.execute(query, {"key": first})
        print("ready", flush=True)
        count = 0
        while not select.select([0], [], [], 0)[0]:
            kind, query = settings["queries"][count % len(settings["queries"])]
            begun = time.monotonic()
            cursor.execute(query, {"key": first + count * 7919 % rows})
            found[kind].append((begun, time.monotonic() - begun))
            count += 1
            time.sleep(0.002 + count % 4 / 1000)  # what an application does between queries
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
