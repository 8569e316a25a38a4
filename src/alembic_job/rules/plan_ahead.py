"""What the statements of a plan will have made, renamed and dropped by the time that a later one runs.

The catalogue knows the database as it is now. `Ahead` turns what is asked of it, and what it answers, into what will
hold then, as far as that can be told from the statements: names, columns, constraints and indexes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from alembic_job.rules.effects import _quote
from alembic_job.rules.facts import CONSTRAINT, RELATION, Column, Constraint, Facts, Gone, Name, Relation
from alembic_job.rules.questions import Questions
from alembic_job.rules.statement import Node, ParsedStatement
from alembic_job.rules.tree import nodes, range_name, strings, to_name

_FAR = 10_000  # numbers of columns that are not there yet
_KINDS = {
    "CONSTR_FOREIGN": "f",
    "CONSTR_CHECK": "c",
    "CONSTR_PRIMARY": "p",
    "CONSTR_UNIQUE": "u",
    "CONSTR_NOTNULL": "n",
}
_RELATIONS = (
    "OBJECT_TABLE",
    "OBJECT_VIEW",
    "OBJECT_MATVIEW",
    "OBJECT_SEQUENCE",
    "OBJECT_FOREIGN_TABLE",
    "OBJECT_INDEX",
)


class _Added(NamedTuple):
    """A constraint that an earlier statement adds to a table that is there now."""

    kind: str
    referenced: Name | None
    valid: bool


class Ahead:
    """Names are qualified by `schema` where the statement does not do so: where new things are made.

    `existing` are those of the names in the plan, as it spells them, that the catalogue knows.
    """

    def __init__(self, schema: str, existing: frozenset[Name]) -> None:
        self._schema, self._existing = schema, existing
        self.opaque = ""  # what comes before of which nobody knows what it leaves
        self._new: set[Name] = set()
        self._gone: set[Name] = set()
        self._was: dict[Name, Name] = {}  # today's name of what is renamed
        self._columns: dict[Name, dict[str, bool]] = {}  # by today's name of the table: new ones, and if NOT NULL
        self._dropped: dict[Name, set[str]] = {}
        self._constraints: dict[tuple[Name, str], _Added] = {}
        self._indexes: dict[Name, Name] = {}  # new ones of tables that are there now

    def full(self, name: Name) -> Name:
        return (name[0] or self._schema, name[1])

    def is_new(self, name: Name) -> bool:
        """True if the plan makes it, so that nobody else uses it yet."""
        return self.full(name) in self._new

    def today(self, name: Name) -> Name | None:
        """What it is called in the catalogue; `None` if it is not there, or another one of that name is meant."""
        full = self.full(name)
        if full in self._new or full in self._gone:
            return None
        return self._was.get(full, name)

    def is_there(self, name: Name) -> bool:
        """True if it is in the catalogue, whatever it is called there."""
        today = self.today(name)
        return today is not None and today in self._existing

    def knows(self, name: Name) -> bool:
        """True if the catalogue has this name, as `asked` gives it."""
        return name in self._existing

    def has_new_column(self, table: Name, column: str) -> bool:
        return column in self._columns.get(self._key(table), {})

    def _key(self, table: Name) -> Name:
        today = self.today(table)
        return self.full(today if today is not None else table)

    # What is asked, and what is answered.

    def asked(self, asked: Questions, statement: ParsedStatement) -> Questions:
        """What to ask of the catalogue instead."""
        names = [self.today(name) for name in (*asked.relations, *self._beside(statement))]
        drops = tuple(
            replace(drop, name=today) if drop.kind in ("relation", "column", "constraint") else drop
            for drop in asked.drops
            if (today := self.today(drop.name)) is not None
        )
        return replace(asked, relations=tuple(dict.fromkeys(name for name in names if name is not None)), drops=drops)

    def _beside(self, statement: ParsedStatement) -> list[Name]:
        """Other tables that matter because of what an earlier statement made: of an index, and of a foreign key."""
        found = [self._indexes[name] for name in self._named_indexes(statement)]
        added = self._named_constraints(statement)
        return [*found, *(each.referenced for each in added.values() if each.referenced is not None)]

    def _named_indexes(self, statement: ParsedStatement) -> list[Name]:
        if statement.kind != "DropStmt" or statement.node["removeType"] != "OBJECT_INDEX":
            return []
        names = [self.full(to_name(strings(item))) for item in statement.node["objects"]]
        return [name for name in names if name in self._indexes]

    def _named_constraints(self, statement: ParsedStatement) -> dict[str, _Added]:
        if statement.kind != "AlterTableStmt":
            return {}
        table = self._key(range_name(statement.node["relation"]))
        named = [command.get("name", "") for command in nodes(statement.node, "AlterTableCmd")]
        return {name: self._constraints[table, name] for name in named if (table, name) in self._constraints}

    def answered(self, facts: Facts, names: Iterable[Name], statement: ParsedStatement) -> Facts:
        """The catalogue's answer, as it will be; `names` are those that the statement asks for."""
        found = {name: facts.found[today] for name in names if (today := self.today(name)) in facts.found}
        relations = dict(facts.relations)
        for name, oid in found.items():
            if oid in relations:
                relations[oid] = self._changed(relations[oid], name)
        facts = replace(facts, found={**facts.found, **found}, relations=relations)
        facts = replace(facts, found={name: oid for name, oid in facts.found.items() if self.today(name) is not None})
        return self._with_indexes(self._with_constraints(facts, statement), statement)

    def _changed(self, relation: Relation, name: Name) -> Relation:
        key, full = self._key(name), self.full(name)
        if full in self._was:
            quoted = ".".join(map(_quoted, full))
            relation = replace(relation, schema=full[0] or "", name=full[1], quoted=quoted)
        dropped, new = self._dropped.get(key, set()), self._columns.get(key, {})
        kept = [column for column in relation.columns if column.name not in dropped]
        made = [Column(_FAR + n, name, 0, -1, fixed, 0, "") for n, (name, fixed) in enumerate(new.items())]
        return replace(relation, columns=(*kept, *made)) if dropped or made else relation

    def _with_constraints(self, facts: Facts, statement: ParsedStatement) -> Facts:
        made = self._named_constraints(statement)
        if not made:
            return facts
        table = facts.found.get(range_name(statement.node["relation"]), 0)
        constraints, gone = list(facts.constraints), list(facts.gone)
        drops = {c["name"] for c in nodes(statement.node, "AlterTableCmd") if c["subtype"] == "AT_DropConstraint"}
        for number, (name, added) in enumerate(made.items(), 1):
            other = 0 if added.referenced is None else facts.found.get(self.today(added.referenced) or ("", ""), 0)
            constraints.append(Constraint(-number, name, added.kind, table, other, (), (), added.valid, 0, 0, None))
            gone += [Gone(CONSTRAINT, -number, 0, other)] if name in drops and other else []
        return replace(facts, constraints=tuple(constraints), gone=tuple(gone))

    def _with_indexes(self, facts: Facts, statement: ParsedStatement) -> Facts:
        relations, found, gone = dict(facts.relations), dict(facts.found), list(facts.gone)
        for number, name in enumerate(self._named_indexes(statement), 1):
            table = facts.relation(self.today(self._indexes[name]) or ("", ""))
            if table is None:
                continue
            new = replace(table, oid=-number, name=name[1], kind="i", table=table.oid, columns=(), parents=(), pages=0)
            relations[-number] = replace(new, is_partition=False, quoted=".".join(map(_quoted, name)))
            found |= {name: -number, (None, name[1]): -number}
            gone.append(Gone(RELATION, -number, 0, -number))
        return replace(facts, relations=relations, found=found, gone=tuple(gone)) if gone != list(facts.gone) else facts

    # What a statement leaves.

    def execute(self, statement: ParsedStatement) -> None:
        """Takes note of what it makes, renames and drops."""
        node = statement.node
        if statement.kind in _MADE:
            self._make(_MADE[statement.kind](node), _may_be_there(node))
        elif statement.kind == "SelectStmt" and "intoClause" in node:
            self._make(range_name(node["intoClause"]["rel"]))
        elif statement.kind == "IndexStmt":
            self._index(node)
        elif statement.kind == "DropStmt" and node["removeType"] in _RELATIONS:
            for item in node["objects"]:
                self._drop(self.full(to_name(strings(item))))
        elif statement.kind in ("RenameStmt", "AlterObjectSchemaStmt") and "relation" in node:
            self._rename(statement.kind, node)
        elif statement.kind == "AlterTableStmt":
            for command in nodes(node.get("cmds", []), "AlterTableCmd"):
                self._alter(range_name(node["relation"]), command)
        elif statement.kind in _OPAQUE:
            self.opaque = self.opaque or _OPAQUE[statement.kind]

    def _make(self, name: Name, may_be_there: bool = False) -> None:
        full = self.full(name)
        if may_be_there and self.is_there(name):
            return
        self._new.add(full)
        self._was.pop(full, None)

    def _index(self, node: Node) -> None:
        table = range_name(node["relation"])
        name = self.full((range_name(node["relation"])[0], node.get("idxname", "")))
        today = self.today(table)
        if today is None:
            self._new.add(name)
        else:
            self._indexes[name] = today

    def _drop(self, name: Name) -> None:
        self._indexes.pop(name, None)
        self._was.pop(name, None)
        self._new.discard(name)
        self._gone.add(name)

    def _rename(self, kind: str, node: Node) -> None:
        old = self.full(range_name(node["relation"]))
        if kind == "RenameStmt" and node["renameType"] == "OBJECT_COLUMN":
            self._column(old, node["newname"], False)
            self._dropped.setdefault(self._key(old), set()).add(node["subname"])
            return
        if kind == "RenameStmt" and node["renameType"] not in _RELATIONS:
            return
        new = (old[0], node["newname"]) if kind == "RenameStmt" else (node["newschema"], old[1])
        was_new, today, of = old in self._new, self.today(old), self._indexes.get(old)
        self._drop(old)
        self._gone.discard(new)
        if of is not None:
            self._indexes[new] = of
        elif was_new:
            self._new.add(new)
        elif today is not None:
            self._was[new] = today

    def _alter(self, table: Name, command: Node) -> None:
        if self.today(table) is None:
            return
        subtype, key = command["subtype"], self._key(table)
        if subtype == "AT_AddColumn":
            column = command["def"]["ColumnDef"]
            kinds = {constraint["contype"] for constraint in nodes(column.get("constraints", []), "Constraint")}
            self._column(table, column["colname"], bool(kinds & {"CONSTR_NOTNULL", "CONSTR_PRIMARY"}))
        elif subtype == "AT_DropColumn":
            self._columns.get(key, {}).pop(command["name"], None)
            self._dropped.setdefault(key, set()).add(command["name"])
        elif subtype in ("AT_SetNotNull", "AT_DropNotNull") and command["name"] in self._columns.get(key, {}):
            self._columns[key][command["name"]] = subtype == "AT_SetNotNull"
        elif subtype == "AT_AddConstraint":
            self._constrain(key, command["def"]["Constraint"])
        elif subtype == "AT_DropConstraint":
            self._constraints.pop((key, command["name"]), None)
        elif subtype == "AT_ValidateConstraint" and (key, command["name"]) in self._constraints:
            added = self._constraints[key, command["name"]]
            self._constraints[key, command["name"]] = added._replace(valid=True)

    def _constrain(self, key: Name, node: Node) -> None:
        if not node.get("conname"):
            return
        referenced = self.full(range_name(node["pktable"])) if "pktable" in node else None
        added = _Added(_KINDS.get(node["contype"], "c"), referenced, not node.get("skip_validation"))
        self._constraints[key, node["conname"]] = added

    def _column(self, table: Name, name: str, not_null: bool) -> None:
        if self.today(table) is not None:
            self._columns.setdefault(self._key(table), {})[name] = not_null


def _quoted(name: str | None) -> str:
    """For people: as quote_ident() does, but for keywords."""
    return _quote(name or "")


def _may_be_there(node: Node) -> bool:
    """IF NOT EXISTS, or OR REPLACE."""
    return bool(node.get("if_not_exists") or node.get("base", {}).get("if_not_exists") or node.get("replace"))


_MADE = {
    "CreateStmt": lambda node: range_name(node["relation"]),
    "CreateForeignTableStmt": lambda node: range_name(node["base"]["relation"]),
    "CreateTableAsStmt": lambda node: range_name(node["into"]["rel"]),
    "ViewStmt": lambda node: range_name(node["view"]),
    "CreateSeqStmt": lambda node: range_name(node["sequence"]),
}
_OPAQUE = {
    "DoStmt": "a DO block",
    "CallStmt": "a procedure",
    "ExecuteStmt": "a prepared statement",
    "AlterExtensionStmt": "an extension's script",
    "DropOwnedStmt": "DROP OWNED",
}
