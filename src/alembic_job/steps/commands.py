"""MIGRATE_BEFORE and MIGRATE_AFTER: a command of the user's, run under the lock, its output as events."""

from __future__ import annotations

import subprocess
import time

from alembic_job.errors import MigrationFailed
from alembic_job.gateways import children
from alembic_job.logs.events import Log
from alembic_job.settings.words import without_secrets


def run(name: str, argv: tuple[str, ...], log: Log) -> None:
    """Runs the command and waits for it; it is ended when the run is.

    It has the job's working directory and environment, and its output goes where the job's goes. Raises
    `MigrationFailed` (23) if it cannot start or does not end with 0.
    """
    variable = f"MIGRATE_{name.upper()}"
    begun = time.monotonic()
    shown = without_secrets(argv)
    log.info("command.started", hook=name, argv=shown)
    try:
        process = children.start(argv, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise MigrationFailed(
            f"{variable} cannot be started: {argv[0]}: {error.strerror}",
            hint=f"{variable} is split as by a shell, but runs without one: name a program on PATH",
        ) from error
    try:
        code = process.wait()
    except BaseException:
        children.end(process)
        raise
    if code != 0:
        raise MigrationFailed(
            f"{variable} ended with {code}: {' '.join(shown)}", hint="its output is in the lines above", hook=name
        )
    log.info("command.finished", hook=name, duration_seconds=round(time.monotonic() - begun, 3))
