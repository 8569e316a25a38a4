"""Which changes a statement makes that data could be lost by, or that data could refuse.

A pure reading of the parse tree: what is named is not looked up here, and nothing is counted; `gateways.evidence`
does that. Changes of names are among them, since a later statement may speak of what an earlier one renamed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alembic_job.rules.changes import (
    AddedColumn,
    Attached,
    Calls,
    Change,
    Checked,
    Created,
    Deleted,
    Distinct,
    DomainChecked,
    Dropped,
    DroppedColumn,
    Emptied,
    Ended,
    Excluding,
    Filled,
    Grown,
    KeyByIndex,
    Label,
    Moved,
    NewType,
    NotNull,
    Opaque,
    Recomposed,
    Referring,
    Renamed,
    Retyped,
    Setting,
    Unproven,
    Unsure,
    Updated,
    Validated,
)
from alembic_job.rules.facts import Name
from alembic_job.rules.questions import DROP_KINDS
from alembic_job.rules.statement import Node, ParsedStatement
from alembic_job.rules.tree import called, nodes, range_name, recurses, strings, to_name


def changes(statement: ParsedStatement) -> list[Change]:
    """What one statement changes, in its order. Empty: no data can be lost by it, nor refuse it."""
    reading = _READINGS.get(statement.kind)
    found = reading(statement.node) if reading else []
    return [*found, *_hidden(statement)]


def _hidden(statement: ParsedStatement) -> list[Change]:
    """Changes of data within a WITH."""
    inner: list[Change] = []
    for clause in nodes(statement.node, "withClause"):
        for kind in ("DeleteStmt", "UpdateStmt", "MergeStmt"):
            for node in nodes(clause, kind):
                name = range_name(node["relation"])
                inner += [Unsure(f"table {dotted(name)}", "rows are changed within a WITH"), Filled(name)]
        inner += [Filled(range_name(node["relation"])) for node in nodes(clause, "InsertStmt")]
    return inner


def dotted(name: tuple[str | None, ...]) -> str:
    """A name for people, where nothing is known of it but the statement's text."""
    return ".".join(part for part in name if part)


# Nothing that holds data depends on these.
_LONELY = frozenset(
    """OBJECT_INDEX OBJECT_TRIGGER OBJECT_RULE OBJECT_POLICY OBJECT_STATISTIC_EXT OBJECT_PUBLICATION OBJECT_CAST
    OBJECT_EVENT_TRIGGER OBJECT_TRANSFORM OBJECT_TSDICTIONARY OBJECT_TSCONFIGURATION OBJECT_TSPARSER OBJECT_TSTEMPLATE
    OBJECT_OPCLASS OBJECT_OPFAMILY OBJECT_CONVERSION""".split()
)
_DROPS = {kind: what for kind, what in DROP_KINDS.items() if kind not in _LONELY}
_DROPS |= {"OBJECT_VIEW": "view", "OBJECT_MATVIEW": "view", "OBJECT_SEQUENCE": "sequence"}


def _drop(node: Node) -> list[Change]:
    kind, cascade = node["removeType"], node.get("behavior") == "DROP_CASCADE"
    missing_ok = bool(node.get("missing_ok"))
    names = [strings(item) for item in node["objects"]]
    if kind in _DROPS:
        return [Dropped(_DROPS[kind], to_name(parts), cascade, missing_ok) for parts in names]
    if kind in _LONELY or not cascade:
        return []
    words = kind.removeprefix("OBJECT_").lower().replace("_", " ")
    return [Unsure(f"{words} {'.'.join(parts)}", "what depends on it goes too, and is not known") for parts in names]


def _alter_table(node: Node) -> list[Change]:
    table, only = range_name(node["relation"]), not recurses(node["relation"])
    if node.get("objtype") == "OBJECT_TYPE":
        subtypes = {item["AlterTableCmd"]["subtype"] for item in node.get("cmds", [])}
        return [] if subtypes == {"AT_AddColumn"} else [Recomposed(table)]
    if node.get("objtype") not in ("OBJECT_TABLE", "OBJECT_FOREIGN_TABLE"):
        return []
    found: list[Change] = []
    for item in node.get("cmds", []):
        command = item["AlterTableCmd"]
        reading = _COMMANDS.get(command["subtype"])
        found += reading(command, table, only) if reading else []
    return found


def _drop_column(command: Node, table: Name, only: bool) -> list[Change]:
    cascade = command.get("behavior") == "DROP_CASCADE"
    return [DroppedColumn(table, command["name"], cascade, only, bool(command.get("missing_ok")))]


def _add_column(command: Node, table: Name, only: bool) -> list[Change]:
    definition = command["def"]["ColumnDef"]
    return [AddedColumn(table, definition, only, bool(command.get("missing_ok")))]


def _retype(command: Node, table: Name, only: bool) -> list[Change]:
    definition = command["def"]["ColumnDef"]
    return [Retyped(table, command["name"], definition["typeName"], definition.get("raw_default"), only)]


def _attach(command: Node, table: Name, only: bool) -> list[Change]:
    return [Attached(range_name(command["def"]["PartitionCmd"]["name"])), Filled(table)]


_COMMANDS: dict[str, Callable[[Node, Name, bool], list[Change]]] = {
    "AT_DropColumn": _drop_column,
    "AT_AddColumn": _add_column,
    "AT_AlterColumnType": _retype,
    "AT_SetNotNull": lambda command, table, only: [NotNull(table, (command["name"],), only)],
    "AT_AddConstraint": lambda command, table, only: constraint(command["def"]["Constraint"], table, only),
    "AT_ValidateConstraint": lambda command, table, only: [Validated(table, command["name"])],
    "AT_AttachPartition": _attach,
    "AT_DetachPartition": lambda command, table, only: [Filled(table)],
    "AT_DropInherit": lambda command, table, only: [Filled(range_name(command["def"]))],
}


def constraint(node: Node, table: Name, only: bool = False, column: str = "") -> list[Change]:
    """What a constraint asks of the rows that are there; `column` if it stands in a column's definition."""
    kind = node["contype"]
    keys = tuple(strings(node.get("keys", []))) or ((column,) if column else ())
    where = node.get("where_clause")
    if kind == "CONSTR_PRIMARY" and "indexname" in node:
        return [KeyByIndex(table, node["indexname"])]
    if kind in ("CONSTR_PRIMARY", "CONSTR_UNIQUE") and "indexname" not in node:
        is_primary = kind == "CONSTR_PRIMARY"
        unique = Distinct(table, keys, where, bool(node.get("nulls_not_distinct")), is_primary, only)
        return [NotNull(table, keys, only), unique] if is_primary else [unique]
    if kind == "CONSTR_EXCLUSION":
        pairs = [item["List"]["items"] for item in node["exclusions"]]
        return [Excluding(table, tuple((_key(key), ".".join(strings(op))) for key, op in pairs), where)]
    if node.get("skip_validation"):
        proven = {name: value for name, value in node.items() if name != "skip_validation"}
        return [Unproven(table, node.get("conname", ""), tuple(constraint(proven, table, only, column)))]
    if kind == "CONSTR_NOTNULL":
        return [NotNull(table, keys, only)]
    if kind == "CONSTR_CHECK":
        return [Checked(table, node["raw_expr"], only or bool(node.get("is_no_inherit")))]
    if kind == "CONSTR_FOREIGN":
        columns = tuple(strings(node.get("fk_attrs", []))) or keys
        full = node.get("fk_matchtype") == "f"
        return [Referring(table, columns, range_name(node["pktable"]), tuple(strings(node.get("pk_attrs", []))), full)]
    return []


def _key(element: Node) -> str | Node:
    inner = element["IndexElem"]
    return str(inner["name"]) if "name" in inner else dict(inner["expr"])


def _create_index(node: Node) -> list[Change]:
    if not node.get("unique"):
        return []
    keys = tuple(_key(element) for element in node["indexParams"])
    table, only = range_name(node["relation"]), not recurses(node["relation"])
    return [Distinct(table, keys, node.get("whereClause"), bool(node.get("nulls_not_distinct")), only=only)]


def _truncate(node: Node) -> list[Change]:
    tables = tuple((range_name(item), recurses(item)) for item in node["relations"])
    return [Emptied(tables, node.get("behavior") == "DROP_CASCADE")]


def _insert(node: Node) -> list[Change]:
    table = range_name(node["relation"])
    clause = node.get("onConflictClause", {})
    overwrites = clause.get("action") == "ONCONFLICT_UPDATE"
    unsure = [Unsure(f"table {dotted(table)}", "ON CONFLICT DO UPDATE may overwrite values")] if overwrites else []
    return [*unsure, Filled(table)]


def _merge(node: Node) -> list[Change]:
    table = range_name(node["relation"])
    return [Unsure(f"table {dotted(table)}", "what MERGE changes is not counted"), Filled(table)]


def _create_table_as(node: Node) -> list[Change]:
    kind = "r" if node.get("objtype") == "OBJECT_TABLE" else "m"
    name = range_name(node["into"]["rel"])
    return [Created(name, missing_ok=bool(node.get("if_not_exists")), known_empty=False, kind=kind)]


def _create_other(kind: str, field: str) -> Callable[[Node], list[Change]]:
    def reading(node: Node) -> list[Change]:
        return [Created(range_name(node[field]), missing_ok=bool(node.get("replace")), kind=kind)]

    return reading


# Functions that change no data, though the catalogue calls them volatile.
_HARMLESS = frozenset(
    """set_config nextval setval currval lastval pg_advisory_lock pg_advisory_xact_lock pg_try_advisory_lock
    pg_advisory_unlock pg_sleep clock_timestamp timeofday random gen_random_uuid""".split()
)


def _select(node: Node) -> list[Change]:
    if "intoClause" in node:
        return [Created(range_name(node["intoClause"]["rel"]), known_empty=False)]
    names = sorted({name[1] for name in called(node)} - _HARMLESS)
    return [Calls(tuple(names))] if names else []


def _rename(node: Node) -> list[Change]:
    kind, new = node["renameType"], node.get("newname", "")
    if kind in ("OBJECT_TABLE", "OBJECT_FOREIGN_TABLE"):
        return [Renamed("relation", range_name(node["relation"]), new)]
    if kind in ("OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE"):
        return [Renamed("view", range_name(node["relation"]), new)]
    if kind == "OBJECT_COLUMN":
        return [Renamed("column", range_name(node["relation"]), new, node["subname"])]
    if kind in ("OBJECT_TYPE", "OBJECT_DOMAIN"):
        return [Renamed("type", to_name(strings(node["object"])), new)]
    return [Opaque("a schema is renamed")] if kind == "OBJECT_SCHEMA" else []


def _move(node: Node) -> list[Change]:
    if "relation" in node:
        is_table = node["objectType"] in ("OBJECT_TABLE", "OBJECT_FOREIGN_TABLE")
        return [Moved("relation" if is_table else "view", range_name(node["relation"]), node["newschema"])]
    if node["objectType"] in ("OBJECT_TYPE", "OBJECT_DOMAIN"):
        return [Moved("type", to_name(strings(node["object"])), node["newschema"])]
    return []


_READ_BY = frozenset("search_path role timezone datestyle session_authorization intervalstyle".split())


def _set(node: Node) -> list[Change]:
    return [Setting(node)] if node.get("name", "").lower() in _READ_BY else []


def _end(node: Node) -> list[Change]:
    return [Ended()] if node["kind"] in ("TRANS_STMT_COMMIT", "TRANS_STMT_ROLLBACK") else []


def _alter_domain(node: Node) -> list[Change]:
    domain, subtype = to_name(strings(node["typeName"])), node["subtype"]
    added: Node = node.get("def", {}).get("Constraint", {})
    if subtype == "O" or added.get("contype") == "CONSTR_NOTNULL":
        return [DomainChecked(domain)]
    if subtype == "C" and not added.get("skip_validation"):
        return [DomainChecked(domain, added["raw_expr"])]
    return [DomainChecked(domain, None, node["name"])] if subtype == "V" else []


def _label(node: Node) -> list[Change]:
    return [Label(to_name(strings(node["typeName"])), node["newVal"], node.get("oldVal"))]


def _create(node: Node) -> list[Change]:
    node = node.get("base") or node  # of a foreign table
    elements: tuple[Any, ...] = tuple(node.get("tableElts", ()))
    likes = [item["TableLikeClause"]["relation"] for item in elements if "TableLikeClause" in item]
    parents = tuple(range_name(item) for item in [*node.get("inhRelations", ()), *likes])
    return [Created(range_name(node["relation"]), elements, bool(node.get("if_not_exists")), parents=parents)]


def _opaque(why: str) -> Callable[[Node], list[Change]]:
    return lambda node: [Opaque(why)]


_READINGS: dict[str, Callable[[Node], list[Change]]] = {
    "DropStmt": _drop,
    "AlterTableStmt": _alter_table,
    "IndexStmt": _create_index,
    "TruncateStmt": _truncate,
    "DeleteStmt": lambda node: [Deleted(range_name(node["relation"]), node)],
    "UpdateStmt": lambda node: [Updated(range_name(node["relation"]), node)],
    "InsertStmt": _insert,
    "MergeStmt": _merge,
    "CopyStmt": lambda node: [Filled(range_name(node["relation"]))] if node.get("is_from") else [],
    "SelectStmt": _select,
    "CreateStmt": _create,
    "CreateForeignTableStmt": _create,
    "ViewStmt": _create_other("v", "view"),
    "CreateSeqStmt": _create_other("S", "sequence"),
    "CreateTableAsStmt": _create_table_as,
    "RenameStmt": _rename,
    "AlterObjectSchemaStmt": _move,
    "CreateEnumStmt": lambda node: [NewType(to_name(strings(node["typeName"])), tuple(strings(node.get("vals", []))))],
    "CreateDomainStmt": lambda node: [NewType(to_name(strings(node["domainname"])))],
    "CompositeTypeStmt": lambda node: [NewType(range_name(node["typevar"]))],
    "CreateRangeStmt": lambda node: [NewType(to_name(strings(node["typeName"])))],
    "AlterEnumStmt": _label,
    "AlterDomainStmt": _alter_domain,
    "VariableSetStmt": _set,
    "TransactionStmt": _end,
    "DropdbStmt": lambda node: [Dropped("database", (None, node["dbname"]))],
    "CreateExtensionStmt": lambda node: [Grown()],
    "ImportForeignSchemaStmt": lambda node: [Grown()],
    "CreateSchemaStmt": lambda node: [Grown()] if node.get("schemaElts") else [],
    "DoStmt": _opaque("a DO block runs code of its own"),
    "CallStmt": _opaque("a procedure runs code of its own"),
    "ExecuteStmt": _opaque("what was prepared is not known"),
    "AlterExtensionStmt": _opaque("an extension's script runs"),
    "DropOwnedStmt": _opaque("it drops whatever a role owns"),
}
