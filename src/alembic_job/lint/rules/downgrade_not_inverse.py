"""What the upgrade makes, the downgrade must drop, and the reverse."""

from __future__ import annotations

from collections.abc import Iterator

from alembic_job.lint.changes import Net, Thing, net_of
from alembic_job.lint.model import Level, Revision, Rule, Spot, Tree

_ALIKE = ("index", "constraint")  # a unique constraint is an index by the same name


def check(revision: Revision, tree: Tree) -> Iterator[Spot]:
    """Only where both ways are known to their end, and what is missing in one cannot be hidden in it."""
    if revision.up.reason or revision.down.reason or not revision.down.statements:
        return
    up, down = net_of(revision.up), net_of(revision.down)
    if up.opaque or down.opaque:
        return
    for ours, theirs, words in (
        (up.made.values(), down.things(False), "upgrade() makes {}, but downgrade() does not drop it"),
        (up.gone.values(), down.things(True), "upgrade() drops {}, but downgrade() does not bring it back"),
    ):
        for thing, line in ours:
            if not (_is_renamed(thing, up) or _is_renamed(thing, down) or _is_covered(thing, theirs)):
                yield Spot(line, words.format(thing.text))


def _is_renamed(thing: Thing, net: Net) -> bool:
    return thing.name in net.renamed or thing.table in net.renamed


def _is_covered(thing: Thing, others: list[Thing]) -> bool:
    if not thing.name:  # the server named it
        return True
    return any(_is_same(other, thing) or _is_within(thing, other) or _may_bring(other, thing) for other in others)


def _is_same(other: Thing, thing: Thing) -> bool:
    alike = other.kind == thing.kind or {other.kind, thing.kind} <= set(_ALIKE)
    return alike and other.name == thing.name and (thing.kind != "column" or other.table == thing.table)


def _is_within(thing: Thing, table: Thing) -> bool:
    """True if it goes, or comes, with that table; also where it is not known whose it is."""
    if table.kind != "table" or thing.kind in ("table", "type", "view"):
        return False
    return table.name == thing.table or not thing.table


def _may_bring(other: Thing, thing: Thing) -> bool:
    """True if with that column or constraint such an index or constraint comes, or goes."""
    if thing.kind not in _ALIKE:
        return False
    same_table = not thing.table or other.table == thing.table
    if other.kind == "constraint":
        return same_table and not other.name
    return other.kind == "column" and same_table and (not thing.columns or other.name in thing.columns)


RULE = Rule(
    "downgrade-not-inverse",
    Level.WARNING,
    "downgrade() leaves something behind, or does not bring back what upgrade() drops.",
    "After down and up again the upgrade fails on what is still there; or an older release misses what it needs. The"
    " classic is the type of an Enum column: dropping the table leaves it. Tables, columns, indexes, named constraints,"
    " types, sequences and views are compared by name, as the statements of both ways have them; where one of them"
    " cannot be followed (code of the server's, CASCADE, renaming) nothing is said.",
    "Let downgrade() undo each step, in reverse order. `op.execute('DROP TYPE status')` drops the type of an Enum.",
    "def upgrade() -> None:\n"
    '    op.create_table("jobs", sa.Column("state", sa.Enum("new", "done", name="state")))\n'
    "\n"
    "\n"
    "def downgrade() -> None:\n"
    '    op.drop_table("jobs")',
    check,
)
