"""`migrate` and `rollback`, from their settings to their report."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from alembic_job.errors import Interrupted, JobError, RevisionUnknown
from alembic_job.fingerprint import digest_of
from alembic_job.gateways.inputs import Recorder
from alembic_job.gateways.project import open_project
from alembic_job.identity import Identity
from alembic_job.logs.events import Log
from alembic_job.model import Change, Report
from alembic_job.pipeline import exported_url
from alembic_job.pipeline.change import Run
from alembic_job.pipeline.failure import classify
from alembic_job.pipeline.session import Session
from alembic_job.pipeline.undoing import Consent, check_backup
from alembic_job.settings import Settings
from alembic_job.steps import preflight
from alembic_job.steps.backup import back_up
from alembic_job.steps.record import record
from alembic_job.watch import Watch

_NONE = Consent()


def migrate(
    settings: Settings,
    *,
    log: Log,
    watch: Watch,
    identity: Identity | None = None,
    learn_secret: Callable[[str], None] = lambda secret: None,
    request_keys: tuple[str, ...] = (),
) -> Report:
    """Waits for the database, locks it, backs it up if asked, upgrades, verifies. Raises `JobError` with `.report`.

    `request_keys` (see `fingerprint`) name the request, for recording that nothing is pending afterwards.
    With MIGRATE_WHEN_AHEAD=rollback, revisions that the project lacks are undone first.
    """
    identity = identity or Identity()
    rest = (log, watch, identity, learn_secret)
    try:
        return _change(settings, settings.to or "head", "migrate", False, *rest, request_keys)
    except RevisionUnknown as error:
        if settings.when_ahead != "rollback" or not error.fields.get("below"):
            raise
        log.warning("database.ahead", unknown=error.fields["unknown"], message=str(error).partition(":")[0])
        below: Any = error.fields["below"]
        ahead = error
    back = _change(settings, below[0], "migrate", True, *rest)
    if not back.reverted:
        raise ahead
    report = migrate(settings, log=log, watch=watch, identity=identity, learn_secret=learn_secret)
    report.source, report.reverted = back.source, back.reverted + report.reverted
    report.duration_seconds += back.duration_seconds
    return report


def rollback(
    settings: Settings,
    target: str,
    *,
    log: Log,
    watch: Watch,
    identity: Identity | None = None,
    learn_secret: Callable[[str], None] = lambda secret: None,
    consent: Consent = _NONE,
) -> Report:
    """Downgrades to `target` (a revision, `base`, `-1`) under the same lock, backup and verification.

    Revisions that the project lacks are undone by what the history in the database holds. Before the first change it
    is told what data would be lost; `consent` says what may be.
    """
    return _change(settings, target, "rollback", True, log, watch, identity, learn_secret, consent=consent)


def _change(
    settings: Settings,
    target: str,
    command: str,
    down: bool,
    log: Log,
    watch: Watch,
    identity: Identity | None,
    learn_secret: Callable[[str], None],
    request_keys: tuple[str, ...] = (),
    consent: Consent = _NONE,
) -> Report:
    begun = time.monotonic()
    identity = identity or Identity()
    report = Report(command, identity.run_id)
    run: Run | None = None
    try:
        if settings.skip:
            log.warning("job.skipped", reason=settings.skip)
            report.outcome = "skipped"
            return report
        if down:
            check_backup(settings, consent)
        with Recorder() as recorder, exported_url(settings):
            project = open_project(settings, ("downgrade" if down else "upgrade", target), log)
            folders = [project.script.dir, *(str(folder) for folder in project.script._version_locations)]
            recorder.begin(folders)
            preflight.check_target_early(project, target, down=down)
            doing: dict[str, Any] = {"down": down, "identity": identity, "watch": watch, "log": log}
            doing |= {"consent": consent, "learn_secret": learn_secret, "recorder": recorder}
            run = Run(settings, project, target, **doing, backup=partial(_back_up, settings, consent, log))
            watch.progress = partial(_so_far, report, run)
            run.execute()
            if request_keys and settings.history != "off":
                _record(run, recorder, request_keys, log)
        return report
    except BaseException as error:
        watch.settle()
        reason = _reason(error, watch, run)
        _fill(report, run, reason)
        reason.report = report
        raise reason from error
    finally:
        watch.settle()
        report.duration_seconds = time.monotonic() - begun
        if run is not None:
            _summarize(report, run.changes, down)
            run.conclude(report.outcome, report.exit_code, report.error)
            run.close()


def _back_up(settings: Settings, consent: Consent, log: Log, session: Session) -> None:
    if not consent.no_backup:
        back_up(settings, session.dsn, session.run.run_id, session.watch, log)


def _record(run: Run, recorder: Recorder, request_keys: tuple[str, ...], log: Log) -> None:
    """Writes what the next run may rely on, unless the answer depended on more than could be noted."""
    doubts = set(recorder.doubts)
    if run.foreign_sql:
        doubts.add("env.py asked the database by itself")
    if len(run.sessions) != 1:
        doubts.add("more than one database")
    if any(change.after != change.expected for change in run.changes) or not run.changes:
        doubts.add("not at the revision that was asked for")
    if any(not run.project.has(head) for change in run.changes for head in change.after or ()):
        doubts.add("the database is ahead")
    if doubts:
        log.debug("shortcut.not_recorded", reasons=sorted(doubts))
        return
    try:
        with recorder.paused():
            _write_record(run, recorder, request_keys, log)
    except JobError:
        raise
    except Exception as error:  # what was migrated is migrated: the next run is only slower
        log.warning("shortcut.not_recorded", reasons=[f"{type(error).__name__}: {error}"])


def _write_record(run: Run, recorder: Recorder, request_keys: tuple[str, ...], log: Log) -> None:
    settings = run.settings
    inputs = recorder.inputs([str(run.project.file)])
    if recorder.changed_meanwhile(inputs):
        log.debug("shortcut.not_recorded", reasons=["files changed while the run read them"])
        return
    record(
        run.sessions[0].connection,
        settings.history_schema,
        settings.history,
        request_keys,
        digest_of(inputs, recorder.environ),
        inputs,
        run.changes,
        log,
    )


def _reason(error: BaseException, watch: Watch, run: Run | None) -> JobError:
    """Why the run ended: what the watch says, else what was raised."""
    if watch.stopped is not None:
        return watch.stopped
    if isinstance(error, KeyboardInterrupt):
        return Interrupted()
    if run is None:
        return classify(error, None, None, in_project=False)
    return classify(error, run.project, run.current, run.in_project)


def _fill(report: Report, run: Run | None, reason: JobError) -> None:
    """Looks what was committed, on a fresh connection; where that fails the report says so."""
    report.outcome, report.exit_code = reason.outcome, reason.exit_code
    report.error, report.hint = str(reason), reason.hint
    report.fields |= reason.fields
    if run is None or not run.changes:
        return
    if parts := run.committed_parts():
        report.fields["committed_statements"] = parts
        again = (
            "they are not executed again: correct what failed, and run again"
            if run.remembers
            else "but they could not be noted (MIGRATE_HISTORY): let the revision pass over what is there,"
            " as by IF NOT EXISTS, and run again"
        )
        reason.hint = report.hint = (
            f"the statements in committed_statements were committed by the revision itself and stay; {again}"
        )
    try:
        run.look()
    except Exception as error:
        report.fields["unverified"] = f"what was committed could not be read back: {type(error).__name__}"


def _so_far(report: Report, run: Run) -> Report:
    """The report as it can be known without asking the database, from another thread."""
    report.source = tuple(dict.fromkeys(head for change in run.changes for head in change.before))
    report.applied, report.reverted = ((), tuple(run.committed)) if run.down else (tuple(run.committed), ())
    return report


def _summarize(report: Report, changes: list[Change], down: bool) -> None:
    done = tuple(dict.fromkeys(revision for change in changes for revision in change.done))
    report.went(changes)
    if down:
        report.reverted = done
    else:
        report.applied = done


__all__ = ["Identity", "Report", "migrate", "rollback"]
