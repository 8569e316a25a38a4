"""Alembic's autogenerate: what it finds, in words; what it compared; and files that are whole or not there."""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_job.errors import ProjectError
from alembic_job.gateways import own_schema
from alembic_job.rules.schema_objects import is_foreign

if TYPE_CHECKING:
    from alembic.operations.ops import MigrationScript
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

OWN_TABLES = frozenset(("version", *re.findall(r"\{schema\}\.(\w+) \(", "".join(own_schema.VERSIONS))))
# By the class of Alembic's operation; in braces its attributes, and `on` for the table with its schema.
_WORDS = {
    "CreateTableOp": "create table {on}",
    "DropTableOp": "drop table {on}",
    "AddColumnOp": "add column {on}.{column.name}",
    "DropColumnOp": "drop column {on}.{column_name}",
    "CreateIndexOp": "create index {index_name} on {on}",
    "DropIndexOp": "drop index {index_name} on {on}",
    "CreateUniqueConstraintOp": "add unique constraint {constraint_name} on {on}",
    "CreateCheckConstraintOp": "add check constraint {constraint_name} on {on}",
    "CreatePrimaryKeyOp": "add primary key {constraint_name} on {on}",
    "CreateForeignKeyOp": "add foreign key {constraint_name} from {source_table} to {referent_table}",
    "DropConstraintOp": "drop constraint {constraint_name} on {on}",
    "CreateTableCommentOp": "comment on table {on}",
    "DropTableCommentOp": "drop the comment on table {on}",
    "ExecuteSQLOp": "execute {sqltext}",
}


# What differs.


def differences(scripts: Iterable[MigrationScript]) -> list[str]:
    """What the database lacks of the models, or has beside them: one line a change; empty if nothing differs."""
    changes = (op for script in scripts for ops in script.upgrade_ops_list for op in _flat(ops.ops))
    return [text for op in changes for text in _texts(op)]


def _flat(ops: Iterable[Any]) -> Iterator[Any]:
    for op in ops:
        if hasattr(op, "ops"):
            yield from _flat(op.ops)
        else:
            yield op


def _texts(op: Any) -> list[str]:
    kind = type(op).__name__
    if kind == "AlterColumnOp":
        return _altered(op)
    words = _WORDS.get(kind)
    if words is None:  # of an extension: it has a name at least
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.removesuffix("Op")).lower()
        return [f"{words} {_on(op)}".strip()]
    attributes = {name: "(unnamed)" if value is None else value for name, value in vars(op).items()}
    return [" ".join(words.format(**{"on": _on(op), **attributes}).split())]


def _on(op: Any) -> str:
    names = (getattr(op, "schema", None), getattr(op, "table_name", None))
    return ".".join(name for name in names if name)


def _altered(op: Any) -> list[str]:
    """One line for each property of the column that differs."""
    column = f"{_on(op)}.{op.column_name}"
    texts = []
    if op.modify_type is not None:
        texts.append(f"change type of {column} from {op.existing_type} to {op.modify_type}")
    if op.modify_nullable is not None:
        texts.append(f"{'drop' if op.modify_nullable else 'set'} NOT NULL of {column}")
    if op.modify_server_default is not False:
        texts.append(f"{'drop' if op.modify_server_default is None else 'set'} default of {column}")
    if op.modify_comment is not False:
        texts.append(f"{'drop' if op.modify_comment is None else 'set'} comment of {column}")
    return texts


# What was compared.


def metadata_of(context: MigrationContext) -> list[Any]:
    """The MetaData that env.py gave, none or several."""
    given = context.opts.get("target_metadata")
    return list(given) if isinstance(given, list | tuple) else [each for each in (given,) if each is not None]


def modules_of(metadata: Iterable[Any]) -> dict[str, list[str]]:
    """The imported modules in which tables of these are defined, with the tables' names."""
    tables = {id(table): table.fullname for each in metadata for table in each.tables.values()}
    found: dict[str, set[str]] = {}
    for name, module in list(sys.modules.items()):
        for value in list(getattr(module, "__dict__", {}).values()):
            is_class = isinstance(value, type)
            table = vars(value).get("__table__") if is_class else value
            if id(table) in tables:
                found.setdefault(value.__module__ if is_class else name, set()).add(tables[id(table)])
    return {name: sorted(found[name]) for name in sorted(found)}


def tables_of(context: MigrationContext, metadata: Iterable[Any]) -> list[str]:
    """The tables of the database in the schemas that these speak of, but for the version table and our own."""
    from sqlalchemy import inspect

    found: list[str] = []
    inspector: Any = inspect(context.connection)
    for schema in {None, *(table.schema for each in metadata for table in each.tables.values())}:
        names = inspector.get_table_names(schema=schema)
        found += [f"{schema}.{name}" if schema else name for name in names]
    own = (context.version_table, f"{context.version_table_schema}.{context.version_table}")
    return sorted(name for name in found if name not in own)


def without_own(options: dict[str, Any], schema: str, default: Callable[[], str | None]) -> dict[str, Any]:
    """What env.py configures, with the job's own `schema` hidden from autogenerate, which would propose to drop it.

    `default` tells the connection's default schema, once there is a connection.
    """
    theirs = options.get("include_name")

    def include_name(name: str | None, kind: Any, parents: Any) -> bool:
        if kind == "schema" and name == schema:
            return False
        if kind == "table" and name in OWN_TABLES and (parents.get("schema_name") or default()) == schema:
            return False
        return theirs is None or bool(theirs(name, kind, parents))

    return {**options, "include_name": include_name}


def without_foreign(
    options: dict[str, Any], patterns: Sequence[str], default: Callable[[], str | None]
) -> dict[str, Any]:
    """The same with the tables that these patterns of MIGRATE_FOREIGN are for left out, in models and database."""
    theirs = options.get("include_object")

    def include_object(what: Any, name: Any, kind: str, reflected: bool, compared: Any) -> bool:
        if kind == "table" and is_foreign(patterns, what.schema or default() or "", str(name)):
            return False
        return theirs is None or bool(theirs(what, name, kind, reflected, compared))

    return {**options, "include_object": include_object} if patterns else options


# Files.


@contextmanager
def whole_files(script: ScriptDirectory) -> Iterator[list[Path]]:
    """Around what writes revision files: those that were written. If it fails, or a signal ends it, they are removed.

    Raises `ProjectError` (22) for a name that a file has already.
    """
    written: list[Path] = []
    generate: Any = script._generate_template

    def write(source: Any, destination: Any, **arguments: Any) -> None:
        path = Path(destination).absolute()
        if path.exists():
            raise ProjectError(
                f"{path} is there already", hint="give another message, or put %%(rev)s into file_template"
            )
        written.append(path)
        generate(source, destination, **arguments)

    script.__dict__["_generate_template"] = write
    try:
        with signals_raise():
            yield written
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    finally:
        del script.__dict__["_generate_template"]


@contextmanager
def signals_raise() -> Iterator[None]:
    """SIGTERM and SIGHUP end the process as an exception does, so that what is to be removed is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: Any) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
