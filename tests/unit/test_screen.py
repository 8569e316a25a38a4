"""Tables and texts fitted to a terminal."""

from __future__ import annotations

from alembic_job.screen import PLAIN, RED, Screen, columns, table

ROWS = [("NAME", "WHAT", "SIZE"), ("orders", "an index on the customers' email", "1.4 MiB"), ("注文", "日本語", "2 B")]


def test_no_terminal_nothing_cut() -> None:
    """Aligned by what the signs take on a screen, no spaces at the end, no colours."""
    assert table(ROWS, PLAIN, shrinks=[1], colours={0: lambda row: RED}) == [
        "NAME    WHAT                              SIZE",
        "orders  an index on the customers' email  1.4 MiB",
        "注文    日本語                            2 B",
    ]


def test_a_narrow_terminal() -> None:
    """The columns that may shrink do; a wide sign is not cut in two; what still is too long is cut at the edge."""
    lines = table(ROWS, Screen(32), shrinks=[1])
    assert lines[1] == "orders  an index on th…  1.4 MiB"
    assert {columns(line) for line in lines[1:2]} == {32}
    assert table(ROWS, Screen(14, ascii_only=True), shrinks=[1])[1] == "orders  an in~"
    assert Screen(80).cut("日本語", 4) == "日…"
    assert Screen(80).cut("日本語", 6) == "日本語"
    assert [columns(text) for text in ("é", "e\u0301", "日", "🚀", "\u200d")] == [1, 1, 2, 2, 0]


def test_texts_of_others() -> None:
    """At a terminal nothing obeys it; secrets are masked before they are cut; colours take no room."""
    screen = Screen(16, colour=True, clean=lambda text: text.replace("hunter2", "***"))
    assert table([("a\x1b[2Jb\nc", "x")], screen) == ["a\\u001b[2Jb c  x"]
    assert table([("pw=hunter2 and so on",)], screen, shrinks=[0], colours={0: lambda row: RED}) == [
        "\x1b[31mpw=*** and so on\x1b[0m"
    ]
