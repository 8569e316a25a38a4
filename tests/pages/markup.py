"""What a page's markup consists of, read without a browser."""

from __future__ import annotations

from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

from pypdf import PdfReader

# Attributes by which a page can ask somebody for something, or act.
ASKING = {
    "href",
    "src",
    "srcset",
    "action",
    "formaction",
    "data",
    "poster",
    "background",
    "ping",
    "style",
    "xlink:href",
}


class Markup(HTMLParser):
    """`tags` and their attributes; `parts` are the texts of style and script, `text` is all else."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.parts: dict[str, str] = {"style": "", "script": ""}
        self.text = ""
        self.feed(file.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in self.parts:
            self.parts[self.tags[-1][0]] += data
        else:
            self.text += data

    def links(self) -> set[str]:
        """Where the page points to, or would load from."""
        return {value for _, attributes in self.tags for name, value in attributes.items() if name in ASKING}

    def handlers(self) -> set[str]:
        return {name for _, attributes in self.tags for name in attributes if name.startswith("on")}


def words_of(pdf: bytes) -> str:
    """The text of all its pages, with single spaces."""
    pages = PdfReader(BytesIO(pdf)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())
