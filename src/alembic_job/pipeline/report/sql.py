"""SQL with its tokens marked, by PostgreSQL's own lexer; as it is where that is not installed."""

from __future__ import annotations

from itertools import pairwise

from markupsafe import Markup, escape

from alembic_job.gateways.parser import NotParsed, Token, scan
from alembic_job.pipeline.report.text import shown

_NAME, _NUMBERS, _STRINGS, _COMMENTS = 258, (260, 266), (261, 262, 263, 264), (275, 276)
_LONGEST = 100_000  # characters that are marked; a longer text stays as it is


def highlighted(sql: str) -> Markup:
    """The text for a `<pre>`: keywords, types, strings, numbers, comments and quoted names in a `<span>` each."""
    text = shown(sql.strip())
    try:
        tokens = scan(text) if len(text) <= _LONGEST else []
    except (NotParsed, LookupError):
        tokens = []
    if not tokens:
        return escape(text)
    raw = text.encode()
    parts = [escape(raw[: tokens[0].start].decode())]
    ends = [*tokens, Token(len(raw), len(raw), 0, 0)]
    for token, following in pairwise(ends):
        word = raw[token.start : token.end].decode()
        kind = _kind(token, word)
        parts.append(Markup('<span class="{}">{}</span>').format(kind, word) if kind else escape(word))
        parts.append(escape(raw[token.end : following.start].decode()))
    return Markup("").join(parts)


def _kind(token: Token, word: str) -> str:
    """The class of a token: `k` keyword, `t` type or function, `s` string, `n` number, `c` comment, `i` quoted name."""
    if token.kind in _COMMENTS:
        return "c"
    if token.kind in _STRINGS:
        return "s"
    if token.kind in _NUMBERS:
        return "n"
    if token.kind == _NAME:
        return "i" if word.startswith('"') else ""
    if token.keyword in (2, 3):  # a word for a column or a type; DDL writes some of them in capitals
        return "t"
    return "k" if token.keyword == 4 or (token.keyword == 1 and word.isupper()) else ""
