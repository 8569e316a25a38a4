"""What the pages have in common: revisions in a list, with their statements."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup

Shown = tuple[str, str]  # a text, and the class that colours it
Fact = tuple[str, str, str]  # a name, its value, and the class that colours it


class Statement(NamedTuple):
    """`marks` are what is to be known of it; `title` stands above it."""

    sql: Markup
    marks: list[Shown]
    title: str = ""


class Revision(NamedTuple):
    """A revision in the list. `seconds` is what it takes, or took; `remark` stands in for statements."""

    graph: Markup
    revision: str
    message: str
    file: str
    chips: list[Shown]
    seconds: str
    statements: list[Statement]
    remark: str = "It executes nothing."
    notes: tuple[str, ...] = ()
    bar: Markup | str = ""


class Listed(NamedTuple):
    """Revisions with the `width` of their graph in pixels."""

    width: int
    revisions: list[Revision]
