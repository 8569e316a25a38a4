"""Tables, columns and types as they are now, and as queries that stand for what they will be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from alembic_job.gateways.evidence.reading import Reader, Untold
from alembic_job.rules.facts import Name
from alembic_job.rules.narrowing import TypeFacts
from alembic_job.rules.tree import to_name

With = dict[str, str]  # names in a WITH clause, and the queries that they stand for


@dataclass(frozen=True)
class Source:
    """A query of one table that is there now, `base`, in the middle: it may be sampled, or read without children."""

    head: str
    base: str
    tail: str = ""

    def sql(self, sample: str = "", only: bool = False) -> str:
        return f"{self.head}{'ONLY ' if only else ''}{self.base}{sample}{self.tail}"


@dataclass(frozen=True)
class Column:
    """A column at that point. `new`: it is not in the present table, so no value of it can be lost."""

    name: str
    number: int
    type: TypeFacts
    type_oid: int = 0
    not_null: bool = False
    generated: bool = False
    new: bool = False


@dataclass
class Table:
    """A relation at that point. `source` is `None` as long as it surely has no rows.

    `vague` says why its rows are not known any more: an earlier statement changes them in a way that is not followed.
    """

    oid: int  # 0 if the list makes it
    name: Name
    label: str  # as people know it now: `public.users`
    kind: str  # relkind
    columns: dict[str, Column]
    source: Source | None = None
    primary: tuple[str, ...] = ()
    kin: tuple[int, ...] = ()  # ancestors and descendants
    was: Name = (None, "")  # its name in the catalogue
    vague: str = ""
    unproven: dict[str, Any] = field(default_factory=dict)  # constraints added NOT VALID, and what they ask

    @property
    def alias(self) -> str:
        return quote(self.name[1])

    @property
    def base(self) -> str:
        """Its present name in SQL."""
        return ".".join(quote(part) for part in self.was if part)

    def column(self, name: str) -> Column:
        """Raises `Untold` if there is none."""
        if name not in self.columns:
            raise Untold(f"there is no column {name}")
        return self.columns[name]

    def layer(self, changed: Mapping[str, str], where: str = "", alias: str = "", using: With | None = None) -> None:
        """From now on columns are given by these expressions, and only rows for which `where` holds are left."""
        if self.source is None:
            return
        columns = ", ".join(f"{changed.get(name, quote(name))} AS {quote(name)}" for name in self.columns)
        tail = f"{self.source.tail}) AS {alias or self.alias}{f' WHERE {where}' if where else ''}"
        self.source = Source(
            f"{with_clause(using or {})}SELECT {columns} FROM ({self.source.head}", self.source.base, tail
        )

    def rename(self, old: str, new: str) -> None:
        """A column is called otherwise from now on."""
        column = replace(self.column(old), name=new)
        self.columns = {(new if name == old else name): one for name, one in self.columns.items()} | {new: column}
        self.primary = tuple(new if name == old else name for name in self.primary)
        self.layer({new: quote(old)})


def with_clause(used: With) -> str:
    """The WITH that makes an expression's tables known; empty if it has none."""
    listed = ", ".join(f"{name} AS NOT MATERIALIZED ({query})" for name, query in used.items())
    return f"WITH {listed} " if listed else ""


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def label(*parts: str | None) -> str:
    """For people: quoted only where it must be."""
    return ".".join(part if re.fullmatch(r"[a-z_][a-z0-9_$]*", part) else quote(part) for part in parts if part)


def split(text: str) -> Name:
    """A name as SQL has it, into schema (or none) and name."""
    found = re.findall(r'"((?:[^"]|"")*)"|([^."]+)', text)
    return to_name([(quoted.replace('""', '"') if quoted else plain) for quoted, plain in found])


# A type's facts: those of an array's elements, and a domain's base.
_FACTS = """pg_catalog.format_type(t.oid, {typmod}), coalesce(e.typname, b.typname, t.typname)::text,
    coalesce(e.typtype, t.typtype)::text, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE {typmod} END,
    (SELECT array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_catalog.pg_enum
        WHERE enumtypid = coalesce(e.oid, t.oid)), e.oid IS NOT NULL"""
_KINDS = """LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
    LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype"""
TYPE_NAMED = (
    f"SELECT n.nspname::text, {_FACTS.format(typmod=-1)} FROM pg_catalog.pg_type t {_KINDS}"
    " JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.typname = %s AND n.nspname = ANY (%s::name[])"
)
_COLUMNS = (
    "SELECT a.attname::text, a.attnum, coalesce(b.oid, t.oid)::int8, a.attnotnull, a.attgenerated <> '',"
    f" {_FACTS.format(typmod='a.atttypmod')}, pg_catalog.format_type(b.oid, t.typtypmod)"
    f" FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid {_KINDS}"
    " WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
)
_RELATION = """WITH RECURSIVE up(oid) AS (SELECT inhparent FROM pg_catalog.pg_inherits WHERE inhrelid = %(oid)s
        UNION SELECT inhparent FROM up JOIN pg_catalog.pg_inherits ON inhrelid = up.oid),
    down(oid) AS (SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = %(oid)s
        UNION SELECT inhrelid FROM down JOIN pg_catalog.pg_inherits ON inhparent = down.oid)
    SELECT n.nspname::text, c.relname::text, c.relkind::text,
        ARRAY(SELECT oid::int8 FROM up UNION SELECT oid::int8 FROM down),
        (SELECT indkey::int2[] FROM pg_catalog.pg_index WHERE indrelid = c.oid AND indisprimary)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %(oid)s"""


def type_facts(row: tuple[Any, ...]) -> TypeFacts:
    text, name, kind, typmod, labels, is_array = row
    return TypeFacts(text, name, kind, typmod, None if labels is None else tuple(labels), is_array)


def _of_base(facts: TypeFacts, base: str | None) -> TypeFacts:
    """A column of a domain counts as one of the domain's base: its values fulfil the domain already."""
    return replace(facts, text=base, kind="b") if facts.kind == "d" and base else facts


def loaded(reader: Reader, oid: int) -> Table:
    found = reader.rows(_RELATION, {"oid": oid})  # type: ignore[arg-type]
    if not found:
        raise Untold("it is not there any more")
    [[schema, name, kind, kin, primary]] = found
    columns = [
        Column(row[0], row[1], _of_base(type_facts(row[5:11]), row[11]), row[2], row[3], row[4])
        for row in reader.rows(_COLUMNS, (oid,))
    ]
    listed = ", ".join(quote(column.name) for column in columns)
    keys = tuple(column.name for number in primary or () for column in columns if column.number == number)
    return Table(
        oid,
        (schema, name),
        label(schema, name),
        kind,
        {column.name: column for column in columns},
        Source(f"SELECT {listed} FROM ", f"{quote(schema)}.{quote(name)}"),
        keys,
        tuple(kin),
        was=(schema, name),
    )
