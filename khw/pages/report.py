"""The report: one HTML file with its style and its pictures in it. It runs no script and asks for no other file."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from khw import diagrams
from khw.diagrams.gantt import gantt
from khw.pages.facts import SOON
from khw.verify.cis.profile import NAME, VERSION

if TYPE_CHECKING:
    from khw.pages.facts import Facts

HERE = files("khw.pages")


def report(facts: Facts) -> str:
    """Return the page. Every value is escaped by the template engine; only khw's own pictures go in as they are."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "megabytes": lambda count: f"{count / 1e6:.1f}",
        "moment": lambda at: f"{at:%Y-%m-%d %H:%M} UTC",
    }
    template = environment.from_string((HERE / "report.html.j2").read_text("utf-8"))
    seen = facts.seen
    pictures = {name: Markup(diagrams.draw(name, seen, legend=False)) for name in diagrams.NAMES} if seen else {}  # noqa: S704 - our own, escaped
    return template.render(
        facts=facts,
        style=Markup((HERE / "report.css").read_text("utf-8")),  # noqa: S704 - our own
        gantt=Markup(gantt(facts.run)) if facts.run else "",  # noqa: S704 - our own, escaped
        pictures=pictures,
        soon=SOON,
        benchmark=f"{NAME} {VERSION}",
    )
