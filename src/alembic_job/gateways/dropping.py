"""What is in a project's schemas, and how all of it is dropped: but for extensions and the job's own tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.gateways.autogenerate import OWN_TABLES
from alembic_job.gateways.postgres import query
from alembic_job.rules.effect import Lock, Mode

COUNTED = 1_000_000  # rows of a table; more are not counted
_FOREIGN = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'"
_NO_MEMBER = (
    "NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = '{0}'::regclass AND d.objid = o.oid AND d.objsubid = 0"
    " AND d.deptype = ANY('{{{1}}}'))"
)
# An extension's, or a part of something else (a range type's functions), which goes with that; of relations this is
# not to be asked: a composite type's is such a part.
_ROUTINES_OWN, _TYPES_OWN = _NO_MEMBER.format("pg_proc", "e,i"), _NO_MEMBER.format("pg_type", "e,i")
_RELATIONS = f"""
    SELECT o.oid::int8, quote_ident(n.nspname) || '.' || quote_ident(o.relname), o.relkind::text
    FROM pg_class o JOIN pg_namespace n ON n.oid = o.relnamespace
    WHERE n.nspname = ANY(%s) AND o.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
    AND {_NO_MEMBER.format("pg_class", "e")} AND NOT (n.nspname = %s AND o.relname = ANY(%s)) ORDER BY 2"""
_ROUTINES = f"""
    SELECT o.oid::regprocedure::text FROM pg_proc o JOIN pg_namespace n ON n.oid = o.pronamespace
    WHERE n.nspname = ANY(%s) AND {_ROUTINES_OWN} ORDER BY 1"""
_TYPES = f"""
    SELECT quote_ident(n.nspname) || '.' || quote_ident(o.typname) FROM pg_type o JOIN pg_namespace n
    ON n.oid = o.typnamespace WHERE n.nspname = ANY(%s) AND o.typtype IN ('e', 'd', 'r')
    AND {_TYPES_OWN} ORDER BY 1"""
_VERSION_TABLES = """
    SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(%s) AND c.relkind = 'r' AND (SELECT array_agg(a.attname::text) FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) = '{version_num}' ORDER BY 1"""
_OTHER_SCHEMAS = f"""
    SELECT n.nspname::text, count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_FOREIGN} AND n.nspname <> ALL(%s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') GROUP BY 1 ORDER BY 1"""
# What CASCADE could reach outside of these schemas.
_OUTSIDE = f"""
    WITH rel AS (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE {_FOREIGN} AND n.nspname <> ALL(%s)),
    all_ (classid, objid, objsubid) AS (
        SELECT 'pg_class'::regclass::oid, oid, 0 FROM rel
        UNION ALL SELECT 'pg_class'::regclass, attrelid, attnum FROM pg_attribute
        WHERE attrelid IN (SELECT oid FROM rel) AND attnum > 0 AND NOT attisdropped
        UNION ALL SELECT 'pg_attrdef'::regclass, oid, 0 FROM pg_attrdef WHERE adrelid IN (SELECT oid FROM rel)
        UNION ALL SELECT 'pg_constraint'::regclass, oid, 0 FROM pg_constraint WHERE conrelid IN (SELECT oid FROM rel)
        UNION ALL SELECT 'pg_trigger'::regclass, oid, 0 FROM pg_trigger
        WHERE tgrelid IN (SELECT oid FROM rel) AND NOT tgisinternal
        UNION ALL SELECT 'pg_policy'::regclass, oid, 0 FROM pg_policy WHERE polrelid IN (SELECT oid FROM rel)
        UNION ALL SELECT 'pg_proc'::regclass, p.oid, 0 FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE {_FOREIGN} AND n.nspname <> ALL(%s)
        UNION ALL SELECT 'pg_type'::regclass, t.oid, 0 FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE {_FOREIGN} AND n.nspname <> ALL(%s)
        UNION ALL SELECT 'pg_event_trigger'::regclass, oid, 0 FROM pg_event_trigger
        UNION ALL SELECT 'pg_extension'::regclass, oid, 0 FROM pg_extension)
    SELECT concat_ws('/', classid, objid, objsubid), pg_describe_object(classid, objid, objsubid) FROM all_"""
_KINDS = {"v": "VIEW", "m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE", "S": "SEQUENCE", "c": "TYPE"}


class Survey(NamedTuple):
    """What is in `schemas`. `rows` counts those of each table, at most `COUNTED`; names are qualified and quoted.

    `relations` maps names to oid and `pg_class.relkind`; `version_tables` are `schema.name`; `elsewhere` says how many
    relations other schemas have.
    """

    schemas: tuple[str, ...]
    relations: dict[str, tuple[int, str]]
    rows: dict[str, int]
    routines: tuple[str, ...]
    types: tuple[str, ...]
    version_tables: tuple[str, ...]
    elsewhere: dict[str, int]

    def of_kind(self, *kinds: str) -> list[str]:
        return [name for name, (_, kind) in self.relations.items() if kind in kinds]

    @property
    def locks(self) -> tuple[Lock, ...]:
        """What must be locked before anything is dropped, as far as it can be."""
        return tuple(
            Lock(oid, name, kind, Mode.ACCESS_EXCLUSIVE) for name, (oid, kind) in self.relations.items() if kind in "rp"
        )

    @property
    def statements(self) -> list[str]:
        """The statements that drop all of it."""
        found = [_drop(word, self.of_kind(kind)) for kind, word in _KINDS.items() if kind in "vmf"]
        found.append(_drop("TABLE", self.of_kind("r", "p")))
        found += [_drop("SEQUENCE", self.of_kind("S")), _drop("ROUTINE", self.routines)]
        found.append(_drop("TYPE", [*self.of_kind("c"), *self.types]))
        return [statement for statement in found if statement]


def _drop(word: str, names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"DROP {word} IF EXISTS {listed} CASCADE" if listed else ""


def survey(connection: Connection, schemas: Iterable[str], own_schema: str, *, counted: bool) -> Survey:
    """Looks what there is, and counts the rows where that is wanted. Raises `psycopg2.Error`."""
    names = sorted(set(schemas))
    relations = {
        name: (oid, kind) for oid, name, kind in query(connection, _RELATIONS, names, own_schema, sorted(OWN_TABLES))
    }
    tables = [name for name, (_, kind) in relations.items() if kind in "rp"] if counted else []
    return Survey(
        tuple(names),
        relations,
        {name: _count(connection, name) for name in tables},
        tuple(name for [name] in query(connection, _ROUTINES, names)),
        tuple(name for [name] in query(connection, _TYPES, names)),
        tuple(name for [name] in query(connection, _VERSION_TABLES, names)),
        dict(query(connection, _OTHER_SCHEMAS, [*names, own_schema])),
    )


def _count(connection: Connection, table: str) -> int:
    [[count]] = query(connection, f"SELECT count(*) FROM (SELECT FROM ONLY {table} LIMIT {COUNTED}) counted")
    return int(count)


def lock_statement(locks: Iterable[Lock]) -> str:
    """One statement that takes all of these, or none, and waits for none."""
    listed = ", ".join(f"ONLY {lock.name}" for lock in locks)
    return f"LOCK TABLE {listed} IN ACCESS EXCLUSIVE MODE NOWAIT"


def outside(connection: Connection, schemas: Iterable[str]) -> dict[str, str]:
    """What there is outside of these schemas: a key for each object → what it is, for people."""
    names = list(schemas)
    return dict(query(connection, _OUTSIDE, names, names, names))


def refused(error: BaseException) -> bool:
    """True if a lock was not free."""
    return isinstance(error, psycopg2.errors.LockNotAvailable | psycopg2.errors.DeadlockDetected)
