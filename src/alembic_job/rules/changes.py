"""The changes by which data can be lost, or which data can refuse: what `rules.losses` reads from a statement."""

from __future__ import annotations

from dataclasses import dataclass

from alembic_job.rules.facts import Name
from alembic_job.rules.statement import Node


@dataclass(frozen=True)
class Dropped:
    """DROP of an object: `kind` is relation, view, sequence, type, function, schema, extension or database."""

    kind: str
    name: Name
    cascade: bool = False
    missing_ok: bool = False


@dataclass(frozen=True)
class DroppedColumn:
    table: Name
    column: str
    cascade: bool = False
    only: bool = False
    missing_ok: bool = False


@dataclass(frozen=True)
class AddedColumn:
    table: Name
    definition: Node  # ColumnDef
    only: bool = False
    missing_ok: bool = False


@dataclass(frozen=True)
class Retyped:
    """ALTER COLUMN TYPE."""

    table: Name
    column: str
    type: Node  # TypeName
    using: Node | None = None
    only: bool = False


@dataclass(frozen=True)
class NotNull:
    table: Name
    columns: tuple[str, ...]
    only: bool = False


@dataclass(frozen=True)
class Distinct:
    """UNIQUE, PRIMARY KEY, a unique index: `keys` are columns' names and expressions."""

    table: Name
    keys: tuple[str | Node, ...]
    where: Node | None = None
    nulls_equal: bool = False
    primary: bool = False
    only: bool = False


@dataclass(frozen=True)
class Excluding:
    """EXCLUDE: pairs of a key and the operator that must not hold between two rows."""

    table: Name
    keys: tuple[tuple[str | Node, str], ...]
    where: Node | None = None


@dataclass(frozen=True)
class Referring:
    """FOREIGN KEY; without `referenced_columns` it refers to the primary key."""

    table: Name
    columns: tuple[str, ...]
    referenced: Name
    referenced_columns: tuple[str, ...] = ()
    full: bool = False


@dataclass(frozen=True)
class Checked:
    table: Name
    expression: Node
    only: bool = False


@dataclass(frozen=True)
class Validated:
    table: Name
    constraint: str


@dataclass(frozen=True)
class Unproven:
    """A constraint that is added NOT VALID, and what it will ask once it is validated."""

    table: Name
    constraint: str
    asks: tuple[Change, ...]


@dataclass(frozen=True)
class KeyByIndex:
    """PRIMARY KEY USING INDEX: its columns become NOT NULL."""

    table: Name
    index: str


@dataclass(frozen=True)
class Attached:
    """ATTACH PARTITION of a table."""

    table: Name


@dataclass(frozen=True)
class Recomposed:
    """A composite type loses an attribute, or one has another type."""

    type: Name


@dataclass(frozen=True)
class DomainChecked:
    """ALTER DOMAIN SET NOT NULL (no expression), ADD CHECK, or VALIDATE of a named constraint."""

    domain: Name
    expression: Node | None = None
    constraint: str | None = None


@dataclass(frozen=True)
class Emptied:
    """TRUNCATE: names, and whether their children are meant too."""

    tables: tuple[tuple[Name, bool], ...]
    cascade: bool = False


@dataclass(frozen=True)
class Deleted:
    table: Name
    node: Node


@dataclass(frozen=True)
class Updated:
    table: Name
    node: Node


@dataclass(frozen=True)
class Filled:
    """Rows come in, or are changed in a way that is not followed."""

    table: Name


@dataclass(frozen=True)
class Created:
    """A new relation of that relkind. `known_empty` is false for CREATE TABLE AS; `parents` give it columns."""

    table: Name
    elements: tuple[Node, ...] = ()
    missing_ok: bool = False
    known_empty: bool = True
    parents: tuple[Name, ...] = ()
    kind: str = "r"


@dataclass(frozen=True)
class Renamed:
    """`kind` is relation, view (sequences too), column or type; `part` the column's old name."""

    kind: str
    name: Name
    new: str
    part: str = ""


@dataclass(frozen=True)
class Moved:
    """SET SCHEMA; `kind` is relation, view (sequences too) or type."""

    kind: str
    name: Name
    schema: str


@dataclass(frozen=True)
class NewType:
    """`labels` of an enum; none of another type."""

    name: Name
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Label:
    """ALTER TYPE ADD VALUE (no `old`), or RENAME VALUE."""

    type: Name
    new: str
    old: str | None = None


@dataclass(frozen=True)
class Setting:
    """SET of something that later statements are read by: search_path, role, time zone."""

    node: Node


@dataclass(frozen=True)
class Ended:
    """A transaction ends, and with it what SET LOCAL said."""


@dataclass(frozen=True)
class Grown:
    """Things are made that the statement does not name."""


@dataclass(frozen=True)
class Opaque:
    """It runs code of its own: what it does cannot be told, nor what later statements will find."""

    why: str


@dataclass(frozen=True)
class Unsure:
    """It cannot be told what this does to the data of `what`; later statements are not touched by it."""

    what: str
    why: str


@dataclass(frozen=True)
class Calls:
    """A query that calls functions: opaque if one of them may write."""

    functions: tuple[str, ...]


Change = (
    Dropped | DroppedColumn | AddedColumn | Retyped | NotNull | Distinct | Excluding | Referring | Checked | Validated
    | KeyByIndex | DomainChecked | Emptied | Deleted | Updated | Filled | Grown | Created | Renamed | Moved | NewType
    | Label | Unproven | Attached | Recomposed | Setting | Ended | Calls | Opaque | Unsure
)  # fmt: skip
