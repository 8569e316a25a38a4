"""The Alembic project as it is: its ini file, its scripts, its env.py, loaded the way Alembic's own command does."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from alembic_job import dsn as dsns
from alembic_job.errors import JobError, ProjectError, SettingsError
from alembic_job.logs.events import Log
from alembic_job.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.runtime.migration import MigrationContext, RevisionStep
    from alembic.script import ScriptDirectory

_CANDIDATES = ("alembic.ini", "pyproject.toml", "alembic/alembic.ini", "migrations/alembic.ini")


class Project:
    """An opened project: Alembic's `config` and `script`, and the ini (or pyproject) file they came from."""

    def __init__(self, config: Config, script: ScriptDirectory, file: Path) -> None:
        self.config = config
        self.script = script
        self.file = file

    def heads(self) -> tuple[str, ...]:
        """The revisions nothing follows. Raises `ProjectError` if the scripts cannot be loaded."""
        with project_errors():
            return tuple(self.script.get_heads())

    def has(self, revision: str) -> bool:
        """True if the scripts have this very revision id."""
        with project_errors():
            return revision in self.script.revision_map._revision_map

    def ancestors(self, heads: Iterable[str]) -> set[str]:
        """These revisions with all that they build upon."""
        seen: set[str] = set()
        todo = list(heads)
        while todo:
            revision = todo.pop()
            if revision in seen:
                continue
            seen.add(revision)
            script = self.script.revision_map.get_revision(revision) if self.has(revision) else None
            todo.extend(script._all_down_revisions if script is not None else ())
        return seen


def find_config(settings: Settings) -> Path:
    """The project's ini file or pyproject.toml. Raises `SettingsError` when there is none."""
    if settings.config_file:
        file = Path(settings.config_file)
        if not file.is_file():
            origin = settings.origins["config_file"]
            raise SettingsError(
                f"there is no file {file} (from {origin})", hint="give the path of alembic.ini as -c or ALEMBIC_CONFIG"
            )
        return file
    for name in _CANDIDATES:
        file = Path(name)
        if file.is_file() and (file.suffix != ".toml" or _has_alembic_table(file)):
            return file
    raise SettingsError(
        f"no alembic.ini in {Path.cwd()}",
        hint="run in the project's folder, mount it there, or give the file's path as -c or ALEMBIC_CONFIG",
    )


def _has_alembic_table(file: Path) -> bool:
    return "[tool.alembic" in file.read_text(encoding="utf-8", errors="replace")


def alembic_library() -> None:
    """Imports Alembic and SQLAlchemy themselves, even where a project's folder `alembic/` comes first on the path."""
    if "alembic" in sys.modules:
        return
    here = {"", ".", str(Path.cwd())}
    before = list(sys.path)
    sys.path[:] = [entry for entry in before if entry not in here]
    try:
        import alembic.command
        import alembic.config
        import alembic.context
        import alembic.op
        import alembic.runtime.environment  # noqa: F401
    finally:
        sys.path[:] = before


def open_project(settings: Settings, command: tuple[str, ...], log: Log) -> Project:
    """Opens the project as `alembic COMMAND` would. Raises `SettingsError` or `ProjectError`."""
    file = find_config(settings)
    alembic_library()
    from alembic.script import ScriptDirectory

    config = _config(settings, file, command)
    with project_errors():
        _locate_scripts(config, file, log)
        _override_url(config, settings)
        script = ScriptDirectory.from_config(config)
    return Project(config, script, file)


def _config(settings: Settings, file: Path, command: tuple[str, ...]) -> Config:
    """Alembic's own command line parses our arguments, so that env.py finds the `cmd_opts` it knows."""
    from alembic.config import CommandLine, Config

    argv = ["-c", str(file)]
    if settings.section:
        argv += ["-n", settings.section]
    for pair in settings.x or ():
        argv += ["-x", pair]
    argv += command
    if settings.tag and command[0] in ("upgrade", "downgrade"):
        argv += ["--tag", settings.tag]
    line = CommandLine(prog="alembic")
    options = _parse(line, argv)
    toml: str | None = None
    ini: str | None = str(file)
    if hasattr(line, "_inis_from_config"):
        toml, ini = line._inis_from_config(options)
    elif file.suffix == ".toml":
        raise SettingsError(f"{file} needs Alembic 1.16 or newer", hint="pip install 'alembic>=1.16'")
    kind: Any = Config
    if toml is not None:
        config: Config = kind(file_=ini, toml_file=toml, ini_section=options.name, cmd_opts=options)
    else:
        config = kind(file_=ini, ini_section=options.name, cmd_opts=options)
    return config


def _parse(line: Any, argv: list[str]) -> Any:
    """Alembic's parser ends the process on what it does not like; ours is an error with its words."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return line.parser.parse_args(argv)
    except SystemExit as error:
        raise ProjectError(said.getvalue().strip().splitlines()[-1], hint="see `alembic --help`") from error


def _locate_scripts(config: Config, file: Path, log: Log) -> None:
    """Completes what other runners complete: Flask-Migrate gives no script_location, and some ini files are relative
    to their own folder."""
    location = option(config, "script_location")
    if location is None and (file.parent / "env.py").is_file():
        config.set_main_option("script_location", str(file.parent).replace("%", "%%"))
    elif location is None:
        raise ProjectError(
            f"{file} has no script_location in its section [{config.config_ini_section}]",
            hint="add script_location, or choose the section with -n",
        )
    elif _is_beside(file, location):
        log.info("project.directory_changed", directory=str(file.parent), reason=f"{location} is relative to it")
        os.chdir(file.parent)


def _is_beside(file: Path, location: str) -> bool:
    """True if a relative script_location means the ini file's folder rather than the working directory, as it does for
    Alembic: because only that one is there, or because the ini lies outside the working directory altogether (mounted
    into an image that has a project of its own, which must not be taken for this one).
    """
    if ":" in location or Path(location).is_absolute() or not (file.parent / location).is_dir():
        return False
    outside = not file.absolute().is_relative_to(Path.cwd())
    return outside or not Path(location).is_dir()


def option(config: Config, name: str) -> str | None:
    """One of Alembic's options, from the ini file or pyproject.toml."""
    get = getattr(config, "get_alembic_option", config.get_main_option)
    value: str | None = get(name)
    return value


def _override_url(config: Config, settings: Settings) -> None:
    """DATABASE_URL goes over the ini's `sqlalchemy.url`, only where the project keeps that key.

    Where the key is absent, env.py has its own way, and may read the key first: it stays absent.
    """
    section = config.config_ini_section
    parser = config.file_config
    if not parser.has_section(section) or not parser.has_option(section, "sqlalchemy.url"):
        return
    database = settings.database
    if database is None:
        return
    before = parser.get(section, "sqlalchemy.url", raw=True)
    url = dsns.sqlalchemy_url(database, _scheme(database.scheme, before))
    config.set_section_option(section, "sqlalchemy.url", url.replace("%", "%%"))


def _scheme(given: str, ini: str) -> str:
    """The driver of DATABASE_URL, else of the ini's URL: an async env.py needs the async driver named there."""
    old = ini.partition("://")[0]
    if "+" not in given and "+" in old and old.startswith("postgres"):
        return old.replace("postgres+", "postgresql+")
    return given.replace("postgres+", "postgresql+") if "+" in given else "postgresql"


def ini_url(project_file: Path, section: str) -> str | None:
    """The ini file's literal `sqlalchemy.url`, if any; a guess, since env.py may read another."""
    from configparser import ConfigParser, Error

    parser = ConfigParser({"here": str(project_file.parent.resolve())})
    try:
        parser.read(project_file, encoding="utf-8")
        return parser.get(section, "sqlalchemy.url", raw=True)
    except Error:
        return None


class EnvironmentHooks(Protocol):
    """What a run does while env.py runs."""

    def before(self, context: MigrationContext) -> None:
        """env.py has configured and is about to migrate."""

    def after(self, context: MigrationContext) -> None:
        """That is done; env.py goes on."""

    def revisions(self, heads: tuple[str, ...], context: MigrationContext) -> Iterable[RevisionStep]:
        """The steps to run from these heads."""

    def applied(self, heads: set[str], context: MigrationContext) -> None:
        """A step was executed, maybe not yet committed; these are the heads after it."""


def run_env(project: Project, target: str, tag: str | None, transaction: str, hooks: EnvironmentHooks) -> None:
    """Loads env.py, which migrates through the hooks. Whatever it raises comes out."""
    from alembic.operations import Operations
    from alembic.runtime.environment import EnvironmentContext

    environment = EnvironmentContext(
        project.config, project.script, fn=hooks.revisions, as_sql=False, destination_rev=target, tag=tag
    )
    configure, run_migrations = environment.configure, environment.run_migrations

    def on_apply(*, ctx: Any, heads: set[str], **_: Any) -> None:
        hooks.applied(heads, ctx)

    def configure_ours(*args: Any, **options: Any) -> None:
        if transaction != "project":
            options["transaction_per_migration"] = transaction == "per-revision"
        callbacks = options.get("on_version_apply") or ()
        callbacks = callbacks if isinstance(callbacks, Iterable) else (callbacks,)
        configure(*args, **{**options, "on_version_apply": (*callbacks, on_apply)})

    def run_ours(**arguments: Any) -> None:
        context = environment.get_context()
        if context.as_sql:
            return run_migrations(**arguments)
        with Operations.context(context):  # some revisions use `op` while they are imported
            hooks.before(context)
        run_migrations(**arguments)
        return hooks.after(context)

    _load(project, environment, configure=configure_ours, run_migrations=run_ours)


def look(project: Project, tag: str | None) -> list[tuple[str, str | None, tuple[str, ...]]]:
    """Loads env.py without changing anything: (version table, its schema, heads in the database) per configuration."""
    from alembic.runtime.environment import EnvironmentContext

    found: list[tuple[str, str | None, tuple[str, ...]]] = []
    environment = EnvironmentContext(project.config, project.script, fn=lambda *_: [], tag=tag, dont_mutate=True)

    def run(**_: Any) -> None:
        context = environment.get_context()
        found.append((context.version_table, context.version_table_schema, context.get_current_heads()))

    _load(project, environment, run_migrations=run)
    return found


def _load(project: Project, environment: EnvironmentContext, **methods: Any) -> None:
    """Loads env.py in this environment, some methods of which are ours.

    Set on the instance: `alembic.context` hands calls on to the instance, but knows no subclass.
    """
    for name, method in methods.items():
        setattr(environment, name, method)
    with application(project), environment:
        project.script.run_env()


def application(project: Project) -> AbstractContextManager[Any]:
    """Flask-Migrate's env.py needs the application's context: FLASK_APP, wsgi.py or app.py, found as `flask` does.

    Where no application is found env.py is loaded without: it may make the context itself.
    """
    env_py = Path(project.script.dir) / "env.py"
    try:
        text = env_py.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ProjectError(f"{env_py} cannot be read: {error.strerror}", hint="check script_location") from error
    if "current_app" not in text:
        return nullcontext()
    try:
        from flask import has_app_context
        from flask.cli import NoAppException, ScriptInfo
    except ImportError:
        return nullcontext()
    if has_app_context():
        return nullcontext()
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        context: AbstractContextManager[Any] = _flask_app(ScriptInfo).app_context()
    except NoAppException:
        return nullcontext()
    return context


def _flask_app(script_info: Any) -> Any:
    """The application as the `flask` command finds it: FLASK_APP, also from .flaskenv and .env, then by file name."""
    from flask.cli import load_dotenv

    load_dotenv()
    return script_info(app_import_path=os.environ.get("FLASK_APP")).load_app()


@contextmanager
def project_errors() -> Iterator[None]:
    """Alembic's complaints about a project, and errors in its files, become `ProjectError` with the way out."""
    from alembic.util import CommandError

    try:
        yield
    except JobError:
        raise
    except CommandError as error:
        raise project_error(error) from error
    except SyntaxError as error:
        raise ProjectError(
            f"{error.filename}:{error.lineno}: {error.msg}", hint="correct that file; nothing was changed"
        ) from error
    except Exception as error:
        raise ProjectError(f"{type(error).__name__}: {error}{_where(error)}", hint="correct that file") from error


_HINTS = (
    (
        "Multiple head revisions",
        "two revisions follow the same one: join them with `alembic merge heads`, commit the new file; or run with --to heads if the branches are meant",
    ),
    (
        "Can't locate revision",
        "these scripts lack that revision: check the id with `alembic-job history`; if the file was deleted, restore it; if it comes from a newer image, run that image",
    ),
    ("No such revision", "check the id with `alembic-job history`"),
    ("is present more than once", "two files have the same revision id: give one of them another"),
    ("Requested revision", "check --to: `alembic-job heads` and `alembic-job branches` show what there is"),
    ("Relative revision", "there are not that many revisions in that direction: see `alembic-job history`"),
    ("Ambiguous walk", "several branches: name one as label@-1, or give a revision id"),
    ("Cycle is detected", "down_revision of the revisions named goes in a circle: correct one of them"),
    ("Path doesn't exist", "check script_location; run in the project's folder or mount it"),
    ("Target database is not up to date", "apply what is pending with `alembic-job migrate`, then try again"),
    ("overlaps with other requested revisions", "one of the targets includes the other: name one of them"),
)


def project_error(error: Exception) -> ProjectError:
    """A `ProjectError` for one of Alembic's complaints, with a hint that solves it."""
    text = str(error)
    hint = next((hint for start, hint in _HINTS if start in text), "")
    return ProjectError(text, hint=hint)


def _where(error: BaseException) -> str:
    import traceback

    ours = str(Path(__file__).parent.parent)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename and not frame.filename.startswith((ours, "<frozen "))
    ]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def where(error: BaseException, folder: str) -> str | None:
    """`file:line` of the project's code that raised, if it did: the last frame below this folder."""
    import traceback

    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(folder)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None
