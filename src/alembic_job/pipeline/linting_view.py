"""A project's revisions as the rules of `lint` see them: source, SQL of both ways, facts of the database."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_job.gateways import autogenerate
from alembic_job.gateways.catalogue import effect_of
from alembic_job.gateways.parser import NotParsed, library, parse
from alembic_job.gateways.rendering import Rendered, Renderer, read_script
from alembic_job.lint.model import Database, Revision, Side, Tree, Written
from alembic_job.rules.effect import Effect
from alembic_job.rules.questions import may_matter
from alembic_job.steps import preflight

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import Script

    from alembic_job.rules.statement import ParsedStatement

# By the estimates of the last VACUUM or ANALYZE; a table is as large as the largest of its children.
_BIG = """
    SELECT n.nspname, c.relname, max(t.relpages::int8 * current_setting('block_size')::int8)
    FROM pg_class t LEFT JOIN pg_inherits i ON i.inhrelid = t.oid JOIN pg_class c ON c.oid IN (t.oid, i.inhparent)
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE t.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND t.relpages::int8 * current_setting('block_size')::int8 >= {bytes} GROUP BY 1, 2"""

_UNKNOWN = (Side(), Side())


def has_grammar() -> bool:
    """True if SQL can be read: the extra `sql` is installed."""
    try:
        return bool(library())
    except LookupError:
        return False


def view(
    context: MigrationContext, arguments: dict[str, Any], scripts: list[Script], asked: Iterable[str], here: Path
) -> Tree:
    """All scripts, with the SQL of those revisions that were asked for, and without facts of the database."""
    wanted = set(asked)
    sides = dict(_rendered(context, arguments, [script for script in scripts if script.revision in wanted]))
    metadata = autogenerate.metadata_of(context)
    return Tree(
        tuple(_revision(script, *sides.get(script.path, _UNKNOWN), here) for script in scripts),
        tuple(autogenerate.modules_of(metadata)) if metadata else (),
        _is_transactional(context),
    )


def _is_transactional(context: MigrationContext) -> bool:
    autocommit = getattr(context.connection, "_is_autocommit_isolation", None)
    return bool(context.impl.transactional_ddl) and not (autocommit is not None and autocommit())


def _rendered(
    context: MigrationContext, arguments: dict[str, Any], scripts: list[Script]
) -> Iterator[tuple[str, tuple[Side, Side]]]:
    """Up and down by the script's path: of two with one id only the last is rendered. While the child renders the next
    ones, these are parsed.
    """
    last = {script.revision: script for script in scripts}
    if not last:
        return
    renderer = Renderer(context, last.values(), arguments, up=True)
    try:
        for revision in last:
            for looked in renderer.upto(revision):
                yield last[looked.revision].path, (_side(looked.up), _side(looked.down))
    finally:
        renderer.close()


def _revision(script: Script, up: Side, down: Side, here: Path) -> Revision:
    return Revision(
        script.revision,
        os.path.relpath(script.path, here),
        read_script(script.path)[1],
        script.doc,
        tuple(script._versioned_down_revisions),
        tuple(script._resolved_dependencies),
        frozenset(script.branch_labels),
        up,
        down,
    )


def _side(rendered: Rendered) -> Side:
    lines = rendered.lines or (0,) * len(rendered.statements)
    pairs = zip(rendered.statements, lines, strict=True)
    return Side(tuple(_written(*statement, line) for statement, line in pairs), rendered.reason, rendered.kind)


def _written(sql: str, alone: bool, line: int) -> Written:
    parsed, error = _parsed(sql)
    return Written(sql, alone, line, parsed, error)


@cache
def _parsed(sql: str) -> tuple[tuple[ParsedStatement, ...], str]:
    try:
        return tuple(parse(sql)), ""
    except NotParsed as error:
        return (), str(error)
    except LookupError:
        return (), ""


def looked_up(context: MigrationContext, tree: Tree, asked: Iterable[str], bound: int) -> Database:
    """What the database says of tables of at least so many bytes that these revisions work on."""
    big = {(schema, name): int(size) for schema, name, size in preflight.ask(context, _BIG.format(bytes=bound))}
    names = {name for _, name in big}
    effects: dict[tuple[str, int], tuple[Effect, ...]] = {}
    for revision in filter(None, (tree.by_id.get(name) for name in asked)) if names else ():
        for number, written in enumerate(revision.up.statements):
            if written.parsed and any(name in written.sql for name in names) and may_matter(written.sql):
                found = effect_of(written.sql, lambda sql: preflight.ask(context, sql))
                effects[revision.revision, number] = tuple(found)
    return Database(effects, big)
