"""Which values a column's change of type would refuse, and which it would change: conditions in SQL, as text.

Without USING a value is converted as by an assignment: one that is too long, or out of range, fails the statement, and
a fraction or a time of day is silently cut. A cast in USING cuts what is too long as well (documentation, "Value
Storage" and "Type Casts").
"""

from __future__ import annotations

from dataclasses import dataclass

_HEADER = 4  # what typmod adds to a length
_INTEGERS = {"int2": (-(2**15), 2**15 - 1, 5), "int4": (-(2**31), 2**31 - 1, 10), "int8": (-(2**63), 2**63 - 1, 19)}
_NUMBERS = frozenset((*_INTEGERS, "numeric", "float4", "float8", "money"))
TEXTUAL = frozenset(("text", "varchar", "bpchar", "name", "citext", "char"))
_ALWAYS_FIT = {
    "int2": frozenset("int4 int8 numeric float4 float8 text varchar".split()),
    "int4": frozenset("int8 numeric float8 text varchar".split()),
    "int8": frozenset("numeric text varchar".split()),
    "numeric": frozenset(("text", "varchar")),
    "float4": frozenset(("float8", "text", "varchar")),
    "float8": frozenset(("text", "varchar")),
    "date": frozenset("timestamp timestamptz text varchar".split()),
    "timestamp": frozenset(("text", "varchar")),
    "timestamptz": frozenset(("text", "varchar")),
    "varchar": frozenset(("text",)),
    "bpchar": frozenset(("text", "varchar")),
    "text": frozenset(("varchar",)),
    "bool": frozenset(("text", "varchar")),
    "uuid": frozenset(("text", "varchar")),
    "json": frozenset(("jsonb", "text", "varchar")),
    "jsonb": frozenset(("json", "text", "varchar")),
}
_NO_EQUALITY = {"json": "jsonb", "xml": "text", "point": "text"}
_INPUT_IS_VALID = 160000  # pg_input_is_valid() is there since


@dataclass(frozen=True)
class TypeFacts:
    """A type with its modifier. `text` is how SQL names it, empty for one that is not there yet."""

    text: str
    name: str  # pg_type.typname; of a domain, its base's
    kind: str = "b"  # pg_type.typtype
    typmod: int = -1
    labels: tuple[str, ...] | None = None  # of an enum
    is_array: bool = False

    @property
    def length(self) -> int | None:
        """The n of varchar(n) and char(n)."""
        return self.typmod - _HEADER if self.typmod >= _HEADER and self.name in ("varchar", "bpchar") else None

    @property
    def digits(self) -> tuple[int, int] | None:
        """Precision and scale of numeric(p, s)."""
        if self.name != "numeric" or self.typmod < _HEADER:
            return None
        number = self.typmod - _HEADER
        return number >> 16 & 0xFFFF, ((number & 0x7FF) ^ 1024) - 1024


@dataclass(frozen=True)
class Conversion:
    """How the new value comes about. `value` is SQL that gives it, of type `source` (none if unknown), from `column`.

    `explicit`: cast to the new type in USING, not by assignment. `plain`: the column itself, or casts of it.
    """

    column: str
    value: str
    source: TypeFacts | None
    explicit: bool = False
    plain: bool = True


@dataclass(frozen=True)
class Narrowing:
    """Conditions for a row. `changed` are ways to say the same, of which the first that the server accepts will do.

    `certain`: a changed value is lost; otherwise only one that becomes NULL surely is.
    """

    refused: str | None
    changed: tuple[str, ...]
    certain: bool
    converted: str = ""  # the new value, where its type is there already


def narrowing(how: Conversion, old: TypeFacts, new: TypeFacts, version: int) -> Narrowing | None:
    """What to look for; `None` if every value fits. `version` is server_version_num."""
    if how.plain and _always_fits(old, new) and (how.source is None or _always_fits(old, how.source)):
        return None
    converted = f"({how.value})::{new.text}" if new.text else ""
    return Narrowing(_refused(how, new, version), _changed(how, old, new), _is_certain(how, old, new), converted)


def _always_fits(old: TypeFacts, new: TypeFacts) -> bool:
    if old.is_array != new.is_array or "d" in (old.kind, new.kind):
        return False
    if new.labels is not None:
        return old.labels is not None and set(old.labels) <= set(new.labels)
    if old.labels is not None:
        return new.name in ("text", "varchar") and new.typmod < 0
    if old.name == new.name:
        return _modifier_grows(old, new)
    if old.name in ("varchar", "bpchar") and new.name == "varchar" and new.length is not None:
        return old.length is not None and old.length <= new.length
    if new.digits and old.name in _INTEGERS:
        precision, scale = new.digits
        return precision - scale >= _INTEGERS[old.name][2]
    return new.typmod < 0 and new.name in _ALWAYS_FIT.get(old.name, ())


def _modifier_grows(old: TypeFacts, new: TypeFacts) -> bool:
    if new.typmod < 0 or new.typmod == old.typmod:
        return True
    if old.digits and new.digits:
        (precision, scale), (wanted, fraction) = old.digits, new.digits
        return fraction >= scale and wanted - fraction >= precision - scale
    if old.typmod < 0:
        return False
    growing = "varchar bpchar varbit timestamp timestamptz time timetz".split()
    return old.name in growing and new.typmod >= old.typmod


def _refused(how: Conversion, new: TypeFacts, version: int) -> str | None:
    """The rows on which the statement would fail, where that can be said by a condition."""
    value, source = f"({how.value})", how.source.name if how.source and not how.source.is_array else ""
    if new.labels is not None:
        labels = f"ARRAY[{', '.join(map(_literal, new.labels))}]::text[]"
        return f"NOT ({value}::text[] <@ {labels})" if new.is_array else f"{value}::text <> ALL ({labels})"
    if new.kind == "d" and not new.is_array and version >= _INPUT_IS_VALID and source in (new.name, *TEXTUAL):
        return f"NOT pg_input_is_valid({value}::text, {_literal(new.text)})"
    if new.is_array and new.length is not None and not how.explicit:
        too_long = f"rtrim(substr(_e::text, {new.length + 1}), ' ') <> ''"
        return f"EXISTS (SELECT FROM unnest({value}) AS _e WHERE {too_long})"
    if new.is_array or new.kind == "d":
        return None
    if new.length is not None:
        return None if how.explicit else f"rtrim(substr({value}::text, {new.length + 1}), ' ') <> ''"
    if new.name in ("bit", "varbit") and new.typmod >= 0:
        return None if how.explicit else f"length({value}) {'<>' if new.name == 'bit' else '>'} {new.typmod}"
    if source in _NUMBERS and new.name in _INTEGERS:
        low, high, _ = _INTEGERS[new.name]
        return f"round({value}::numeric) NOT BETWEEN {low} AND {high}"
    if source in _NUMBERS and new.digits:
        precision, scale = new.digits
        number = f"round({value}::numeric, {scale})"
        return f"({value}::numeric <> 'NaN' AND abs({number}) >= '1e{precision - scale}'::numeric)"
    if version >= _INPUT_IS_VALID and (source in TEXTUAL or new.name in ("float4", "float8")):
        textual = new.name in TEXTUAL
        return None if textual else f"NOT pg_input_is_valid({value}::text, {_literal(new.text)})"
    return None


def _changed(how: Conversion, old: TypeFacts, new: TypeFacts) -> tuple[str, ...]:
    """The rows whose value would not come back from the new type as it was."""
    if new.labels is not None or not new.text:
        return () if how.plain else (f"({how.value})::text IS DISTINCT FROM ({how.column})::text",)
    converted = f"(({how.value})::{new.text})"
    if old.name in _NO_EQUALITY and not old.is_array:
        compared = _NO_EQUALITY[old.name]
        return (f"{converted}::text::{compared} IS DISTINCT FROM ({how.column})::{compared}",)
    return (
        f"{converted}::{old.text} IS DISTINCT FROM {how.column}",
        f"{converted}::text::{old.text} IS DISTINCT FROM {how.column}",
        f"{converted}::text IS DISTINCT FROM ({how.column})::text",
    )


def _is_certain(how: Conversion, old: TypeFacts, new: TypeFacts) -> bool:
    def words(type: TypeFacts) -> bool:
        return type.labels is not None or type.name in TEXTUAL

    return how.plain or (words(old) and words(new) and old.is_array == new.is_array)


def _literal(text: str) -> str:
    """A string constant, whatever `standard_conforming_strings` says."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
