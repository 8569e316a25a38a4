"""The grammar, through libpg_query: what it tells of good text, and that bad text does no harm."""

from __future__ import annotations

import importlib.util

import pytest

from alembic_job.gateways import parser
from alembic_job.gateways.catalogue import effect_of
from alembic_job.gateways.parser import NotParsed, parse


def test_statements_with_their_own_text() -> None:
    """Positions are bytes: text after characters of several bytes is cut where it should be."""
    sql = "/* ä😀 */ SELECT 'ü;' ; \n-- ß\nDROP TABLE \"ä b\"; ;; TRUNCATE ß"
    found = [(statement.kind, statement.text) for statement in parse(sql)]
    assert [kind for kind, _ in found] == ["SelectStmt", "DropStmt", "TruncateStmt"]
    assert found[0][1].endswith("SELECT 'ü;'")
    assert found[1][1].endswith('DROP TABLE "ä b"')
    assert found[2][1].endswith("TRUNCATE ß")


def test_nothing_but_blanks() -> None:
    """A text without a statement has none."""
    assert [parse(text) for text in ("", " ;; ", "-- only this", "/* /* nested */ */")] == [[], [], [], []]


@pytest.mark.parametrize(
    "sql",
    [
        "SELEC 1",
        "DROP TABLE",
        "SELECT '",
        "SELECT 1\0; DROP TABLE t",
        "\ud800",
        "SELECT " + "(" * 100_000 + "1" + ")" * 100_000,
        "SELECT " + "1 + " * 50_000 + "1 +",
        "/* never closed",
        "$tag$ never closed",
    ],
    ids=lambda sql: ascii(sql[:20]),
)
def test_what_cannot_be_parsed(sql: str) -> None:
    """Bad, endless or deeply nested text raises `NotParsed`; told as an effect it is unknown."""
    with pytest.raises(NotParsed):
        parse(sql)
    [effect] = effect_of(sql, lambda _: pytest.fail("nothing is to be asked"))
    assert effect.unknown


def test_deep_but_legal() -> None:
    """What the grammar accepts and JSON cannot hold is not parsed either, and does not crash."""
    sql = "SELECT " + "NOT " * 5_000 + "true"
    try:
        assert parse(sql)[0].kind == "SelectStmt"
    except NotParsed as error:
        assert str(error)


def test_ten_megabytes() -> None:
    """A huge literal is no problem."""
    [statement] = parse("INSERT INTO t VALUES ('" + "ä" * 5_000_000 + "')")
    assert statement.kind == "InsertStmt"


def test_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package there is a `LookupError` that says what to install, and every effect is unknown."""
    parser._functions.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    try:
        with pytest.raises(LookupError, match=r"alembic-job\[sql\]"):
            parse("SELECT 1")
        [effect] = effect_of("SELECT 1", lambda _: pytest.fail("nothing is to be asked"))
        assert effect.unknown is not None
    finally:
        parser._functions.cache_clear()
