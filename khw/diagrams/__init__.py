"""
khw.diagrams: pictures of a cluster as it was found, as SVG and as Mermaid.

    network, components, tls   what each picture shows, and how it is laid out
    gantt                      a run in time
    picture                    what all of them are made of: boxes and links, as values
    layout, routing, text      where boxes and lines go
    svg, mermaid               how they are written
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from khw.cluster.observed import Observed

Name: TypeAlias = Literal["network", "components", "tls"]
Form: TypeAlias = Literal["svg", "mermaid"]
NAMES: tuple[Name, ...] = get_args(Name)


def draw(name: Name, seen: Observed, form: Form = "svg", *, legend: bool = True) -> str:
    """Return the picture of this name; without its legend where a table says the same."""
    from khw.diagrams import components, network, tls
    from khw.diagrams.mermaid import mermaid
    from khw.diagrams.svg import svg

    module = {"network": network, "components": components, "tls": tls}[name]
    if form == "mermaid":
        return mermaid(module.picture(seen))
    shown = module.picture(seen)
    return svg(shown if legend else replace(shown, legend=()), module.arrangement(seen))
