"""The rows of a scratch database as marks, by which they can be compared without being known."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job.gateways import databases
from alembic_job.gateways.postgres import query
from alembic_job.rules.row_changes import Rows

# Partitions' rows are their root's. None of tables that are elsewhere.
_TABLES = """
    SELECT n.nspname::text, c.relname::text, c.relkind::text,
           (SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}') FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
           (SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}') FROM pg_index i
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
            WHERE i.indrelid = c.oid AND i.indisprimary)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> %s
    AND NOT EXISTS (SELECT FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid WHERE l.relkind = 'f')
    ORDER BY 1, 2"""
_SESSION = """
    SET search_path = pg_catalog; SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres';
    SET bytea_output = 'hex'; SET extra_float_digits = 1; SET lc_monetary = 'C'; SET lock_timeout = '60s'"""


def rows_of(connection: Connection, own_schema: str, without: Collection[tuple[str, str]]) -> dict[str, Rows]:
    """By table, but for the job's own schema and these (schema, name). Closes the connection.

    Raises `psycopg2.Error`.
    """
    with closing(connection):
        query(connection, _SESSION)
        found = query(connection, _TABLES, own_schema)
        return {
            f"{schema}.{name}": _rows(connection, schema, name, kind == "r", columns, key)
            for schema, name, kind, columns, key in found
            if (schema, name) not in without
        }


def _rows(connection: Connection, schema: str, name: str, only: bool, columns: list[str], key: list[str]) -> Rows:
    marks = [sql.SQL("hashtextextended({}::text, 0)").format(sql.Identifier(column)) for column in columns]
    table = sql.Identifier(schema, name)
    what = sql.SQL("SELECT {} FROM {}{}").format(sql.SQL(", ").join(marks), sql.SQL("ONLY " if only else ""), table)
    found = query(connection, databases.filled(connection, "{}", what))
    return Rows(tuple(columns), tuple(key), tuple(found))
