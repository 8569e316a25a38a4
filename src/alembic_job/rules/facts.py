"""What the catalogue says of the things a statement names, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

# Object classes of pg_depend: the OIDs of the catalogues, the same in every database.
TYPE, FUNCTION, RELATION, DEFAULT, CONSTRAINT, RULE, TRIGGER = 1247, 1255, 1259, 2604, 2606, 2618, 2620
SCHEMA, EXTENSION, POLICY, STATISTICS = 2615, 3079, 3256, 3381

Name = tuple[str | None, str]  # schema (None: by search_path) and name, neither quoted


@dataclass(frozen=True)
class Column:
    number: int
    name: str
    type: int  # OID of pg_type
    typmod: int
    not_null: bool
    collation: int
    generated: str  # '', 's' stored, 'v' virtual


@dataclass(frozen=True)
class Constraint:
    """A row of pg_constraint that belongs to a table or refers to one."""

    oid: int
    name: str
    type: str  # contype: c check, f foreign key, n not null, p primary key, u unique, x exclusion
    table: int
    referenced: int  # 0 unless a foreign key
    columns: tuple[int, ...]
    referenced_columns: tuple[int, ...]
    valid: bool
    index: int  # the index it stands on; of a foreign key, the referenced one
    parent: int
    expression: str | None  # the node tree of a check


@dataclass(frozen=True)
class Relation:
    """A row of pg_class."""

    oid: int
    schema: str
    name: str
    quoted: str  # qualified, ready for SQL
    kind: str  # relkind
    persistence: str
    pages: int
    tuples: float
    access_method: str | None
    tablespace: int
    row_type: int
    of_type: int
    owner: str
    parents: tuple[int, ...] = ()
    is_partition: bool = False
    is_default_partition: bool = False
    key: tuple[int, ...] = ()  # partition key columns; 0: an expression
    table: int = 0  # of an index
    index_valid: bool = True
    index_columns: tuple[int, ...] = ()  # 0: an expression
    index_unique: bool = False
    index_partial: bool = False
    columns: tuple[Column, ...] = ()  # of relations the statement names only

    @property
    def is_index(self) -> bool:
        return self.kind in "iI"

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class Type:
    oid: int
    schema: str
    name: str
    kind: str  # typtype: b base, c composite, d domain, e enum, r range
    base: int  # of a domain
    base_typmod: int
    element: int  # of an array
    constrained: bool  # a domain with constraints, its own or its base's
    relation: int  # of a composite type


@dataclass(frozen=True)
class Gone:
    """An object that goes away with what is dropped; `relation` is the one that it belongs to, 0 if none."""

    classid: int
    objid: int
    objsubid: int
    relation: int


@dataclass(frozen=True)
class Owned:
    """A sequence that belongs to a column: `identity`, or serial and OWNED BY."""

    sequence: int
    table: int
    column: int
    identity: bool


@dataclass(frozen=True)
class Facts:
    """The answers to `Questions`. `relations` has what is named and its family: children, parents, partners by
    foreign key, indexes."""

    version: int  # server_version_num, e.g. 160014
    relations: dict[int, Relation] = field(default_factory=dict)
    found: dict[Name, int] = field(default_factory=dict)  # names that resolve to a relation
    types: dict[int, Type] = field(default_factory=dict)
    found_types: dict[Name, int] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()
    casts: dict[tuple[int, int], str] = field(default_factory=dict)  # (from, to) → castmethod: b binary, f, i
    volatile: frozenset[Name] = frozenset()  # of the functions asked for
    gone: tuple[Gone, ...] = ()
    users: frozenset[int] = frozenset()  # relations with a column of a type asked for
    owned: tuple[Owned, ...] = ()
    attached: frozenset[tuple[int, str, str]] = frozenset()  # (table, trigger, rule or policy, its name)
    quoted: dict[str, str] = field(default_factory=dict)  # identifiers asked for, ready for SQL
    published: tuple[int, ...] = ()  # tables of the publication asked for
    user: str = ""  # current_user
    access_method: str = "heap"  # default_table_access_method
    block_size: int = 8192

    @property
    def major(self) -> int:
        return self.version // 10000

    def relation(self, name: Name) -> Relation | None:
        oid = self.found.get(name)
        return None if oid is None else self.relations.get(oid)

    @cached_property
    def _children(self) -> dict[int, list[int]]:
        children: dict[int, list[int]] = {}
        for relation in self.relations.values():
            for parent in relation.parents:
                children.setdefault(parent, []).append(relation.oid)
        return children

    @cached_property
    def _indexes(self) -> dict[int, list[Relation]]:
        indexes: dict[int, list[Relation]] = {}
        for relation in self.relations.values():
            if relation.table:
                indexes.setdefault(relation.table, []).append(relation)
        return indexes

    def children(self, oid: int) -> list[int]:
        return self._children.get(oid, [])

    def descendants(self, oid: int) -> list[int]:
        """Partitions and inheriting children, at every depth, without the relation itself."""
        found: dict[int, None] = {}
        left = list(self._children.get(oid, ()))
        while left:
            child = left.pop()
            if child not in found:
                found[child] = None
                left.extend(self._children.get(child, ()))
        return list(found)

    def indexes(self, table: int) -> list[Relation]:
        return self._indexes.get(table, [])

    def default_partition(self, parent: int) -> int | None:
        children = (self.relations[oid] for oid in self._children.get(parent, ()))
        return next((child.oid for child in children if child.is_default_partition), None)

    def sequences(self, table: int) -> list[int]:
        return [owned.sequence for owned in self.owned if owned.table == table]

    def identity(self, table: int, column: int) -> list[int]:
        """The sequence of an identity column."""
        return [o.sequence for o in self.owned if (o.table, o.column) == (table, column) and o.identity]

    def foreign_keys(self, table: int) -> list[Constraint]:
        """Those of the table and those that refer to it."""
        return [key for key in self.constraints if key.type == "f" and table in (key.table, key.referenced)]

    def checks(self, table: int) -> list[Constraint]:
        return [check for check in self.constraints if check.type == "c" and check.table == table]
