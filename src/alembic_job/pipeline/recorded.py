"""Where the parts of an unfinished revision are recorded: in the job's own schema, on the run's own connection."""

from __future__ import annotations

from collections.abc import Callable

import psycopg2

from alembic_job.gateways import own_schema, unfinished
from alembic_job.gateways.unfinished import Key, Part
from alembic_job.logs.events import Log
from alembic_job.pipeline.session import Session
from alembic_job.settings import Settings


class Recorded:
    """`steps.parts.Store` for one revision. Without history, or the privileges for it, nothing is recorded."""

    def __init__(self, session: Session, settings: Settings, key: Key, version: Callable[[], str], log: Log) -> None:
        """`version` gives the fingerprint of the version table."""
        self._session, self._policy, self._schema = session, settings.history, settings.history_schema
        self._key, self._fingerprint, self._log = key, version, log
        self._version: str | None = None
        self.on = settings.history != "off"

    def load(self) -> list[Part]:
        found: list[Part] = []

        def read() -> None:
            found.extend(unfinished.parts(self._session.connection, self._schema, self._key, self._rows()))

        self._try(read)
        return found

    def _rows(self) -> str:
        """The version table's fingerprint, which stays as it is until the revision is finished."""
        if self._version is None:
            self._version = self._fingerprint()
        return self._version

    def begin(self, parts: list[Part], xid: str | None) -> None:
        def write() -> None:
            unfinished.make(self._session.connection, self._schema)
            run_id = self._session.run.run_id
            unfinished.begin(self._session.connection, self._schema, self._key, run_id, self._rows(), xid, parts)

        self._try(write)

    def done(self, part: Part) -> None:
        self._try(lambda: unfinished.done(self._session.connection, self._schema, self._key, part.position, part.rows))

    def forget(self, part: Part) -> None:
        self._try(lambda: unfinished.forget(self._session.connection, self._schema, self._key, part.position))

    def finish(self, xid: str) -> None:
        self._try(lambda: unfinished.finish(self._session.connection, self._schema, self._key, xid))

    def _try(self, write: Callable[[], None]) -> None:
        if not self.on:
            return
        try:
            write()
        except (
            psycopg2.errors.InvalidParameterValue
        ):  # a transaction of the future: another server's, or a restored one
            return
        except psycopg2.errors.InsufficientPrivilege as error:
            reason = " ".join(str(error).split())
            if self._policy == "required":
                raise own_schema.refused(self._schema, reason) from error
            self.on = False
            self._log.warning("history.unavailable", reason=reason)
