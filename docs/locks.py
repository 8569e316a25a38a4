"""Writes docs/reference/locks.md from the forms that the tests compare with real servers: `python -m docs.locks`.

`tests/rules/test_page.py` fails while the committed page differs from what is made here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
from tests.rules.forms import APART, FORMS, SETUP, Form

from alembic_job.gateways.catalogue import effect_of
from alembic_job.gateways.embedded import Server
from alembic_job.rules.effect import Effect, Mode

PAGE = Path(__file__).with_name("reference") / "locks.md"
SCHEMA = "f"

_INTRO = """<!-- Made by `python -m docs.locks`: change the forms in tests/rules, not this page. -->

# What a statement locks

What the job tells of each form of DDL, here on PostgreSQL 18. Tests run each form on real servers (16 and 18), and
compare the
locks with `pg_locks`, the tables written anew with `relfilenode`, and the tables read with the statistics.

- **locks**: the strongest on each relation that was there before, from SHARE UPDATE EXCLUSIVE on. SHARE and SHARE ROW
  EXCLUSIVE keep others from writing, ACCESS EXCLUSIVE from reading too. Left out are indexes of a table that is
  locked as
  strongly, and TOAST tables.
- **rewrites**, **reads**: tables written anew or read to the end while the lock is held; a rewrite builds the
  indexes again.
- Where **apart** says yes, PostgreSQL runs the statement only outside of a transaction.
- In the examples `orders` refers to `users`, `lines` to `orders`; `parts` (with `parts_1`, `parts_2`, `parts_2a`
  and the
  default `parts_d`), `events`, `days` and `spans` are partitioned; `base_child` inherits from `base`, `base_grand`
  from that; `seen` has views and a materialized view;
  `plain` has neither. What depends on the catalogue (is there a child, a foreign key, a proof by CHECK?) differs in
  your database.
- What event triggers, functions and the scripts of extensions do is not known. For DO, CALL, EXECUTE, CREATE
  EXTENSION, DROP OWNED and
  statements that visit a whole database the strongest is assumed.
- Whether a table need not be read by ATTACH PARTITION is a guess: valid CHECKs on the key with as many constants as the
  bound has. A change between `timestamp` and `timestamptz` counts as a rewrite, though in a session in UTC it is none.
"""


def page(execute: Callable[[str], list[tuple[Any, ...]]]) -> str:
    """The page, as a session tells it that has the forms' objects in its search path."""
    sections: dict[str, list[str]] = {}
    for form in [*FORMS, *APART]:
        [effect] = effect_of(form.sql.format(schema=SCHEMA), execute)
        sections.setdefault(_section(form.sql), []).append(_row(form, effect))
    head = "| statement | locks | rewrites | reads | apart |\n| - | - | - | - | - |\n"
    parts = [f"## {name}\n\n{head}" + "\n".join(rows) + "\n" for name, rows in sorted(sections.items())]
    return "\n".join([_INTRO, *parts])


def _section(sql: str) -> str:
    words = sql.removeprefix("CREATE OR REPLACE ").split()
    if words[0] == "ALTER" and words[1] in ("TABLE", "INDEX", "TYPE", "DOMAIN", "SEQUENCE"):
        return " ".join(words[:2])
    return words[0] if words[0] in _VERBS else "CREATE" if sql.startswith("CREATE") else "Others"


_VERBS = frozenset("ALTER CREATE DROP TRUNCATE COMMENT REINDEX VACUUM".split())


def _row(form: Form, effect: Effect) -> str:
    modes: dict[Mode, list[str]] = {}
    for lock in sorted(effect.locks, key=lambda lock: (-lock.mode, lock.name)):
        if lock.mode >= Mode.SHARE_UPDATE_EXCLUSIVE:
            modes.setdefault(lock.mode, []).append(_short(lock.name))
    locks = "; ".join(f"{mode.sql}: {', '.join(names)}" for mode, names in modes.items())
    statement = form.sql.format(schema=SCHEMA).replace("|", "\\|")
    since = f" (since {form.least})" if form.least > 14 else ""
    apart = "" if effect.transactional else "yes"
    return f"| `{statement}`{since} | {locks} | {_names(effect.rewrites)} | {_names(effect.scans)} | {apart} |"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(sorted(map(_short, names)))


def _short(name: str) -> str:
    return "`" + name.removeprefix(SCHEMA + ".") + "`"


def main() -> None:
    """Writes the page, with a server of its own."""
    with Server(18) as server:
        connection = psycopg2.connect(server.url())
        cursor = connection.cursor()
        cursor.execute(f"CREATE SCHEMA {SCHEMA}; SET search_path = {SCHEMA}, public;" + SETUP.format(schema=SCHEMA))

        def execute(sql: str) -> list[tuple[Any, ...]]:
            cursor.execute(sql)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

        PAGE.write_text(page(execute), encoding="utf-8")
        connection.close()


if __name__ == "__main__":
    main()
