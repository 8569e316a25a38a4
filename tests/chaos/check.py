"""What must hold after a fault: the database is at a boundary, and which boundaries there are."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg2

from tests.chaos.projects import Kind, Part
from tests.conftest import Database


class Broken(AssertionError):
    """Something that must hold does not."""


@dataclass(frozen=True)
class State:
    """What a database holds: schema as of pg_dump, rows of the version table, rows of every table as text."""

    schema: str
    version: tuple[str, ...]
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Boundary:
    """A state a dead run may leave. `unfinished` are indexes that may be there, INVALID, besides."""

    name: str
    state: State
    unfinished: tuple[str, ...] = ()


def state_of(database: Database) -> State:
    """Reads the state; only of use while nobody works on the database."""
    return State(database.schema(), versions(database), _rows(database))


def versions(database: Database) -> tuple[str, ...]:
    try:
        return tuple(row for [row] in database.query("SELECT version_num FROM alembic_version ORDER BY 1"))
    except psycopg2.errors.UndefinedTable:
        return ()


def _rows(database: Database) -> tuple[str, ...]:
    tables = database.query(
        "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    )
    found: list[str] = []
    for [table] in tables:
        found += [f"{table}: {row}" for [row] in database.query(f"SELECT t::text FROM {table} t")]
    return tuple(sorted(found))


def invalid_indexes(database: Database) -> tuple[str, ...]:
    rows = database.query("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1")
    return tuple(name for [name] in rows)


def consistent(database: Database, boundaries: Sequence[Boundary]) -> Boundary:
    """The boundary at which the database is. Raises `Broken`, which says how it differs from the nearest one."""
    state, invalid = state_of(database), invalid_indexes(database)
    for boundary in boundaries:
        if boundary.state == state and set(invalid) <= set(boundary.unfinished):
            return boundary
    raise Broken(f"the database is at no boundary; {_difference(state, invalid, boundaries)}")


def complete(database: Database, boundaries: Sequence[Boundary]) -> None:
    """Raises `Broken` unless the database is at the last boundary, with nothing half done."""
    state, invalid = state_of(database), invalid_indexes(database)
    if invalid:
        raise Broken(f"after the last run these indexes are INVALID: {', '.join(invalid)}")
    if state != boundaries[-1].state:
        raise Broken(f"after the last run the database differs; {_difference(state, invalid, boundaries[-1:])}")


def _difference(state: State, invalid: tuple[str, ...], boundaries: Sequence[Boundary]) -> str:
    nearest = min(boundaries, key=lambda boundary: len(_lines(boundary.state, state)))
    lines = _lines(nearest.state, state)[:20]
    return f"nearest is {nearest.name!r}; version {state.version}, INVALID {invalid}\n" + "\n".join(lines)


def _lines(expected: State, found: State) -> list[str]:
    """How two states differ, a line each."""
    before, after = ([*f"version {s.version}\n{s.schema}".splitlines(), *s.rows] for s in (expected, found))
    lines = difflib.unified_diff(before, after, lineterm="", n=0)
    return [line for line in lines if not line.startswith(("@@", "---", "+++"))]


def inner_boundaries(database: Database, before: str, parts: tuple[Part, ...]) -> list[Boundary]:
    """The states in the middle of a revision with an autocommit block, by executing it in a database at `before`.

    What comes last in a transaction is committed with the version, so it has no state of its own.
    """
    found: list[Boundary] = []
    for number, part in enumerate(parts):
        if part.autocommit:
            for done, statement in enumerate(part.statements, 1):
                database.execute(statement)
                following = part.statements[done : done + 1]
                unfinished = _indexes((*following, *(s for s in (statement,) if s.startswith("DROP"))))
                found.append(Boundary(f"{before} and the block up to {statement!r}", state_of(database), unfinished))
        elif number + 1 < len(parts):
            database.execute("; ".join(("BEGIN", *part.statements, "COMMIT")))
            unfinished = _indexes(parts[number + 1].statements[:1])
            found.append(Boundary(f"{before} and what precedes the block", state_of(database), unfinished))
    return found


def _indexes(statements: Sequence[str]) -> tuple[str, ...]:
    """The indexes that these statements build or drop CONCURRENTLY."""
    return tuple(found[1] for found in (re.search(r"INDEX CONCURRENTLY (\w+)", s) for s in statements) if found)


def first_block(kind: Kind, revision: int) -> tuple[str, ...]:
    """Indexes that may be INVALID once revision number `revision` (from 0) is the next, and begins with a block."""
    if revision >= len(kind.revisions) or not kind.revisions[revision][0].autocommit:
        return ()
    return _indexes(kind.revisions[revision][0].statements[:1])
