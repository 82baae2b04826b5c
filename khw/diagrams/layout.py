"""
Where boxes stand: rows, columns, and boxes around them. Pure; lengths are the SVG's own units (about a pixel).

    places(picture, Column(Leaf("operator"), Frame("vpc", Row(Leaf("a"), Leaf("b")))))
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from khw.diagrams.text import width

if TYPE_CHECKING:
    from khw.diagrams.picture import Box, Picture

GAP = 20.0
PAD = 14.0
TITLE, LINE = 14.0, 12.0  # sizes of letters
TITLE_HEIGHT, LINE_HEIGHT = 20.0, 16.0


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height

    @property
    def middle(self) -> tuple[float, float]:
        """Its centre."""
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True, slots=True)
class Leaf:
    """A box that holds text alone, at least so wide."""

    id: str
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class Space:
    """Nothing, so large."""

    width: float = 0.0
    height: float = 0.0


@dataclass(frozen=True, slots=True)
class Frame:
    """A box around others, its title and lines above them."""

    id: str
    inner: Part


@dataclass(frozen=True, slots=True)
class Row:
    """Side by side, each as high as the highest if `even`."""

    parts: tuple[Part, ...]
    gap: float = GAP
    even: bool = True


@dataclass(frozen=True, slots=True)
class Column:
    """One under another."""

    parts: tuple[Part, ...]
    gap: float = GAP
    align: Literal["middle", "left", "stretch"] = "middle"


Part: TypeAlias = Leaf | Space | Frame | Row | Column


@dataclass(slots=True)
class _Places:
    picture: Picture
    found: dict[str, Rect] = field(default_factory=dict)

    def size(self, part: Part) -> tuple[float, float]:
        match part:
            case Space():
                return part.width, part.height
            case Leaf():
                wide, high = text_size(self.picture.box(part.id))
                return max(part.least, wide), high
            case Frame():
                wide, high = self.size(part.inner)
                head_wide, head_high = text_size(self.picture.box(part.id))
                return max(wide + 2 * PAD, head_wide), head_high + high + PAD
            case Row():
                sizes = [self.size(p) for p in part.parts]
                return sum(w for w, _ in sizes) + part.gap * max(0, len(sizes) - 1), max(
                    (h for _, h in sizes), default=0
                )
            case Column():
                sizes = [self.size(p) for p in part.parts]
                return max((w for w, _ in sizes), default=0), sum(h for _, h in sizes) + part.gap * max(
                    0, len(sizes) - 1
                )

    def put(self, part: Part, x: float, y: float, wide: float, high: float) -> None:
        match part:
            case Leaf():
                self.found[part.id] = Rect(x, y, wide, high)
            case Frame():
                self.found[part.id] = Rect(x, y, wide, high)
                box = self.picture.box(part.id)
                _, head = text_size(box)
                self.put(part.inner, x + PAD, y + (PAD if box.foot else head), wide - 2 * PAD, high - head - PAD)
            case Row():
                self._put_row(part, x, y, wide, high)
            case Column():
                for inner in part.parts:
                    own_wide, own_high = self.size(inner)
                    taken = wide if part.align == "stretch" else own_wide
                    aside = (wide - taken) / 2 if part.align == "middle" else 0.0
                    self.put(inner, x + aside, y, taken, own_high)
                    y += own_high + part.gap
            case Space():
                pass

    def _put_row(self, part: Row, x: float, y: float, wide: float, high: float) -> None:
        own, _ = self.size(part)
        x += (wide - own) / 2
        for inner in part.parts:
            own_wide, own_high = self.size(inner)
            taken = high if part.even else own_high
            self.put(inner, x, y, own_wide, taken)
            x += own_wide + part.gap


def text_size(box: Box) -> tuple[float, float]:
    """Return how much room a box's own text takes, with what is around it."""
    widest = max([width(box.title, TITLE, bold=True), *(width(line, LINE) for line in box.lines)])
    return widest + 2 * PAD, 2 * PAD + TITLE_HEIGHT + LINE_HEIGHT * len(box.lines) - 6


def places(picture: Picture, arrangement: Part) -> tuple[dict[str, Rect], float, float]:
    """Return where each box is, and how wide and high all of it is."""
    it = _Places(picture)
    wide, high = it.size(arrangement)
    it.put(arrangement, PAD, PAD, wide, high)
    return it.found, wide + 2 * PAD, high + 2 * PAD
