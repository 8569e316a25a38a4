"""The Alembic project as it is: its ini file, its scripts, its env.py, loaded the way Alembic's own command does."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_job import dsn as dsns
from alembic_job.errors import ProjectError, SettingsError
from alembic_job.gateways.complaints import project_errors
from alembic_job.logs.events import Log
from alembic_job.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config
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
        with project_errors(), uncollected():
            return tuple(self.script.get_heads())

    def has(self, revision: str) -> bool:
        """True if the scripts have this very revision id."""
        with project_errors():
            return revision in self.script.revision_map._revision_map

    def lacks(self, revisions: Iterable[str]) -> list[str]:
        """Those of the revisions that the scripts do not have."""
        return [revision for revision in revisions if not self.has(revision)]

    def ancestors(self, heads: Iterable[str]) -> set[str]:
        """These revisions with all that they build upon."""
        seen: set[str] = set()
        todo = list(heads)
        with project_errors():
            known = self.script.revision_map._revision_map
        while todo:
            revision = todo.pop()
            if revision in seen:
                continue
            seen.add(revision)
            script = known.get(revision)
            todo.extend(script._all_down_revisions if script is not None else ())
        return seen


@contextmanager
def uncollected() -> Iterator[None]:
    """What is made inside lives to the end: to look for garbage among a thousand modules, or parse trees, takes long
    and is in vain."""
    wanted = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if wanted:
            gc.enable()


def described(script: Any, here: Path) -> dict[str, Any]:
    """A revision: its id, what it says of itself, and its file as seen from a folder."""
    return {"revision": script.revision, "message": script.doc, "file": os.path.relpath(script.path, here)}


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
