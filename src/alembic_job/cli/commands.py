"""The commands, each a few lines that call one function of the library."""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn

import click

from alembic_job import __version__
from alembic_job.cli import authoring, desk, linting, options, reporting, shell, testing
from alembic_job.cli.running import answered, ask, job, late, prepared, print_sql
from alembic_job.cli.tables import ask_at
from alembic_job.errors import Refused, UsageError

JOB_COMMANDS = (
    "migrate",
    "upgrade",
    "rollback",
    "downgrade",
    "backup",
    "restore",
    "consent",
    "repair",
    "stamp",
    "seed",
    "reset",
    "verify",
    "wait-for-db",
    "wait-for-migrations",
)


@click.group(cls=shell.Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="alembic-job")
@options.location
def cli(**_: Any) -> None:
    """Runs an Alembic project's migrations at deploy time, safely."""


@cli.command()
@click.option("-m", "--message", metavar="TEXT", help="apply nothing; generate a revision from the models instead")
@options.job()
@click.pass_context
def migrate(context: click.Context, /, message: str | None, **given: Any) -> None:
    """Upgrade to head (or --to) and verify; the main job. With -m TEXT: apply nothing, generate a revision."""
    if message is not None:
        authoring.generate(context, message, given)
        return
    job("migrate", context, given, partial(late("pipeline.migrating.migrate"), request_keys=context.obj))


@cli.command()
@click.argument("revision", default="head")
@click.option("--sql", is_flag=True, help="ask no database: print the SQL; FROM:TO where the table holds FROM")
@options.job("to")
@click.pass_context
def upgrade(context: click.Context, /, revision: str, sql: bool, **given: Any) -> None:
    """The same as migrate --to REVISION."""
    if sql:
        print_sql(context, given, "upgrade", revision)
        return
    job(
        "upgrade",
        context,
        {**given, "to": revision},
        partial(late("pipeline.migrating.migrate"), request_keys=context.obj),
    )


def _rollback(command: str, context: click.Context, target: str, yes: bool, agreed: Any, given: Any) -> NoReturn:
    def function(settings: Any, **rest: Any) -> Any:
        from alembic_job.pipeline.undoing import Consent

        consent = Consent(**agreed)
        if target == "base" and not (yes or consent.dry_run):
            raise Refused(
                "rollback to base undoes every revision", hint="add --yes if that is what you want; take a backup first"
            )
        return late("pipeline.migrating.rollback")(settings, target, consent=consent, **rest)

    job(command, context, given, function)


_AGREED = ("data_loss", "no_backup", "empty_downgrade", "dry_run", "production")


def _agreement(function: Any) -> Any:
    """The options by which a rollback is agreed to."""
    for option in (
        click.option("--dry-run", is_flag=True, help="only tell the SQL and what data would be lost"),
        click.option(
            "--allow-empty-downgrade",
            "empty_downgrade",
            is_flag=True,
            help="pass over downgrades that are empty though their upgrade was not",
        ),
        click.option(
            "--allow-data-loss",
            "data_loss",
            is_flag=True,
            help="consent to the loss that is told before the first change",
        ),
        click.option("--no-backup", is_flag=True, help="no backup before the first change"),
        click.option("--yes", "-f", "--force", "yes", is_flag=True, help="consent to undoing everything (base)"),
        click.option("--production", metavar="NAME", help="base: the name of a database that looks like production"),
    ):
        function = option(function)
    return function


def _split(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return {name: given.pop(name) for name in _AGREED}, given


@cli.command()
@click.option("-s", "--steps", type=click.IntRange(min=1), help="how many revisions to undo  [default 1]")
@click.option("--to", metavar="REV", help="revision to go back to, or base")
@_agreement
@options.job("to")
@click.pass_context
def rollback(context: click.Context, /, steps: int | None, to: str | None, yes: bool, **given: Any) -> None:
    """Undo the last revision, or several; from an older image too."""
    if steps is not None and to is not None:
        raise click.UsageError("--steps and --to exclude each other")
    _rollback("rollback", context, to or f"-{steps or 1}", yes, *_split(given))


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("revision")
@click.option("--sql", is_flag=True, help="ask no database: print the SQL of FROM:TO")
@_agreement
@options.job("to")
@click.pass_context
def downgrade(context: click.Context, /, revision: str, yes: bool, sql: bool, **given: Any) -> None:
    """The same as rollback --to REVISION; -1 and base too."""
    if revision.startswith("-") and not revision[1:].isdigit():
        raise click.UsageError(f"No such option: {revision}")
    if sql:
        print_sql(context, given, "downgrade", revision)
        return
    _rollback("downgrade", context, revision, yes, *_split(given))


@cli.command()
@click.argument("revisions", nargs=-1, required=True)
@click.option("--withdraw", is_flag=True, help="take it back")
@options.job("to")
@click.pass_context
def consent(context: click.Context, /, revisions: tuple[str, ...], withdraw: bool, **given: Any) -> None:
    """Agree beforehand that the rollback of these revisions may lose data."""
    function = partial(late("pipeline.consenting.consent"), revisions=revisions, withdraw=withdraw)
    job("consent", context, given, function)


@cli.command()
@click.argument("revisions", nargs=-1)
@click.option("--yes", is_flag=True, help="consent; without it the command only shows them")
@options.job("to")
@click.pass_context
def repair(context: click.Context, /, revisions: tuple[str, ...], yes: bool, **given: Any) -> None:
    """Record scripts that were edited after they had been applied as they are now: all, or those of REVISIONS."""
    job("repair", context, given, partial(late("pipeline.repairing.repair"), revisions=revisions, yes=yes))


@cli.command()
@options.job("to")
@click.pass_context
def verify(context: click.Context, /, **given: Any) -> None:
    """Check that the database is at head and no index is INVALID; nothing is changed."""
    job("verify", context, given, late("pipeline.verifying.verify"))


@cli.command("wait-for-db")
@options.job("to")
@click.pass_context
def wait_for_db(context: click.Context, /, **given: Any) -> None:
    """Wait until the database is a writable primary."""
    job("wait-for-db", context, given, late("pipeline.other.wait_for_db"))


@cli.command("wait-for-migrations")
@click.option("--timeout", metavar="DURATION", help="the same as --migrations-timeout")
@options.job()
@click.pass_context
def wait_for_migrations(context: click.Context, /, timeout: str | None, **given: Any) -> None:
    """Wait until the database is at what these scripts need, or beyond it; for the application's init container."""
    if timeout is not None and given["migrations_timeout"] is not None:
        raise click.UsageError("--timeout and --migrations-timeout are the same")
    given["migrations_timeout"] = given["migrations_timeout"] if timeout is None else timeout
    job("wait-for-migrations", context, given, late("pipeline.waiting.wait_for_migrations"))


@cli.group(invoke_without_command=True)
@options.job("to")
@click.pass_context
def backup(context: click.Context, /, **given: Any) -> None:
    """Take a proven backup now; or list, verify and prune those there are."""
    if context.invoked_subcommand is None:
        job("backup", context, given, late("pipeline.backups.backup"))


@backup.command("list")
@click.option("--json", "as_json", is_flag=True, help="a JSON array")
@options.some("backup_url")
@click.pass_context
def backup_list(context: click.Context, /, as_json: bool, **given: Any) -> None:
    """The backups in MIGRATE_BACKUP_URL, the oldest first."""
    listed = late("pipeline.backups.listed")
    ask_at(context, _with_outer(context, given), lambda settings, log, on: str(listed(settings, log, as_json, on)))


@backup.command("verify")
@click.argument("name", required=False)
@click.option("--all", "every", is_flag=True, help="every backup in the folder")
@options.some("backup_url", "pg_bindir", "log_format", "log_level", "deadline", "termination_log")
@click.pass_context
def backup_verify(context: click.Context, /, name: str | None, every: bool, **given: Any) -> None:
    """Read a backup back to its last byte: the newest, or the one whose name begins with NAME."""
    if name and every:
        raise click.UsageError("NAME and --all exclude each other")
    function = partial(late("pipeline.backups.verify"), name=name, every=every)
    job("backup", context, _with_outer(context, given), function)


@backup.command("prune")
@click.option("--dry-run", is_flag=True, help="only say which would go")
@options.some("backup_url", "backup_keep", "backup_keep_for", "log_format", "log_level", "termination_log")
@click.pass_context
def backup_prune(context: click.Context, /, dry_run: bool, **given: Any) -> None:
    """Remove the backups that --backup-keep and --backup-keep-for do not keep."""
    function = partial(late("pipeline.backups.prune"), dry_run=dry_run)
    job("backup", context, _with_outer(context, given), function)


def _with_outer(context: click.Context, given: dict[str, Any]) -> dict[str, Any]:
    """The options of a command below `backup`, with those that stand before its name."""
    outer = context.parent.params if context.parent is not None else {}
    return {**outer, **{name: value for name, value in given.items() if value not in (None, ())}}


@cli.command()
@click.argument("name", required=False)
@click.option("--into", metavar="DATABASE", help="name of the new database  [default DATABASE_restored_TIME]")
@click.option("--swap", is_flag=True, help="let it take the place of the database, which stays under a dated name")
@click.option("--yes", is_flag=True, help="consent; without it the command only says what it would do")
@click.option("--jobs", type=click.IntRange(min=1), default=1, help="tables restored at the same time  [default 1]")
@options.job("to")
@click.pass_context
def restore(
    context: click.Context, /, name: str | None, into: str | None, swap: bool, yes: bool, jobs: int, **given: Any
) -> None:
    """Restore the newest backup, or the one whose name begins with NAME, into a new database."""
    if swap and into is not None:
        raise click.UsageError("--swap and --into exclude each other: the new database gets the old one's name")
    function = partial(late("pipeline.restoring.restore"), name=name, into=into, swap=swap, yes=yes, jobs=jobs)
    job("restore", context, given, function)


_REHEARSAL = (
    "transaction",
    "deadline",
    "backup_url",
    "backup_jobs",
    "backup_compress",
    "rehearsal_url",
    "pg_bindir",
    "history_schema",
)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="one JSON object")
@options.question
@click.pass_context
def doctor(context: click.Context, /, as_json: bool, **given: Any) -> int:
    """Look at all that a run needs, from the settings to the database, and say what to mend.

    Exits with the code that a run would end with.
    """
    codes: list[int] = []

    def produce(settings: Any, log: Any) -> str:
        found = late("pipeline.diagnosing.doctor")(settings, log)
        codes.append(found.exit_code)
        return str(found.as_json() if as_json else found.as_text())

    ask(context, given, produce)
    return codes[0]


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="one JSON object")
@click.option("--exit-code", is_flag=True, help="exit 3 if something is pending")
@options.question
@click.pass_context
def status(context: click.Context, /, as_json: bool, exit_code: bool, **given: Any) -> int:
    """Where the database is, what is pending, who is running."""
    found: dict[str, Any] = {}

    def produce(settings: Any, log: Any, on: Any) -> str:
        import json

        found.update(late("pipeline.status.status")(settings, log))
        return json.dumps(found, indent=2, default=str) if as_json else str(late("pipeline.status.as_text")(found, on))

    ask_at(context, given, produce)
    return 3 if exit_code and not found["up_to_date"] else 0


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="one JSON object; the same as --format json")
@click.option("--format", "form", type=click.Choice(["text", "json", "markdown", "sql", "html"]), help="[default text]")
@click.option("--rehearse", is_flag=True, help="run them on a copy of the database, up, down and up, and measure")
@click.option("--exit-code", is_flag=True, help="exit 3 if something is pending; with --rehearse, for a finding")
@options.some(*options.QUESTION_NAMES, "to", *_REHEARSAL)
@click.pass_context
def plan(
    context: click.Context, /, as_json: bool, form: str | None, rehearse: bool, exit_code: bool, **given: Any
) -> int:
    """What is pending: its SQL, and what that locks, rewrites and loses; with --rehearse, as measured on a copy."""
    if as_json and form not in (None, "json"):
        raise click.UsageError("--json and --format exclude each other")
    form = "json" if as_json else form or "text"
    if rehearse and form not in ("text", "json", "html"):
        raise click.UsageError(f"--rehearse has no --format {form}")
    settings, log, redactor = prepared(context, given)
    if not rehearse:
        from alembic_job.cli.output import answer, colours
        from alembic_job.watch import release_signals

        release_signals()
        pending: list[bool] = []
        told = partial(late("pipeline.plan_formats.told"), settings, log, form, colours(), pending)
        click.echo(answer(told, log, redactor))
        return 3 if exit_code and pending[0] else 0
    return _rehearsed(settings, log, redactor, form, exit_code)


def _rehearsed(settings: Any, log: Any, redactor: Any, form: str, exit_code: bool) -> int:
    from alembic_job.cli.output import answer

    rehearsals: list[Any] = []

    def produce() -> str:
        rehearsals.append(late("pipeline.rehearsing.rehearse")(settings, log, redactor.add))
        return str(late("pipeline.rehearsal_report.told")(rehearsals[0].found, form, settings))

    click.echo(answer(produce, log, redactor))
    found, error = rehearsals[0]
    if error is not None:  # said after the report of how far it came
        raise type(error)(redactor.text(str(error)), hint=redactor.text(error.hint))
    return 3 if exit_code and found["findings"] else 0


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="one JSON object")
@options.job()
@click.pass_context
def config(context: click.Context, /, as_json: bool, **given: Any) -> None:
    """Every setting in force and where it came from, without secrets."""
    from alembic_job.pipeline.status import show_settings

    ask_at(context, given, lambda settings, log, on: show_settings(settings, as_json, on))


def _alembic(name: str, context: click.Context, given: dict[str, Any], command: list[str], **arguments: Any) -> None:
    from alembic_job.pipeline.status import alembic_answer

    told = answered(context, given, lambda settings, log: alembic_answer(settings, log, name, command, **arguments))
    click.echo(told, nl=False)


def _tree(context: click.Context, given: dict[str, Any], ascii_only: bool, **asked: Any) -> None:
    def produce(settings: Any, log: Any, on: Any) -> str:
        return str(late("pipeline.tree.tree")(settings, log, late("pipeline.tree.Asked")(**asked), on))

    ask_at(context, given, produce, ascii_only=ascii_only)


_VERBOSE = click.option("-v", "--verbose", is_flag=True, help="more of each revision")
_ASCII = click.option("--ascii", "ascii_only", is_flag=True, help="with --tree: no signs but ASCII")


@cli.command()
@click.option("--check-heads", is_flag=True, help="exit 3 unless it is at all heads")
@_VERBOSE
@options.question
@click.pass_context
def current(context: click.Context, /, check_heads: bool, verbose: bool, **given: Any) -> int:
    """The revision the database is at."""
    _alembic("current", context, given, ["current"], verbose=verbose)
    if not check_heads:
        return 0
    found: dict[str, Any] = {}

    def produce(settings: Any, log: Any) -> str:
        found.update(late("pipeline.status.status")(settings, log))
        return ""

    answered(context, given, produce)
    return 0 if found["up_to_date"] else 3


@cli.command()
@click.option("-r", "--rev-range", metavar="A:B", help="only this range")
@click.option("-i", "--indicate-current", is_flag=True, help="mark the database's revision")
@click.option("--applied", is_flag=True, help="what was executed on the database instead, when and by whom")
@click.option("--json", "as_json", is_flag=True, help="with --applied: one JSON object")
@click.option("--tree", is_flag=True, help="as a tree, a lane a branch")
@_ASCII
@_VERBOSE
@options.question
@click.pass_context
def history(
    context: click.Context, /, applied: bool, as_json: bool, tree: bool, ascii_only: bool, **given: Any
) -> None:
    """The revisions of the scripts, newest first."""
    rev_range, indicate_current, verbose = (given.pop(name) for name in ("rev_range", "indicate_current", "verbose"))
    if applied and tree:
        raise click.UsageError("--applied and --tree exclude each other")
    if tree:
        _tree(context, given, ascii_only, rev_range=rev_range, indicate_current=indicate_current, verbose=verbose)
    elif applied:
        told = late("pipeline.status.applied")
        ask_at(context, given, lambda settings, log, on: str(told(settings, log, as_json, on)))
    else:
        arguments = {"rev_range": rev_range, "indicate_current": indicate_current, "verbose": verbose}
        _alembic("history", context, given, ["history"], **arguments)


@cli.command()
@click.option("--resolve-dependencies", is_flag=True, help="not those that others depend on")
@_VERBOSE
@options.question
@click.pass_context
def heads(context: click.Context, /, resolve_dependencies: bool, verbose: bool, **given: Any) -> None:
    """The newest revisions of the scripts."""
    arguments = {"verbose": verbose, "resolve_dependencies": resolve_dependencies}
    _alembic("heads", context, given, ["heads"], **arguments)


@cli.command()
@click.option("--tree", is_flag=True, help="forks, merges and ends as a tree, the rest only counted")
@click.option("-i", "--indicate-current", is_flag=True, help="with --tree: mark the database's revision")
@_ASCII
@_VERBOSE
@options.question
@click.pass_context
def branches(
    context: click.Context, /, tree: bool, indicate_current: bool, ascii_only: bool, verbose: bool, **given: Any
) -> None:
    """The revisions from which branches begin."""
    if tree:
        asked = {"indicate_current": indicate_current, "verbose": verbose, "only_branches": True}
        _tree(context, given, ascii_only, **asked)
    else:
        _alembic("branches", context, given, ["branches"], verbose=verbose)


@cli.command()
@click.argument("revision")
@options.question
@click.pass_context
def show(context: click.Context, /, revision: str, **given: Any) -> None:
    """One revision in full."""
    if not revision:
        raise UsageError("no revision given")
    _alembic("show", context, given, ["show", revision], rev=revision)


for command in (
    *authoring.COMMANDS,
    *desk.COMMANDS,
    linting.lint,
    *testing.COMMANDS,
    reporting.report,
    shell.completion,
):
    cli.add_command(command)
