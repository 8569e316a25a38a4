"""Everybody can read a page: axe finds nothing, it fits each width, light and dark, and pictures show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.pages.browser import AXE, Chromium, Scheme, View
from tests.pages.marks import of, shows

PAGES = ("plan", "nothing", "hostile_plan", "run", "hostile_run", "rollback", "rehearsal")
PHONE, DESKTOP = 390, 1280
FOLDED: tuple[tuple[int, Scheme], ...] = ((PHONE, "light"), (DESKTOP, "dark"))
UNFOLDED: tuple[tuple[int, Scheme], ...] = ((DESKTOP, "light"), (PHONE, "dark"))
TALLEST = 4000  # CSS pixels of a picture: pages of hostile names are too long to look at
# Every rule that axe has but the contrast that only AAA asks for; with what it leaves to a person's judgement, except
# where it is colours that it cannot see: of what is not in the picture.
_CHECK = """() => axe.run({rules: Object.fromEntries(axe.getRules().map(each =>
    [each.ruleId, {enabled: each.ruleId != "color-contrast-enhanced"}]))})
    .then(found => [...found.violations, ...found.incomplete.filter(each => each.id != "color-contrast")]
        .flatMap(each => each.nodes.map(node =>
            [each.id, node.html.slice(0, 200), (node.failureSummary || "").slice(0, 300)])))"""


def check(view: View, look: tuple[int, Scheme], picture: Path) -> list[Any]:
    """What axe finds at this width, in this scheme: the rule, the element and why. `picture` is made of it."""
    width, scheme = look
    view.page.emulate_media(color_scheme=scheme)
    view.page.set_viewport_size({"width": width, "height": 900})
    height: int = view.page.evaluate("document.documentElement.scrollHeight")
    view.page.set_viewport_size({"width": width, "height": min(TALLEST, height)})
    view.page.screenshot(path=picture)
    found: list[Any] = view.page.evaluate(_CHECK)
    return found


@shows(*PAGES)
def test_axe(name: str, chromium: Chromium, screenshots: Path, request: pytest.FixtureRequest) -> None:
    """Clean at phone and desktop width, light and dark, folded and unfolded; the longest pages at one look each."""
    with chromium.show(request.getfixturevalue(name)) as view:
        view.page.evaluate(AXE.read_text(encoding="utf-8"))
        view.lay_out()
        for state, looks in (("folded", FOLDED), ("unfolded", UNFOLDED)):
            for width, scheme in looks[:1] if "hostile" in name else looks:
                picture = screenshots / f"{name}-{state}-{width}-{scheme}.png"
                assert check(view, (width, scheme), picture) == [], picture.stem
            view.unfold()


@shows(*PAGES)
def test_it_fits(name: str, chromium: Chromium, request: pytest.FixtureRequest) -> None:
    """Nobody scrolls sideways, on no phone."""
    with chromium.show(request.getfixturevalue(name)) as view:
        view.lay_out()
        view.unfold()
        for width in (320, PHONE, DESKTOP):
            view.page.set_viewport_size({"width": width, "height": 900})
            assert view.page.evaluate("document.documentElement.scrollWidth") <= width


@of("plan")
def test_light_and_dark(chromium: Chromium, plan: Path) -> None:
    """The page follows what its reader has chosen, also while it is open."""
    brightness = """[document.body, document.querySelector('pre'), document.querySelector('section')].map(each =>
        getComputedStyle(each).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + +part, 0) / 3)"""
    with chromium.show(plan, scheme="dark") as view:
        assert max(view.page.evaluate(brightness)) < 64
        view.page.emulate_media(color_scheme="light")
        assert min(view.page.evaluate(brightness)) > 192
