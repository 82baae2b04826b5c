"""`khw lab`: the emulated GCP project on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from khw.cli import completion
from khw.cli.bare import bare

if TYPE_CHECKING:
    from collections.abc import Sequence

_name = click.option(
    "--name",
    default="default",
    envvar="KHW_LAB",
    show_envvar=True,
    show_default=True,
    help="The lab's name; labs stand side by side.",
)


@click.group()
def lab() -> None:
    """The lab: a GCP project on this machine, whose instances are real systemd machines."""


lab.add_command(bare)


@lab.command()
@_name
def up(name: str) -> None:
    """Start the lab's project: its API, its network, the image of its machines."""
    from khw.lab import lab as labs

    info = labs.up(name, progress=lambda text: click.echo(text, err=True))
    click.echo(f"lab {info.name}: project {info.project} at {info.endpoint}")


@lab.command()
@_name
def down(name: str) -> None:
    """Remove the lab and all that is in it: machines, volumes, network, processes."""
    from khw.lab import lab as labs

    labs.down(name)
    click.echo(f"lab {name}: nothing left")


@lab.command()
@_name
@click.option("-o", "output", type=click.Choice(["table", "json", "yaml"]), default="table")
def status(name: str, output: str) -> None:
    """Show the lab's parts and machines."""
    from khw.lab import lab as labs
    from khw.output import render

    state = labs.status(name)
    if output == "table":
        labs.print_status(state)
    else:
        render.data(state.as_dict(), output)


@lab.command(context_settings={"allow_interspersed_args": False})  # what comes after NODE is the command's own
@_name
@click.argument("node", shell_complete=completion.nodes)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def ssh(name: str, node: str, command: Sequence[str]) -> None:
    """Log in to a machine of the lab, or run one command on it."""
    from khw.lab import lab as labs

    argv = labs.ssh_command(name, node, command)
    os.execvp(argv[0], argv)  # noqa: S606 - to become the shell is the point


@lab.group()
def fault() -> None:
    """Faults of the lab's API: refusals, operations that fail, machines that never boot."""


@fault.command()
@_name
@click.argument("sort", shell_complete=completion.faults)
@click.option("--on", help="Methods that it is for, as Google names them: instances.insert, '*.list'.")
@click.option("--resource", help="Only for resources of this name; * and ? stand for any.")
@click.option("--times", type=click.IntRange(0), help="How often; 0 is until cleared.  [default: 1, of lists 0]")
@click.option("--seconds", type=click.FloatRange(0), help="Its time, where it has one (khw lab fault sorts).")
def add(  # noqa: PLR0913 - one parameter an option
    name: str, sort: str, on: str | None, resource: str | None, times: int | None, seconds: float | None
) -> None:
    """Have the API meet requests with a fault of this SORT."""
    from khw.lab import injection

    given = {"sort": sort, "on": on, "name": resource, "times": times, "seconds": seconds}
    row = injection.add(name, {key: value for key, value in given.items() if value is not None})
    click.echo(f"fault {row['id']}: {row['sort']} on {row['on']}, {row['times'] or 'any number of'} times")


@fault.command("list")
@_name
@click.option("-o", "output", type=click.Choice(["table", "json", "yaml"]), default="table")
def list_faults(name: str, output: str) -> None:
    """List the faults that were asked for, and how often each was met."""
    from khw.lab import injection
    from khw.output import render

    rows = injection.every(name)
    if output == "table":
        columns = ("id", "sort", "on", "name", "times", "seconds", "met")
        render.table(columns, ([row[column] for column in columns] for row in rows))
    else:
        render.data(rows, output)


@fault.command()
@_name
def clear(name: str) -> None:
    """Forget all faults: the API is well again."""
    from khw.lab import injection

    injection.clear(name)


@fault.command()
def sorts() -> None:
    """List the sorts of faults."""
    from khw.lab.api.faults import SORTS
    from khw.output import render

    rows = ((name, row.on, f"{row.seconds:g}" if row.seconds else "", row.text) for name, row in SORTS.items())
    render.table(("sort", "on", "seconds", "what"), rows)
