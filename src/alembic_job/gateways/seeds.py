"""A project's seed: found by its setting or by convention, and called with what it takes."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic_job.errors import SettingsError

if TYPE_CHECKING:
    from sqlalchemy import Connection

_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_USUAL = ("app.seed:seed", "src.app.seed:seed", "seed:seed")
_HINT = "name it in MIGRATE_SEED: package.module:function, or a command such as `python -m app.seed`"


class Seed(NamedTuple):
    """A function that takes a connection or session, or else a command."""

    name: str
    function: Callable[..., Any] | None = None
    argv: tuple[str, ...] = ()

    def call(self, connection: Connection) -> object:
        """Calls the function with what it takes; what it returns. Whatever it raises comes out."""
        assert self.function is not None
        parameters = _needed(self.function)
        if not parameters:
            return self.function()
        if not _takes_session(parameters[0]):
            return self.function(connection)
        with _session(connection) as session:
            result = self.function(session)
            session.commit()  # a savepoint: the transaction around it is the job's
            return result


def find(setting: tuple[str, ...] | None) -> Seed:
    """The seed that MIGRATE_SEED names, or the usual one. Raises `SettingsError` (20) where it is not there."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    if setting is None:
        return _usual()
    if len(setting) == 1 and _FUNCTION.fullmatch(setting[0]):
        return _function(setting[0])
    return Seed(" ".join(setting), argv=setting)


def _usual() -> Seed:
    for name in _USUAL:
        path = name.partition(":")[0].replace(".", "/") + ".py"
        if Path(path).is_file():
            return _function(name.removeprefix("src.") if _is_root("src") else name)
    looked = ", ".join(name.partition(":")[0].replace(".", "/") + ".py" for name in _USUAL)
    raise SettingsError(f"this project has no seed: MIGRATE_SEED is not set, and there is none of {looked}", hint=_HINT)


def _is_root(folder: str) -> bool:
    """True if Python looks for packages in this folder."""
    there = Path(folder).absolute()
    return any(Path(entry).absolute() == there for entry in sys.path if entry)


def _function(name: str) -> Seed:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise SettingsError(f"the seed {name} cannot be imported: {reason}", hint=_HINT) from error
    if not callable(found):
        raise SettingsError(f"the seed {name} is no function: {module} has no callable {attribute}", hint=_HINT)
    if inspect.iscoroutinefunction(found):
        raise SettingsError(
            f"the seed {name} is async: it cannot share the job's transaction",
            hint="give a command of its own, such as MIGRATE_SEED='python -m app.seed', or write a plain function",
        )
    if len(_needed(found)) > 1:
        raise SettingsError(f"the seed {name} takes more than a Session or Connection", hint=_HINT)
    return Seed(name, found)


def _needed(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The arguments that it cannot do without."""
    given = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each for each in given if each.default is inspect.Parameter.empty and each.kind not in kinds]


def _takes_session(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    spelled = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    if spelled and annotation is not inspect.Parameter.empty:
        return "Session" in spelled
    return "session" in parameter.name.lower() or parameter.name == "db"


def _session(connection: Connection) -> Any:
    """A session in the connection's transaction: where it commits, only a savepoint ends."""
    from sqlalchemy.orm import Session

    modes: Any = {"join_transaction_mode": "create_savepoint"}
    if "join_transaction_mode" not in inspect.signature(Session.__init__).parameters:
        modes = {}  # SQLAlchemy 1.4 leaves the outer transaction alone by itself
    return Session(bind=connection, **modes)
