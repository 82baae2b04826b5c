"""A picture as Mermaid's flowchart text, which GitHub and many editors draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.diagrams.picture import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.diagrams.picture import Box, Link, Picture

ARROWS = {Line.BARE: "-.->", Line.TOKEN: "-.->", Line.ETCD: "==>"}


def mermaid(picture: Picture) -> str:
    """Return the flowchart."""
    ids = {box.id: f"n{index}" for index, box in enumerate(picture.boxes)}
    lines = ["---", f"title: {_bare(picture.title)}", "---", "flowchart TB"]
    for box in picture.boxes:
        if not box.parent:
            lines += _box(picture, box, ids, "    ")
    lines += [f"    {_link(link, ids)}" for link in picture.links]
    return "\n".join(lines) + "\n"


def _box(picture: Picture, box: Box, ids: dict[str, str], indent: str) -> Iterator[str]:
    inner = picture.inside(box.id)
    if not inner:
        yield f'{indent}{ids[box.id]}["{_text(box)}"]'
        return
    yield f'{indent}subgraph {ids[box.id]}["{_text(box)}"]'
    for child in inner:
        yield from _box(picture, child, ids, indent + "    ")
    yield f"{indent}end"


def _link(link: Link, ids: dict[str, str]) -> str:
    label = ". ".join(filter(None, (str(link.number or ""), link.label)))
    arrow = ARROWS.get(link.kind, "-->")
    said = f'|"{_escaped(label)}"|' if label else ""
    return f"{ids[link.source]} {arrow}{said} {ids[link.target]}"


def _text(box: Box) -> str:
    return "<br/>".join(_escaped(line) for line in (box.title, *box.lines))


def _escaped(text: str) -> str:
    """Mermaid ends a quoted text at the first quotation mark, and takes entities with a hash."""
    return text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


def _bare(text: str) -> str:
    return text.replace(":", " -").replace("#", "")
