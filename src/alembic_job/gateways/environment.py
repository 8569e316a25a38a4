"""Loads a project's env.py the way Alembic does, with our hooks around what it does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from alembic_job.errors import ProjectError
from alembic_job.gateways.project import Project

if TYPE_CHECKING:
    from alembic.runtime.environment import EnvironmentContext
    from alembic.runtime.migration import MigrationContext, RevisionStep

Seen = TypeVar("Seen")


class EnvironmentHooks(Protocol):
    """What a run does while env.py runs."""

    def before(self, context: MigrationContext, arguments: dict[str, Any]) -> None:
        """env.py has configured and is about to migrate; `arguments` are for the revisions' functions."""

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
            hooks.before(context, arguments)
        run_migrations(**arguments)
        return hooks.after(context)

    _load(project, environment, configure=configure_ours, run_migrations=run_ours)


def visit(
    project: Project, tag: str | None, each: Callable[[MigrationContext], Seen], target: str | None = None
) -> list[Seen]:
    """Loads env.py without changing anything: what `each` makes of every configuration it comes to.

    With a `target` env.py is told, where it asks, that it is an upgrade to there.
    """
    return visit_with_arguments(project, tag, lambda context, _: each(context), target)


def visit_with_arguments(
    project: Project,
    tag: str | None,
    each: Callable[[MigrationContext, dict[str, Any]], Seen],
    target: str | None = None,
    *,
    as_sql: bool = False,
) -> list[Seen]:
    """The same; `each` also gets the arguments that env.py has for the revisions' functions.

    With a target and `as_sql` env.py is told that it is offline, as with `alembic upgrade --sql`.
    """
    from alembic.operations import Operations
    from alembic.runtime.environment import EnvironmentContext

    found: list[Seen] = []
    options: dict[str, Any] = {"tag": tag, "dont_mutate": True}
    if target is not None:
        options |= {"destination_rev": target, "as_sql": as_sql}
    environment = EnvironmentContext(project.config, project.script, fn=lambda *_: [], **options)

    def run(**arguments: Any) -> None:
        context = environment.get_context()
        with Operations.context(context):  # some revisions use `op` while they are imported
            found.append(each(context, arguments))

    _load(project, environment, run_migrations=run)
    return found


def author(
    project: Project,
    each: Callable[[tuple[str, ...], MigrationContext], object],
    changed: Callable[[dict[str, Any]], dict[str, Any]],
    **options: Any,
) -> None:
    """Loads env.py as `alembic revision` does: `each` gets what every version table holds, and its configuration.

    `changed` may change what env.py configures; `options` are those of Alembic's `EnvironmentContext`.
    """
    from alembic.runtime.environment import EnvironmentContext

    def run(heads: tuple[str, ...], context: MigrationContext) -> list[RevisionStep]:
        each(heads, context)
        return []

    environment = EnvironmentContext(project.config, project.script, fn=run, dont_mutate=True, **options)
    configure = environment.configure
    _load(project, environment, configure=lambda *args, **given: configure(*args, **changed(given)))


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
