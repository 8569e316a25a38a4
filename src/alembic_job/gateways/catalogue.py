"""What the catalogue says of the things a statement names, in one query that waits for no lock.

It reads catalogue tables only. `pg_relation_size()`, `pg_get_expr()` and their like would open the user's table, and so
stand behind whoever holds it; so sizes are the estimates of the last VACUUM or ANALYZE. Any role may read all of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from alembic_job.gateways.parser import NotParsed, parse
from alembic_job.rules.effect import Effect
from alembic_job.rules.effects import effects
from alembic_job.rules.facts import Column, Constraint, Facts, Gone, Name, Owned, Relation, Type
from alembic_job.rules.questions import Drop, Questions, questions
from alembic_job.rules.statement import ParsedStatement

Execute = Callable[[str], list[tuple[Any, ...]]]


def effect_of(sql: str, execute: Execute) -> list[Effect]:
    """What each statement of a text does, in order; `execute` runs one query on the session that will run them.

    What PostgreSQL's grammar cannot read, or cannot be read for want of the package, is one `Effect(unknown=…)`.
    Each statement is judged by the catalogue as it is now, not as the statements before it will leave it.
    """
    try:
        statements = parse(sql)
    except (NotParsed, LookupError) as error:
        return [Effect(unknown=str(error))]
    return [effect(statement, execute) for statement in statements]


def effect(statement: ParsedStatement, execute: Execute) -> Effect:
    """What one statement does."""
    return effects(statement, facts(execute, questions(statement)))


def facts(execute: Execute, asked: Questions) -> Facts:
    """The answers, by one query. Nothing is asked of the server where nothing is to be known."""
    if not asked:
        return Facts(0)
    [[text]] = execute(_query(asked))
    return _facts(json.loads(text), asked)


def literal(text: str) -> str:
    """A string constant, whatever `standard_conforming_strings` says, without a `%` that a driver could mistake."""
    return "E'" + "".join(map(_escape, text)) + "'"


def _escape(character: str) -> str:
    plain = character.isascii() and (character.isalnum() or character in "_ ")
    return character if plain else f"\\U{ord(character):08x}"


def _query(asked: Questions) -> str:
    """One SELECT of one text, with what the questions need and nothing more: planning it is most of what it costs."""
    tables = [
        _PATH,
        f"found AS MATERIALIZED ({_lookups(asked.relations, 'pg_class', 'rel')})",
        f"found_type AS MATERIALIZED ({_lookups(asked.types, 'pg_type', 'typ')})",
    ]
    seeds = ["SELECT oid FROM found WHERE oid IS NOT NULL"]
    answers = list(_ALWAYS)
    if asked.drops:
        tables += _gone(asked)
        seeds += ["SELECT relation FROM lost WHERE relation <> 0", _INDEXED.format("lost", "relation")]
        answers.append(_GONE)
    if asked.used:
        tables += [f"used AS MATERIALIZED ({_lookups(asked.used, 'pg_type', 'typ')})", _KINDRED, _USERS]
        seeds.append("SELECT oid FROM users")
        answers.append("'users', (SELECT json_agg(oid::int8) FROM users)")
    if asked.schemas:
        names = ", ".join(map(literal, asked.schemas))
        seeds.append(
            f"SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN ({names})"
        )
    if asked.publication is not None:
        tables.append(_PUBLISHED.format(literal(asked.publication)))
        seeds.append("SELECT oid FROM published")
        answers.append("'published', (SELECT json_agg(oid::int8) FROM published)")
    if asked.relations:
        seeds.append(_INDEXED.format("found", "oid"))
    tables.append(_FAMILY.format(seeds=" UNION ".join(seeds), chain=_CHAIN if asked.follow_foreign_keys else ""))
    tables += [_PARENT, _KEYS_BOTH if asked.partners else _KEYS_OWN, _PARTNER, _OWNED, _TABLES, _NEAR]
    if asked.types:
        answers += _ABOUT_TYPES
    if asked.identifiers:
        calls = ", ".join(f"quote_ident({literal(name)})" for name in asked.identifiers)
        answers.append(f"'quoted', json_build_array({calls})")
    if asked.functions:
        answers.append(_volatile(asked.functions))
    return "WITH RECURSIVE " + ",\n".join(tables) + "\nSELECT json_build_object(" + ",\n".join(answers) + ")::text"


def _lookups(names: tuple[Name, ...] | list[Name], table: str, prefix: str) -> str:
    """Number of each name → OID, as the search path finds it."""
    rows = [f"SELECT {number} AS nr, ({_lookup(name, table, prefix)}) AS oid" for number, name in enumerate(names)]
    return " UNION ALL ".join(rows) or "SELECT 0 AS nr, NULL::oid AS oid WHERE false"


def _lookup(name: Name, table: str, prefix: str) -> str:
    schema, plain = name[0], literal(name[1]) + "::name"
    wanted = f"SELECT c.oid FROM {table} c WHERE c.{prefix}name = {plain} AND c.{prefix}namespace = "
    if schema is None:
        return (
            f"SELECT c.oid FROM path JOIN {table} c ON c.{prefix}name = {plain} AND c.{prefix}namespace = path.oid"
            " ORDER BY path.nr LIMIT 1"
        )
    if schema == "pg_temp":
        return wanted + "pg_my_temp_schema()"
    return wanted + f"(SELECT oid FROM pg_namespace WHERE nspname = {literal(schema)}::name)"


def _gone(asked: Questions) -> list[str]:
    """What goes away with the roots of a drop: everything that depends on them, as pg_depend tells."""
    roots = " UNION ALL ".join(_root(number, drop) for number, drop in enumerate(asked.drops))
    names = [drop.name for drop in asked.drops]
    follows = "" if asked.cascade else "AND d.deptype <> 'n'"
    return [
        f"dropped AS MATERIALIZED ({_lookups(names, 'pg_class', 'rel')})",
        _HEIRS,
        _DEPENDENT.format(roots=roots, follows=follows),
        _LOST,
    ]


def _root(number: int, drop: Drop) -> str:
    """The objects (class, object, column) a drop starts at."""
    table = f"SELECT oid FROM dropped WHERE nr = {number}"
    if drop.recurse:
        table += f" UNION SELECT child FROM heirs WHERE nr = {number}"
    part = literal(drop.part) + "::name"
    if drop.kind == "relation":
        return f"SELECT 1259::oid, oid, 0 FROM dropped WHERE nr = {number}"
    if drop.kind == "column":
        return (
            "SELECT 1259::oid, attrelid, attnum::int FROM pg_attribute"
            f" WHERE attrelid = ANY (ARRAY({table})) AND attnum > 0 AND attname = {part}"
        )
    if drop.kind == "constraint":
        return f"SELECT 2606::oid, oid, 0 FROM pg_constraint WHERE conrelid = ANY (ARRAY({table})) AND conname = {part}"
    if drop.kind in _NAMED:
        catalogue, prefix, oid = _NAMED[drop.kind]
        return f"SELECT {oid}::oid, oid, 0 FROM {catalogue} WHERE {prefix}name = {literal(drop.name[1])}::name"
    catalogue, prefix, oid = _PLACED[drop.kind]
    schema, name = drop.name
    space = (
        "SELECT oid FROM path"
        if schema is None
        else f"SELECT oid FROM pg_namespace WHERE nspname = {literal(schema)}::name"
    )
    return (
        f"SELECT {oid}::oid, oid, 0 FROM {catalogue}"
        f" WHERE {prefix}name = {literal(name)}::name AND {prefix}namespace = ANY (ARRAY({space}))"
    )


def _volatile(functions: tuple[Name, ...]) -> str:
    rows = []
    for number, (schema, name) in enumerate(functions):
        where = f"proname = {literal(name)}::name AND provolatile = 'v'"
        if schema is not None:
            where += f" AND pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = {literal(schema)}::name)"
        rows.append(f"SELECT {number} AS nr WHERE EXISTS (SELECT FROM pg_proc WHERE {where})")
    return f"'volatile', (SELECT json_agg(nr) FROM ({' UNION ALL '.join(rows)}) v)"


_NAMED = {"schema": ("pg_namespace", "nsp", 2615), "extension": ("pg_extension", "ext", 3079)}
_PLACED = {
    "type": ("pg_type", "typ", 1247),
    "function": ("pg_proc", "pro", 1255),
    "statistics": ("pg_statistic_ext", "stx", 3381),
}

# `= ANY (ARRAY(SELECT …))` and LATERAL with OFFSET 0 make the planner look things up by index, however large the
# catalogue is: `IN (SELECT …)` becomes a hash join that reads it to the end. For the same reason what refers to a
# table or type is found in pg_depend: pg_constraint.confrelid and pg_attribute.atttypid have no index.
_PATH = """path AS MATERIALIZED (SELECT n.oid, s.nr FROM unnest(current_schemas(true)) WITH ORDINALITY s(name, nr)
    JOIN pg_namespace n ON n.nspname = s.name)"""
_HEIRS = """heirs(nr, child) AS (
    SELECT nr, inhrelid FROM dropped, LATERAL (SELECT inhrelid FROM pg_inherits WHERE inhparent = dropped.oid
    OFFSET 0) i
    UNION SELECT nr, i.inhrelid FROM heirs, LATERAL (SELECT inhrelid FROM pg_inherits WHERE inhparent = child
    OFFSET 0) i)"""
_DEPENDENT = """gone(classid, objid, objsubid) AS (
    {roots}
    UNION SELECT n.classid, n.objid, n.objsubid FROM gone g CROSS JOIN LATERAL (
        (SELECT d.classid, d.objid, d.objsubid FROM pg_depend d WHERE d.refclassid = g.classid AND d.refobjid = g.objid
            AND (g.objsubid = 0 OR d.refobjsubid = g.objsubid) {follows} OFFSET 0)
        UNION ALL
        (SELECT d.refclassid, d.refobjid, d.refobjsubid FROM pg_depend d WHERE d.classid = g.classid AND d.objid =
        g.objid
            AND d.objsubid = g.objsubid AND d.deptype = 'i' OFFSET 0)) n)"""
_LOST = """lost AS MATERIALIZED (SELECT g.*, CASE g.classid
        WHEN 1259 THEN g.objid
        WHEN 2606 THEN (SELECT conrelid FROM pg_constraint WHERE oid = g.objid)
        WHEN 2620 THEN (SELECT tgrelid FROM pg_trigger WHERE oid = g.objid)
        WHEN 2618 THEN (SELECT ev_class FROM pg_rewrite WHERE oid = g.objid)
        WHEN 3256 THEN (SELECT polrelid FROM pg_policy WHERE oid = g.objid)
        WHEN 2604 THEN (SELECT adrelid FROM pg_attrdef WHERE oid = g.objid)
        WHEN 3381 THEN (SELECT stxrelid FROM pg_statistic_ext WHERE oid = g.objid)
        END AS relation FROM gone g)"""
_KINDRED = """kindred(class, oid) AS (
    SELECT 1247, oid FROM used WHERE oid IS NOT NULL
    UNION SELECT n.class, n.oid FROM kindred k CROSS JOIN LATERAL (
        (SELECT d.classid::int, d.objid FROM pg_depend d WHERE k.class = 1247 AND d.refclassid = 1247 AND
        d.refobjid = k.oid
            AND d.classid IN (1247, 1259) OFFSET 0)
        UNION ALL
        (SELECT 1247, c.reltype FROM pg_class c WHERE k.class = 1259 AND c.oid = k.oid AND c.relkind = 'c' OFFSET
        0)) n(class, oid))"""
_USERS = """users AS MATERIALIZED (SELECT oid FROM kindred WHERE class = 1259)"""
_PUBLISHED = """published AS MATERIALIZED (SELECT prrelid AS oid FROM pg_publication_rel r
    JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = {}::name)"""
_INDEXED = """SELECT x.indrelid FROM {0} JOIN pg_class c ON c.oid = {0}.{1} AND c.relkind = 'I'
    JOIN pg_index x ON x.indexrelid = c.oid"""
_CHAIN = """ UNION ALL (SELECT k.conrelid FROM pg_depend d JOIN pg_constraint k ON k.oid = d.objid AND k.contype = 'f'
        WHERE d.refclassid = 1259 AND d.refobjid = f.oid AND d.classid = 2606 AND k.confrelid = f.oid OFFSET 0)"""
# `family`: what is named, what goes away, and everything below. `near`: also parents, default partitions, partners by
# foreign key, and indexes.
_FAMILY = """family(oid) AS (({seeds})
    UNION SELECT n.oid FROM family f CROSS JOIN LATERAL (
        (SELECT inhrelid FROM pg_inherits WHERE inhparent = f.oid OFFSET 0){chain}) n(oid))"""
_PARENT = """parent AS MATERIALIZED (SELECT DISTINCT inhparent AS oid FROM pg_inherits
    WHERE inhrelid = ANY (ARRAY(SELECT oid FROM family)))"""
_KEYS_OWN = (
    """keys AS MATERIALIZED (SELECT oid FROM pg_constraint WHERE conrelid = ANY (ARRAY(SELECT oid FROM family)))"""
)
_KEYS_BOTH = """keys AS MATERIALIZED (
    SELECT oid FROM pg_constraint WHERE conrelid = ANY (ARRAY(SELECT oid FROM family UNION SELECT oid FROM parent))
    UNION SELECT objid FROM pg_depend WHERE refclassid = 1259 AND classid = 2606
        AND refobjid = ANY (ARRAY(SELECT oid FROM family UNION SELECT oid FROM parent)))"""
_PARTNER = """partner AS MATERIALIZED (
    SELECT unnest(ARRAY[conrelid, confrelid]) AS oid FROM pg_constraint
        WHERE oid = ANY (ARRAY(SELECT oid FROM keys)) AND contype = 'f'
    UNION SELECT partdefid FROM pg_partitioned_table WHERE partrelid = ANY (ARRAY(SELECT oid FROM parent)))"""
_OWNED = """owned AS MATERIALIZED (SELECT objid AS sequence, refobjid AS tab, refobjsubid AS col, deptype = 'i' AS
    identity
    FROM pg_depend WHERE classid = 1259 AND refclassid = 1259 AND refobjid = ANY (ARRAY(SELECT oid FROM family))
    AND refobjsubid > 0 AND deptype IN ('a', 'i') AND (SELECT relkind FROM pg_class WHERE oid = objid) = 'S')"""
_TABLES = """tables AS MATERIALIZED (SELECT oid FROM family
    UNION SELECT indrelid FROM pg_index WHERE indexrelid = ANY (ARRAY(SELECT oid FROM family)))"""
_NEAR = """near AS MATERIALIZED (SELECT oid FROM tables UNION SELECT oid FROM parent UNION SELECT oid FROM partner
    UNION SELECT sequence FROM owned
    UNION SELECT indexrelid FROM pg_index WHERE indrelid = ANY (ARRAY(SELECT oid FROM tables)))"""

_ALWAYS = (
    """'version', current_setting('server_version_num')::int, 'block_size', current_setting('block_size')::int,
'access_method', current_setting('default_table_access_method'), 'user', current_user,
'found', (SELECT json_agg(json_build_array(nr, oid::int8)) FROM found WHERE oid IS NOT NULL)""",
    """'owned', (SELECT json_agg(json_build_array(sequence::int8, tab::int8, col, identity)) FROM owned)""",
    """'attached', (SELECT json_agg(json_build_array(tab::int8, kind, name)) FROM (
    SELECT tgrelid, 'trigger', tgname FROM pg_trigger WHERE tgrelid = ANY (ARRAY(SELECT oid FROM found)) AND NOT
    tgisinternal
    UNION ALL SELECT ev_class, 'rule', rulename FROM pg_rewrite WHERE ev_class = ANY (ARRAY(SELECT oid FROM found))
    UNION ALL SELECT polrelid, 'policy', polname FROM pg_policy WHERE polrelid = ANY (ARRAY(SELECT oid FROM found))
    ) a(tab, kind, name))""",
    """'relations', (SELECT json_agg(json_build_array(
        c.oid::int8, n.nspname, c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind,
        c.relpersistence, c.relpages, c.reltuples, (SELECT amname FROM pg_am WHERE oid = c.relam),
        c.reltablespace::int8,
        c.reltype::int8, c.reloftype::int8, pg_get_userbyid(c.relowner),
        (SELECT json_agg(inhparent::int8 ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = c.oid),
        c.relispartition, c.relispartition AND EXISTS (SELECT FROM pg_inherits h
            JOIN pg_partitioned_table p ON p.partrelid = h.inhparent WHERE h.inhrelid = c.oid AND p.partdefid = c.oid),
        (SELECT partattrs::text FROM pg_partitioned_table WHERE partrelid = c.oid),
        i.indrelid::int8, i.indisvalid, i.indkey::text, i.indisunique, i.indpred IS NOT NULL,
        CASE WHEN c.oid = ANY (ARRAY(SELECT oid FROM found)) AND c.relkind NOT IN ('i', 'I') THEN (
            SELECT json_agg(json_build_array(attnum, attname, atttypid::int8, atttypmod, attnotnull, attcollation::int8,
                attgenerated) ORDER BY attnum)
            FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) END))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_index i ON i.indexrelid = c.oid
    WHERE c.oid = ANY (ARRAY(SELECT oid FROM near)))""",
    """'constraints', (SELECT json_agg(json_build_array(oid::int8, conname, contype, conrelid::int8, confrelid::int8,
        array_to_string(conkey, ' '), array_to_string(confkey, ' '), convalidated, conindid::int8, conparentid::int8,
        CASE WHEN contype = 'c' THEN conbin::text END))
    FROM pg_constraint WHERE oid = ANY (ARRAY(SELECT oid FROM keys)))""",
)
_GONE = """'gone', (SELECT json_agg(json_build_array(classid::int8, objid::int8, objsubid, coalesce(relation, 0)::int8))
    FROM lost)"""
_ABOUT_TYPES = (
    "'found_types', (SELECT json_agg(json_build_array(nr, oid::int8)) FROM found_type WHERE oid IS NOT NULL)",
    """'types', (SELECT json_agg(json_build_array(t.oid::int8, n.nspname, t.typname, t.typtype, t.typbasetype::int8,
        t.typtypmod, t.typelem::int8, t.typtype = 'd' AND EXISTS (
            WITH RECURSIVE base(oid, kind, below, needed) AS (
                SELECT t.oid, t.typtype, t.typbasetype, t.typnotnull
                UNION ALL SELECT b.oid, b.typtype, b.typbasetype, b.typnotnull FROM base
                    JOIN pg_type b ON b.oid = base.below WHERE base.kind = 'd')
            SELECT FROM base WHERE kind = 'd' AND (needed OR EXISTS (SELECT FROM pg_constraint WHERE contypid =
            base.oid))),
        t.typrelid::int8))
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = ANY (ARRAY(SELECT oid FROM found_type
        UNION SELECT atttypid FROM pg_attribute WHERE attrelid = ANY (ARRAY(SELECT oid FROM found)) AND attnum >
        0)))""",
    """'casts', (SELECT json_agg(json_build_array(castsource::int8, casttarget::int8, castmethod)) FROM pg_cast
    WHERE casttarget = ANY (ARRAY(SELECT oid FROM found_type UNION SELECT typbasetype FROM pg_type
        WHERE oid = ANY (ARRAY(SELECT oid FROM found_type)))))""",
)


def _facts(answer: dict[str, Any], asked: Questions) -> Facts:
    return Facts(
        version=answer["version"],
        block_size=answer["block_size"],
        relations={row[0]: _relation(row) for row in answer.get("relations") or ()},
        found={asked.relations[number]: oid for number, oid in answer.get("found") or ()},
        types={row[0]: Type(*row) for row in answer.get("types") or ()},
        found_types={asked.types[number]: oid for number, oid in answer.get("found_types") or ()},
        constraints=tuple(map(_constraint, answer.get("constraints") or ())),
        casts={(source, target): method for source, target, method in answer.get("casts") or ()},
        volatile=frozenset(asked.functions[number] for number in answer.get("volatile") or ()),
        gone=tuple(Gone(*row) for row in answer.get("gone") or ()),
        users=frozenset(answer.get("users") or ()),
        owned=tuple(Owned(*row) for row in answer.get("owned") or ()),
        attached=frozenset((oid, kind, name) for oid, kind, name in answer.get("attached") or ()),
        quoted=dict(zip(asked.identifiers, answer.get("quoted") or (), strict=False)),
        published=tuple(answer.get("published") or ()),
        access_method=answer["access_method"],
        user=answer["user"],
    )


_PLAIN = """oid schema name quoted kind persistence pages tuples access_method tablespace row_type of_type
    owner""".split()


def _relation(row: list[Any]) -> Relation:
    plain: list[Any] = row[:13]
    parents, is_partition, is_default, key, table, valid, index_key, unique, partial, columns = row[13:]
    named = dict(zip(_PLAIN, plain, strict=True))
    return Relation(
        **named,
        parents=tuple(parents or ()),
        is_partition=is_partition,
        is_default_partition=is_default,
        key=_numbers(key),
        table=table or 0,
        index_valid=valid is not False,
        index_columns=_numbers(index_key),
        index_unique=bool(unique),
        index_partial=bool(partial),
        columns=tuple(Column(*column) for column in columns or ()),
    )


def _constraint(row: list[Any]) -> Constraint:
    oid, name, kind, table, referenced, columns, referenced_columns, *rest = row
    return Constraint(oid, name, kind, table, referenced, _numbers(columns), _numbers(referenced_columns), *rest)


def _numbers(text: str | None) -> tuple[int, ...]:
    return tuple(map(int, text.split())) if text else ()
