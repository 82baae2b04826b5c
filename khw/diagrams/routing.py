"""The lines between boxes: from the side that faces the other box, spread along it so that none lies on another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from khw.diagrams.layout import Rect
    from khw.diagrams.picture import Link, Picture

TOP, BOTTOM, LEFT, RIGHT = "top", "bottom", "left", "right"
LOOP = 38.0
BEND = 0.45  # of the way that a line runs straight before it turns


@dataclass(frozen=True, slots=True)
class Path:
    """A link's line: SVG path data, and where its label stands."""

    link: Link
    d: str
    middle: tuple[float, float]


def route(picture: Picture, where: Mapping[str, Rect]) -> list[Path]:
    """Return a line for every link whose boxes have a place."""
    links = [link for link in picture.links if link.source in where and link.target in where]
    ends: dict[tuple[str, str], list[tuple[float, int, bool]]] = {}
    loops = [index for index, link in enumerate(links) if link.source == link.target]
    for index, link in enumerate(links):
        if index in loops:
            continue
        a, b = where[link.source], where[link.target]
        for mine, other, name, source in ((a, b, link.source, True), (b, a, link.target, False)):
            side = _side(mine, other)
            x, y = other.middle
            ends.setdefault((name, side), []).append((x if side in {TOP, BOTTOM} else y, index, source))
    points: dict[tuple[int, bool], tuple[float, float, str]] = {}
    for (name, side), rows in ends.items():
        for place, (_, index, source) in enumerate(sorted(rows)):
            x, y = _point(where[name], side, (place + 1) / (len(rows) + 1))
            points[index, source] = x, y, side
    return [
        _loop(link, where[link.source]) if index in loops else _path(link, points[index, True], points[index, False])
        for index, link in enumerate(links)
    ]


def _side(mine: Rect, other: Rect) -> str:
    """Return the side of a box that faces another: above and below before left and right."""
    if mine.bottom <= other.y:
        return BOTTOM
    if other.bottom <= mine.y:
        return TOP
    return RIGHT if mine.middle[0] < other.middle[0] else LEFT


def _point(box: Rect, side: str, part: float) -> tuple[float, float]:
    match side:
        case "top":
            return box.x + box.width * part, box.y
        case "bottom":
            return box.x + box.width * part, box.bottom
        case "left":
            return box.x, box.y + box.height * part
        case _:
            return box.right, box.y + box.height * part


def _loop(link: Link, box: Rect) -> Path:
    """Return a line from a box to itself, on its left."""
    top, bottom, out = box.y + box.height * 0.25, box.y + box.height * 0.75, box.x - LOOP
    d = f"M{box.x:.1f} {top:.1f}C{out:.1f} {top:.1f} {out:.1f} {bottom:.1f} {box.x:.1f} {bottom:.1f}"
    return Path(link, d, (box.x - LOOP * 0.75, (top + bottom) / 2))


def _path(link: Link, start: tuple[float, float, str], end: tuple[float, float, str]) -> Path:
    (x1, y1, side), (x2, y2, _) = start, end
    if side in {TOP, BOTTOM}:
        bend = (y2 - y1) * BEND
        c1, c2 = (x1, y1 + bend), (x2, y2 - bend)
    else:
        bend = (x2 - x1) * BEND
        c1, c2 = (x1 + bend, y1), (x2 - bend, y2)
    d = f"M{x1:.1f} {y1:.1f}C{c1[0]:.1f} {c1[1]:.1f} {c2[0]:.1f} {c2[1]:.1f} {x2:.1f} {y2:.1f}"
    return Path(link, d, ((x1 + x2) / 2, (y1 + y2) / 2))
