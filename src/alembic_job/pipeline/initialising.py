"""`init`: a new Alembic project, ready for production; all of its files, or none."""

from __future__ import annotations

import ast
import re
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from alembic_job.errors import ProjectError, UsageError
from alembic_job.gateways.placing import place

_MODELS = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)")
_USUAL = ("models", "app.models", "app.models.base", "app.database", "app.db", "src.app.models", "src.models")
_IMPORTS = {
    "plain": """\
import os
from importlib.util import find_spec
from logging.config import fileConfig
from pathlib import Path
from typing import Any

from alembic import context
from sqlalchemy import create_engine, pool
from sqlalchemy.engine import URL, make_url""",
    "async": """\
import asyncio
import os
from importlib.util import find_spec
from logging.config import fileConfig
from pathlib import Path
from typing import Any

from alembic import context
from sqlalchemy import pool
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.ext.asyncio import async_engine_from_config""",
}
_REQUIREMENTS = {"plain": "", "async": "asyncpg>=0.29\ngreenlet>=3"}


class Made(NamedTuple):
    """What was written: `files` as seen from here, and where env.py finds the `models`, which were there `before`."""

    files: tuple[str, ...]
    models: str
    before: bool
    deploy: bool


def initialise(
    directory: str, config: str, *, template: str, models: str | None, package: bool, with_deploy: bool
) -> Made:
    """Writes a project into the working directory: the ini file `config`, and `directory` with env.py.

    `models` is MODULE:NAME of the declarative base (or MetaData); without it that of a usual module is taken, else
    models.py is written, too. Raises `UsageError` (2), `ProjectError` (22) for a file that is there already.
    """
    folder = _folder(directory, package)
    _check_config(config)
    found = models or _usual_models()
    module, name = _parsed(found or "models:Base")
    values = {
        "DIRECTORY": folder.as_posix(),
        "IMPORTS": _IMPORTS[template],
        "MODULE": module,
        "BASE": name,
        "METADATA": f"{name}.metadata" if name[0].isupper() else name,
    }
    made = {
        config: _filled("alembic.ini", values),
        f"{folder}/env.py": _filled("head.py", values) + _filled(f"{template}.py", values),
        f"{folder}/script.py.mako": _text("script.py.mako"),
        f"{folder}/versions/.gitkeep": "",
    }
    if package:
        made |= {f"{folder}/__init__.py": "", f"{folder}/versions/__init__.py": ""}
    if found is None:
        made["models.py"] = _text("models.py")
    if with_deploy:
        made |= _deployment(template)
    place(made)
    return Made(tuple(made), f"{module}:{name}", found is not None, with_deploy)


def _folder(directory: str, package: bool) -> PurePosixPath:
    """The folder, relative to here. Raises `UsageError`, or `ProjectError` if there is something in it."""
    path = Path(directory)
    if path.is_absolute() or ".." in path.parts or not path.parts or not re.fullmatch(r"[\w./ -]+", directory):
        raise UsageError(
            f"DIRECTORY is a folder below this one, not {directory!r}", hint="such as alembic or app/migrations"
        )
    if package and path.parts == ("alembic",):
        raise UsageError(
            "a package named alembic would hide the library of that name",
            hint="give it another name: alembic-job init migrations --package",
        )
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ProjectError(
            f"{directory} is there already, and not empty",
            hint="nothing was written; give another DIRECTORY, or remove it",
        )
    return PurePosixPath(*path.parts)


def _check_config(config: str) -> None:
    path = Path(config)
    if path.suffix != ".ini" or len(path.parts) != 1:
        raise UsageError(f"{config} cannot be written: -c takes the name of an .ini file in this folder")


def _parsed(models: str) -> tuple[str, str]:
    found = _MODELS.fullmatch(models)
    if found is None:
        raise UsageError(f"--models {models} is not MODULE:NAME", hint="such as --models app.models:Base")
    return found[1], found[2]


def _usual_models() -> str | None:
    """The first usual module that defines or imports a `Base`, without importing it."""
    for module in _USUAL:
        stem = Path(*module.split("."))
        for file in (stem.with_suffix(".py"), stem / "__init__.py"):
            if file.is_file() and "Base" in _names(file):
                return f"{module}:Base"
    if Path("models.py").exists() or Path("models").exists():
        raise ProjectError(
            "there are models here, but no Base in them", hint="nothing was written; name it: --models models:NAME"
        )
    return None


def _names(file: Path) -> set[str]:
    """The names that a module binds on its first level, as far as its text tells."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return set()
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {each.asname or each.name for each in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def _deployment(template: str) -> dict[str, str]:
    name = re.sub(r"[^a-z0-9]+", "_", Path.cwd().name.lower()).strip("_") or "app"
    name = f"app_{name}" if name[0].isdigit() else name
    values = {"NAME": name, "RELEASE": name.replace("_", "-"), "REQUIREMENTS": _REQUIREMENTS[template]}
    values["FILE"] = "values-migrations.yaml"
    made = {file: _filled(file, values) for file in ("Dockerfile", "compose.yaml")}
    made[values["FILE"]] = _filled("values.yaml", values)
    if not Path("requirements.txt").exists():
        made["requirements.txt"] = _filled("requirements.txt", values).rstrip() + "\n"
    if not Path(".dockerignore").exists():
        made[".dockerignore"] = _text("dockerignore")
    return made


def _text(name: str) -> str:
    return (files("alembic_job.templates") / f"{name}.tmpl").read_text(encoding="utf-8")


def _filled(name: str, values: dict[str, str]) -> str:
    return re.sub(r"@([A-Z]+)@", lambda found: values[found[1]], _text(name))


def as_text(made: Made) -> str:
    """What was written and what comes next, for people."""
    lines = [f"{'written' if number == 0 else '':<10}{file}" for number, file in enumerate(made.files)]
    lines.append(f"models    {made.models}{' (there already)' if made.before else ''}")
    lines.append("next      set DATABASE_URL; `alembic-job migrate -m 'first tables'`, then `alembic-job migrate`")
    if made.deploy:
        lines.append("deploy    docker build, docker compose up, or values-migrations.yaml for the chart")
    return "\n".join(lines)
