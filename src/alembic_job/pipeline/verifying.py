"""`verify`: is the database what these scripts say it should be, and is everything in it whole?"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from alembic_job.errors import RevisionUnknown, VerificationFailed
from alembic_job.gateways import postgres
from alembic_job.identity import Identity
from alembic_job.logs.events import Log
from alembic_job.model import Report
from alembic_job.pipeline import exported_url
from alembic_job.pipeline.failure import concluded
from alembic_job.pipeline.other import database_of
from alembic_job.pipeline.status import status
from alembic_job.settings import Settings
from alembic_job.steps.verify import invalid_indexes, warn_of_constraints
from alembic_job.watch import Watch


def verify(settings: Settings, *, log: Log, watch: Watch, identity: Identity, **_: Any) -> Report:
    """Looks whether every version table is at head and no index is INVALID; changes nothing, takes no lock.

    Raises `VerificationFailed` (24), or `RevisionUnknown` (28) where the database is ahead and that is not tolerated.
    """
    report = Report("verify", identity.run_id)
    with concluded(report, watch), exported_url(settings):
        found = status(settings, log)
        watch.check()
        current = [head for table in found["tables"] for head in table["current"]]
        report.source = report.target = tuple(dict.fromkeys(current))
        for table in found["tables"]:
            _check_revision(table, settings.when_ahead, log)
        with closing(postgres.connect(database_of(settings), identity.application_name)) as connection:
            if broken := invalid_indexes(connection):
                names = ", ".join(f"{index.qualified} on {index.table}" for index in broken[:20])
                raise VerificationFailed(
                    f"INVALID, so kept up but never used: {names}",
                    hint=f"DROP INDEX CONCURRENTLY {broken[0].qualified}; then build it again if it is wanted",
                )
            warn_of_constraints(connection, log)
        log.info("verify.passed", tables=[table["version_table"] for table in found["tables"]])
    return report


def _check_revision(table: dict[str, Any], when_ahead: str, log: Log) -> None:
    name, unknown, pending = table["version_table"], table["unknown"], table["pending"]
    if unknown:
        message = f"{name} holds {', '.join(unknown)}, which these scripts lack"
        if when_ahead != "tolerate":
            raise RevisionUnknown(message)
        log.warning("database.ahead", unknown=unknown, table=name, message=message)
    elif pending:
        shown = ", ".join(pending[:10]) + (f" and {len(pending) - 10} more" if len(pending) > 10 else "")
        raise VerificationFailed(
            f"{name} is at {', '.join(table['current']) or 'base'}, and {len(pending)} revisions are pending: {shown}",
            hint="run `alembic-job migrate`",
        )
