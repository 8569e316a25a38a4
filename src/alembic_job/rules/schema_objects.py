"""A schema as pg_dump writes it, taken apart into its objects; where two differ; and what is declared foreign."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import NamedTuple

from alembic_job.rules.schema_text import compare

# pg_dump's own header above each object. In a name it writes line ends as blanks.
_HEADER = re.compile(r"^--\n-- Name: (.*); Type: ([A-Z ]+); Schema: (.*); Owner: .*\n--$", re.MULTILINE)
# Where the next object is to be stored: written below the one before it.
_STORED = re.compile(r"^SET default_(?:tablespace|table_access_method|with_oids) = .*;$")
_NOISE = ("\\restrict", "\\unrestrict")
_PUBLIC = (("SCHEMA", "public"), ("COMMENT", "SCHEMA public"))  # depends on how a database was made


class Object(NamedTuple):
    """What pg_dump calls it: `kind` as TABLE or FK CONSTRAINT, `name` after its table where it has one."""

    kind: str
    schema: str
    name: str


class Difference(NamedTuple):
    """`how`: extra (in the database alone), missing, or different; then `diff` has the lines of a unified diff."""

    how: str
    what: Object
    diff: tuple[str, ...] = ()


def objects(text: str) -> dict[Object, str]:
    """Object → the SQL that makes it, as far as it has any."""
    found: dict[Object, str] = {}
    headers = list(_HEADER.finditer(text))
    for header, after in zip_longest(headers, headers[1:]):
        name, kind, schema = header.groups()
        body = text[header.end() : after.start() if after else None]
        lines = body.strip().splitlines()
        while lines and (not lines[-1] or lines[-1].startswith(("--", *_NOISE)) or _STORED.match(lines[-1])):
            lines.pop()
        key = Object(kind, "" if schema == "-" else schema, name)
        if (kind, name) not in _PUBLIC:
            found[key] = "\n".join(filter(None, (found.get(key), *lines)))  # two casts may have one name
    return found


def differences(expected: Mapping[Object, str], actual: Mapping[Object, str]) -> list[Difference]:
    """Where the actual objects are not the expected ones, apart from the order of columns."""
    found = [Difference("extra", each) for each in actual if each not in expected]
    found += [Difference("missing", each) for each in expected if each not in actual]
    for each in expected.keys() & actual.keys():
        one, other = expected[each], actual[each]
        if one != other and not compare(one, other).same:
            lines = difflib.unified_diff(one.splitlines(), other.splitlines(), "migrations", "database", lineterm="")
            found.append(Difference("different", each, tuple(lines)))
    return sorted(found, key=lambda each: (each.what.schema, each.what.name, each.what.kind))


def as_spelled(
    actual: Mapping[Object, str], expected: Mapping[Object, str], again: Mapping[Object, str]
) -> dict[Object, str]:
    """The actual objects, with what is only written in other words written as expected.

    `again` are the expected ones after a dump and its restore, as those of a database that was restored once: the
    server has other words for some expressions then (`ARRAY[('a'::varchar)::text]`).
    """
    return {each: _as_spelled(body, expected.get(each, ""), again.get(each, "")) for each, body in actual.items()}


def _as_spelled(actual: str, expected: str, again: str) -> str:
    old, new = ([line.rstrip(",") for line in text.splitlines()] for text in (again, expected))
    if old == new or len(old) != len(new):
        return actual
    words = dict(zip(old, new, strict=True))
    lines = [(line.rstrip(","), line.endswith(",")) for line in actual.splitlines()]
    return "\n".join(words.get(line, line) + ("," if goes_on else "") for line, goes_on in lines)


def is_foreign(patterns: Iterable[str], schema: str, name: str) -> bool:
    """True if one of the patterns is for it: `schema.name`, or a name in any schema; `*` stands for anything.

    `name` may be as pg_dump writes it: `f(integer)`, `table trigger`, `TABLE name` of a comment.
    """
    plain = name.partition("(")[0].strip()
    names = {name, plain, plain.rpartition(" ")[2], plain.partition(" ")[0]}
    return any(
        fnmatchcase(f"{schema}.{each}" if "." in pattern else each, pattern) for pattern in patterns for each in names
    )


def foreign_schemas(patterns: Iterable[str]) -> list[str]:
    """The schemas that are foreign as wholes: `schema.*`."""
    return [pattern.removesuffix(".*") for pattern in patterns if pattern.endswith(".*")]
