"""`khw report` and `khw diagram`: a run and a cluster as a page, and as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from khw.cli import completion

if TYPE_CHECKING:
    from khw import diagrams


@click.command()
@click.argument("run_id", metavar="[RUN]", default="", shell_complete=completion.runs)
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="The file; '-' for stdout.")
@click.option("--open", "show", is_flag=True, help="Show it in a browser.")
@click.option("--offline", is_flag=True, help="Do not look at the machines: a report without pictures of them.")
@click.pass_obj
def report(file: Path, run_id: str, target: Path | None, show: bool, offline: bool) -> None:
    """Write a report of the last run (or of RUN) and of the cluster: one HTML file that needs no other."""
    from khw.pages.gather import gather
    from khw.pages.report import report as page
    from khw.session import open_session

    session = open_session(file, check=True)
    facts = gather(session, run_id, live=not offline)
    text = page(facts)
    if str(target) == "-":
        click.echo(text, nl=False)
        return
    path = target or Path(f"{session.spec.name}-report.html")
    path.write_text(text, "utf-8")
    for line in facts.missing:
        click.echo(f"not in it: {line}", err=True)
    click.echo(path)
    if show:
        click.launch(str(path.resolve()))


@click.command()
@click.argument("name", type=click.Choice(["network", "components", "tls"]))
@click.option("-o", "--output", "form", type=click.Choice(["svg", "mermaid"]), default="svg", show_default=True)
@click.pass_obj
def diagram(file: Path, name: diagrams.Name, form: diagrams.Form) -> None:
    """Draw the cluster as it is: its network, the components on each node, or who talks to whom over TLS."""
    from khw import diagrams
    from khw.session import open_session

    seen = open_session(file, check=True).observe(units=name == "components")
    click.echo(diagrams.draw(name, seen, form), nl=False)
