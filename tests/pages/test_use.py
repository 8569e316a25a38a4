"""What a reader does with a page: finds, opens, prints; by keyboard, and without scripts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

from tests.pages.browser import Chromium
from tests.pages.marks import MEASURED, of
from tests.pages.markup import words_of

FOCUSED = "document.activeElement.localName"
OPENED = "[...document.querySelectorAll('.revisions details[open] summary code')].map(each => each.textContent)"
SHOWN = "[...document.querySelectorAll('.revisions > li')].filter(each => each.offsetParent).length"


def tab_to(page: Page, element: str) -> None:
    """Presses Tab until an element of this name has the focus."""
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED) == element:
            return
    raise AssertionError(f"Tab never comes to {element}")


@of("plan")
def test_by_keyboard(chromium: Chromium, plan: Path) -> None:
    """The first Tab offers the way past the header; further ones reach the filter, its buttons, and the revisions."""
    with chromium.show(plan) as view:
        page = view.page
        page.keyboard.press("Tab")
        skip = page.locator(".skip")
        assert page.evaluate("document.activeElement.className") == "skip"
        box = skip.bounding_box()
        assert box and box["x"] >= 0 and box["y"] >= 0
        page.keyboard.press("Enter")
        assert page.evaluate("location.hash") == "#outcome"
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED) == "input"
        page.keyboard.type("by_total")
        tab_to(page, "button")
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED) == "button"
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED) == "summary"
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        page.keyboard.press("Enter")
        assert (outline, page.evaluate(OPENED)) == ("solid", ["r8"])
        assert page.get_by_text("CREATE INDEX by_total ON orders (total)").is_visible()


@of("plan")
def test_filter_and_buttons(chromium: Chromium, plan: Path) -> None:
    """The filter finds words of the SQL, says how many revisions have all of them, and the buttons open those alone."""
    with chromium.show(plan) as view:
        page = view.page
        everything = page.evaluate(SHOWN)
        told = page.get_by_role("status")
        for words, numbers in (
            ("BY_TOTAL  index", ["r8", "r12"]),
            ("no such thing", []),
            ("alter users varchar(20)", ["r6"]),
        ):
            page.get_by_role("searchbox").fill(words)
            assert (page.evaluate(SHOWN), told.text_content()) == (len(numbers), f"{len(numbers)} of {everything}")
            page.get_by_role("button", name="Open all").click()
            assert page.evaluate(OPENED) == numbers
            page.get_by_role("button", name="Close all").click()
            assert page.evaluate(OPENED) == []
        page.get_by_role("searchbox").fill("")
        assert (page.evaluate(SHOWN), told.text_content()) == (everything, "")


@of("plan")
def test_printed(chromium: Chromium, plan: Path) -> None:
    """Paper has the SQL of every revision, though all are folded on the screen, and no tools; and the screen is as it
    was afterwards."""
    with chromium.show(plan, scheme="dark") as view:
        page = view.page
        page.emulate_media(media="print")
        assert not page.locator(".tools, .skip").evaluate_all("all => all.some(each => each.offsetParent)")
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        words = words_of(page.pdf())
        for sql in ("CREATE INDEX by_total", "ALTER TABLE lines ALTER COLUMN price", "TRUNCATE users"):
            assert sql in words
        assert "Open all" not in words
        page.emulate_media(media="screen")
        assert page.evaluate(OPENED) == []


@of("plan")
def test_without_scripts(chromium: Chromium, plan: Path) -> None:
    """All of it is there to be opened and read; what needs a script does not show."""
    with chromium.show(plan, script=False) as view:
        page = view.page
        assert not page.get_by_role("searchbox").is_visible()
        assert not page.get_by_role("button").first.is_visible()
        page.locator("summary", has_text="step 8").click()
        assert page.get_by_text("CREATE INDEX by_total").is_visible()


@of("thousand")
def test_a_thousand_revisions(
    chromium: Chromium, thousand: Path, record_property: Callable[[str, object], None]
) -> None:
    """They stay a small file of few elements, of which the browser lays out only those that are in sight; the filter
    finds one, and all."""
    assert thousand.stat().st_size < 3_000_000
    with chromium.show(thousand) as view:
        page = view.page
        timing = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventStart")
        assert page.evaluate("document.querySelectorAll('*').length") < 50_000
        assert page.evaluate(SHOWN) == 1000
        filtering = """words => { const search = document.querySelector('input'); const began = performance.now();
            search.value = words; search.dispatchEvent(new Event('input')); document.body.offsetHeight;
            return performance.now() - began; }"""
        times = []
        for words, left in (("table_0123 ix_", 1), ("table_0123", 5), ("", 1000)):
            times.append(page.evaluate(filtering, words))
            assert page.evaluate(SHOWN) == left
        began = time.monotonic()
        page.get_by_role("button", name="Open all").click()
        assert len(page.evaluate(OPENED)) == 1000
        opened = time.monotonic() - began
    record_property(
        MEASURED,
        f"1,000 revisions, {thousand.stat().st_size // 1024:,} KiB: loaded in {timing:.0f} ms,"
        f" filtered in {max(times):.0f} ms, opened in {opened * 1000:.0f} ms",
    )
