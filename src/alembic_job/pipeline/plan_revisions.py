"""The plan of one version table: its pending revisions rendered, and judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2.extensions import connection as Connection

from alembic_job.gateways import engines, postgres
from alembic_job.gateways.answers import Answers
from alembic_job.gateways.catalogue import literal
from alembic_job.gateways.history import History
from alembic_job.gateways.parser import library
from alembic_job.gateways.rendering import Rendered, Renderer, Tape
from alembic_job.model import VersionTable
from alembic_job.pipeline.plan_judging import Session, judged
from alembic_job.rules.plan import BY_NOW, NOT_RENDERED, OFFLINE, PlannedRevision
from alembic_job.settings import Settings
from alembic_job.steps import preflight

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

_NAME = "alembic-job plan"
_SESSION = """
    SELECT current_setting('search_path'), current_user::text, session_user::text,
        coalesce(current_schema()::text, 'public'), EXISTS (SELECT FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relname = 'steps')"""


class Planner:
    """Plans the revisions of one version table; `context` is env.py's, with the project's connection."""

    def __init__(self, context: MigrationContext, arguments: dict[str, Any], table: VersionTable, settings: Settings):
        self._context, self._arguments, self._table, self._settings = context, arguments, table, settings
        self._beside: Connection | None = None
        self._stack = ExitStack()
        self._refused = False  # there is no connection to be had
        self.notes: list[str] = []

    def planned(
        self, steps: list[Any], described: list[dict[str, Any]], *, bookkeeping: bool
    ) -> tuple[PlannedRevision, ...]:
        """What these steps of Alembic's would do; `described` has revision, message and file of each."""
        with self._stack, preflight.kept_transaction(self._context):
            session, has_history = self._session()
            rendered: list[Rendered] = []
            statements = judged(self._rendered([step.revision for step in steps], session, rendered), session)
            took = self._history() if has_history else {}
            updates = version_updates(self._context, steps) if bookkeeping else [()] * len(steps)
        rows = zip(described, rendered, statements, updates, steps, strict=True)
        return tuple(
            PlannedRevision(
                **names,
                rendered=NOT_RENDERED if each.reason else BY_NOW if each.kind == "now" else OFFLINE,
                reason=each.reason,
                statements=found.statements,
                notes=found.notes,
                took=took.get(names["revision"]),
                bookkeeping=update,
                follows=tuple(step.revision._all_down_revisions),
            )
            for names, each, found, update, step in rows
        )

    def _session(self) -> tuple[Session, bool]:
        """And whether there is a history."""
        query = _SESSION.format(literal(self._settings.history_schema))
        [[path, user, login, schema, has_history]] = self._ask(query)
        settings = {"search_path": path, **({"role": user} if user != login else {})}
        version_table = (self._table.schema, self._table.name)
        return Session(self._ask, schema, settings, version_table, self._connection), has_history

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return preflight.ask(self._context, sql)

    def _rendered(self, scripts: list[Any], session: Session, found: list[Rendered]) -> Iterator[Rendered]:
        """Each script's upgrade, as soon as the child has it; also collected in `found`."""
        answers = Answers(self._connected, session.settings)
        self._stack.callback(answers.close)
        reply = answers.reply if self._has_grammar() else None
        renderer = Renderer(self._context, scripts, self._arguments, up=True, down=False, reply=reply)
        self._stack.callback(renderer.close)
        ready: dict[str, Rendered] = {}
        for script in scripts:
            ready |= {looked.revision: looked.up for looked in renderer.upto(script.revision)}
            found.append(ready.pop(script.revision))
            yield found[-1]

    def _has_grammar(self) -> bool:
        """True if statements can be read; else there is a note."""
        try:
            return bool(library())
        except LookupError as error:
            self.notes.append(f"what statements do cannot be told: {error}")
            return False

    def _connected(self) -> Connection:
        """A connection of our own to where the project's leads. Raises `psycopg2.Error`."""
        connection: Any = self._context.connection
        pooled = connection.connection
        driver = getattr(pooled, "dbapi_connection", None) or pooled.connection
        dsn = self._settings.login(engines._established(driver))
        opened = postgres.connect(dsn, _NAME)
        self._stack.callback(opened.close)
        return opened

    def _connection(self) -> Connection | None:
        """One for figures; `None`, with a note, if there is none to be had."""
        if self._beside is None and not self._refused:
            try:
                self._beside = self._connected()
            except psycopg2.Error as error:
                self._refused = True
                self.notes.append(f"nothing is counted: {' '.join(str(error).split())}")
        return self._beside

    def _history(self) -> dict[str, float]:
        connection = self._connection()
        if connection is None:
            return {}
        return History(connection, self._settings.history_schema, self._table.label).seconds()


def version_updates(context: MigrationContext, steps: list[Any]) -> list[tuple[str, ...]]:
    """What Alembic does to the version table after each step, as SQL."""
    from alembic.runtime.migration import HeadMaintainer

    tape = Tape(context)
    heads = HeadMaintainer(tape.context, context.get_current_heads())
    return [_written(tape, partial(heads.update_to_step, step)) for step in steps]


def version_table_made(context: MigrationContext) -> tuple[str, ...]:
    """What makes the version table, as SQL."""
    tape = Tape(context)
    made: Any = tape.context
    return _written(tape, partial(made._version.create, made.connection))


def _written(tape: Tape, run: Callable[[], Any]) -> tuple[str, ...]:
    return tuple(each.sql for each in tape.recorded(run).statements)
