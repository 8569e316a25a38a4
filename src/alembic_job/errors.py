"""Every way a run can end badly, as one tree. The exit code is a class attribute; the docstring is the default message.

10 to 19: trying again may help. 20 to 29: it cannot. The chart's podFailurePolicy and the docs are made from
`exit_codes()`.
"""

from __future__ import annotations

from typing import Any, ClassVar


class JobError(Exception):
    """The run failed."""

    exit_code: ClassVar[int] = 1
    outcome: ClassVar[str] = "failed"
    hint: str = ""
    report: Any = None  # the `Report` of the run that this error ended, once there is one

    def __init__(self, message: str = "", *, hint: str = "", **fields: object) -> None:
        super().__init__(message or (type(self).__doc__ or "").split("\n", 1)[0])
        self.hint = hint or type(self).hint
        self.fields = fields

    @property
    def retryable(self) -> bool:
        return 10 <= self.exit_code <= 19


class Defect(JobError):
    """A defect of alembic-job itself."""

    exit_code = 1
    outcome = "defect"
    hint = "this is a bug in alembic-job: please report it with the log of this run"


class UsageError(JobError):
    """The command line was not understood."""

    exit_code = 2
    outcome = "usage"
    hint = "see alembic-job --help"


class Findings(JobError):
    """A question was answered with yes: something is pending, differs or was found."""

    exit_code = 3
    outcome = "findings"


class DatabaseUnreachable(JobError):
    """The database could not be reached in time, or is in recovery."""

    exit_code = 10
    hint = (
        "check that PostgreSQL runs and that DATABASE_URL names its host and port as seen from here "
        "(`alembic-job doctor` looks at each step of the way); MIGRATE_WAIT_TIMEOUT sets how long to wait"
    )


class RunLocked(JobError):
    """Another runner held the lock for too long."""

    exit_code = 11
    outcome = "locked"
    hint = "look at what it does with `alembic-job status`; MIGRATE_RUN_LOCK_TIMEOUT sets how long to wait for it"


class TableLocked(JobError):
    """A lock on a table was not won in time."""

    exit_code = 12
    outcome = "locked"
    hint = "another session holds the table: find it with pg_blocking_pids(), end or finish it, then run again"


class ConnectionLost(JobError):
    """The connection to the database was lost during the run."""

    exit_code = 13
    hint = "what was committed is in `applied`; run again: it goes on from there"


class Interrupted(JobError):
    """The run was interrupted by a signal."""

    exit_code = 14
    outcome = "interrupted"
    hint = "what was committed is in `applied`; run again: it goes on from there"


class BackupNotWritten(JobError):
    """The backup could not be written."""

    exit_code = 15
    hint = "nothing was changed; check that the place in MIGRATE_BACKUP_URL is writable and has room"


class DeadlineExceeded(JobError):
    """The run took longer than MIGRATE_DEADLINE."""

    exit_code = 16
    outcome = "deadline"
    hint = "what was committed is in `applied`; raise MIGRATE_DEADLINE, or find out what it waited for"


class MigrationsAwaited(DeadlineExceeded):
    """The database was not at what these scripts need within MIGRATE_MIGRATIONS_TIMEOUT."""


class SettingsError(JobError):
    """A setting is missing or wrong."""

    exit_code = 20
    outcome = "misconfigured"
    hint = "`alembic-job config` shows every setting in force and where it came from"


class LoginFailed(JobError):
    """The database refused the login or the privileges do not suffice."""

    exit_code = 21
    outcome = "refused"
    hint = "check user, password and database name in DATABASE_URL, and what that role was granted"


class HistoryHidden(LoginFailed):
    """This role may not read the history in the database."""


class ProjectError(JobError):
    """The migration project cannot be used as it is."""

    exit_code = 22
    outcome = "misconfigured"
    hint = "`alembic-job history` lists the revisions these scripts have"


class MigrationFailed(JobError):
    """A migration or a hook failed."""

    exit_code = 23
    hint = "correct the revision named here and deploy again; nothing of it was kept unless it committed by itself"


class VerificationFailed(JobError):
    """The database is not in the state the run should have left."""

    exit_code = 24


class BackupNotProven(JobError):
    """The backup did not verify."""

    exit_code = 25
    hint = "nothing was changed; the unproven dump was removed: see the messages of pg_dump and pg_restore above"


class Refused(JobError):
    """Refused for safety."""

    exit_code = 26
    outcome = "refused"


class ScriptEdited(JobError):
    """A script was edited after it had been applied."""

    exit_code = 27
    outcome = "refused"
    hint = (
        "take the edit back (the event script.edited shows it) and put the change into a new revision; or, where it is "
        "meant, `alembic-job repair` records the script as it is now; MIGRATE_WHEN_EDITED=warn goes on"
    )


class RevisionUnknown(JobError):
    """The database holds a revision that these scripts lack."""

    exit_code = 28
    outcome = "ahead"
    hint = (
        "the database was migrated by a newer image or another branch: deploy that image again, or set "
        "MIGRATE_WHEN_AHEAD=tolerate if this image's code can run on the newer schema"
    )


def exit_codes() -> dict[int, type[JobError]]:
    """Exit code → the class of errors that has it, in order; without 0."""
    return {kind.exit_code: kind for kind in sorted(JobError.__subclasses__(), key=lambda kind: kind.exit_code)}
