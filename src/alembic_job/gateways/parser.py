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
from typing import Any

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

    class Error(ctypes.Structure):
        _fields_ = (
            ("message", ctypes.c_char_p),
            ("funcname", ctypes.c_char_p),
            ("filename", ctypes.c_char_p),
            ("lineno", ctypes.c_int),
            ("cursorpos", ctypes.c_int),
            ("context", ctypes.c_char_p),
        )

    class Result(ctypes.Structure):
        _fields_ = (
            ("parse_tree", ctypes.c_char_p),
            ("stderr_buffer", ctypes.c_char_p),
            ("error", ctypes.POINTER(Error)),
        )

    try:
        loaded = ctypes.CDLL(str(library()))
    except OSError as error:  # built for another system
        raise LookupError(f"libpg_query cannot be loaded: {error}") from error
    read, free = loaded.pg_query_parse, loaded.pg_query_free_parse_result
    read.argtypes, read.restype = (ctypes.c_char_p,), Result
    free.argtypes, free.restype = (Result,), None
    return read, free
