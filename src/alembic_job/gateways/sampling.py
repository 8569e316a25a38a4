"""Some rows of each table of a database, with all that they refer to: taken to files, and put into a scratch database.

Read in one transaction that is read only. The files hold people's data: they belong into a folder that goes away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.errors import Refused
from alembic_job.gateways.databases import filled
from alembic_job.gateways.postgres import query

_MOST = 100  # times as many rows of a table as asked for: then its rows refer to ever more of each other
_BATCH = 2_000  # rows a statement
# Nothing waits for long, nor does a statement run for long; rows are never hidden; values are written as pg_dump does.
_SESSION = """
    SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '2min'; SET LOCAL row_security = off;
    SET LOCAL search_path = pg_catalog; SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres';
    SET LOCAL extra_float_digits = 3; SET LOCAL lc_monetary = 'C'"""
_TABLES = """
    SELECT c.oid::int8, coalesce(pg_partition_root(c.oid), c.oid)::int8, n.nspname::text, c.relname::text,
           c.relkind::text, c.reltuples::float8,
           (SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}') FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> %s
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')
    ORDER BY 3, 4"""
# Of a table's foreign key to a partitioned one there are further rows, to each of the partitions: these are left out.
_KEYS = """
    SELECT k.conrelid::int8, k.confrelid::int8,
           (SELECT array_agg(a.attname::text ORDER BY u.place) FROM unnest(k.conkey) WITH ORDINALITY u (number, place)
            JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number),
           (SELECT array_agg(a.attname::text ORDER BY u.place) FROM unnest(k.confkey) WITH ORDINALITY u (number, place)
            JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number),
           (SELECT array_agg(n.nspname::text ORDER BY u.place) FROM unnest(k.conpfeqop) WITH ORDINALITY u (oid, place)
            JOIN pg_operator o ON o.oid = u.oid JOIN pg_namespace n ON n.oid = o.oprnamespace),
           (SELECT array_agg(o.oprname::text ORDER BY u.place) FROM unnest(k.conpfeqop) WITH ORDINALITY u (oid, place)
            JOIN pg_operator o ON o.oid = u.oid)
    FROM pg_constraint k
    WHERE k.contype = 'f' AND NOT EXISTS (
        SELECT FROM pg_constraint whole WHERE whole.oid = k.conparentid AND whole.conrelid = k.conrelid)"""
_SEQUENCES = """
    SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'S' AND n.nspname !~ '^pg_' AND n.nspname <> %s
    AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT') END -- asked of nothing else
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')
    ORDER BY 1, 2"""
_VIEWS = """
    SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'm' AND NOT c.relispopulated ORDER BY c.oid"""


class _Table(NamedTuple):
    oid: int
    root: int
    schema: str
    name: str
    kind: str
    estimate: float
    columns: tuple[str, ...]

    @property
    def place(self) -> sql.Composable:
        """As it stands in FROM: rows of tables that inherit from it are those tables'."""
        only = sql.SQL("" if self.kind == "p" else "ONLY ")
        return sql.Composed([only, sql.Identifier(self.schema, self.name)])


class _Key(NamedTuple):
    """A foreign key: columns of both sides, and the operators by which they are compared: periods by overlap."""

    child: int
    parent: int
    columns: list[str]
    referred: list[str]
    operator_schemas: list[str]
    operators: list[str]

    def condition(self) -> sql.Composable:
        """That a row `p` is referred to by a row `c`."""
        texts = [
            sql.SQL("p.{} OPERATOR({}.{}) c.{}").format(
                sql.Identifier(referred), sql.Identifier(schema), sql.SQL(operator), sql.Identifier(column)
            )
            for referred, schema, operator, column in zip(
                self.referred, self.operator_schemas, self.operators, self.columns, strict=True
            )
        ]
        return sql.SQL(" AND ").join(texts)


class Taken(NamedTuple):
    """The rows of a table, in a file as COPY writes it; a partitioned table's are those of its partitions."""

    schema: str
    name: str
    columns: tuple[str, ...]
    file: Path
    rows: int


class Sample(NamedTuple):
    """What was taken; sequences with their last value, and whether that was given out."""

    tables: tuple[Taken, ...]
    sequences: tuple[tuple[str, str, int, bool], ...]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)


def take(connection: Connection, most: int, own_schema: str, folder: Path) -> Sample:
    """Takes up to so many rows of each table, and what they refer to, but nothing of the job's own schema.

    For a connection in a transaction, which is what is seen. Raises `Refused` (26) where rows refer to too many others,
    `psycopg2.Error`, and `OSError` where there is no room in the folder.
    """
    query(connection, _SESSION)
    return _Sampling(connection, most, own_schema).taken(folder)


class _Sampling:
    """The rows that are chosen: in each partition or table, by its oid, where they are stored."""

    def __init__(self, connection: Connection, most: int, own_schema: str) -> None:
        self._connection, self._most, self._own_schema = connection, most, own_schema
        found = [_Table._make((*row[:6], tuple(row[6]))) for row in query(connection, _TABLES, own_schema)]
        elsewhere = {table.root for table in found if table.kind == "f"}
        self._tables = {table.oid: table for table in found if table.root not in elsewhere}
        self._roots = [table for table in self._tables.values() if table.oid == table.root]
        self._keys: dict[int, list[_Key]] = {}
        for key in (_Key(*row) for row in query(connection, _KEYS)):
            if key.child in self._tables and key.parent in self._tables:
                self._keys.setdefault(key.child, []).append(key)
        self._chosen: dict[int, dict[str, None]] = {}
        self._counts: dict[int, int] = {}

    def taken(self, folder: Path) -> Sample:
        """The sentence: choose rows of each table, then what they refer to, and so on; write them."""
        fresh: dict[int, list[str]] = {}
        for table in self._roots:
            self._choose(self._first(table), fresh)
        while fresh:
            further: dict[int, list[str]] = {}
            for oid, places in fresh.items():
                for key in self._keys.get(oid, ()):
                    self._choose(self._referred(key, places), further)
            fresh = further
        tables = tuple(self._written(table, folder / f"{table.oid}.copy") for table in self._roots)
        return Sample(tables, tuple(self._sequences()))

    def _choose(self, rows: Iterable[tuple[int, str]], fresh: dict[int, list[str]]) -> None:
        """Adds rows; those that are new to `fresh` too."""
        for oid, place in rows:
            chosen = self._chosen.setdefault(oid, {})
            if place not in chosen:
                chosen[place] = None
                fresh.setdefault(oid, []).append(place)
                self._count(self._tables[self._tables[oid].root])

    def _count(self, root: _Table) -> None:
        counted = self._counts[root.oid] = self._counts.get(root.oid, 0) + 1
        if counted > max(_MOST * self._most, _MOST) and root.columns != ("version_num",):
            raise Refused(
                f"the rows that are copied refer to more than {counted - 1:,} rows of {root.schema}.{root.name}",
                hint="copy fewer by --data-rows, or rehearse on all of them: `alembic-job plan --rehearse`",
            )

    def _first(self, root: _Table) -> list[tuple[int, str]]:
        """Rows from all over the table, of each partition as many; all of a version table's."""
        if root.columns == ("version_num",):
            return self._found("SELECT tableoid::int8, ctid::text FROM {}", root.place)
        parts = [table for table in self._tables.values() if table.root == root.oid and table.kind == "r"]
        share = -(-self._most // max(len(parts), 1))
        found: dict[tuple[int, str], None] = {}
        for part in parts[: self._most]:
            found |= dict.fromkeys(self._some(part, share))
        if len(found) < self._most:
            found |= dict.fromkeys(self._some(root, self._most))
        return list(found)[: self._most]

    def _some(self, table: _Table, most: int) -> list[tuple[int, str]]:
        """Up to so many rows of a table, the same ones each time as long as it is not written to."""
        found: list[tuple[int, str]] = []
        if table.estimate > 4 * most:
            percent = 200 * most / table.estimate
            sampled = "SELECT tableoid::int8, ctid::text FROM {} TABLESAMPLE SYSTEM ({}) REPEATABLE (0) LIMIT {}"
            found = self._found(sampled, table.place, sql.Literal(percent), sql.Literal(most))
        if len(found) < most:
            text = "SELECT tableoid::int8, ctid::text FROM {} LIMIT {}"
            rest = self._found(text, table.place, sql.Literal(most))
            found = list(dict.fromkeys([*found, *rest]))[:most]
        return found

    def _referred(self, key: _Key, places: list[str]) -> Iterator[tuple[int, str]]:
        child, parent = self._tables[key.child], self._tables[key.parent]
        text = "SELECT DISTINCT p.tableoid::int8, p.ctid::text FROM {} c JOIN {} p ON {} WHERE c.ctid = ANY ({}::tid[])"
        for batch in _batches(places):
            yield from self._found(text, child.place, parent.place, key.condition(), sql.Literal(batch))

    def _found(self, text: str, *parts: sql.Composable) -> list[tuple[int, str]]:
        return query(self._connection, filled(self._connection, text, *parts))

    def _written(self, root: _Table, file: Path) -> Taken:
        columns = sql.SQL(", ").join(map(sql.Identifier, root.columns))
        text = "COPY (SELECT {} FROM {} WHERE ctid = ANY ({}::tid[])) TO STDOUT WITH (ENCODING 'UTF8')"
        with file.open("wb") as writing, self._connection.cursor() as cursor:
            for oid, chosen in self._chosen.items():
                table = self._tables[oid]
                for batch in _batches(list(chosen)) if table.root == root.oid else ():
                    copy = filled(self._connection, text, columns, table.place, sql.Literal(batch))
                    cursor.copy_expert(copy, writing)
        return Taken(root.schema, root.name, root.columns, file, self._counts.get(root.oid, 0))

    def _sequences(self) -> Iterator[tuple[str, str, int, bool]]:
        for schema, name in query(self._connection, _SEQUENCES, self._own_schema):
            text = filled(self._connection, "SELECT last_value, is_called FROM {}", sql.Identifier(schema, name))
            [[last, called]] = query(self._connection, text)
            yield schema, name, last, called


def _batches(places: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(places), _BATCH):
        yield places[start : start + _BATCH]


def put(connection: Connection, sample: Sample) -> None:
    """Writes the rows into tables that have neither indexes nor foreign keys yet, and sets the sequences.

    Raises `Refused` (26) for rows that do not fit, without telling what is in them, and `psycopg2.Error`.
    """
    for table in sample.tables:
        if not table.rows or not table.columns:
            continue
        columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        place = sql.Identifier(table.schema, table.name)
        text = filled(connection, "COPY {} ({}) FROM STDIN WITH (ENCODING 'UTF8')", place, columns)
        with table.file.open("rb") as reading, connection.cursor() as cursor:
            try:
                cursor.copy_expert(text, reading)
            except (psycopg2.DataError, psycopg2.IntegrityError) as error:
                constraint = f" ({error.diag.constraint_name})" if error.diag.constraint_name else ""
                raise Refused(
                    f"rows of {table.schema}.{table.name} do not go into a copy: {type(error).__name__}{constraint}",
                    hint="rehearse on all rows: `alembic-job plan --rehearse`",
                ) from None
    for schema, name, last, called in sample.sequences:
        place = sql.Literal(sql.Identifier(schema, name).as_string(connection))
        query(
            connection, filled(connection, "SELECT setval({}, {}, {})", place, sql.Literal(last), sql.Literal(called))
        )


def refresh(connection: Connection) -> None:
    """Fills materialized views, as far as what they are made of is there."""
    found = query(connection, _VIEWS)
    for schema, name in found * 2:  # one may be made of a later one
        with suppress(psycopg2.DatabaseError):
            query(connection, filled(connection, "REFRESH MATERIALIZED VIEW {}", sql.Identifier(schema, name)))
