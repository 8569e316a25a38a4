"""A run that takes the locks that `migrate` takes, and executes no revision: `stamp`, `reset`, `seed`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from alembic_job.errors import Interrupted, JobError
from alembic_job.gateways.inputs import Recorder
from alembic_job.identity import Identity
from alembic_job.logs.events import Log
from alembic_job.pipeline.change import Run
from alembic_job.pipeline.failure import classify
from alembic_job.pipeline.session import Session
from alembic_job.watch import Watch

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext


def surroundings(
    log: Log,
    watch: Watch,
    identity: Identity,
    learn_secret: Callable[[str], None],
    backup: Callable[[Session], None] = lambda session: None,
) -> dict[str, Any]:
    """What a `Run` wants beside settings, project and target, where no revision is executed."""
    doing: dict[str, Any] = {"down": False, "log": log, "watch": watch, "identity": identity}
    return doing | {"learn_secret": learn_secret, "recorder": Recorder(), "backup": backup}


class Held(Run):
    """Its subclasses say in `_before` what is done to each version table, and in `_load` what is done in the end."""

    def __init__(self, command: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.command = command
        self._before_ran = True  # MIGRATE_BEFORE is for what changes the schema

    def carry_out(self) -> None:
        """Executes it, records how it ended, and gives the locks back. Raises what ended it, as a `JobError`."""
        with closing(self):
            try:
                self.execute()
                self.check()
            except BaseException as error:
                reason = self._reason(error)
                with suppress(Exception):
                    self.look()
                self.conclude(reason.outcome, reason.exit_code, str(reason))
                raise reason from error
            self.conclude("done", 0, None)

    def check(self) -> None:
        """Says what was done, once it was read back. Raises `JobError` where that is not what it should be."""

    def _reason(self, error: BaseException) -> JobError:
        if isinstance(error, Exception):
            return self.watch.stopped or classify(error, self.project, None, self.in_project)
        return self.watch.stopped or Interrupted()

    def revisions(self, heads: tuple[str, ...], context: MigrationContext) -> Iterator[Any]:
        """The steps from these heads."""
        if self._prepared is not context:  # env.py went around `context.run_migrations`
            self.before(context, {})
        return iter(self._steps(heads))

    def _steps(self, heads: tuple[str, ...]) -> list[Any]:
        return []
