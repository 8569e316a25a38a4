"""While env.py is loaded only to learn where its version tables are, nothing it executes changes or locks anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic_job.gateways.seal import Sealed

_CHANGES = re.compile(
    r"(^|;)\s*(--[^\n]*\n\s*|/\*.*?\*/\s*)*"
    r"(CREATE|ALTER|DROP|COMMENT|GRANT|REVOKE|INSERT|UPDATE|DELETE|MERGE|TRUNCATE|LOCK|CALL|DO|REFRESH|REINDEX)\b",
    re.IGNORECASE | re.DOTALL,
)
_LOCKS = re.compile(r"\bpg_(try_)?advisory_", re.IGNORECASE)
# In the transaction only: through a pooler somebody else has the session next. The five seconds are for locks that
# cannot be told from the text; a thousand pods must not each keep a connection in the queue behind a migration.
_MODEST = "SELECT set_config('transaction_read_only', 'on', true), set_config('lock_timeout', '5s', true)"


@contextmanager
def only_looking() -> Iterator[None]:
    """While it is open, transactions of every SQLAlchemy engine are read-only and do not wait long for locks.

    What env.py does before it migrates in earnest (CREATE SCHEMA IF NOT EXISTS, an advisory lock of its own) would
    fail then: it is not executed, and looks as if it had succeeded.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def begin(connection: Any) -> None:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(_MODEST)

    def before_cursor_execute(
        connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        if connection.dialect.name == "postgresql" and (_CHANGES.search(statement) or _LOCKS.search(statement)):
            return "SELECT true", ()
        return statement, parameters

    event.listen(Engine, "begin", begin)
    event.listen(Engine, "before_cursor_execute", before_cursor_execute, retval=True)
    try:
        yield
    finally:
        event.remove(Engine, "begin", begin)
        event.remove(Engine, "before_cursor_execute", before_cursor_execute)


@contextmanager
def nobody_reached() -> Iterator[None]:
    """While it is open, no SQLAlchemy engine connects: it raises `Sealed`."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def refuse(*_: Any) -> None:
        raise Sealed("it connects to a database")

    event.listen(Engine, "do_connect", refuse)
    try:
        yield
    finally:
        event.remove(Engine, "do_connect", refuse)
