"""How a command is run: a job with its log and watch, or a question whose answer alone goes to stdout."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

import click

from alembic_job import __version__
from alembic_job.cli import options
from alembic_job.errors import JobError


def late(path: str) -> Callable[..., Any]:
    """A function of the library, imported when it is called: by then an import that fails is logged like the rest."""
    module, _, name = path.rpartition(".")

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(f"alembic_job.{module}"), name)(*args, **kwargs)

    return call


def job(command: str, context: click.Context, given: dict[str, Any], function: Callable[..., Any]) -> NoReturn:
    """Runs a job command: its function gets settings, log, watch and who it is, and returns a report."""
    from alembic_job.cli.output import JobOutput, secrets_of
    from alembic_job.identity import Identity
    from alembic_job.watch import Watch

    identity = Identity()
    level = given.get("log_level") or os.environ.get("MIGRATE_LOG_LEVEL") or "info"
    level = level if level in ("debug", "info", "warning", "error") else "info"
    output = JobOutput(command, identity.run_id, given.get("log_format"), level, given.get("termination_log"))
    # The watch is never left: until the process is gone a signal must not kill it without a last line.
    watch = Watch()
    watch.leave = lambda error: output.leave(error, watch.progress() if watch.progress else None)
    try:
        watch.__enter__()
        settings = options.load(context, given)
        watch.set_deadline(settings.deadline)
        for url in (settings.database_url, settings.database_direct_url):
            for secret in secrets_of(url or ""):
                output.learn_secret(secret)
        for warning in settings.warnings:
            output.log.warning("settings.unknown", message=warning)
        log = _listened(settings, command, output, watch, identity)
        log.info("job.started", command=command, version=__version__)
        report = function(settings, log=log, watch=watch, identity=identity, learn_secret=output.learn_secret)
    except BaseException as error:
        watch.settle()
        output.failed(watch.stopped if watch.stopped is not None and not isinstance(error, JobError) else error)
    output.finish(report)


def _listened(settings: Any, command: str, output: Any, watch: Any, identity: Any) -> Any:
    """The run's log. MIGRATE_NOTIFY's services, and the report of MIGRATE_REPORT, hear what it says, and of the end."""
    log = output.log
    if settings.notify:
        from alembic_job.pipeline.notifying import Notifier

        notifier = Notifier(settings, command, log, watch, identity, output.redact)
        output.ended = notifier.ended
        log = notifier.listening(log)
    if settings.report:
        from alembic_job.pipeline.reporting import Reporter

        reporter = Reporter(settings, command, identity.run_id, watch, output.redacted)
        output.reported = reporter.write
        log = reporter.listening(log)
    return log


def ask(context: click.Context, given: dict[str, Any], question: Callable[..., str]) -> None:
    """Answers a question: stdout has the answer alone."""
    click.echo(answered(context, given, question))


def print_sql(context: click.Context, given: dict[str, Any], command: str, *targets: str) -> None:
    """`--sql`: what Alembic's offline mode writes for a command."""
    ask(context, given, lambda settings, log: str(late("pipeline.offline.as_sql")(settings, log, command, targets)))


def prepared(context: click.Context, given: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Settings, log and redactor of a question; raises `SettingsError`."""
    from alembic_job.cli.output import question_log, secrets_of

    log, redactor = question_log()
    settings = options.load(context, given)
    for secret in secrets_of(settings.rehearsal_url or "") if settings.rehearsal else ():
        redactor.add(secret)
    return settings, log, redactor


def answered(context: click.Context, given: dict[str, Any], question: Callable[..., str]) -> str:
    """The answer to a question, which gets settings and log; what it prints beside goes to stderr."""
    from alembic_job.cli.output import answer
    from alembic_job.watch import release_signals

    release_signals()
    settings, log, redactor = prepared(context, given)
    return answer(lambda: question(settings, log), log, redactor)
