"""Nothing on a page acts or asks anybody for anything, whatever the project and the database are called."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.pages.browser import Chromium
from tests.pages.hostile import SECRET, literal, named, shown_texts, spelled
from tests.pages.marks import of, shows
from tests.pages.markup import Markup
from tests.waiting import until

PAGES = ("plan", "nothing", "hostile_plan", "run", "hostile_run", "rollback", "rehearsal")
ELEMENTS = set(
    "html head meta title style body header main footer section a p br span h1 h2 h3 dl div dt dd bdi code pre ol ul li"
    " details summary table caption thead tbody tr th td input button script svg defs pattern path line circle"
    " rect".split()
)
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="[^"]*">')


@shows(*PAGES)
def test_the_file_alone(name: str, chromium: Chromium, request: pytest.FixtureRequest) -> None:
    """The markup is of our elements only, points nowhere else, and the page asks for nothing while it is used."""
    file: Path = request.getfixturevalue(name)
    markup = Markup(file)
    assert {tag for tag, _ in markup.tags} <= ELEMENTS
    assert {link for link in markup.links() if not link.startswith("#")} == set()
    assert markup.handlers() == set()
    for part in markup.parts.values():
        assert part and not re.search(r"https?:|//|url\((?!#)|@import", part)
    with chromium.show(file) as view:
        view.unfold()
        for link in view.page.get_by_role("button").all():
            link.click()
        assert view.page.evaluate("[...document.scripts].length") == 1


TEXTS = {
    "hostile_plan": shown_texts("d", "u"),
    "hostile_run": [*shown_texts("e", "v"), named("a", 1, 63), literal("q", 5)],
}


@shows(*TEXTS)
def test_hostile_names(name: str, chromium: Chromium, request: pytest.FixtureRequest) -> None:
    """Each text from the project, the database, the login, the settings and who is in the way is on the page as text,
    nothing of it acts, and the password is nowhere."""
    with chromium.show(request.getfixturevalue(name)) as view:
        view.unfold()
        elements = view.page.evaluate("[...document.querySelectorAll('*')].map(each => each.localName)")
        assert set(elements) <= ELEMENTS
        assert elements.count("script") == elements.count("style") == elements.count("input") == 1
        text = view.page.evaluate("document.body.textContent")
        assert [each for each in TEXTS[name] if spelled(each) not in text] == []
        assert view.page.evaluate("typeof window.hacked") == "undefined"
    assert SECRET not in text


class Heard(ThreadingHTTPServer):
    """A real server that keeps the paths it was asked for."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Heard

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.send_response(204)
        self.end_headers()

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Heard]:
    with Heard() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


# Each asks a server, or says that it ran. In a page without a policy all of them do.
PLANTED = """
<img src="{url}/img"><link rel="stylesheet" href="{url}/css"><iframe src="{url}/frame"></iframe>
<video src="{url}/video"></video><object data="{url}/object"></object><script src="{url}/script"></script>
<div style="background: url({url}/style)">x</div><style>p {{ background: url({url}/sheet) }}</style>
<script>window.hacked = 1; fetch("{url}/fetch", {{mode: "no-cors"}})</script>
<form id="planted" action="{url}/form" target="_blank"><button>x</button></form>
<img src="data:,x" onerror="window.hacked = 2">
"""
ASKED = {"/img", "/css", "/frame", "/video", "/object", "/script", "/style", "/sheet", "/fetch", "/form?"}


@of("hostile_plan")
@pytest.mark.parametrize("kept", [True, False], ids=["policy", "without"])
def test_the_policy_is_in_force(
    kept: bool, chromium: Chromium, hostile_plan: Path, server: Heard, tmp_path: Path
) -> None:
    """Were there a hole in the escaping after all, the page's own policy lets nothing of it run or be asked for. In a
    copy without the policy the same markup does both."""
    text = hostile_plan.read_text(encoding="utf-8")
    assert len(POLICY.findall(text)) == 1
    planted = text.replace("<main>", "<main>" + PLANTED.format(url=server.url))
    copy = tmp_path / "copy.html"
    copy.write_text(planted if kept else POLICY.sub("", planted), encoding="utf-8")
    with chromium.watch(copy) as view:
        view.page.evaluate("document.getElementById('planted').submit()")
        view.page.wait_for_load_state("networkidle")
        if kept:
            assert sum("Content Security Policy" in each for each in view.complaints) >= len(ASKED)
            assert (view.page.evaluate("window.hacked"), server.paths) == (None, [])
        else:
            until(lambda: set(server.paths) >= ASKED, what=f"{ASKED} among {server.paths}")
            assert view.page.evaluate("window.hacked") == 2
