"""
A picture as SVG: one element after another, by pure functions.

The style is within the SVG: it follows the reader's light or dark, prints in ink, and needs no file beside it. Kinds
differ in their border (dashed, double, thick) as well as in colour. Every text comes from values and is escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from khw.diagrams.layout import LINE, LINE_HEIGHT, PAD, TITLE, TITLE_HEIGHT, places
from khw.diagrams.routing import route
from khw.diagrams.text import width

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.diagrams.layout import Part, Rect
    from khw.diagrams.picture import Box, Picture
    from khw.diagrams.routing import Path

LABEL = 11.5


def svg(picture: Picture, arrangement: Part) -> str:
    """Return the picture as an SVG document, or as an element within HTML."""
    where, wide, high = places(picture, arrangement)
    legend = [
        text(PAD, high + LINE_HEIGHT * (n + 0.4), line, LINE, look="line") for n, line in enumerate(picture.legend)
    ]
    wide = max([wide, *(width(line, LINE) + 2 * PAD for line in picture.legend)])
    high += LINE_HEIGHT * len(legend)
    paths = route(picture, where)
    body = [
        *(_box(box, where[box.id]) for box in picture.boxes if box.id in where),
        *(_link(path) for path in paths),
        *(_label(path) for path in paths),
        *legend,
    ]
    return document(picture.name, picture.title, picture.description, wide, high, body)


def document(name: str, title: str, description: str, wide: float, high: float, body: Iterable[str]) -> str:  # noqa: PLR0913 - an SVG's head
    """Return a whole SVG around its elements."""
    size = f'viewBox="0 0 {wide:.0f} {high:.0f}" width="{wide:.0f}" height="{high:.0f}"'
    said = f'role="img" aria-labelledby="{name}-title {name}-text"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="khw" {size} {said}>',
            f'<title id="{name}-title">{escape(title)}</title>',
            f'<desc id="{name}-text">{escape(description)}</desc>',
            f"<style>{STYLE}</style>",
            f'<defs><marker id="{name}-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" '
            'markerUnits="userSpaceOnUse" '
            'orient="auto-start-reverse"><path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>',
            f'<rect class="paper" width="{wide:.0f}" height="{high:.0f}"/>',
            *(element.replace("url(#tip)", f"url(#{name}-tip)") for element in body),
            "</svg>",
        )
    )


def text(x: float, y: float, said: str, size: float, *, look: str = "", anchor: str = "start") -> str:  # noqa: PLR0913 - SVG's own
    """Return a line of text, its baseline at `y`."""
    kind = f' class="{look}"' if look else ""
    end = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{kind}{end}>{escape(said)}</text>'


def rect(it: Rect, look: str, round_: float = 6.0) -> str:
    """Return a rectangle."""
    place = f'x="{it.x:.1f}" y="{it.y:.1f}" width="{it.width:.1f}" height="{it.height:.1f}"'
    return f'<rect class="{look}" {place} rx="{round_:g}"/>'


def group(note: str, *elements: str, look: str = "") -> str:
    """Return elements that belong together, with what a pointer resting on them is told."""
    told = f"<title>{escape(note)}</title>" if note else ""
    kind = f" class={quoteattr(look)}" if look else ""
    return f"<g{kind}>{told}{''.join(elements)}</g>"


def _box(box: Box, it: Rect) -> str:
    x, y = it.x + PAD, it.y + PAD + TITLE - 4
    if box.foot:
        y = it.bottom - PAD - LINE_HEIGHT * len(box.lines)
    lines = [text(x, y, box.title, TITLE, look="title")]
    for index, line in enumerate(box.lines):
        lines.append(text(x, y + TITLE_HEIGHT + LINE_HEIGHT * index - 2, line, LINE, look="line"))
    return group(box.note, rect(it, f"box {box.kind}"), *lines)


def _link(path: Path) -> str:
    return group(path.link.note, f'<path class="link {path.link.kind}" d="{path.d}" marker-end="url(#tip)"/>')


def _label(path: Path) -> str:
    link, (x, y) = path.link, path.middle
    said = str(link.number) if link.number else link.label
    if not said:
        return ""
    if link.number:
        return group(
            link.note,
            f'<circle class="badge {link.kind}" cx="{x:.1f}" cy="{y:.1f}" r="9"/>',
            text(x, y + 4, said, LABEL, look="number", anchor="middle"),
        )
    wide = width(said, LABEL) + 8
    back = f'<rect class="behind" x="{x - wide / 2:.1f}" y="{y - 9:.1f}" width="{wide:.1f}" height="18" rx="4"/>'
    return group(link.note, back, text(x, y + 4, said, LABEL, look="label", anchor="middle"))


_LIGHT = (
    "--paper:#fff;--ink:#16202c;--soft:#4a5868;--edge:#8a98a8;--fill:#f5f7f9;--net:#eef3fa;--ctl:#e5eefc;--ctl-e:#2f62b5;"
    "--wrk:#e6f4ea;--wrk-e:#23763f;--pod:#fdf3dc;--pod-e:#8a6100;--bal:#f1e8fb;--bal-e:#6b3fa8;--bad:#fde7e5;--bad-e:#b3261e"
)
_DARK = (
    "--paper:#12171d;--ink:#e8edf2;--soft:#b3bfcc;--edge:#758496;--fill:#1b222b;--net:#161e29;--ctl:#182a47;--ctl-e:#8db4f5;"
    "--wrk:#15301f;--wrk-e:#7fd09a;--pod:#33290f;--pod-e:#e6bc5c;--bal:#2a1e3d;--bal-e:#c6a4f2;--bad:#3b1715;--bad-e:#ff9c94"
)
STYLE = (
    f"svg.khw{{{_LIGHT};font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',Arial,sans-serif}}"
    f"@media(prefers-color-scheme:dark){{svg.khw{{{_DARK}}}}}"
    f"@media print{{svg.khw{{{_LIGHT}}}}}"
    ".khw .paper{fill:var(--paper)}.khw text{fill:var(--ink)}.khw .title{font-weight:600}"
    ".khw .line,.khw .axis{fill:var(--soft)}"
    ".khw .box{fill:var(--fill);stroke:var(--edge);stroke-width:1.2}"
    ".khw .network{fill:var(--net);stroke-dasharray:7 4}"
    ".khw .outside{fill:var(--paper);stroke-dasharray:2 3}"
    ".khw .controller{fill:var(--ctl);stroke:var(--ctl-e)}"
    ".khw .worker{fill:var(--wrk);stroke:var(--wrk-e)}"
    ".khw .pods{fill:var(--pod);stroke:var(--pod-e)}"
    ".khw .balancer{fill:var(--bal);stroke:var(--bal-e);stroke-width:2}"
    ".khw .component{fill:var(--paper)}.khw .firewall{fill:var(--paper);stroke-width:2.5}"
    ".khw .route{fill:var(--pod);stroke:var(--pod-e);stroke-dasharray:4 3}"
    ".khw .failed{fill:var(--bad);stroke:var(--bad-e);stroke-width:3}"
    ".khw .unknown{fill:var(--fill);stroke-dasharray:2 3}"
    ".khw .tip{fill:context-stroke}.khw .link{fill:none;stroke:var(--soft);stroke-width:1.5}"
    ".khw .link.route{fill:none;stroke:var(--pod-e);stroke-dasharray:5 3}"
    ".khw .link.kubernetes{stroke:var(--ctl-e)}.khw .link.etcd{stroke:var(--wrk-e);stroke-width:2.4}"
    ".khw .link.token{stroke:var(--pod-e);stroke-dasharray:6 3}.khw .link.bare{stroke-dasharray:2 3}"
    ".khw .badge{fill:var(--paper);stroke:var(--soft);stroke-width:1.5}.khw .badge.kubernetes{stroke:var(--ctl-e)}"
    ".khw .badge.etcd{stroke:var(--wrk-e);stroke-width:2.4}.khw .badge.token{stroke:var(--pod-e)}"
    ".khw .number{font-weight:600}.khw .behind{fill:var(--paper)}"
    ".khw .grid{stroke:var(--edge);stroke-width:.6;opacity:.55}.khw .lane{fill:var(--fill)}"
    ".khw .bar{fill:var(--ctl);stroke:var(--ctl-e);stroke-width:1}.khw .bar.odd{fill:var(--wrk);stroke:var(--wrk-e)}"
    ".khw .bar.bad{fill:var(--bad);stroke:var(--bad-e);stroke-width:2}"
    ".khw .wait{fill:var(--paper);stroke:var(--edge);stroke-dasharray:2 2}"
    ".khw .critical{fill:none;stroke:var(--bad-e);stroke-width:2.6}"
)
