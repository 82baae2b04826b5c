"""`khw drill`: real failures on a lab cluster, to practise on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from khw import interrupt
from khw.cli import completion

if TYPE_CHECKING:
    from pathlib import Path

    from khw.drills.practice import Practice

_output = click.option("-o", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.group()
def drill() -> None:
    """Real failures on a lab cluster, to practise on: each with a story, hints, a check and a way back."""


def _practice(file: Path) -> Practice:
    from khw.drills.practice import Practice
    from khw.session import open_session

    return Practice(open_session(file), lambda text: click.secho(text, dim=True, err=True))


@drill.command("list")
@click.option("-o", "output", type=click.Choice(["table", "json", "yaml", "name"]), default="table", show_default=True)
def list_drills(output: str) -> None:
    """List the drills. Their names tell something: to know nothing, start without one."""
    from khw.drills.page import size
    from khw.drills.table import DRILLS
    from khw.output import render

    rows = [{"drill": row.name, "chapter": row.chapter, "needs": size(row), "what": row.title} for row in DRILLS]
    if output == "table":
        render.table(("drill", "chapter", "needs", "what"), (tuple(row.values()) for row in rows))
    elif output == "name":
        click.echo("\n".join(row.name for row in DRILLS))
    else:
        render.data(rows, output)


@drill.command()
@click.argument("name", required=False, shell_complete=completion.drills)
@click.option(
    "--really", metavar="CLUSTER", default="", help="Not a lab, and break the cluster of this name all the same."
)
@click.pass_obj
def start(file: Path, name: str | None, really: str) -> None:
    """Break something, and tell what is seen; without a NAME, any drill that fits the cluster."""
    click.echo(_practice(file).start(name, really=really))
    click.echo("\nIt is yours. khw drill hint · khw drill check · khw drill stop", err=True)


@drill.command()
@click.pass_obj
def hint(file: Path) -> None:
    """Give the next hint; the last one is the whole repair."""
    given = _practice(file).hint()
    click.echo(f"hint {given.number} of {given.total}", err=True)
    click.echo(given.text)


@drill.command()
@click.option("--wait", type=click.FloatRange(0), default=0.0, help="Look again for so many seconds until it is fixed.")
@_output
@click.pass_obj
def check(file: Path, wait: float, output: str) -> None:
    """Say whether it is fixed, by whatever way, or what is still seen; exit code 0 only if it is."""
    from khw.drills.practice import failures
    from khw.output import render

    results = _practice(file).check(wait=wait)
    failed = failures(results)
    if output == "json":
        render.data({"ok": not failed, "checks": [row.as_dict() for row in results]}, "json")
    elif failed:
        click.echo("not fixed yet. Still seen:")
        for row in failed:
            click.echo(f"  {row.name}{f' on {row.node}' if row.node else ''}: {row.actual}")
    else:
        click.echo("fixed.")
        click.echo("khw drill stop ends the drill, and takes away what it has left", err=True)
    sys.exit(3 if failed else 0)


@drill.command()
@click.argument("name", required=False, shell_complete=completion.drills)
@click.pass_obj
def stop(file: Path, name: str | None) -> None:
    """End the drill: the cluster as it was, from whatever state. NAME is needed only where it is not known any more."""
    from khw.output import verdict as render_verdict

    verdict = _practice(file).stop(name, lambda: _run(file))
    if not verdict.ok:
        render_verdict.verdict(verdict)
        click.echo("the cluster is not right yet, and the drill not ended: khw drill stop tries again", err=True)
        interrupt.leave(3)
    click.echo(f"the cluster is as it was: {len(verdict.results)} checks")


def _run(file: Path) -> Any:
    """Run all of khw but the smoke test, which the checks at the end contain."""
    from khw.engine.engine import Plan
    from khw.engine.phases import select
    from khw.output import render
    from khw.session import open_session

    plan = Plan(phases=select(skip=("smoke",)))
    return open_session(file).run(plan, sinks=[render.ProgressLines()], what="drill stop")
