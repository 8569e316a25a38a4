"""The statements that a schema changes by most often: their only lock is on the table that they name.

For these the catalogue need not be asked at length, as long as that table is an ordinary one without children.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from alembic_job.rules.effect import Mode
from alembic_job.rules.statement import ParsedStatement

_COMMANDS = frozenset(
    ("AT_AddColumn", "AT_ColumnDefault", "AT_DropNotNull", "AT_SetNotNull", "AT_AddConstraint", "AT_SetStorage")
)


class Simple(NamedTuple):
    """A table as the statement names it, quoted, and the mode of the lock."""

    table: str
    mode: Mode


def simple(statement: ParsedStatement) -> Simple | None:
    """What the statement locks, if it is of such a kind."""
    node = statement.node
    if statement.kind == "IndexStmt" and not node.get("concurrent"):
        return _on(node.get("relation"), Mode.SHARE)
    if statement.kind == "AlterTableStmt" and node.get("objtype") == "OBJECT_TABLE":
        commands = [command.get("AlterTableCmd", {}) for command in node.get("cmds", ())]
        if commands and all(_is_simple(command) for command in commands):
            return _on(node.get("relation"), Mode.ACCESS_EXCLUSIVE)
    return None


def _on(relation: Any, mode: Mode) -> Simple | None:
    if not relation or "catalogname" in relation:
        return None
    parts = [relation[key] for key in ("schemaname", "relname") if key in relation]
    return Simple(".".join('"' + part.replace('"', '""') + '"' for part in parts), mode)


def _is_simple(command: dict[str, Any]) -> bool:
    """No foreign key, which locks another table, and no index to be taken over."""
    if command.get("subtype") not in _COMMANDS:
        return False
    definition = command.get("def", {})
    constraints = [definition["Constraint"]] if "Constraint" in definition else []
    constraints += [one.get("Constraint", {}) for one in definition.get("ColumnDef", {}).get("constraints", ())]
    plain = ("CONSTR_CHECK", "CONSTR_NOTNULL", "CONSTR_NULL", "CONSTR_DEFAULT")
    return all(constraint.get("contype") in plain for constraint in constraints)
