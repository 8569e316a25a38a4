"""What a statement does, told from its parse tree and the catalogue's facts.

The locks are those of PostgreSQL 14 to 18: its documentation ("Explicit Locking", the pages of the commands) and its
source (AlterTableGetLockLevel and the functions it leads to); compared with `pg_locks` of real servers in tests/rules.
Left out are indexes of tables that are locked as strongly, TOAST tables, and everything event triggers would do.
"""

from __future__ import annotations

from collections.abc import Callable

from alembic_job.rules.altering import alter_table, attach_keys, check_new_partition
from alembic_job.rules.effect import Effect, Mode
from alembic_job.rules.facts import RELATION, Facts, Relation
from alembic_job.rules.questions import DROP_KINDS, ON_RELATION, RELATION_KINDS
from alembic_job.rules.statement import Node, ParsedStatement
from alembic_job.rules.taken import Taken
from alembic_job.rules.tree import nodes, option, range_name, recurses, strings, to_name

Rule = Callable[[Node, Taken], Effect]

ACCESS_EXCLUSIVE, EXCLUSIVE, SHARE = Mode.ACCESS_EXCLUSIVE, Mode.EXCLUSIVE, Mode.SHARE
SHARE_ROW_EXCLUSIVE, SHARE_UPDATE_EXCLUSIVE = Mode.SHARE_ROW_EXCLUSIVE, Mode.SHARE_UPDATE_EXCLUSIVE


def effects(statement: ParsedStatement, facts: Facts) -> Effect:
    """The effect of one statement; `facts` are the answers to `questions(statement)`."""
    if statement.kind in _UNKNOWN:
        return Effect(unknown=_UNKNOWN[statement.kind])
    if statement.kind in _APART:
        return Effect(transactional=False)
    rule = _RULES.get(statement.kind)
    return rule(statement.node, Taken(facts)) if rule else Effect()


_UNKNOWN = {
    "DoStmt": "a DO block runs code of its own",
    "CallStmt": "a procedure runs code of its own",
    "ExecuteStmt": "what was prepared is not known",
    "CreateExtensionStmt": "an extension's script runs",
    "AlterExtensionStmt": "an extension's script runs",
    "DropOwnedStmt": "it drops whatever a role owns",
    "ReassignOwnedStmt": "it changes whatever a role owns",
    "AlterTableMoveAllStmt": "it moves every table of a tablespace",
    "ImportForeignSchemaStmt": "the foreign server decides what is created",
}
_APART = frozenset(
    """CreatedbStmt DropdbStmt AlterSystemStmt CreateTableSpaceStmt DropTableSpaceStmt
    CreateSubscriptionStmt DropSubscriptionStmt""".split()
)


def _create_index(node: Node, taken: Taken) -> Effect:
    concurrent = bool(node.get("concurrent"))
    mode = SHARE_UPDATE_EXCLUSIVE if concurrent else SHARE
    table = taken.lock_named(mode, range_name(node["relation"]), recurses(node["relation"]))
    if table is None:
        return taken.effect(transactional=not concurrent, patient=concurrent)
    if table.kind != "p":
        taken.modes = {table.oid: mode}  # inheriting children have indexes of their own
    name = node.get("idxname")
    schema, _ = range_name(node["relation"])
    is_there = bool(node.get("if_not_exists")) and name and taken.facts.relation((schema, name)) is not None
    if not is_there:
        taken.scan(table.oid)
    if recurses(node["relation"]) and table.kind == "p" and not is_there:
        taken.scan(*(oid for oid in taken.facts.descendants(table.oid) if not _has_index(oid, table, node, taken)))
    builds = f"{_schema(table)}.{taken.facts.quoted.get(name, _quote(name))}" if concurrent and name else None
    return taken.effect(transactional=not concurrent, patient=concurrent, builds=builds)


def _has_index(partition: int, parent: Relation, node: Node, taken: Taken) -> bool:
    """True if a partition has such an index already: it is taken over, not built."""
    if "whereClause" in node:
        return False
    elements = [item["IndexElem"] for item in node["indexParams"]]
    columns = [parent.column(element.get("name", "")) for element in elements]
    wanted = tuple(column.number if column else 0 for column in columns)
    return any(
        index.index_columns == wanted
        and 0 not in wanted
        and index.index_valid
        and not index.parents
        and not index.index_partial
        and index.index_unique == bool(node.get("unique"))
        and index.access_method == node["accessMethod"]
        for index in taken.facts.indexes(partition)
    )


def _schema(relation: Relation) -> str:
    """Its schema's name, quoted: what is before the last dot outside of quotes."""
    if relation.quoted.endswith('"'):
        end = len(relation.quoted) - len(relation.name) - relation.name.count('"') - 2
    else:
        end = len(relation.quoted) - len(relation.name)
    return relation.quoted[: end - 1]


def _quote(name: str) -> str:
    """As quote_ident() does, but for keywords: for people to read."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and name.islower() and not name[0].isdigit()
    return name if plain else '"' + name.replace('"', '""') + '"'


def _drop(node: Node, taken: Taken) -> Effect:
    kind, concurrent = node["removeType"], bool(node.get("concurrent"))
    names = [strings(item) for item in node["objects"]]
    if kind in ON_RELATION:
        for parts in names:
            table = taken.facts.relation(to_name(parts[:-1]))
            if table and (table.oid, kind.removeprefix("OBJECT_").lower(), parts[-1]) in taken.facts.attached:
                taken.lock_tree(ACCESS_EXCLUSIVE, table.oid, kind == "OBJECT_TRIGGER" and table.kind == "p")
        return taken.effect()
    if concurrent:
        return _drop_index_concurrently(names, taken)
    if kind not in DROP_KINDS and node.get("behavior") == "DROP_CASCADE" and kind not in _LONELY:
        return Effect(unknown="what depends on it goes too, and is not looked up for this kind of object")
    taken.drop(taken.facts.gone)
    _note_losses(taken)
    return taken.effect()


_LONELY = frozenset(
    "OBJECT_PUBLICATION OBJECT_EVENT_TRIGGER OBJECT_CAST OBJECT_TRANSFORM OBJECT_RULE OBJECT_TSDICTIONARY".split()
)


def _drop_index_concurrently(names: list[list[str]], taken: Taken) -> Effect:
    for parts in names:
        index = taken.lock_named(SHARE_UPDATE_EXCLUSIVE, to_name(parts))
        if index:
            taken.lock(SHARE_UPDATE_EXCLUSIVE, index.table)
            taken.modes[index.oid] = ACCESS_EXCLUSIVE  # in its last phase, when nobody uses it any more
    return taken.effect(transactional=False, patient=True)


def _note_losses(taken: Taken) -> None:
    words = {"r": "table", "p": "table", "S": "sequence"}
    for item in taken.facts.gone:
        relation = taken.facts.relations.get(item.objid) if item.classid == RELATION else None
        if relation and item.objsubid == 0 and relation.kind in words:
            taken.lose(f"{words[relation.kind]} {relation.quoted}")
        elif relation and item.objsubid > 0 and relation.kind in "rp":
            name = next((column.name for column in relation.columns if column.number == item.objsubid), None)
            taken.lose(f"column {relation.quoted}.{_quote(name)}" if name else f"a column of {relation.quoted}")


def _truncate(node: Node, taken: Taken) -> Effect:
    left = []
    for item in node["relations"]:
        table = taken.lock_named(ACCESS_EXCLUSIVE, range_name(item), recurses(item))
        left += [table.oid, *(taken.facts.descendants(table.oid) if recurses(item) else ())] if table else []
    if node.get("behavior") == "DROP_CASCADE":
        left = _referring(left, taken.facts)
        taken.lock(ACCESS_EXCLUSIVE, *left)
    for oid in left:
        if node.get("restart_seqs"):
            taken.lock(ACCESS_EXCLUSIVE, *taken.facts.sequences(oid))
        taken.lose(f"rows of {taken.facts.relations[oid].quoted}")
    return taken.effect()


def _referring(tables: list[int], facts: Facts) -> list[int]:
    """The tables and all that refer to them by foreign keys, and so on."""
    referring: dict[int, list[int]] = {}
    for key in facts.constraints:
        if key.type == "f":
            referring.setdefault(key.referenced, []).append(key.table)
    found = dict.fromkeys(tables)
    left = list(found)
    while left:
        reached = [oid for table in referring.get(left.pop(), ()) for oid in (table, *facts.descendants(table))]
        new = dict.fromkeys(oid for oid in reached if oid not in found)
        found |= new
        left += new
    return list(found)


def _create_table(node: Node, taken: Taken) -> Effect:
    node = node.get("base") or node
    bound = "partbound" in node
    for item in node.get("inhRelations", []):
        parent = taken.lock_named(ACCESS_EXCLUSIVE if bound else SHARE_UPDATE_EXCLUSIVE, range_name(item))
        if parent and bound:
            check_new_partition(parent.oid, taken)
            attach_keys(parent.oid, taken)
    for key in nodes(node, "Constraint"):
        if "pktable" in key:
            referenced = taken.lock_named(SHARE_ROW_EXCLUSIVE, range_name(key["pktable"]))
            if referenced and referenced.kind == "p":
                taken.lock_tree(SHARE_ROW_EXCLUSIVE, referenced.oid)
    return taken.effect()


def _create_schema(node: Node, taken: Taken) -> Effect:
    for element in node.get("schemaElts", []):
        [(kind, inner)] = element.items()
        if kind in _RULES:
            _RULES[kind](inner, taken)
    return taken.effect()


def _create_trigger(node: Node, taken: Taken) -> Effect:
    table = taken.lock_named(SHARE_ROW_EXCLUSIVE, range_name(node["relation"]))
    if table and table.kind == "p" and node.get("row"):
        taken.lock_tree(SHARE_ROW_EXCLUSIVE, table.oid)
    return taken.effect()


def _on_relation(mode: Mode, field: str = "relation") -> Rule:
    def rule(node: Node, taken: Taken) -> Effect:
        taken.lock_named(mode, range_name(node[field]))
        return taken.effect()

    return rule


def _create_view(node: Node, taken: Taken) -> Effect:
    if node.get("replace"):
        taken.lock_named(ACCESS_EXCLUSIVE, range_name(node["view"]))
    return taken.effect()


def _rename(node: Node, taken: Taken) -> Effect:
    kind = node["renameType"]
    if kind == "OBJECT_TYPE":
        taken.lock_named(ACCESS_EXCLUSIVE, to_name(strings(node["object"])))
    if "relation" not in node:
        return taken.effect()
    relation = taken.facts.relation(range_name(node["relation"]))
    if relation is None:
        return taken.effect()
    mode = SHARE_UPDATE_EXCLUSIVE if relation.is_index and kind == "OBJECT_INDEX" else ACCESS_EXCLUSIVE
    named = [c for c in taken.facts.constraints if c.table == relation.oid and c.name == node.get("subname")]
    below = kind in ("OBJECT_COLUMN", "OBJECT_ATTRIBUTE", "OBJECT_TRIGGER") or (
        kind == "OBJECT_TABCONSTRAINT" and any(c.type in "cn" for c in named)
    )
    taken.lock_tree(mode, relation.oid, below and (recurses(node["relation"]) or kind == "OBJECT_ATTRIBUTE"))
    if kind == "OBJECT_ATTRIBUTE" and node.get("behavior") == "DROP_CASCADE":
        taken.lock(ACCESS_EXCLUSIVE, *taken.facts.users)
    if kind == "OBJECT_TABCONSTRAINT":
        taken.lock(ACCESS_EXCLUSIVE, *(c.index for c in named if c.type in "pux"))
    return taken.effect()


def _owner(node: Node, taken: Taken) -> Effect:
    if node["objectType"] == "OBJECT_TYPE":
        taken.lock_named(ACCESS_EXCLUSIVE, to_name(strings(node["object"])))
    return taken.effect()


def _alter_sequence(node: Node, taken: Taken) -> Effect:
    taken.lock_named(SHARE_ROW_EXCLUSIVE, range_name(node["sequence"]))
    return taken.effect()


def _set_schema(node: Node, taken: Taken) -> Effect:
    if "relation" not in node:
        return taken.effect()
    relation = taken.lock_named(ACCESS_EXCLUSIVE, range_name(node["relation"]))
    if relation:
        taken.lock(ACCESS_EXCLUSIVE, *taken.facts.sequences(relation.oid))
    return taken.effect()


def _comment(node: Node, taken: Taken) -> Effect:
    kind, parts = node["objtype"], strings(node["object"])
    if kind == "OBJECT_COLUMN":
        taken.lock_named(SHARE_UPDATE_EXCLUSIVE, to_name(parts[:-1]))
    elif kind in RELATION_KINDS:
        taken.lock_named(SHARE_UPDATE_EXCLUSIVE, to_name(parts))
    return taken.effect()


def _publication(node: Node, taken: Taken) -> Effect:
    for item in nodes(node, "pubtable"):
        table = taken.facts.relation(range_name(item["relation"]))
        if table:  # a partitioned table is published as a whole
            taken.lock_tree(SHARE_UPDATE_EXCLUSIVE, table.oid, recurses(item["relation"]) and table.kind != "p")
    taken.lock(SHARE_UPDATE_EXCLUSIVE, *taken.facts.published)
    return taken.effect()


def _create_statistics(node: Node, taken: Taken) -> Effect:
    for item in node.get("relations", []):
        if "RangeVar" in item:
            taken.lock_named(SHARE_UPDATE_EXCLUSIVE, range_name(item))
    return taken.effect()


def _lock_table(node: Node, taken: Taken) -> Effect:
    for item in node["relations"]:
        taken.lock_named(Mode(node["mode"]), range_name(item), recurses(item))
    return taken.effect()


def _refresh(node: Node, taken: Taken) -> Effect:
    concurrent = bool(node.get("concurrent"))
    view = taken.lock_named(EXCLUSIVE if concurrent else ACCESS_EXCLUSIVE, range_name(node["relation"]))
    if view and concurrent:
        taken.scan(view.oid)
    elif view:
        taken.rewrite(view.oid)
    return taken.effect()


def _cluster(node: Node, taken: Taken) -> Effect:
    if "relation" not in node:
        return Effect(transactional=False, unknown="it clusters every table that was clustered before")
    table = taken.lock_named(ACCESS_EXCLUSIVE, range_name(node["relation"]))
    if table and table.kind == "p":
        taken.lock_tree(ACCESS_EXCLUSIVE, table.oid)
        taken.rewrite(*taken.facts.descendants(table.oid))
        return taken.effect(transactional=False)
    if table:
        taken.rewrite(table.oid)
    return taken.effect()


def _vacuum(node: Node, taken: Taken) -> Effect:
    options = node.get("options", [])
    is_vacuum, full = bool(node.get("is_vacuumcmd")), option(options, "full")
    if not node.get("rels"):
        return Effect(transactional=not is_vacuum, unknown="it visits every table of the database")
    for item in node["rels"]:
        name = item["VacuumRelation"]["relation"]
        table = taken.lock_named(ACCESS_EXCLUSIVE if full else SHARE_UPDATE_EXCLUSIVE, range_name(name))
        if table:
            _vacuum_table(table, taken, full, is_vacuum, recurses(name))
    return taken.effect(transactional=not is_vacuum)


def _vacuum_table(table: Relation, taken: Taken, full: bool, is_vacuum: bool, below: bool) -> None:
    tables = [table.oid]
    if below and (table.kind == "p" or (taken.facts.major >= 18)):
        tables += taken.facts.descendants(table.oid)
        taken.lock(taken.modes[table.oid], *tables)
    if full:
        taken.rewrite(*tables)
    elif is_vacuum:
        taken.scan(*tables)


def _reindex(node: Node, taken: Taken) -> Effect:
    concurrent = option(node.get("params", []), "concurrently")
    mode = SHARE_UPDATE_EXCLUSIVE if concurrent else SHARE
    if node["kind"] in ("REINDEX_OBJECT_SYSTEM", "REINDEX_OBJECT_DATABASE"):
        return Effect(transactional=False, unknown="it visits every table of the database")
    if node["kind"] == "REINDEX_OBJECT_SCHEMA":
        for table in taken.facts.relations.values():
            if table.schema == node["name"] and table.kind in "rm":
                _reindex_table(table.oid, taken, mode)
        return taken.effect(transactional=False, patient=concurrent)
    relation = taken.facts.relation(range_name(node["relation"]))
    if relation is None:
        return taken.effect(transactional=not concurrent, patient=concurrent)
    several = relation.kind in "pI"
    for oid in [relation.oid, *(taken.facts.descendants(relation.oid) if several else ())]:
        if relation.is_index:
            _reindex_index(taken.facts.relations[oid], taken, mode)
        else:
            _reindex_table(oid, taken, mode)
    return taken.effect(transactional=not (concurrent or several), patient=concurrent)


def _reindex_index(index: Relation, taken: Taken, mode: Mode) -> None:
    taken.lock(mode, index.table)
    taken.lock(mode if mode is SHARE_UPDATE_EXCLUSIVE else ACCESS_EXCLUSIVE, index.oid)
    if index.kind == "i":
        taken.scan(index.table)
        taken.rewrite(index.oid)


def _reindex_table(table: int, taken: Taken, mode: Mode) -> None:
    taken.lock(mode, table)
    for index in taken.facts.indexes(table):
        _reindex_index(index, taken, mode)


def _alter_domain(node: Node, taken: Taken) -> Effect:
    subtype = node["subtype"]
    added = node.get("def", {}).get("Constraint", {})
    checks = subtype in "OV" or (subtype == "C" and not added.get("skip_validation"))
    if checks:
        tables = [oid for oid in taken.facts.users if taken.has_storage(oid)]
        taken.lock(SHARE, *tables)
        taken.scan(*tables)
    return taken.effect(patient=subtype == "V")


def _alter_extension(node: Node, taken: Taken) -> Effect:
    if node["objtype"] in RELATION_KINDS:
        taken.lock_named(SHARE_UPDATE_EXCLUSIVE, to_name(strings(node["object"])))
    return taken.effect()


def _delete(node: Node, taken: Taken) -> Effect:
    if "whereClause" not in node:
        _, name = range_name(node["relation"])
        relation = taken.facts.relation(range_name(node["relation"]))
        taken.lose(f"rows of {relation.quoted if relation else _quote(name)}")
    return taken.effect()


def _transaction(node: Node, taken: Taken) -> Effect:
    return Effect(transactional=not node["kind"].endswith("_PREPARED"))


def _depends(node: Node, taken: Taken) -> Effect:
    if "relation" in node:
        taken.lock_named(ACCESS_EXCLUSIVE, range_name(node["relation"]))
    return taken.effect()


_RULES: dict[str, Rule] = {
    "AlterTableStmt": alter_table,
    "IndexStmt": _create_index,
    "DropStmt": _drop,
    "TruncateStmt": _truncate,
    "CreateStmt": _create_table,
    "CreateForeignTableStmt": _create_table,
    "CreateSchemaStmt": _create_schema,
    "CreateTrigStmt": _create_trigger,
    "RuleStmt": _on_relation(ACCESS_EXCLUSIVE),
    "CreatePolicyStmt": _on_relation(ACCESS_EXCLUSIVE, "table"),
    "AlterPolicyStmt": _on_relation(ACCESS_EXCLUSIVE, "table"),
    "ViewStmt": _create_view,
    "RenameStmt": _rename,
    "AlterOwnerStmt": _owner,
    "AlterSeqStmt": _alter_sequence,
    "AlterObjectSchemaStmt": _set_schema,
    "AlterObjectDependsStmt": _depends,
    "CommentStmt": _comment,
    "SecLabelStmt": _comment,
    "CreatePublicationStmt": _publication,
    "AlterPublicationStmt": _publication,
    "CreateStatsStmt": _create_statistics,
    "LockStmt": _lock_table,
    "RefreshMatViewStmt": _refresh,
    "ClusterStmt": _cluster,
    "VacuumStmt": _vacuum,
    "ReindexStmt": _reindex,
    "AlterDomainStmt": _alter_domain,
    "AlterExtensionContentsStmt": _alter_extension,
    "DeleteStmt": _delete,
    "TransactionStmt": _transaction,
}
