"""Which facts of the catalogue a statement's effect depends on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from alembic_job.rules.facts import Name
from alembic_job.rules.statement import Node, ParsedStatement
from alembic_job.rules.tree import called, nodes, range_name, recurses, strings, to_name, type_name

_BLANK = r"(?:\s|--[^\n\r]*|/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/)"
_START = re.compile(rf"(?:{_BLANK}|[(;])*+([a-z]++)?", re.IGNORECASE)
_HARMLESS = frozenset(
    """select insert update delete merge with values table set show reset copy notify listen unlisten discard
    begin start commit end rollback abort savepoint release declare fetch move close deallocate checkpoint
    load""".split()
)
_CREATE_TABLE = re.compile(
    rf"create{_BLANK}+(?:(?:global|local|temp|temporary|unlogged){_BLANK}+)*table\b", re.IGNORECASE
)
_KNOWS_OTHERS = re.compile(r"references|partition|inherits|like", re.IGNORECASE)
_END = re.compile(rf"(?:{_BLANK}|;)*\Z")


def may_matter(sql: str) -> bool:
    """False only if the text surely takes no strong lock on an existing table, and needs no transaction of its own.

    It looks at the text alone and takes microseconds: True for whatever is not sure.
    """
    start = _START.match(sql)
    word = start[1].lower() if start and start[1] else None
    if start is None or word is None:
        return start is None or start.end() < len(sql)
    if _continues(sql):
        return True
    if word in _HARMLESS:
        return word in ("commit", "rollback") and "prepared" in sql.lower()
    if word == "create" and _CREATE_TABLE.match(sql, start.start(1)):
        return _KNOWS_OTHERS.search(sql) is not None
    return True


def _continues(sql: str) -> bool:
    """True if something follows a semicolon (which may be inside of a literal: not sure)."""
    place = sql.find(";", _START.match(sql).end())  # type: ignore[union-attr]
    return place >= 0 and _END.match(sql, place) is None


@dataclass(frozen=True)
class Drop:
    """The root of what goes away: `kind` is relation, column, constraint, type, function, schema or extension."""

    kind: str
    name: Name
    part: str = ""  # a column's or constraint's name
    recurse: bool = False  # the same in the relation's children


@dataclass(frozen=True)
class Questions:
    """What to look up. Empty: the statement needs nothing."""

    relations: tuple[Name, ...] = ()
    types: tuple[Name, ...] = ()
    functions: tuple[Name, ...] = ()
    drops: tuple[Drop, ...] = ()
    schemas: tuple[str, ...] = ()  # every relation in them
    publication: str | None = None  # its tables
    identifiers: tuple[str, ...] = ()  # names of things to be, to be quoted as quote_ident() does
    cascade: bool = False
    follow_foreign_keys: bool = False  # also what refers to these tables, and so on (TRUNCATE CASCADE)
    partners: bool = False  # the tables that foreign keys lead to, and those they come from
    used: tuple[Name, ...] = ()  # types: which relations have columns of them, directly or within others

    def __bool__(self) -> bool:
        return bool(self.relations or self.types or self.drops or self.schemas or self.used or self.publication)


RELATION_KINDS = {
    "OBJECT_TABLE",
    "OBJECT_VIEW",
    "OBJECT_MATVIEW",
    "OBJECT_INDEX",
    "OBJECT_SEQUENCE",
    "OBJECT_FOREIGN_TABLE",
}
ON_RELATION = {"OBJECT_TRIGGER", "OBJECT_RULE", "OBJECT_POLICY", "OBJECT_TABCONSTRAINT", "OBJECT_COLUMN"}
DROP_KINDS = dict.fromkeys(RELATION_KINDS, "relation") | {
    "OBJECT_TYPE": "type",
    "OBJECT_DOMAIN": "type",
    "OBJECT_FUNCTION": "function",
    "OBJECT_PROCEDURE": "function",
    "OBJECT_ROUTINE": "function",
    "OBJECT_AGGREGATE": "function",
    "OBJECT_SCHEMA": "schema",
    "OBJECT_EXTENSION": "extension",
    "OBJECT_STATISTIC_EXT": "statistics",
}


def questions(statement: ParsedStatement) -> Questions:
    """What must be known of the catalogue to tell the statement's effect."""
    asks = _ASKS.get(statement.kind)
    if asks is None:
        return Questions(relations=_all_ranges(statement.node)) if statement.kind in _RANGES else Questions()
    return asks(statement.node)


# Every relation these name is looked up; nothing else is needed.
_RANGES = frozenset(
    """CreateTrigStmt RuleStmt CreatePolicyStmt AlterPolicyStmt ClusterStmt VacuumStmt LockStmt
    RefreshMatViewStmt AlterSeqStmt AlterObjectSchemaStmt AlterTableMoveAllStmt CreateStatsStmt
    CreatePublicationStmt ViewStmt CreateSeqStmt AlterObjectDependsStmt
    DeleteStmt CreateForeignTableStmt RenameStmt""".split()
)


def _all_ranges(tree: Any) -> tuple[Name, ...]:
    bare = [tree["relation"]] if isinstance(tree, dict) and "relname" in tree.get("relation", {}) else []
    for key in ("sequence", "view", "table", "constrrel"):
        if isinstance(tree, dict) and "relname" in tree.get(key, {}):
            bare.append(tree[key])
    ranges = [range_name(node) for node in [*bare, *nodes(tree, "RangeVar")]]
    inner = [range_name(node) for node in _inner_ranges(tree)]
    owned = [to_name(parts[:-1]) for parts in _owned_by(tree)]
    return tuple(dict.fromkeys([*ranges, *inner, *owned]))


def _inner_ranges(tree: Any) -> list[Node]:
    """RangeVars that stand in a typed field, so without their wrapper."""
    found = [relation["relation"] for kind in ("VacuumRelation", "pubtable") for relation in nodes(tree, kind)]
    found += [key["pktable"] for key in nodes(tree, "Constraint") if "pktable" in key]
    found += [command["name"] for command in nodes(tree, "PartitionCmd") if "name" in command]
    found += [like["relation"] for like in nodes(tree, "TableLikeClause")]
    return [node for node in found if node and "relname" in node]


def _owned_by(tree: Any) -> list[list[str]]:
    lists = [strings(e["arg"]) for e in nodes(tree, "DefElem") if e["defname"] == "owned_by" and "arg" in e]
    return [parts for parts in lists if len(parts) > 1]


def _alter_table(node: Node) -> Questions:
    table = range_name(node["relation"])
    commands = [item["AlterTableCmd"] for item in node.get("cmds", [])]
    cascade = any(command.get("behavior") == "DROP_CASCADE" for command in commands)
    drops = [
        Drop(_DROPPED[command["subtype"]], table, command["name"], recurses(node["relation"]))
        for command in commands
        if command["subtype"] in _DROPPED
    ]
    types = [type_name(column["typeName"]) for column in nodes(node, "ColumnDef") if "typeName" in column]
    casts = [type_name(cast["typeName"]) for cast in nodes(node, "TypeCast")]
    if node.get("objtype") == "OBJECT_TYPE":
        return Questions(relations=(table,), types=tuple(types), used=(table,), drops=tuple(drops), cascade=True)
    of = [type_name(command["def"]) for command in commands if command["subtype"] == "AT_AddOf"]
    inherited = [range_name(c["def"]) for c in commands if c["subtype"] in ("AT_AddInherit", "AT_DropInherit")]
    return Questions(
        relations=tuple(dict.fromkeys([table, *inherited, *_all_ranges(node)])),
        types=tuple(dict.fromkeys([*types, *casts, *of])),
        functions=tuple(dict.fromkeys(called(node))),
        drops=tuple(drops),
        cascade=cascade,
        partners=any(command["subtype"] in _REACHES_PARTNERS for command in commands),
    )


_REACHES_PARTNERS = frozenset(
    """AT_AlterColumnType AT_AttachPartition AT_DetachPartition AT_DetachPartitionFinalize AT_AlterConstraint
    AT_ValidateConstraint""".split()
)
_DROPPED = {"AT_DropColumn": "column", "AT_DropConstraint": "constraint"}


def _create_index(node: Node) -> Questions:
    """The table, whether the index is there already, and how its name is quoted."""
    schema, table = range_name(node["relation"])
    if "idxname" not in node:
        return Questions(relations=((schema, table),))
    name = node["idxname"]
    return Questions(relations=((schema, table), (schema, name)), identifiers=(name,))


def _create(node: Node) -> Questions:
    return Questions(relations=tuple(range_name(r) for r in _others(node)), partners="partbound" in node)


def _others(node: Node) -> list[Node]:
    """Relations that a new table refers to."""
    return [*node.get("inhRelations", []), *_inner_ranges(node)]


def _create_schema(node: Node) -> Questions:
    inner = [item for element in node.get("schemaElts", []) for item in element.items()]
    asked = [questions(ParsedStatement(kind, element, "")) for kind, element in inner]
    return Questions(relations=tuple(name for each in asked for name in each.relations))


def _drop(node: Node) -> Questions:
    kind, cascade = node["removeType"], node.get("behavior") == "DROP_CASCADE"
    names = [strings(item) for item in node["objects"]]
    if kind in ON_RELATION:
        return Questions(relations=tuple(to_name(parts[:-1]) for parts in names if len(parts) > 1))
    what = DROP_KINDS.get(kind)
    if what is None or (what in ("function", "schema", "extension") and not cascade and kind != "OBJECT_EXTENSION"):
        return Questions()
    relations = tuple(map(to_name, names)) if what == "relation" else ()
    return Questions(relations=relations, drops=tuple(Drop(what, to_name(p)) for p in names), cascade=cascade)


def _truncate(node: Node) -> Questions:
    follow = node.get("behavior") == "DROP_CASCADE"
    return Questions(relations=tuple(map(range_name, node["relations"])), follow_foreign_keys=follow, partners=follow)


def _comment(node: Node) -> Questions:
    kind, parts = node["objtype"], strings(node["object"])
    if kind == "OBJECT_COLUMN":
        return Questions(relations=(to_name(parts[:-1]),))
    return Questions(relations=(to_name(parts),)) if kind in RELATION_KINDS else Questions()


def _reindex(node: Node) -> Questions:
    if "relation" in node:
        return Questions(relations=(range_name(node["relation"]),))
    return Questions(schemas=(node["name"],)) if node["kind"] == "REINDEX_OBJECT_SCHEMA" else Questions()


def _alter_domain(node: Node) -> Questions:
    return Questions(used=(to_name(strings(node["typeName"])),))


def _alter_extension(node: Node) -> Questions:
    named = node["objtype"] in RELATION_KINDS
    return Questions(relations=(to_name(strings(node["object"])),)) if named else Questions()


def _alter_publication(node: Node) -> Questions:
    name = node["pubname"] if node.get("action") == "AP_SetObjects" else None
    return Questions(relations=_all_ranges(node), publication=name)


def _owner(node: Node) -> Questions:
    is_type = node["objectType"] == "OBJECT_TYPE"
    return Questions(relations=(to_name(strings(node["object"])),)) if is_type else Questions()


def _rename(node: Node) -> Questions:
    if node.get("renameType") == "OBJECT_ATTRIBUTE":
        name = range_name(node["relation"])
        return Questions(relations=(name,), used=(name,))
    if node.get("renameType") == "OBJECT_TYPE":
        return Questions(relations=(to_name(strings(node["object"])),))
    return Questions(relations=_all_ranges(node))


_ASKS = {
    "AlterTableStmt": _alter_table,
    "IndexStmt": _create_index,
    "CreateStmt": _create,
    "CreateForeignTableStmt": lambda node: _create(node["base"]),
    "CreateSchemaStmt": _create_schema,
    "DropStmt": _drop,
    "TruncateStmt": _truncate,
    "CommentStmt": _comment,
    "SecLabelStmt": _comment,
    "ReindexStmt": _reindex,
    "AlterDomainStmt": _alter_domain,
    "AlterExtensionContentsStmt": _alter_extension,
    "AlterOwnerStmt": _owner,
    "AlterPublicationStmt": _alter_publication,
    "RenameStmt": _rename,
}
