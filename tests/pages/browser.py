"""A real Chromium that shows pages, and tells what they did that no page may do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import axe_playwright_python
from playwright.sync_api import Browser, Dialog, Page, Playwright

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
# The browser itself asks nobody either: whatever is asked for comes from the page.
_ARGUMENTS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_MISSING = (
    "no Chromium: `apt-get install chromium`, or set MIGRATE_TEST_CHROMIUM to the path of a Chromium or Chrome program"
)

Scheme = Literal["light", "dark"]


def program() -> str:
    """The path of the browser. Raises `LookupError` with the way out."""
    chosen = os.environ.get("MIGRATE_TEST_CHROMIUM")
    if chosen and not os.access(chosen, os.X_OK):
        raise LookupError(f"MIGRATE_TEST_CHROMIUM={chosen} is no program; {_MISSING}")
    found = chosen or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        raise LookupError(_MISSING)
    return found


@dataclass
class View:
    """A page that is shown: what it asked for, and what the browser complained of or was made to say."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def listen(self) -> None:
        def dismissed(dialog: Dialog) -> None:
            self.complaints.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", dismissed)

    def unfold(self) -> None:
        """Opens all that can be opened."""
        self.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")

    def lay_out(self) -> None:
        """Draws what is out of sight, too: a browser leaves that out, and neither pictures nor axe would have it."""
        self.page.evaluate("document.querySelectorAll('li').forEach(each => each.style.contentVisibility = 'visible')")


class Chromium:
    """One browser for all tests; each view is a profile of its own."""

    def __init__(self, playwright: Playwright, path: str) -> None:
        sandboxless = ("--no-sandbox",) if os.geteuid() == 0 else ()
        self._browser: Browser = playwright.chromium.launch(executable_path=path, args=[*_ARGUMENTS, *sandboxless])

    def close(self) -> None:
        self._browser.close()

    @contextmanager
    def show(self, file: Path, *, width: int = 1280, scheme: Scheme = "light", script: bool = True) -> Iterator[View]:
        """The page under its own policy. What it has asked for or complained of by the end fails the test."""
        with self.watch(file, width=width, scheme=scheme, script=script) as view:
            yield view
        assert view.requests == [file.as_uri()], view.requests
        assert view.complaints == [], view.complaints

    @contextmanager
    def watch(self, file: Path, *, width: int = 1280, scheme: Scheme = "light", script: bool = True) -> Iterator[View]:
        """The same for a page that is expected to misbehave. `width` in CSS pixels; without `script` none runs."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
        )
        try:
            view = View(context.new_page())
            view.listen()
            view.page.goto(file.as_uri())
            yield view
        finally:
            context.close()
