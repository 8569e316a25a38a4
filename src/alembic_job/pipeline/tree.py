"""The revisions as a tree: lanes for branches, with heads, labels and the database's revisions marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from alembic_job.errors import UsageError
from alembic_job.gateways.complaints import project_errors
from alembic_job.gateways.project import Project, open_project, uncollected
from alembic_job.logs.events import Log
from alembic_job.pipeline.status import look
from alembic_job.rules.lane_text import drawn
from alembic_job.rules.lanes import lanes
from alembic_job.screen import BOLD, CYAN, DIM, GREEN, RED, YELLOW, Screen, columns
from alembic_job.settings import Settings

_NODES = {False: ("○", "●", "┆"), True: ("o", "*", ":")}  # not applied (or nobody looked), applied, some left out


class Asked(NamedTuple):
    """What the command line asks for: `rev_range` as Alembic takes it, whether the database is looked at, whether each
    script's file is named, and whether only forks, merges and ends are shown.
    """

    rev_range: str | None = None
    indicate_current: bool = False
    verbose: bool = False
    only_branches: bool = False


class _Line(NamedTuple):
    """A revision, or with `left_out` several in a row that are not shown; and those below it."""

    script: Any
    parents: tuple[str, ...]
    left_out: int = 0

    @property
    def key(self) -> str:
        return str(self.script.revision)


def tree(settings: Settings, log: Log, asked: Asked, screen: Screen) -> str:
    """The tree as text, the newest revision on top. Raises what loading the project raises, `UsageError`."""
    project, current = _looked(settings, log, asked)
    scripts = _scripts(project, asked.rev_range, current)
    lines = [_Line(script, _parents(script)) for script in scripts]
    if asked.only_branches:
        lines = _condensed(lines, {*current})
    unknown = [f"the database is at {each}, which these scripts lack" for each in project.lacks(current)]
    applied = project.ancestors(current)
    said = [screen.paint(RED, screen.text(each)) for each in unknown]
    return "\n".join([*_drawn(lines, set(current), applied, asked, screen), *said]) or "(no revisions)"


def _looked(settings: Settings, log: Log, asked: Asked) -> tuple[Project, tuple[str, ...]]:
    """The project, and the revisions that its version tables hold, if they are asked for."""
    if not (asked.indicate_current or "current" in (asked.rev_range or "")):
        return open_project(settings, ("history",), log), ()
    project, found = look(settings, log)
    return project, tuple(dict.fromkeys(head for table in found for head in table.heads))


def _scripts(project: Project, rev_range: str | None, current: tuple[str, ...]) -> list[Any]:
    """The scripts in the range, the newest first."""
    base, colon, head = (rev_range or ":").strip().partition(":")
    if not colon or ":" in head:
        raise UsageError(
            f"-r {rev_range}: a range is A:B, A: or :B", hint="such as -r 20f6c6e8d1a7:head, or -r current:"
        )
    if head == "current" and not current:
        return []
    ends = {"current": current}
    with project_errors(), uncollected():
        walk: Any = project.script.walk_revisions
        return list(walk(base=ends.get(base, base) or "base", head=ends.get(head, head) or "heads"))


def _parents(script: Any) -> tuple[str, ...]:
    """What it follows, then what it needs beside, always in the same order: Alembic has the latter in a set."""
    return (*script._versioned_down_revisions, *sorted(script._normalized_resolved_dependencies))


def _condensed(lines: list[_Line], marked: set[str]) -> list[_Line]:
    """Forks, merges, ends and marked revisions; of what runs straight between two of them only how many there are."""
    children: dict[str, list[str]] = {line.key: [] for line in lines}
    for line in lines:
        for parent in line.parents:
            children.setdefault(parent, []).append(line.key)
    known = {line.key: line for line in lines}
    straight = {
        line.key
        for line in lines
        if len(line.parents) == 1 == len(children[line.key])
        and line.parents[0] in known
        and not (line.key in marked or line.script._orig_branch_labels)
    }
    shown = []
    for line in lines:
        if line.key not in straight:
            shown.append(line)
        elif children[line.key][0] not in straight:  # the first of them
            count, last = 1, line
            while last.parents[0] in straight:
                count, last = count + 1, known[last.parents[0]]
            shown.append(_Line(line.script, last.parents, count if count > 1 else 0))
    return shown


def _drawn(lines: Sequence[_Line], current: set[str], applied: set[str], asked: Asked, screen: Screen) -> Iterator[str]:
    hollow, full, gap = _NODES[screen.ascii_only]
    rows = lanes([(line.key, line.parents) for line in lines])
    nodes = [gap if line.left_out else full if line.key in applied else hollow for line in lines]
    for line, row in zip(lines, drawn(rows, nodes, ascii_only=screen.ascii_only), strict=True):
        colour = CYAN if row.node == full else BOLD if row.node == hollow else DIM
        left = screen.paint(DIM, row.left) + screen.paint(colour, row.node) + screen.paint(DIM, row.right)
        room = None if screen.width is None else screen.width - len(row.left + row.node + row.right) - 2
        yield f"{left}  {_told(line, current, asked.verbose, screen, room)}".rstrip()
        if row.below is not None:
            yield screen.paint(DIM, row.below)


def _told(line: _Line, current: set[str], verbose: bool, screen: Screen, room: int | None) -> str:
    """What stands right of the lanes, in `room` columns if there is an end to it."""
    if line.left_out:
        return screen.paint(DIM, f"{line.left_out} revisions")
    script = line.script
    marks, needed = ", ".join(_marks(script, current)), ", ".join(sorted(script._resolved_dependencies))
    parts = [
        (YELLOW, "", line.key),
        (GREEN, " ", f"({marks})" if marks else ""),
        ("", "  ", script.doc or ""),
        (DIM, "  ", f"needs {needed}" if needed else ""),
        (DIM, "  ", script.path if verbose else ""),
    ]
    return "".join(_fitted(parts, screen, room))


def _marks(script: Any, current: set[str]) -> Iterable[str]:
    """As Alembic calls them."""
    if script.revision in current:
        yield "current"
    if script.is_head:
        yield "head"
    yield from sorted(script.branch_labels if script.is_head else script._orig_branch_labels)


def _fitted(parts: Sequence[tuple[str, str, str]], screen: Screen, room: int | None) -> Iterator[str]:
    """The parts that say something, each a colour, what keeps it from the one before, and the text."""
    for colour, gap, text in parts:
        shown = gap + screen.text(text) if text else ""
        if room is not None and columns(shown) > room:
            yield screen.paint(colour, screen.cut(shown, room))
            return
        room = None if room is None else room - columns(shown)
        yield screen.paint(colour, shown)
