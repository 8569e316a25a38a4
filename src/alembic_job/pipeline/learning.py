"""What a wait has to learn from the project, once: which revisions it needs, and where its version tables are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic_job.dsn import Dsn
from alembic_job.errors import DatabaseUnreachable, JobError, LoginFailed, ProjectError, SettingsError, TableLocked
from alembic_job.gateways import engines, hygiene, postgres
from alembic_job.gateways.apart import Killed, TookTooLong, apart
from alembic_job.gateways.complaints import project_errors
from alembic_job.gateways.environment import visit
from alembic_job.gateways.onlooker import only_looking
from alembic_job.gateways.project import Project, open_project
from alembic_job.logs.events import Log, hear
from alembic_job.pipeline import exported_url
from alembic_job.pipeline.failure import classify
from alembic_job.settings import Settings
from alembic_job.steps import preflight
from alembic_job.steps.compare import Need
from alembic_job.steps.poll import UNREACHABLE_HINT, Place, Sought

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

_READ_ONLY = "25006"  # read_only_sql_transaction
_LONGEST = 120.0  # seconds for env.py and all it imports, in a pod with a tenth of a processor
_RELATIVE = re.compile(r"(^|@)[+-]\d+$")
_SAME_NAME = (
    "SELECT n.nspname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relname = '{name}'"
)


class NotYet(ProjectError):
    """env.py cannot be loaded with the database as it is."""

    hint = "env.py needs something that a migration has yet to make: see what the migration Job says"


class Learned(NamedTuple):
    """What is needed, and where to look for it."""

    need: Need
    places: tuple[Place, ...]


def learn(settings: Settings, log: Log, learn_secret: Callable[[str], None], seconds: float) -> Learned:
    """Loads the project and its env.py in a process of their own, without changing anything.

    So an engine's pool keeps no connection, a second try does not meet what the first left half imported, and a waiting
    pod keeps no more memory than it needs. Raises `NotYet` (22) where trying again may help, and other `JobError`s.
    """
    seconds = min(seconds, _LONGEST)
    if (database := settings.database) is not None:
        postgres.with_password(database)  # remembered for a while: its command is run here, not by what may be killed
    try:
        answer: _Answer = apart(partial(_learn, settings, log, learn_secret), seconds)
    except TookTooLong:
        raise NotYet(f"env.py was not done after {seconds:.0f} s", reason="slow") from None
    except Killed as error:
        raise NotYet(f"while env.py was loaded, {error}", hint="was there too little memory?") from error
    except EOFError as error:
        raise ProjectError(f"env.py was loaded, but {error}", hint="see the lines above") from error
    for secret in answer.secrets:  # before anything is said of what failed
        learn_secret(secret)
    if answer.error is not None:
        raise answer.error
    assert answer.learned is not None
    return answer.learned


class _Answer(NamedTuple):
    """What comes back from the other process: one of the first two, and the secrets that it came to know."""

    learned: Learned | None
    error: JobError | None
    secrets: tuple[str, ...]


def _learn(settings: Settings, log: Log, learn_secret: Callable[[str], None]) -> _Answer:
    secrets: dict[str, None] = {}

    def note(secret: str) -> None:
        secrets[secret] = None
        learn_secret(secret)

    hear(log, note)
    project: Project | None = None
    try:
        with exported_url(settings):
            # As the Job's run would be: env.py may ask for the command, and choose by it.
            project = open_project(settings, ("upgrade", settings.to or "head"), log)
            _check_early(project, settings.to)
            engines.map_plain_scheme()
            learned = _visit(project, settings, _Visitor(project, settings, note))
        return _Answer(learned, None, (*secrets, *(place.dsn.password for place in learned.places)))
    except BaseException as error:
        return _Answer(None, _told(error, project), tuple(secrets))


def _visit(project: Project, settings: Settings, visitor: _Visitor) -> Learned:
    # A pod of the application's may log in as somebody who can read the version table but not become its owner.
    looking = hygiene.looking(settings.role, settings.search_path, strictly=False)
    with engines.hooked(visitor), only_looking(), looking:
        try:
            visit(project, settings.tag, visitor.table, settings.to or "head")
        except SystemExit as end:
            if end.code:
                raise NotYet(f"env.py ended with {end.code}") from end
    if visitor.need is None:
        raise NotYet("env.py ran without coming to run_migrations, so the version table is not known")
    places = [Place(dsn, tuple(dict.fromkeys(tables))) for dsn, tables in visitor.found.values()]
    return Learned(visitor.need, tuple(places))


class _Visitor(engines.Uninvolved):
    """Notes, while env.py runs, where it connects and which version tables it comes to."""

    def __init__(self, project: Project, settings: Settings, learn_secret: Callable[[str], None]) -> None:
        self.need: Need | None = None
        self.found: dict[str, tuple[Dsn, list[Sought]]] = {}  # by the database's identity
        self._project, self._settings, self._learn_secret = project, settings, learn_secret
        self._connections: dict[int, Dsn] = {}

    def connecting(self, dsn: Dsn) -> Dsn:
        """As the project means it, not around a pooler: but for the password where a command gives it."""
        place = postgres.with_password(self._settings.login(dsn))
        self._learn_secret(place.password)
        return place

    def connected(self, connection: Any, dsn: Dsn) -> None:
        self._connections[id(connection)] = dsn

    def table(self, context: MigrationContext) -> None:
        """One configuration of env.py's."""
        if self.need is None:
            self.need = _need(self._project, self._settings.to)
        table = preflight.version_table(context)
        sought = Sought(table.schema, table.name, table.exists, context.version_table_schema is not None)
        if not sought.exists and not sought.fixed:
            name = table.name.replace("'", "''")
            others = frozenset(schema for [schema] in preflight.ask(context, _SAME_NAME.format(name=name)))
            sought = replace(sought, others=others)
        _, tables = self.found.setdefault(table.database, (self._dsn(context), []))
        tables.append(sought)

    def _dsn(self, context: MigrationContext) -> Dsn:
        """Where this configuration's connection leads: in the settings' words where they lead there too."""
        given = self._settings.database
        connection: Any = context.connection
        raw = getattr(connection.connection, "dbapi_connection", None)
        dsn = self._connections.get(id(raw))
        if dsn is None or not dsn.parameters or (given is not None and dsn.place == given.place):
            dsn = given or dsn
        if dsn is None:
            raise SettingsError(
                "it cannot be told where env.py connects to", hint="set DATABASE_URL to the database that it migrates"
            )
        return dsn


def _check_early(project: Project, target: str | None) -> None:
    """What no waiting helps against, before env.py is loaded."""
    if target is not None and _RELATIVE.search(target):
        raise SettingsError(
            f"{target} is relative to where the database is: it would be another target after every revision",
            hint="name the revision to wait for: an id, label@head, head, heads",
        )
    preflight.check_target_early(project, target or "heads")


def _need(project: Project, target: str | None) -> Need:
    heads = _heads(project, target)
    with project_errors():
        scripts = list(project.script.walk_revisions())
    return Need(
        tuple(sorted(heads)),
        {script.revision: tuple(script._all_down_revisions) for script in scripts},
        {script.revision: tuple(script._versioned_down_revisions) for script in scripts},
    )


def _heads(project: Project, target: str | None) -> tuple[str, ...]:
    """The revisions that the target means: all heads where none is named."""
    if target is None:
        return project.heads()
    preflight.check_target(project, target)
    with project_errors():
        if not any(sign in target for sign in "+-"):
            return tuple(script.revision for script in project.script.get_revisions(target) if script is not None)
        steps: Any = project.script._upgrade_revs(target, ())  # type: ignore[arg-type]
        revisions = [step.revision for step in steps]
    followed = {down for revision in revisions for down in revision._all_down_revisions}
    return tuple(revision.revision for revision in revisions if revision.revision not in followed)


def _told(error: BaseException, project: Project | None) -> JobError:
    """The error as it is handed to the waiting process; `NotYet` where it came of the database as it is now."""
    if postgres.sqlstate(error) == _READ_ONLY:
        return ProjectError(
            f"env.py changes the database before it migrates: {' '.join(str(error).split())}",
            hint="wait-for-migrations loads env.py without letting it change anything: let env.py do so only when it "
            "migrates, for example in a revision, or wait by other means",
        )
    found = classify(error, project, None)
    if isinstance(found, ProjectError) and not isinstance(error, JobError) and _of_the_database(error):
        return NotYet(str(found), hint=f"{NotYet.hint}; {found.hint}")
    if isinstance(found, LoginFailed | DatabaseUnreachable | TableLocked):
        found.fields.setdefault("reason", postgres.connect_error(error).reason)
    if isinstance(found, DatabaseUnreachable):
        found.hint = UNREACHABLE_HINT
    return found


def _of_the_database(error: BaseException) -> bool:
    """True if a driver or SQLAlchemy raised it, or what it came of."""
    modules = (type(link).__module__.partition(".")[0] for link in postgres.chain(error))
    return any(module in ("sqlalchemy", "psycopg2", "psycopg", "asyncpg", "pg8000") for module in modules)
