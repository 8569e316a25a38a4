"""PostgreSQL's own grammar: libpg_query, as the package postgast (extra `sql`) carries it.

The package itself is not imported: that takes 100 times as long as loading its library.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from alembic_job.rules.statement import ParsedStatement

_LIBRARIES = {"darwin": "libpg_query.dylib", "win32": "pg_query.dll"}


class NotParsed(ValueError):
    """PostgreSQL's grammar (of version 18) does not accept this text."""


def parse(sql: str) -> list[ParsedStatement]:
    """The statements of a text; none for a text of blanks and comments.

    Raises `NotParsed`, and `LookupError` where the package is not installed.
    """
    if "\0" in sql:
        raise NotParsed("a NUL character")
    try:
        text = sql.encode()
        tree = json.loads(_tree(text))
    except (UnicodeEncodeError, RecursionError) as error:  # a lone surrogate; nested deeper than json reads
        raise NotParsed(str(error)) from error
    return [_statement(raw, text) for raw in tree.get("stmts", ())]


def _statement(raw: dict[str, Any], text: bytes) -> ParsedStatement:
    """Positions are bytes; a length is left out for the last statement, and both where they are 0."""
    start = raw.get("stmt_location", 0)
    own = text[start : start + raw["stmt_len"]] if raw.get("stmt_len") else text[start:]
    [(kind, node)] = raw["stmt"].items()
    return ParsedStatement(kind, node, own.decode(errors="replace").strip())


def _tree(text: bytes) -> bytes:
    """The parse tree as JSON. Raises `NotParsed`."""
    read, free = _functions()
    result = read(text)
    try:
        if result.error:
            raise NotParsed(result.error.contents.message.decode(errors="replace"))
        return bytes(result.parse_tree)
    finally:
        free(result)


class Token(NamedTuple):
    """One token of a text, comments included. `start` and `end` are bytes of its UTF-8; `kind` is the grammar's number
    (258 a name, 261 a string, 275 and 276 comments), `keyword` 0 for none, up to 4 for a reserved one."""

    start: int
    end: int
    kind: int
    keyword: int


def scan(sql: str) -> list[Token]:
    """The tokens of a text, as PostgreSQL's own lexer sees them; also of what is not a whole statement.

    Raises `NotParsed`, and `LookupError` where the package is not installed.
    """
    if "\0" in sql:
        raise NotParsed("a NUL character")
    import ctypes

    read, free = _scanner()
    try:
        result = read(sql.encode())
    except UnicodeEncodeError as error:  # a lone surrogate
        raise NotParsed(str(error)) from error
    try:
        if result.error:
            raise NotParsed(result.error.contents.message.decode(errors="replace"))
        return _tokens(ctypes.string_at(result.data, result.length))
    finally:
        free(result)


def _tokens(message: bytes) -> list[Token]:
    """Those of a protobuf ScanResult, of whose fields (1 version, 2 token) all but the tokens are passed over."""
    found, at = [], 0
    while at < len(message):
        tag, at = _number(message, at)
        value, at = _number(message, at)
        if tag & 7 == 2:  # a length, and so many bytes
            if tag >> 3 == 2:
                found.append(_token(message, at, at + value))
            at += value
    return found


def _token(message: bytes, at: int, end: int) -> Token:
    """A ScanToken: 1 start, 2 end, 4 token, 5 keyword_kind; what is 0 is left out."""
    fields = {1: 0, 2: 0, 4: 0, 5: 0}
    while at < end:
        tag, at = _number(message, at)
        fields[tag >> 3], at = _number(message, at)
    return Token(fields[1], fields[2], fields[4], fields[5])


def _number(message: bytes, at: int) -> tuple[int, int]:
    """A protobuf varint, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def library() -> Path:
    """The file of libpg_query. Raises `LookupError` if the package, or its library for this system, is not there."""
    package = importlib.util.find_spec("postgast")
    if package is None or package.origin is None:
        raise LookupError("no SQL parser: pip install 'alembic-job[sql]'")
    file = Path(package.origin).with_name(_LIBRARIES.get(sys.platform, "libpg_query.so"))
    if not file.exists():
        raise LookupError(f"the package postgast has no {file.name} for this system")
    return file


@functools.cache
def _functions() -> tuple[Callable[[bytes], Any], Callable[[Any], None]]:
    """`pg_query_parse` and the function that frees what it returned. Raises `LookupError`."""
    import ctypes

    class Result(ctypes.Structure):
        _fields_ = (
            ("parse_tree", ctypes.c_char_p),
            ("stderr_buffer", ctypes.c_char_p),
            ("error", ctypes.POINTER(_error())),
        )

    return _declared("pg_query_parse", "pg_query_free_parse_result", Result)


@functools.cache
def _scanner() -> tuple[Callable[[bytes], Any], Callable[[Any], None]]:
    """`pg_query_scan` and the function that frees what it returned. Raises `LookupError`."""
    import ctypes

    class Result(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_size_t),
            ("data", ctypes.c_void_p),
            ("stderr_buffer", ctypes.c_char_p),
            ("error", ctypes.POINTER(_error())),
        )

    return _declared("pg_query_scan", "pg_query_free_scan_result", Result)


@functools.cache
def _error() -> Any:
    """libpg_query's PgQueryError."""
    import ctypes

    class Error(ctypes.Structure):
        _fields_ = (
            ("message", ctypes.c_char_p),
            ("funcname", ctypes.c_char_p),
            ("filename", ctypes.c_char_p),
            ("lineno", ctypes.c_int),
            ("cursorpos", ctypes.c_int),
            ("context", ctypes.c_char_p),
        )

    return Error


def _declared(read_name: str, free_name: str, result: Any) -> tuple[Callable[[bytes], Any], Callable[[Any], None]]:
    """Two functions of the library: one that reads a text, and one that frees what it returned."""
    import ctypes

    try:
        loaded = ctypes.CDLL(str(library()))
    except OSError as error:  # built for another system
        raise LookupError(f"libpg_query cannot be loaded: {error}") from error
    read, free = getattr(loaded, read_name), getattr(loaded, free_name)
    read.argtypes, read.restype = (ctypes.c_char_p,), result
    free.argtypes, free.restype = (result,), None
    return read, free
