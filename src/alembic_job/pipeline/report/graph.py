"""The graph of revisions beside a list of them: for each its own small picture, which grows with what it says."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from alembic_job.rules.lanes import lanes

_MIDDLE, _STEP, _MOST = 20, 14, 12  # pixels: of the node's height, from lane to lane; lanes that are drawn


def graph(revisions: Sequence[tuple[str, tuple[str, ...]]], *, newest_first: bool = False) -> tuple[int, list[Markup]]:
    """The width in pixels, and a picture for each revision. They come with their parents, the oldest first."""
    downwards = [*revisions] if newest_first else [*reversed(revisions)]
    try:
        rows = lanes(downwards)
    except ValueError:  # they did not run in an order that can be drawn
        rows = lanes([(revision, ()) for revision, _ in downwards])
    width = _STEP * min(_MOST, max((row.lanes for row in rows), default=1)) + 6
    if newest_first:
        pairs = [[(edge.start, edge.end) for edge in row.below] for row in rows]
    else:
        rows = rows[::-1]
        pairs = [[(edge.end, edge.start) for edge in row.below] for row in rows[1:]]
    arriving: list[list[tuple[int, int]]] = [[], *pairs]  # from a lane of the picture above to one of this
    leaving: list[set[int]] = [*({start for start, _ in each} for each in pairs), set()]
    drawn = zip(rows, arriving, leaving, strict=False)
    return width, [_picture(row.lane, lines, after, width) for row, lines, after in drawn]


def _picture(lane: int, arriving: list[tuple[int, int]], leaving: set[int], width: int) -> Markup:
    """Lines come from above, end in the node or pass it, and go on to the bottom, however far down that is."""
    parts = [_from_above(start, end) for start, end in arriving if max(start, end) < _MOST]
    parts += [_to_bottom(each) for each in sorted(leaving) if each < _MOST]
    node = Markup('<circle cx="{}" cy="{}" r="5" class="l{}"/>').format(_x(lane), _MIDDLE, lane % 6)
    drawn = Markup("").join([*parts, node])
    return Markup('<svg width="{}" height="100%" aria-hidden="true">{}</svg>').format(width, drawn)


def _from_above(start: int, end: int) -> Markup:
    top, bottom = _x(start), _x(end)
    path = f"M{top} 0V{_MIDDLE}" if top == bottom else f"M{top} 0C{top} 14 {bottom} 6 {bottom} {_MIDDLE}"
    return Markup('<path d="{}" class="l{}"/>').format(path, max(start, end) % 6)


def _to_bottom(lane: int) -> Markup:
    shape = '<line x1="{0}" y1="{1}" x2="{0}" y2="100%" class="l{2}"/>'
    return Markup(shape).format(_x(lane), _MIDDLE, lane % 6)


def _x(lane: int) -> int:
    return 10 + _STEP * min(lane, _MOST - 1)
