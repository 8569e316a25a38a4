"""What a function makes and drops, from the parse trees of its statements: for comparing one way with the other.

Schemas are left out of names: a schema that only one of the ways spells out must not look like a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from alembic_job.lint.model import Side
from alembic_job.rules.statement import Node, ParsedStatement
from alembic_job.rules.tree import nodes, range_name, strings

DML = frozenset(("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CopyStmt"))
_NO_SCHEMA = DML | frozenset(
    """SelectStmt VariableSetStmt VariableShowStmt TransactionStmt LockStmt ConstraintsSetStmt VacuumStmt
    CheckPointStmt NotifyStmt ListenStmt UnlistenStmt DiscardStmt ExplainStmt CommentStmt GrantStmt GrantRoleStmt
    AlterDefaultPrivilegesStmt RefreshMatViewStmt TruncateStmt DoStmt CallStmt""".split()
)
_OPAQUE = frozenset("DoStmt CallStmt ExecuteStmt DropOwnedStmt ReassignOwnedStmt AlterObjectSchemaStmt".split())
_DROPS = {
    "OBJECT_TABLE": "table",
    "OBJECT_INDEX": "index",
    "OBJECT_TYPE": "type",
    "OBJECT_DOMAIN": "type",
    "OBJECT_SEQUENCE": "sequence",
    "OBJECT_VIEW": "view",
    "OBJECT_MATVIEW": "view",
}
_TYPES = {
    "CreateEnumStmt": "typeName",
    "CreateRangeStmt": "typeName",
    "CreateDomainStmt": "domainname",
}


@dataclass(frozen=True)
class Thing:
    """Something with a name in the database; `columns` are those it needs. A constraint may have no name."""

    kind: str
    name: str
    table: str = ""
    columns: frozenset[str] = frozenset()

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.name, self.table if self.kind in ("column", "constraint") else ""

    @property
    def text(self) -> str:
        """For people: `column orders.note`."""
        name = f"{self.table}.{self.name}" if self.kind == "column" else self.name
        of = f" of {self.table}" if self.kind in ("index", "constraint") and self.table else ""
        return f"{self.kind} {name}{of}"


@dataclass
class Net:
    """What is there after a function and was not before (`made`), and the reverse (`gone`), each with its line.

    `renamed`: names that are not followed. `opaque`: there is more that cannot be told.
    """

    made: dict[tuple[str, str, str], tuple[Thing, int]] = field(default_factory=dict)
    gone: dict[tuple[str, str, str], tuple[Thing, int]] = field(default_factory=dict)
    renamed: set[str] = field(default_factory=set)
    opaque: bool = False

    def make(self, thing: Thing, line: int) -> None:
        if self.gone.pop(thing.key, None) is None or not thing.name:
            self.made[thing.key] = thing, line

    def drop(self, thing: Thing, line: int) -> None:
        if thing.kind == "table":
            for side in (self.made, self.gone):
                for key in [key for key, (other, _) in side.items() if other.table == thing.name]:
                    del side[key]
        if self.made.pop(thing.key, None) is None:
            self.gone[thing.key] = thing, line

    def things(self, made: bool) -> list[Thing]:
        return [thing for thing, _ in (self.made if made else self.gone).values()]


def net_of(side: Side) -> Net:
    """What a function changes in all."""
    net = Net(opaque=any(written.error for written in side.statements))
    for written, statement in side.parsed():
        if statement.kind in _OPAQUE or _calls_something(statement):
            net.opaque = True
        elif statement.kind == "RenameStmt":
            net.renamed |= _renamed(statement.node)
        elif reader := _READERS.get(statement.kind):
            for thing, made in reader(statement.node):
                (net.make if made else net.drop)(thing, written.line)
            net.opaque |= statement.node.get("behavior") == "DROP_CASCADE"
        elif statement.kind == "DropStmt":
            _drop(statement.node, written.line, net)
    return net


def changes_schema(statement: ParsedStatement) -> bool:
    """True for what is not a matter of rows, sessions or privileges."""
    return statement.kind not in _NO_SCHEMA


def changes_rows(statement: ParsedStatement) -> bool:
    """True if it writes rows, also within a WITH."""
    return statement.kind in DML or (
        statement.kind == "SelectStmt" and any(next(nodes(statement.node, kind), None) is not None for kind in DML)
    )


def tables_made(side: Side) -> set[str]:
    """The names of the tables that a function makes."""
    return {
        thing.name
        for _, statement in side.parsed()
        if statement.kind in ("CreateStmt", "CreateTableAsStmt")
        for thing, _ in _READERS[statement.kind](statement.node)
        if thing.kind == "table"
    }


def _calls_something(statement: ParsedStatement) -> bool:
    return statement.kind == "SelectStmt" and next(nodes({"_": statement.node}, "FuncCall"), None) is not None


def _renamed(node: Node) -> set[str]:
    names = {node["newname"], *([node["subname"]] if "subname" in node else [])}
    if "object" in node:
        names.add(strings(node["object"])[-1])
    if "relation" in node and "subname" not in node:
        names.add(range_name(node["relation"])[1])
    return names


def _drop(node: Node, line: int, net: Net) -> None:
    kind = _DROPS.get(node["removeType"])
    net.opaque |= node.get("behavior") == "DROP_CASCADE" or node["removeType"] in ("OBJECT_SCHEMA", "OBJECT_EXTENSION")
    if kind:
        for item in node["objects"]:
            net.drop(Thing(kind, strings(item)[-1]), line)


_Read = Iterator[tuple[Thing, bool]]


def _table(node: Node) -> _Read:
    node = node.get("base", node)
    if not node.get("if_not_exists") and node["relation"].get("relpersistence") != "t":
        yield Thing("table", range_name(node["relation"])[1]), True


def _query_as_table(node: Node) -> _Read:
    relation = node["into"]["rel"]
    if not node.get("if_not_exists") and relation.get("relpersistence") != "t":
        yield Thing("view" if node["objtype"] == "OBJECT_MATVIEW" else "table", range_name(relation)[1]), True


def _index(node: Node) -> _Read:
    if node.get("idxname"):
        columns = {element["name"] for element in nodes(node, "IndexElem") if "name" in element}
        table = range_name(node["relation"])[1]
        yield Thing("index", node["idxname"], table, frozenset(columns | _mentioned(node))), True


def _mentioned(node: Node) -> set[str]:
    return {part for column in nodes(node, "ColumnRef") for part in strings(column["fields"])[-1:]}


def _type(kind: str) -> Callable[[Node], _Read]:
    def read(node: Node) -> _Read:
        yield Thing("type", strings(node[_TYPES[kind]])[-1]), True

    return read


def _composite(node: Node) -> _Read:
    yield Thing("type", range_name(node["typevar"])[1]), True


def _sequence(node: Node) -> _Read:
    if not node.get("if_not_exists"):
        yield Thing("sequence", range_name(node["sequence"])[1]), True


def _view(node: Node) -> _Read:
    if not node.get("replace"):
        yield Thing("view", range_name(node["view"])[1]), True


def _alter(node: Node) -> _Read:
    table = range_name(node["relation"])[1]
    for item in node["cmds"]:
        command = item["AlterTableCmd"]
        kind, definition = command["subtype"], command.get("def", {})
        if kind == "AT_AddColumn" and not command.get("missing_ok"):
            yield Thing("column", definition["ColumnDef"]["colname"], table), True
        elif kind == "AT_DropColumn":
            yield Thing("column", command["name"], table), False
        elif kind == "AT_AddConstraint":
            constraint = definition["Constraint"]
            columns = strings([*constraint.get("keys", []), *constraint.get("fk_attrs", [])])
            needs = frozenset({*columns, *_mentioned(constraint)})
            yield Thing("constraint", constraint.get("conname", ""), table, needs), True
        elif kind == "AT_DropConstraint":
            yield Thing("constraint", command["name"], table), False


_READERS: dict[str, Callable[[Node], _Read]] = {
    "CreateStmt": _table,
    "CreateForeignTableStmt": _table,
    "CreateTableAsStmt": _query_as_table,
    "IndexStmt": _index,
    "CompositeTypeStmt": _composite,
    "CreateSeqStmt": _sequence,
    "ViewStmt": _view,
    "AlterTableStmt": _alter,
    **{kind: _type(kind) for kind in _TYPES},
}
