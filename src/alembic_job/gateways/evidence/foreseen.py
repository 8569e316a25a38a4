"""The tables as a list of statements will have left them at a certain point, told from the database as it is now.

Each table is a query of present tables (`Source`): a renamed column is `SELECT "old" AS "new"`, rows that were deleted
are left out by WHERE. So every statement is judged by the rows that it will meet, while nothing is changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from alembic_job.gateways import catalogue, deparse
from alembic_job.gateways.evidence.present import (
    TYPE_NAMED,
    Table,
    With,
    loaded,
    quote,
    split,
    type_facts,
)
from alembic_job.gateways.evidence.reading import Reader, Untold
from alembic_job.rules.facts import Facts, Name
from alembic_job.rules.narrowing import TypeFacts
from alembic_job.rules.questions import Drop, Questions
from alembic_job.rules.statement import Node
from alembic_job.rules.tree import called, range_name, type_name

# They change nothing, though the catalogue calls them volatile.
_HARMLESS = frozenset("clock_timestamp timeofday random gen_random_uuid uuid_generate_v4 uuid_generate_v1".split())


class Foreseen:
    """Tables and types by the names they have at this point of the list."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.opaque = ""  # why nothing is certain any more
        self.grown = False  # there may be more than the statements name
        self.relabelled: set[str] = set()  # enums of which a value is renamed
        self._tables: dict[Name, Table | None] = {}  # names given or taken away by the list
        self._known: dict[int, Table] = {}
        self._types: dict[Name, TypeFacts | None] = {}
        self._vague: dict[int, str] = {}  # by OID
        self._path: list[str] = []
        self._keys: dict[str, str] = {}  # queries that stand for tables, and their names in WITH

    def path(self) -> list[str]:
        """The schemas in which an unqualified name is looked for."""
        if not self._path:
            [[names]] = self.reader.rows("SELECT current_schemas(true)::text[]")
            self._path = list(names)
        return self._path

    def forget_path(self) -> None:
        self._path = []

    def new_name(self, name: Name) -> Name:
        """Where something of that name would be made."""
        own = [schema for schema in self.path() if schema != "pg_catalog" and not schema.startswith("pg_temp")]
        return (name[0] or (own[0] if own else "public"), name[1])

    def relation(self, name: Name) -> Table | None:
        """What that name means at this point; `None` if nothing. Raises `Untold`."""
        schemas = [name[0]] if name[0] else self.path()
        present: dict[str, int] = dict(self.reader.rows(_NAMED, (name[1], schemas)))
        for schema in schemas:
            if (schema, name[1]) in self._tables:
                changed = self._tables[schema, name[1]]
                if changed is not None:
                    return changed
            elif schema in present:
                return self.by_oid(present[schema])
        return None

    def by_oid(self, oid: int) -> Table:
        """A table that is there now, whatever it is called at this point. Raises `Untold`."""
        if oid not in self._known:
            self._known[oid] = loaded(self.reader, oid)
        return self._known[oid]

    def is_gone(self, table: Table) -> bool:
        return self._tables.get(table.name, table) is not table

    def drop(self, table: Table) -> None:
        self._tables[table.name] = None

    def create(self, table: Table) -> None:
        self._tables[table.name] = table

    def rename(self, table: Table, name: Name) -> None:
        self._tables[table.name] = None
        table.name = name
        self._tables[name] = table

    def blur(self, table: Table, why: str) -> None:
        """The table's rows are not known from here on; those of its kin have changed too."""
        table.vague = table.vague or why
        self.blur_kin(table, why)

    def blur_kin(self, table: Table, why: str) -> None:
        for oid in table.kin:
            self._vague.setdefault(oid, why)

    def doubt(self, table: Table) -> str:
        """Why a figure about the table may not hold when its statement runs; empty if it will."""
        return table.vague or self._vague.get(table.oid, "") or self.opaque

    def fire(self, table: Table) -> None:
        """Rows of the table change: what its triggers and rules do cannot be told."""
        for [name] in self.reader.rows(_FIRED, (table.oid, table.oid)) if table.oid and not self.opaque else ():
            self.opaque = f"before it, {name} of {table.label} may change anything"

    # Types

    def new_type(self, name: Name, facts: TypeFacts | None) -> None:
        self._types[name] = facts

    def type(self, node: Node) -> TypeFacts | None:
        """What a TypeName means at this point. Raises `Untold` for text that cannot be written again."""
        found, _ = self.type_named(type_name(node))
        if found is None:
            return None
        is_array = bool(node.get("arrayBounds"))
        typmod = _typmod(found.name, node)
        if found.text and not self._is_changed(type_name(node)):
            return replace(found, text=_deparsed(deparse.type_name, node), typmod=typmod, is_array=is_array)
        text = f"{found.text}[]" if found.text and is_array else found.text
        return replace(found, text=text, typmod=typmod, is_array=is_array)

    def _is_changed(self, name: Name) -> bool:
        return any((schema, name[1]) in self._types for schema in ([name[0]] if name[0] else self.path()))

    def type_named(self, name: Name) -> tuple[TypeFacts | None, Name]:
        """What a type's name means at this point, and its qualified name."""
        schemas = [name[0]] if name[0] else self.path()
        present = {row[0]: row[1:] for row in self.reader.rows(TYPE_NAMED, (name[1], schemas))}
        for schema in schemas:
            if (schema, name[1]) in self._types:
                changed = self._types[schema, name[1]]
                if changed is not None:
                    return changed, (schema, name[1])
            elif schema in present:
                return type_facts(present[schema]), (schema, name[1])
        return None, self.new_name(name)

    # Expressions

    def expression(self, tree: Node) -> tuple[str, With]:
        """An expression as text, by the names that hold now, and the tables that stand in it. Raises `Untold`."""
        writer = self._writer(tree)
        if writer:
            raise Untold(f"it calls {writer}(), which may have effects of its own")
        own = {item["CommonTableExpr"]["ctename"] for item in _wrapped(tree, "CommonTableExpr")}
        used: dict[str, str] = {}
        new: Node = self._embed(tree, own, used)
        return _deparsed(deparse.expression, new), used

    def _writer(self, tree: Any) -> str:
        """The name of a function in it that may change something; empty if none does."""
        names = sorted({name[1] for name in called(tree)} - _HARMLESS)
        found = self.reader.rows(_VOLATILE, (names,)) if names else []
        return str(found[0][0]) if found else ""

    def writer(self, names: tuple[str, ...]) -> str:
        """Of these functions one that may change something, or that is not there yet; empty if none."""
        volatile = {name for [name] in self.reader.rows(_VOLATILE, (list(names),))}
        known = {name for [name] in self.reader.rows(_KNOWN, (list(names),))}
        return next((name for name in names if name in volatile or name not in known), "")

    def _embed(self, tree: Any, own: set[str], parts: With) -> Any:
        if isinstance(tree, list):
            return [self._embed(item, own, parts) for item in tree]
        if not isinstance(tree, dict):
            return tree
        if "RangeVar" in tree:
            return {"RangeVar": self._range(tree["RangeVar"], own, parts)}
        new = {key: self._embed(value, own, parts) for key, value in tree.items()}
        if "ColumnRef" in new:
            fields = new["ColumnRef"]["fields"]
            new["ColumnRef"] = {**new["ColumnRef"], "fields": fields[1:] if len(fields) == 3 else fields}
        if isinstance(new.get("typeName"), dict):
            new["typeName"] = self._present_type(new["typeName"])
        return new

    def _range(self, node: Node, own: set[str], parts: With) -> Node:
        name = range_name(node)
        if name[0] is None and name[1] in own:
            return node
        table = self.relation(name)
        if table is None:
            return node
        if table.source is None:
            empty = ", ".join(f"NULL::{c.type.text or 'text'} AS {quote(c.name)}" for c in table.columns.values())
        query = table.source.sql() if table.source else f"SELECT {empty} WHERE false"
        key = self._keys.setdefault(query, f"_t{len(self._keys)}")
        parts[key] = query
        alias = node.get("alias") or {"aliasname": name[1]}
        return {"relname": key, "inh": True, "relpersistence": "p", "alias": alias}

    def _present_type(self, node: Node) -> Node:
        """The TypeName by which a type is known now; text for an enum that is not there yet."""
        name = type_name(node)
        if name[1] and self._is_changed(name):
            facts, _ = self.type_named(name)
            names = ["pg_catalog", "text"]
            if facts is not None and facts.text:
                names = [part for part in split(facts.text) if part]
            return {**node, "names": [{"String": {"sval": part}} for part in names]}
        return node

    def gone(self, drop: Drop, cascade: bool) -> Facts:
        """What goes away with something that is dropped, as the catalogue has it now."""
        relations = (drop.name,) if drop.kind == "relation" else ()
        return catalogue.facts(self.reader.rows, Questions(relations=relations, drops=(drop,), cascade=cascade))


def _deparsed(write: Any, node: Node) -> str:
    try:
        return str(write(node))
    except ValueError as error:
        raise Untold(str(error)) from error


def _wrapped(tree: Any, kind: str) -> list[Node]:
    left, found = [tree], []
    while left:
        item = left.pop()
        if isinstance(item, list):
            left += item
        elif isinstance(item, dict):
            found += [item] if kind in item else []
            left += item.values()
    return found


def _typmod(name: str, node: Node) -> int:
    """The modifier of the types that `rules.narrowing` knows; -1 if none is given."""
    numbers = [item["A_Const"].get("ival", {}).get("ival", 0) for item in node.get("typmods", []) if "A_Const" in item]
    if not numbers:
        return -1
    if name in ("varchar", "bpchar"):
        return int(numbers[0]) + 4
    if name == "numeric":
        return (int(numbers[0]) << 16 | (int(numbers[1]) & 0x7FF if len(numbers) > 1 else 0)) + 4
    return int(numbers[0])


_VOLATILE = (
    "SELECT DISTINCT proname::text FROM pg_catalog.pg_proc WHERE proname = ANY (%s::name[]) AND provolatile = 'v'"
)
_KNOWN = "SELECT DISTINCT proname::text FROM pg_catalog.pg_proc WHERE proname = ANY (%s::name[])"
_FIRED = """SELECT 'trigger ' || tgname FROM pg_catalog.pg_trigger WHERE tgrelid = %s AND NOT tgisinternal
    AND tgenabled <> 'D' UNION ALL SELECT 'rule ' || rulename FROM pg_catalog.pg_rewrite WHERE ev_class = %s
    AND ev_type <> '1' LIMIT 1"""
_NAMED = (
    "SELECT n.nspname::text, c.oid::int8 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
    " ON n.oid = c.relnamespace WHERE c.relname = %s AND n.nspname = ANY (%s::name[])"
)
