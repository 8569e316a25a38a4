"""ALTER TABLE, and what else has its form: ALTER INDEX, VIEW, SEQUENCE, MATERIALIZED VIEW, FOREIGN TABLE, TYPE."""

from __future__ import annotations

import re
from collections.abc import Callable

from alembic_job.rules.effect import Effect, Mode
from alembic_job.rules.facts import Relation
from alembic_job.rules.statement import Node
from alembic_job.rules.taken import Taken
from alembic_job.rules.tree import nodes, range_name, recurses, strings, type_name
from alembic_job.rules.types import changes_storage, is_serial, is_volatile

ACCESS_EXCLUSIVE, SHARE = Mode.ACCESS_EXCLUSIVE, Mode.SHARE
SHARE_ROW_EXCLUSIVE, SHARE_UPDATE_EXCLUSIVE = Mode.SHARE_ROW_EXCLUSIVE, Mode.SHARE_UPDATE_EXCLUSIVE

# Subcommands that take less than ACCESS EXCLUSIVE (AlterTableGetLockLevel).
_WEAKER = (
    {
        "AT_SetStatistics": SHARE_UPDATE_EXCLUSIVE,
        "AT_SetOptions": SHARE_UPDATE_EXCLUSIVE,
        "AT_ResetOptions": SHARE_UPDATE_EXCLUSIVE,
        "AT_ClusterOn": SHARE_UPDATE_EXCLUSIVE,
        "AT_DropCluster": SHARE_UPDATE_EXCLUSIVE,
        "AT_ValidateConstraint": SHARE_UPDATE_EXCLUSIVE,
        "AT_AttachPartition": SHARE_UPDATE_EXCLUSIVE,
        "AT_DetachPartitionFinalize": SHARE_UPDATE_EXCLUSIVE,
        "AT_CheckNotNull": SHARE_UPDATE_EXCLUSIVE,
    }
    | dict.fromkeys(
        (f"AT_{verb}{what}" for verb in ("Enable", "Disable") for what in ("Trig", "TrigAll", "TrigUser")),
        SHARE_ROW_EXCLUSIVE,
    )
    | dict.fromkeys(("AT_EnableAlwaysTrig", "AT_EnableReplicaTrig"), SHARE_ROW_EXCLUSIVE)
)

# Subcommands that never visit children or partitions.
_ALONE = frozenset(
    """AT_SetOptions AT_ResetOptions AT_ChangeOwner AT_ClusterOn AT_DropCluster AT_SetLogged AT_SetUnLogged
    AT_SetTableSpace AT_SetAccessMethod AT_SetRelOptions AT_ResetRelOptions AT_ReplaceRelOptions AT_AddInherit
    AT_DropInherit AT_ReplicaIdentity AT_EnableRule AT_EnableAlwaysRule AT_EnableReplicaRule AT_DisableRule AT_AddOf
    AT_DropOf AT_EnableRowSecurity AT_DisableRowSecurity AT_ForceRowSecurity AT_NoForceRowSecurity AT_GenericOptions
    AT_AttachPartition AT_DetachPartition AT_DetachPartitionFinalize AT_AlterColumnGenericOptions
    AT_EnableTrig AT_EnableAlwaysTrig AT_EnableReplicaTrig AT_DisableTrig AT_EnableTrigAll AT_DisableTrigAll
    AT_EnableTrigUser AT_DisableTrigUser AT_AddIdentity AT_SetIdentity AT_DropIdentity""".split()
)
_TRIGGERS = frozenset(command for command, mode in _WEAKER.items() if mode is SHARE_ROW_EXCLUSIVE)
_IDENTITY = frozenset(("AT_AddIdentity", "AT_SetIdentity", "AT_DropIdentity"))

# Storage parameters that need SHARE UPDATE EXCLUSIVE (reloptions.c), with and without `toast.`; others need more.
_WEAK_OPTIONS = re.compile(
    "(autovacuum|vacuum|log_autovacuum)_.*|fillfactor|toast_tuple_target|parallel_workers|deduplicate_items"
)


def alter_table(node: Node, taken: Taken) -> Effect:
    """The effect of an AlterTableStmt."""
    relation = taken.facts.relation(range_name(node["relation"]))
    if relation is None:
        return taken.effect()
    commands = [item["AlterTableCmd"] for item in node["cmds"]]
    mode = max(_mode(command) for command in commands)
    taken.lock(mode, relation.oid)
    taken.only = not recurses(node["relation"])
    for command in commands:
        tables = [relation.oid, *_below(command, relation, taken)]
        taken.lock(mode, *tables)
        work = _WORK.get(command["subtype"])
        if work:
            work(command, tables, taken)
    if node.get("objtype") == "OBJECT_TYPE" and any(c.get("behavior") == "DROP_CASCADE" for c in commands):
        taken.lock(ACCESS_EXCLUSIVE, *taken.facts.users)
    return taken.effect(transactional=not any(map(_is_apart, commands)), patient=all(map(_is_patient, commands)))


def _mode(command: Node) -> Mode:
    subtype = command["subtype"]
    if subtype in ("AT_SetRelOptions", "AT_ResetRelOptions", "AT_ReplaceRelOptions"):
        names = {element["defname"] for element in nodes(command, "DefElem")}
        return SHARE_UPDATE_EXCLUSIVE if all(map(_WEAK_OPTIONS.fullmatch, names)) else ACCESS_EXCLUSIVE
    if subtype == "AT_AddConstraint" and command["def"]["Constraint"]["contype"] == "CONSTR_FOREIGN":
        return SHARE_ROW_EXCLUSIVE
    if subtype == "AT_DetachPartition" and command["def"]["PartitionCmd"].get("concurrent"):
        return SHARE_UPDATE_EXCLUSIVE
    return _WEAKER.get(subtype, ACCESS_EXCLUSIVE)


def _below(command: Node, relation: Relation, taken: Taken) -> list[int]:
    """The children and partitions that one subcommand visits."""
    subtype = command["subtype"]
    if taken.only or relation.is_index:
        return []
    if subtype in _TRIGGERS:
        recursive = relation.kind == "p"
    elif subtype in _IDENTITY:
        recursive = relation.kind == "p" and taken.facts.major >= 17
    elif subtype == "AT_AddConstraint":
        recursive = _constraint_recurses(command["def"]["Constraint"], relation, taken)
    elif subtype == "AT_SetNotNull":
        column = relation.column(command["name"])
        recursive = column is None or not column.not_null
    elif subtype == "AT_ValidateConstraint":
        recursive = not all(
            c.valid for c in taken.facts.constraints if (c.table, c.name) == (relation.oid, command["name"])
        )
    else:
        recursive = subtype not in _ALONE
    return taken.facts.descendants(relation.oid) if recursive else []


def _constraint_recurses(constraint: Node, relation: Relation, taken: Taken) -> bool:
    """True if children are locked as their parent is; since PostgreSQL 18 they always are."""
    kind = constraint["contype"]
    if taken.facts.major >= 18:
        return True
    if kind == "CONSTR_PRIMARY":
        return not all(
            column.not_null for column in relation.columns if column.name in _keys(constraint, relation.oid, taken)
        )
    if kind in ("CONSTR_UNIQUE", "CONSTR_EXCLUSION"):
        return False
    return relation.kind == "p" if kind == "CONSTR_FOREIGN" else not constraint.get("is_no_inherit")


def _keys(constraint: Node, table: int, taken: Taken) -> list[str]:
    """The columns of a primary key, given by name or by an index."""
    if "indexname" in constraint:
        return _index_columns(constraint["indexname"], table, taken)
    return strings(constraint.get("keys", []))


def _is_apart(command: Node) -> bool:
    return command["subtype"] == "AT_DetachPartition" and bool(command["def"]["PartitionCmd"].get("concurrent"))


def _is_patient(command: Node) -> bool:
    return command["subtype"] == "AT_ValidateConstraint" or _is_apart(command)


def _add_column(command: Node, tables: list[int], taken: Taken) -> None:
    column = command["def"]["ColumnDef"]
    constraints = [item["Constraint"] for item in column.get("constraints", [])]
    kinds = {constraint["contype"]: constraint for constraint in constraints}
    default = kinds.get("CONSTR_DEFAULT", {}).get("raw_expr")
    if command.get("missing_ok") and taken.facts.relations[tables[0]].column(column["colname"]):
        return
    if _fills_rows(column, kinds, taken):
        taken.rewrite(*tables)
    elif kinds.keys() & {"CONSTR_CHECK", "CONSTR_UNIQUE", "CONSTR_PRIMARY"} or (
        "CONSTR_NOTNULL" in kinds and (default is None or _is_null(default))
    ):
        taken.scan(*tables)
    if "CONSTR_FOREIGN" in kinds:
        _add_foreign_key(kinds["CONSTR_FOREIGN"], tables, taken, scans=default is not None)


def _is_null(expression: Node) -> bool:
    return bool(expression.get("A_Const", {}).get("isnull"))


def _fills_rows(column: Node, kinds: dict[str, Node], taken: Taken) -> bool:
    """True if each row must get a value of its own, so the table is written anew."""
    name = type_name(column["typeName"])
    if is_serial(name) or "CONSTR_IDENTITY" in kinds:
        return True
    if kinds.get("CONSTR_GENERATED", {}).get("generated_kind", "v") == "s":
        return True
    kind = taken.facts.types.get(taken.facts.found_types.get(name, 0))
    if kind and kind.constrained and not column["typeName"].get("arrayBounds"):
        return True
    default = kinds.get("CONSTR_DEFAULT", {}).get("raw_expr")
    return default is not None and is_volatile(default, taken.facts)


def _add_constraint(command: Node, tables: list[int], taken: Taken) -> None:
    constraint = command["def"]["Constraint"]
    kind = constraint["contype"]
    if kind == "CONSTR_FOREIGN":
        _add_foreign_key(constraint, tables, taken, scans=not constraint.get("skip_validation"))
    elif "indexname" in constraint:
        if kind == "CONSTR_PRIMARY":
            _scan_for_nulls(_index_columns(constraint["indexname"], tables[0], taken), tables, taken)
    elif kind in ("CONSTR_PRIMARY", "CONSTR_UNIQUE", "CONSTR_EXCLUSION"):
        _build_index(tables[0], taken)
        if kind == "CONSTR_PRIMARY":
            _scan_for_nulls(_keys(constraint, tables[0], taken), tables, taken)
    elif kind == "CONSTR_NOTNULL":
        if not constraint.get("skip_validation"):
            _scan_for_nulls(strings(constraint["keys"]), tables, taken)
    elif not constraint.get("skip_validation"):
        taken.scan(*(tables[:1] if constraint.get("is_no_inherit") else tables))


def _build_index(table: int, taken: Taken) -> None:
    """The index of a constraint: one for each partition, while inheriting children get none."""
    taken.scan(table)
    if taken.facts.relations[table].kind == "p" and not taken.only:
        taken.lock(SHARE, *taken.facts.descendants(table))
        taken.scan(*taken.facts.descendants(table))


def _index_columns(name: str, table: int, taken: Taken) -> list[str]:
    relation = taken.facts.relations[table]
    numbers = [n for index in taken.facts.indexes(table) if index.name == name for n in index.index_columns]
    return [column.name for column in relation.columns if column.number in numbers]


def _add_foreign_key(constraint: Node, tables: list[int], taken: Taken, scans: bool) -> None:
    referenced = taken.lock_named(SHARE_ROW_EXCLUSIVE, range_name(constraint["pktable"]))
    if referenced and referenced.kind == "p":
        taken.lock_tree(SHARE_ROW_EXCLUSIVE, referenced.oid)
    if scans:
        taken.scan(*(tables if taken.facts.relations[tables[0]].kind == "p" else tables[:1]))


def _set_not_null(command: Node, tables: list[int], taken: Taken) -> None:
    _scan_for_nulls([command["name"]], tables, taken)


def _scan_for_nulls(names: list[str], tables: list[int], taken: Taken) -> None:
    for name in names:
        column = taken.facts.relations[tables[0]].column(name)
        if column and not column.not_null:
            taken.scan(*(oid for oid in tables if not _proves_not_null(oid, column.number, taken)))


_NULL_TEST = re.compile(r"\{NULLTEST :arg \{VAR :varno 1 :varattno (\d+) [^{}]*\} :nulltesttype 1 :argisrow false")


def _proves_not_null(table: int, column: int, taken: Taken) -> bool:
    """True if a valid CHECK is `column IS NOT NULL`, alone or among others joined by AND."""
    for check in taken.facts.checks(table):
        text = check.expression or ""
        joined = not re.search(r":boolop (or|not)\b|\{(?:CASEEXPR|FUNCEXPR|BOOLEANTEST)", text)
        if check.valid and joined and str(column) in _NULL_TEST.findall(text):
            return True
    return False


def _alter_type(command: Node, tables: list[int], taken: Taken) -> None:
    relation = taken.facts.relations[tables[0]]
    column = relation.column(command["name"])
    if column is None or relation.kind not in "rpc":
        return
    rewrites = changes_storage(column, command["def"]["ColumnDef"], taken.facts)
    if relation.kind == "c":
        taken.rewrite(*(oid for oid in taken.facts.users if rewrites))
        return
    for table in tables:
        for key in taken.facts.foreign_keys(table):
            if (key.table == table and column.number in key.columns) or (
                key.referenced == table and column.number in key.referenced_columns
            ):
                taken.lock(ACCESS_EXCLUSIVE, key.table, key.referenced)
                if rewrites:
                    taken.scan(key.table)
    for table in tables:
        taken.lock(SHARE_ROW_EXCLUSIVE, *taken.facts.identity(table, column.number))
    if rewrites:
        taken.rewrite(*tables)
    elif any(column.number in check.columns for check in taken.facts.checks(tables[0])):
        taken.scan(*tables)
    elif _type_changes(column.type, command["def"]["ColumnDef"], taken):
        taken.scan(*(oid for oid in tables if _is_indexed(oid, column.number, taken)))


def _type_changes(old: int, definition: Node, taken: Taken) -> bool:
    """False if an index can be kept: the same type, or varchar and text, which share their operators."""
    if "collClause" in definition:
        return True
    new = taken.facts.types.get(taken.facts.found_types.get(type_name(definition["typeName"]), 0))
    before = taken.facts.types.get(old)
    if new is None or before is None:
        return True
    bases = {kind.base if kind.kind == "d" else kind.oid for kind in (new, before)}
    return not (len(bases) == 1 or {new.name, before.name} <= {"varchar", "text"})


def _is_indexed(table: int, column: int, taken: Taken) -> bool:
    return any(column in index.index_columns or 0 in index.index_columns for index in taken.facts.indexes(table))


def _drop_part(command: Node, tables: list[int], taken: Taken) -> None:
    """DROP COLUMN and DROP CONSTRAINT: what depends on it goes too, and foreign keys lock their other table."""
    taken.drop(taken.facts.gone)
    taken.lock(ACCESS_EXCLUSIVE, *taken.facts.children(tables[0]))  # with ONLY too: the column becomes their own
    if command["subtype"] == "AT_DropColumn":
        relation = taken.facts.relations[tables[0]]
        if relation.kind in "rpf" and relation.column(command["name"]):
            taken.lose(f"column {relation.quoted}.{command['name']}")


def _validate(command: Node, tables: list[int], taken: Taken) -> None:
    for constraint in taken.facts.constraints:
        if constraint.table in tables and constraint.name == command["name"] and not constraint.valid:
            taken.scan(*tables)
            if constraint.type == "f":
                taken.lock(Mode.ROW_SHARE, constraint.referenced)


def _persistence(command: Node, tables: list[int], taken: Taken) -> None:
    wanted = "p" if command["subtype"] == "AT_SetLogged" else "u"
    if taken.facts.relations[tables[0]].persistence != wanted:
        taken.rewrite(tables[0])
        if taken.facts.major >= 15:
            taken.lock(ACCESS_EXCLUSIVE, *taken.facts.sequences(tables[0]))


def _identity(command: Node, tables: list[int], taken: Taken) -> None:
    column = taken.facts.relations[tables[0]].column(command["name"])
    mode = ACCESS_EXCLUSIVE if command["subtype"] == "AT_DropIdentity" else SHARE_ROW_EXCLUSIVE
    if column:
        taken.lock(mode, *taken.facts.identity(tables[0], column.number))


def _owner(command: Node, tables: list[int], taken: Taken) -> None:
    role = command["newowner"]
    name = role.get("rolename") if role["roletype"] == "ROLESPEC_CSTRING" else taken.facts.user
    if name != taken.facts.relations[tables[0]].owner:
        taken.lock(ACCESS_EXCLUSIVE, *taken.facts.sequences(tables[0]))


def _access_method(command: Node, tables: list[int], taken: Taken) -> None:
    if taken.facts.relations[tables[0]].access_method != command.get("name", taken.facts.access_method):
        taken.rewrite(tables[0])


def _tablespace(command: Node, tables: list[int], taken: Taken) -> None:
    taken.rewrite(tables[0])


def _expression(command: Node, tables: list[int], taken: Taken) -> None:
    column = taken.facts.relations[tables[0]].column(command["name"])
    if column and column.generated == "s":
        taken.rewrite(*tables)


def _alter_constraint(command: Node, tables: list[int], taken: Taken) -> None:
    """[NOT] ENFORCED makes or drops the triggers on both tables."""
    change = command["def"].get("ATAlterConstraint", command["def"].get("Constraint", {}))
    if not change.get("alterEnforceability"):
        return
    for key in taken.facts.constraints:
        if key.table == tables[0] and key.name == change.get("conname"):
            taken.lock(ACCESS_EXCLUSIVE, key.referenced)
            if change.get("is_enforced"):
                taken.scan(*tables)


def _inherit(command: Node, tables: list[int], taken: Taken) -> None:
    taken.lock_named(SHARE_UPDATE_EXCLUSIVE, range_name(command["def"]))


def _attach(command: Node, tables: list[int], taken: Taken) -> None:
    part = taken.facts.relation(range_name(command["def"]["PartitionCmd"]["name"]))
    parent = taken.facts.relations[tables[0]]
    if parent.is_index:
        if part:
            taken.lock(ACCESS_EXCLUSIVE, part.oid)
        return
    if part:
        taken.lock_tree(ACCESS_EXCLUSIVE, part.oid)
        if not _proves_bound(part, parent, command["def"]["PartitionCmd"]["bound"], taken):
            taken.scan(part.oid, *taken.facts.descendants(part.oid))
    check_new_partition(parent.oid, taken)
    attach_keys(parent.oid, taken)


def _proves_bound(part: Relation, parent: Relation, bound: Node, taken: Taken) -> bool:
    """True if valid CHECKs of a table seem to say what the bound does: the partition key is compared with as many
    constants, and is NOT NULL. Whether the constants are the same is not looked at: PostgreSQL would read the table."""
    keys = [column.name for column in parent.columns if column.number in parent.key]
    columns = [column for column in part.columns if column.name in keys]
    texts = [check.expression or "" for check in taken.facts.checks(part.oid) if check.valid]
    compared = [text for text in texts if any(f":varattno {column.number} " in text for column in columns)]
    constants = len(list(nodes(bound, "A_Const"))) + len(list(nodes(bound, "TypeCast")))
    known = sum(text.count("{CONST ") for text in compared) + sum(text.count("{ARRAYEXPR ") for text in compared)
    return (
        bool(compared)
        and not bound.get("is_default")
        and known >= constants
        and 0 not in parent.key
        and all(column.not_null or _proves_not_null(part.oid, column.number, taken) for column in columns)
    )


def check_new_partition(parent: int, taken: Taken) -> None:
    """A new partition takes its rows from the default one's range: that is read to the end."""
    default = taken.lock_default(parent)
    if default is not None:
        below = taken.facts.descendants(default)
        taken.lock(ACCESS_EXCLUSIVE, *below)
        taken.scan(default, *below)


def attach_keys(parent: int, taken: Taken) -> None:
    """A partition gets its parent's foreign keys, in both directions."""
    for key in taken.facts.foreign_keys(parent):
        other = key.referenced if key.table == parent else key.table
        taken.lock(SHARE_ROW_EXCLUSIVE, other)


def _detach(command: Node, tables: list[int], taken: Taken) -> None:
    concurrent = bool(command["def"]["PartitionCmd"].get("concurrent"))
    part = taken.facts.relation(range_name(command["def"]["PartitionCmd"]["name"]))
    if part:
        taken.lock_tree(ACCESS_EXCLUSIVE, part.oid)
    if not concurrent:
        taken.lock_default(tables[0])
    for key in taken.facts.foreign_keys(part.oid if part else 0):
        if key.table == (part and part.oid):
            taken.lock(SHARE_ROW_EXCLUSIVE, key.referenced)
        else:  # rows that refer to the partition are looked for
            taken.lock(ACCESS_EXCLUSIVE, key.table)
            taken.scan(key.table)


_WORK: dict[str, Callable[[Node, list[int], Taken], None]] = {
    "AT_AddColumn": _add_column,
    "AT_AddConstraint": _add_constraint,
    "AT_SetNotNull": _set_not_null,
    "AT_AlterColumnType": _alter_type,
    "AT_DropColumn": _drop_part,
    "AT_DropConstraint": _drop_part,
    "AT_ValidateConstraint": _validate,
    "AT_SetIdentity": _identity,
    "AT_DropIdentity": _identity,
    "AT_ChangeOwner": _owner,
    "AT_SetLogged": _persistence,
    "AT_SetUnLogged": _persistence,
    "AT_SetAccessMethod": _access_method,
    "AT_SetTableSpace": _tablespace,
    "AT_AddInherit": _inherit,
    "AT_SetExpression": _expression,
    "AT_AlterConstraint": _alter_constraint,
    "AT_AttachPartition": _attach,
    "AT_DetachPartition": _detach,
    "AT_DetachPartitionFinalize": _detach,
}
