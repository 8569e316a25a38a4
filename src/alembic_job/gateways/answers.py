"""Answers to what migrations ask while their SQL is rendered: by one connection that can only read.

All of it is of one moment: a transaction that is READ ONLY and REPEATABLE READ. What is no plain query is not executed:
several statements in one text, changes within a WITH, calls of functions that may change something. After each answer
its locks are given back, by going back to a savepoint.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2 import extras
from psycopg2.extensions import connection as Connection

from alembic_job.gateways.catalogue import literal
from alembic_job.gateways.parser import NotParsed, parse
from alembic_job.gateways.postgres import is_proxied, query
from alembic_job.rules.statement import ParsedStatement
from alembic_job.rules.tree import called, nodes, option

_BUDGET = 60.0  # seconds for all questions
_BOUNDS = "SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '2s'"
_CHANGES = ("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "IntoClause", "intoClause")
# They change nothing, though the catalogue calls them volatile.
_HARMLESS = frozenset(
    """random clock_timestamp timeofday gen_random_uuid uuidv4 uuidv7 currval lastval pg_relation_size pg_table_size
    pg_indexes_size pg_total_relation_size pg_database_size pg_relation_filepath""".split()
)


class Answers:
    """`reply` is for `gateways.online`, in another process. `settings` are the session's, such as `search_path`."""

    def __init__(self, opened: Callable[[], Connection], settings: dict[str, str]) -> None:
        """`opened` gives a connection of our own, once there is a question."""
        self._opened, self._settings = opened, settings
        self._connection: Connection | None = None
        self._volatile: dict[str, bool] = {}
        self._left = _BUDGET

    def reply(self, request: bytes) -> bytes:
        """To a pickled pair of SQL and parameters, a pickled tuple: `rows` with description and rows, `error` with
        SQLSTATE and text, or `changes` with the text of a statement that was not executed.

        The request is made by a fork of this process, which runs no code but what this one has loaded, too.
        """
        sql, parameters = pickle.loads(request)
        begun = time.monotonic()
        try:
            answer = self._answer(sql, parameters)
        except psycopg2.Error as error:
            answer = ("error", error.pgcode, " ".join(str(error).split()))
        self._left -= time.monotonic() - begun
        return pickle.dumps(answer)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _answer(self, sql: str, parameters: Any) -> tuple[Any, ...]:
        connection = self._begun()
        with connection.cursor() as cursor:
            text = sql if parameters is None else cursor.mogrify(sql, parameters).decode()
            if not self._is_query(connection, text):
                return ("changes", text)
            if self._left <= 0:
                return ("error", "57014", f"its questions take more than {_BUDGET:g} s")
            cursor.execute("SAVEPOINT asked")
            try:
                cursor.execute(text)
                description = [(column.name, column.type_code) for column in cursor.description or ()]
                return ("rows", description, [tuple(map(_plain, row)) for row in cursor.fetchall()])
            finally:
                if not connection.closed:
                    cursor.execute("ROLLBACK TO SAVEPOINT asked; RELEASE SAVEPOINT asked")

    def _begun(self) -> Connection:
        if self._connection is None:
            connection = self._opened()
            if not is_proxied(connection):
                query(connection, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
            query(connection, f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_BOUNDS}")
            for name, value in self._settings.items():
                query(connection, f"SELECT set_config({literal(name)}, {literal(value)}, true)")
            extras.register_uuid(None, connection)
            self._connection = connection
        return self._connection

    def _is_query(self, connection: Connection, sql: str) -> bool:
        """True only if it is surely one statement that does nothing but read."""
        try:
            statements = parse(sql)
        except (NotParsed, LookupError):
            return False
        return len(statements) == 1 and _reads(statements[0]) and not self._may_change(connection, statements[0])

    def _may_change(self, connection: Connection, statement: ParsedStatement) -> bool:
        names = {name[1] for name in called(statement.node)} - _HARMLESS
        new = sorted(names - self._volatile.keys())
        if new:
            asked = (
                "SELECT DISTINCT proname::text FROM pg_catalog.pg_proc WHERE proname = ANY(%s) AND provolatile = 'v'"
            )
            volatile = {name for [name] in query(connection, asked, new)}
            self._volatile |= {name: name in volatile for name in new}
        return any(self._volatile[name] for name in names)


def _reads(statement: ParsedStatement) -> bool:
    if statement.kind == "VariableShowStmt":
        return True
    if statement.kind == "ExplainStmt":
        return not option(statement.node.get("options", []), "analyze")
    if statement.kind != "SelectStmt":
        return False
    return not any(next(nodes({"_": statement.node}, kind), None) is not None for kind in _CHANGES)


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value
