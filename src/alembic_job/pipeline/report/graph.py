"""The graph of revisions beside a list of them: for each its own small picture, which grows with what it says."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from alembic_job.rules.lanes import Edge, Row, lanes

_MIDDLE, _STEP, _MOST = 20, 14, 12  # pixels: of the node's height, from lane to lane; lanes that are drawn


def graph(revisions: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[int, list[Markup]]:
    """The width in pixels, and a picture for each revision. They come with their parents, the oldest first."""
    rows = lanes([*reversed(revisions)])[::-1]
    width = _STEP * min(_MOST, max((row.lanes for row in rows), default=1)) + 6
    following: list[tuple[Edge, ...]] = [*(row.below for row in rows[1:]), ()]
    return width, [_picture(row, after, width) for row, after in zip(rows, following, strict=True)]


def _picture(row: Row, after: tuple[Edge, ...], width: int) -> Markup:
    """Lines come from above, end in the node or pass it, and go on to the bottom, however far down that is."""
    parts = [_from_above(edge) for edge in row.below if max(edge.start, edge.end) < _MOST]
    parts += [_to_bottom(lane) for lane in sorted({edge.end for edge in after}) if lane < _MOST]
    node = Markup('<circle cx="{}" cy="{}" r="5" class="l{}"/>').format(_x(row.lane), _MIDDLE, row.lane % 6)
    drawn = Markup("").join([*parts, node])
    return Markup('<svg width="{}" height="100%" aria-hidden="true">{}</svg>').format(width, drawn)


def _from_above(edge: Edge) -> Markup:
    top, bottom = _x(edge.end), _x(edge.start)
    path = f"M{top} 0V{_MIDDLE}" if top == bottom else f"M{top} 0C{top} 14 {bottom} 6 {bottom} {_MIDDLE}"
    return Markup('<path d="{}" class="l{}"/>').format(path, max(edge.start, edge.end) % 6)


def _to_bottom(lane: int) -> Markup:
    shape = '<line x1="{0}" y1="{1}" x2="{0}" y2="100%" class="l{2}"/>'
    return Markup(shape).format(_x(lane), _MIDDLE, lane % 6)


def _x(lane: int) -> int:
    return 10 + _STEP * min(lane, _MOST - 1)
