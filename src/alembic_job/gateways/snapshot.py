"""What a database holds at one moment, as its dump shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from alembic_job import dump_arguments
from alembic_job.gateways import postgres

# What pg_dump must have written: tables of every kind that holds or routes rows, but those of extensions.
_TABLES = """
    SELECT c.oid::int8, quote_ident(n.nspname) || '.' || quote_ident(c.relname), n.nspname::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')
    ORDER BY 2"""
# Alembic's version tables, whatever they are called: the one column gives them away.
_VERSION_TABLES = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, 'SELECT')
    AND (SELECT array_agg(a.attname::text) FROM pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) = ARRAY['version_num']
    ORDER BY 1, 2"""
# The columns differ from PostgreSQL 14 to 18, so the row is fetched as JSON.
_LOCALE = """
    SELECT pg_encoding_to_char(encoding), to_jsonb(d) FROM pg_database d WHERE datname = current_database()"""


class Snapshot:
    """What the database holds at one moment, which the dump then shows too. Open it as long as pg_dump runs.

    Without the schemas that pg_dump's `arguments` leave out.
    """

    def __init__(self, connection: Connection, arguments: Sequence[str]) -> None:
        self._connection, self._arguments = connection, arguments

    def __enter__(self) -> Self:
        ask = self._connection
        self.identity = postgres.identity(ask)
        postgres.query(ask, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        [[self.snapshot]] = postgres.query(ask, "SELECT pg_export_snapshot()")
        [[self.database, self.version, self.size]] = postgres.query(
            ask,
            "SELECT current_database(), current_setting('server_version_num')::int,"
            " pg_database_size(current_database())",
        )
        self.tables: dict[int, str] = {
            oid: name for oid, name, schema in postgres.query(ask, _TABLES) if self._is_in(schema)
        }
        self.revisions = {f"{schema}.{name}": self._heads(schema, name) for schema, name in self._version_tables()}
        [[encoding, row]] = postgres.query(ask, _LOCALE)
        self.locale: dict[str, str | None] = {
            "encoding": encoding,
            "provider": row.get("datlocprovider"),
            "collate": row["datcollate"],
            "ctype": row["datctype"],
            "locale": row.get("datlocale", row.get("daticulocale")),
        }
        return self

    def __exit__(self, *_: object) -> None:
        if not self._connection.closed:
            postgres.query(self._connection, "ROLLBACK")

    def release(self, lock_class: int, name: str) -> None:
        """Lets the server vacuum again, pg_dump being done; the lock on that name is kept until the end."""
        postgres.query(self._connection, "SELECT pg_advisory_lock(%s, hashtext(%s))", lock_class, name)
        postgres.query(self._connection, "ROLLBACK")

    def _is_in(self, schema: str) -> bool:
        return not dump_arguments.excludes(self._arguments, schema)

    def _version_tables(self) -> list[tuple[str, str]]:
        found = postgres.query(self._connection, _VERSION_TABLES)
        return [(schema, name) for schema, name in found if self._is_in(schema)]

    def _heads(self, schema: str, name: str) -> list[str]:
        statement = sql.SQL("SELECT version_num::text FROM {} ORDER BY 1").format(sql.Identifier(schema, name))
        return [head for [head] in postgres.query(self._connection, statement.as_string(self._connection))]
