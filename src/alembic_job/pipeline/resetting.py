"""`reset`: everything in the project's schemas is dropped, after it was shown and agreed to, and migrated anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg2

from alembic_job.dsn import Dsn
from alembic_job.errors import MigrationFailed, Refused, SettingsError
from alembic_job.gateways import autogenerate, dropping, engines, hygiene, locks, postgres, unfinished
from alembic_job.gateways.dropping import Survey
from alembic_job.gateways.environment import visit
from alembic_job.gateways.project import Project, open_project
from alembic_job.gateways.seeds import find
from alembic_job.identity import Identity
from alembic_job.logs.events import Log
from alembic_job.model import Report, VersionTable
from alembic_job.pipeline import exported_url, production
from alembic_job.pipeline.clearing import clear
from alembic_job.pipeline.failure import classify, concluded
from alembic_job.pipeline.held import Held, surroundings
from alembic_job.pipeline.migrating import migrate
from alembic_job.pipeline.other import database_of
from alembic_job.pipeline.planning import looking
from alembic_job.pipeline.seeding import seed
from alembic_job.pipeline.undoing import Consent, check_backup
from alembic_job.settings import Settings
from alembic_job.steps import preflight
from alembic_job.steps.backup import back_up
from alembic_job.steps.wait import wait_for_primary
from alembic_job.watch import Watch

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from psycopg2.extensions import connection as Connection

    from alembic_job.pipeline.session import Session

_PATIENCE = "5s"  # for a table that is only to be counted


@dataclass(frozen=True)
class Agreed:
    """What whoever asks for a reset has agreed to: `production` is the database's name, said a second time.

    `schemas` are to be emptied, too, beside those that the project's tables are in; `seed`: the tables are filled then.
    """

    force: bool = False
    production: str | None = None
    no_backup: bool = False
    schemas: tuple[str, ...] = ()
    seed: bool = False


class _Seen(NamedTuple):
    """A version table of the project's, and the schemas that its tables are in."""

    table: VersionTable
    heads: tuple[str, ...]
    schemas: tuple[str, ...]


def reset(
    settings: Settings,
    *,
    log: Log,
    watch: Watch,
    identity: Identity,
    learn_secret: Callable[[str], None] = lambda secret: None,
    agreed: Agreed,
    ask: Callable[[str], str] | None = None,
) -> Report:
    """Drops what is in the project's schemas, in one transaction under the run lock, and upgrades to head.

    `ask` puts a question to a person and returns what was typed; none where there is nobody. Raises `Refused` (26)
    without consent, where it looks like production, or where others' things would go; and whatever `migrate` raises.
    """
    report = Report("reset", identity.run_id)
    with concluded(report, watch), exported_url(settings):
        project, dsn, seen = _look(settings, log)
        if agreed.seed:
            find(settings.seed)  # one that is not there is better known before
        plan = _agreed_to(settings, dsn, seen, agreed, ask, log)
        watch.check()
        report.source = tuple(dict.fromkeys(head for each in seen for head in each.heads))
        _drop(settings, project, plan, agreed, log, watch, identity, learn_secret)
        report.fields |= {"dropped": len(plan.relations), "rows": sum(plan.rows.values())}
        # What is there is not the project's, and nothing of it is worth a backup.
        anew = settings.but(new_database="any", backup="off")
        with _told_what_stayed(plan):
            made = migrate(anew, log=log, watch=watch, identity=identity, learn_secret=learn_secret)
        report.target, report.applied = made.target, made.applied
        if agreed.seed:
            seed(settings, log=log, watch=watch, identity=identity, learn_secret=learn_secret)
    return report


@contextmanager
def _told_what_stayed(plan: Survey) -> Iterator[None]:
    """A revision that fails now may have found what it makes in a schema that was left alone."""
    try:
        yield
    except MigrationFailed as error:
        if plan.elsewhere:
            further = " ".join(f"--schema {name}" for name in plan.elsewhere)
            error.hint = f"what was in {', '.join(plan.schemas)} is dropped; to empty the others, too: {further}"
        raise


# Looking.


def _look(settings: Settings, log: Log) -> tuple[Project, Dsn, list[_Seen]]:
    """Waits for the database, and asks env.py where it is, if only that knows, and which schemas its tables are in."""
    if dsn := settings.own():
        wait_for_primary(dsn, "alembic-job reset", settings.wait_timeout, settings.login_grace, log).close()
    target = settings.to or "head"
    project = open_project(settings, ("upgrade", target), log)
    preflight.check_target_early(project, target, down=True)  # whether it is there is known once env.py was loaded
    engines.map_plain_scheme()
    places: list[Dsn] = []
    seen: list[_Seen] = []

    def noted(place: Dsn) -> Dsn:
        places.append(place)
        return place

    def look(context: MigrationContext) -> None:
        preflight.check_target(project, target)
        seen.append(_seen(context))
        _let_go(context)

    with engines.logged_in(noted), looking(project, settings), _kept_process():
        visit(project, settings.tag, look, target)
    return project, dsn or (settings.login(places[-1]) if places else database_of(settings)), seen


@contextmanager
def _kept_process() -> Iterator[None]:
    """env.py is loaded more than once: what it does to environment and working directory is undone in between."""
    environ, folder = dict(os.environ), Path.cwd()
    try:
        yield
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environ)


def _let_go(context: MigrationContext) -> None:
    """The project's engine shall connect anew when env.py is loaded again, for the run to notice."""
    connection: Any = context.connection
    connection.engine.dispose(close=False)


def _seen(context: MigrationContext) -> _Seen:
    table = preflight.version_table(context)
    heads = preflight.current_heads(context)
    connection: Any = context.connection
    default = connection.dialect.default_schema_name or table.schema
    tables = [each for metadata in autogenerate.metadata_of(context) for each in metadata.tables.values()]
    schemas = {each.schema or default for each in tables} or {default}
    return _Seen(table, heads, (table.schema, *sorted(schemas - {table.schema})))


def _agreed_to(
    settings: Settings, dsn: Dsn, seen: list[_Seen], agreed: Agreed, ask: Callable[[str], str] | None, log: Log
) -> Survey:
    """What will be dropped, once it was shown and agreed to. Raises `Refused` (26)."""
    with closing(postgres.connect(dsn, "alembic-job reset")) as connection:
        if any(each.table.database != postgres.identity(connection) for each in seen):
            raise SettingsError(
                f"env.py leads to another database than {dsn.redacted()}",
                hint="let DATABASE_URL lead to the one that is meant; a reset is for one database at a time",
            )
        schemas = {name for each in seen for name in each.schemas} | set(agreed.schemas)
        database = connection.info.dbname
        plan = _survey(connection, schemas, settings)
        _show(plan, log)
        _check_foreign(plan, seen)
        is_production = production.check(settings, dsn, connection, "reset", "--force", agreed.production, log)
    if not agreed.force:
        _ask(plan, database, ask)
    if is_production:
        check_backup(settings, Consent(no_backup=agreed.no_backup), "a reset of production")
    return plan


def _survey(connection: Connection, schemas: set[str], settings: Settings) -> Survey:
    """With the role that drops it; a table that somebody else has locked is not waited for long (12)."""
    try:
        postgres.query(connection, f"BEGIN READ ONLY; SET LOCAL lock_timeout = '{_PATIENCE}'")
        if settings.role is not None:
            postgres.query(connection, hygiene.to_read_as(settings.role, local=True))
        plan = dropping.survey(connection, schemas, settings.history_schema, counted=True)
        postgres.query(connection, "ROLLBACK")
    except psycopg2.Error as error:
        raise classify(error, None, None, in_project=False) from error
    return plan


def _show(plan: Survey, log: Log) -> None:
    tables = [{"table": name, "rows": rows} for name, rows in plan.rows.items()]
    others = [name for name in plan.relations if name not in plan.rows] + [*plan.routines, *plan.types]
    log.info(
        "reset.planned",
        schemas=list(plan.schemas),
        tables=tables,
        others=others,
        stays=[f"schema {name}" for name in plan.elsewhere],
        message=f"would be dropped: {_text(plan)}",
    )


def _text(plan: Survey) -> str:
    counted = [f"{name} ({_rows(rows)})" for name, rows in plan.rows.items()]
    shown = ", ".join(counted[:20]) + (f" and {len(counted) - 20} more tables" if len(counted) > 20 else "")
    stays = f"; what stays is in {', '.join(plan.elsewhere)}" if plan.elsewhere else ""
    return f"{shown or 'no table'}; all else in {', '.join(plan.schemas)}{stays}"


def _rows(count: int) -> str:
    return f"{count} rows" if count < dropping.COUNTED else f"{count} rows or more"


def _check_foreign(plan: Survey, seen: list[_Seen]) -> None:
    """Another project's tables are not ours to drop. Raises `Refused` (26)."""
    if others := sorted(set(plan.version_tables) - {each.table.label for each in seen}):
        raise Refused(
            f"reset is refused: another project keeps its tables in these schemas, too: {', '.join(others)}",
            hint="nothing was changed; `alembic-job rollback --to base` undoes what this project has made alone",
        )


def _ask(plan: Survey, database: str, ask: Callable[[str], str] | None) -> None:
    if ask is None:
        raise Refused(
            f"reset drops everything: {_text(plan)}", hint="add --force if that is meant; nothing was changed"
        )
    if ask(f"{_text(plan)}\nType the database's name to drop all of this").strip() != database:
        raise Refused("that is not the database's name", hint="nothing was changed")


# Dropping.


def _drop(
    settings: Settings,
    project: Project,
    plan: Survey,
    agreed: Agreed,
    log: Log,
    watch: Watch,
    identity: Identity,
    learn_secret: Callable[[str], None],
) -> None:
    settings = settings.but(transaction="all")

    def backup(session: Session) -> None:
        if not agreed.no_backup:
            back_up(settings, session.dsn, session.run.run_id, watch, log)

    doing = surroundings(log, watch, identity, learn_secret, backup)
    run = _Reset(plan, settings, project, settings.to or "head", **doing)
    with _kept_process():
        run.carry_out()
    log.info("reset.done", schemas=list(plan.schemas), relations=len(plan.relations))


class _Reset(Held):
    """A run that locks every version table, and then drops all that is around them."""

    def __init__(self, plan: Survey, *args: Any, **kwargs: Any) -> None:
        super().__init__("reset", *args, **kwargs)
        self._plan_of_drops = plan

    def _before(self, context: MigrationContext) -> None:
        _, archive, _ = self._lock(context)
        archive.begin(self.command, context, self._arguments)
        archive.change.expected = archive.change.before
        _let_go(context)

    def _load(self) -> None:
        super()._load()
        [session] = self.sessions
        self._backup(session)
        with closing(session.fresh()) as connection:
            postgres.query(connection, locks.fence_statement(self.identity.key))
            clear(connection, session, self._plan_of_drops, self.settings, self.watch, self.log)
        for change in self.changes:
            label = change.table.label
            unfinished.clear(session.connection, self.settings.history_schema, session.identity, label)
            change.expected = ()
