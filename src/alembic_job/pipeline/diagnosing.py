"""`doctor`: everything that a run needs, looked at in order, each with its way out. Nothing is changed or locked."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from alembic_job.dsn import Dsn
from alembic_job.errors import DatabaseUnreachable, JobError, RevisionUnknown, SettingsError
from alembic_job.gateways import engines, postgres, reaching, surroundings
from alembic_job.gateways.environment import visit
from alembic_job.gateways.project import Project, open_project
from alembic_job.logs.events import Log
from alembic_job.model import VersionTable
from alembic_job.pipeline import exported_url
from alembic_job.pipeline.diagnosing_server import NAME, PATIENCE, look_inside
from alembic_job.pipeline.diagnosis import Diagnosis
from alembic_job.pipeline.other import database_of
from alembic_job.pipeline.planning import looking
from alembic_job.pipeline.status import pending
from alembic_job.settings import Settings
from alembic_job.steps import preflight

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext


def doctor(settings: Settings, log: Log) -> Diagnosis:
    """What a run would need, in the order in which it needs it; what depends on something that failed is skipped."""
    found = Diagnosis()
    dsn = _database(settings, found)
    if dsn is not None and _is_reached(dsn, found):
        look_inside(dsn, settings, log, found)
    reached = not found.failed
    project = _project(settings, log, found)
    if not reached:
        found.skipped("database", "what it holds is not looked at until the above is mended")
    elif project is not None:
        with found.looking("database"):
            _tables(project, settings, found)
    return found


def _database(settings: Settings, found: Diagnosis) -> Dsn | None:
    """Where the settings say that the database is; none where only env.py knows."""
    for warning in settings.warnings:
        found.caution("settings", warning, "correct or unset them")
    try:
        dsn = database_of(settings)
    except SettingsError as error:
        found.caution("settings", f"{error}: env.py has its own way, of which only the end is seen", error.hint)
        return None
    origin = settings.origins["database_direct_url" if settings.direct else "database_url"]
    told = "PG* variables" if origin == "default" else origin
    found.ok("settings", f"{dsn.redacted()} ({told if settings.own() else 'alembic.ini'})")
    return dsn


def _is_reached(dsn: Dsn, found: Diagnosis) -> bool:
    """Whether a server answers at one of the places at least; the others are warnings then."""
    places = reaching.places(dsn)
    if not places:
        found.skipped("name", "a service file says where the server is")
        return True
    problems: list[JobError] = []
    for place in places:
        try:
            _knock(place, dsn, found)
        except JobError as error:
            problems.append(error)
    reached = len(problems) < len(places)
    for problem in problems:
        if reached:
            found.caution("port", str(problem), problem.hint)
        else:
            found.fail("port", problem)
    return reached


def _knock(place: reaching.Place, dsn: Dsn, found: Diagnosis) -> None:
    """Raises `DatabaseUnreachable` or `SettingsError` if no address of it is of use."""
    answers = {address: reaching.knock(place, address, PATIENCE) for address in _addresses(place, found)}
    failed = [f"{address}: {answer.failed}" for address, answer in answers.items() if answer.failed]
    if len(failed) == len(answers):
        hint = "check that PostgreSQL runs there, listens on that address (listen_addresses) and port, and that no "
        hint += "firewall is between"
        if place.is_socket:
            hint = "start PostgreSQL on this machine, or name its host in DATABASE_URL"
        raise DatabaseUnreachable(f"{place} is not reached ({'; '.join(failed)})", hint=hint)
    offered = any(answer.offered for answer in answers.values())
    if reaching.wants_tls(dsn) and not offered and not place.is_socket:
        hint = "turn `ssl` on at the server, or take sslmode out of the URL where the network is trusted"
        raise SettingsError(f"{place} has no TLS, but sslmode wants it", hint=hint)
    but = f", but not {'; '.join(failed)}" if failed else ""
    found.ok("port", f"{place} answers{' and offers TLS' if offered else ''}{but}")


def _addresses(place: reaching.Place, found: Diagnosis) -> list[str]:
    try:
        addresses = reaching.resolve(place)
    except (OSError, UnicodeError) as error:
        hint = "check the host in DATABASE_URL as seen from here: inside a container the host's `localhost` is another "
        hint += "one, and a service of compose or Kubernetes is known only in its own network"
        reason = getattr(error, "strerror", None) or error
        raise DatabaseUnreachable(f"the name {place.host} has no address: {reason}", hint=hint) from error
    if addresses != [place.host]:
        found.ok("name", f"{place.host} is {', '.join(addresses)}")
    return addresses


def _project(settings: Settings, log: Log, found: Diagnosis) -> Project | None:
    with found.looking("project"):
        project = open_project(settings, ("current",), log)
        heads = sorted(project.heads())
        found.ok("project", f"{project.file.name}: head {', '.join(heads) or '(no revisions)'}")
        if settings.to in (None, "head"):
            preflight.check_target(project, "head")
        return project
    return None


def _tables(project: Project, settings: Settings, found: Diagnosis) -> None:
    """What each version table holds, and whether it may be written. Raises what env.py raises, as ours."""

    tables: list[tuple[VersionTable, tuple[str, ...]]] = []

    def look(context: MigrationContext) -> None:
        table = preflight.version_table(context)
        with found.looking("rights"):
            preflight.check_privileges(context, table)
        tables.append((table, preflight.current_heads(context)))

    engines.map_plain_scheme()
    with exported_url(settings), looking(project, settings):
        visit(project, settings.tag, look)
    for table, heads in tables:
        _table(project, table, heads, found)
    if settings.own() is not None:
        _owners(settings, list(dict.fromkeys(table.schema for table, _ in tables)), found)


def _table(project: Project, table: VersionTable, heads: tuple[str, ...], found: Diagnosis) -> None:
    if unknown := project.lacks(heads):
        found.fail("database", RevisionUnknown(f"{table.label} is at {', '.join(unknown)}, which these scripts lack"))
        return
    at = ", ".join(sorted(heads)) or "(nothing applied)"
    found.ok("database", f"{table.label} is at {at}, {len(pending(project, heads))} pending")


def _owners(settings: Settings, schemas: list[str], found: Diagnosis) -> None:
    with closing(postgres.connect(database_of(settings), NAME, PATIENCE)) as connection:
        foreign = [(schema, each) for schema in schemas for each in surroundings.foreign_tables(connection, schema)]
    for schema, each in foreign:
        number = f"{each.number} tables of {schema} belong" if each.number > 1 else f"a table of {schema} belongs"
        hint = f"to alter them: GRANT {each.owner} TO the migrating role, or set MIGRATE_ROLE={each.owner}"
        found.caution("rights", f"{number} to {each.owner} ({each.example})", hint)
