"""`khw lab bare`: machines without a cloud around them, as they stand in one's own room."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

_name = click.option(
    "--name", required=True, envvar="KHW_LAB", show_envvar=True, help="What they are called; a lab has another name."
)


@click.group()
def bare() -> None:
    """Bare machines on a switch, for the provider `static`: no project, no load balancer, no routes to pods."""


@bare.command()
@_name
@click.argument("machines", nargs=-1, required=True, metavar="NAME=ADDRESS…")
@click.option("--image", default="debian-12", show_default=True, help="The system on them: debian-12 or debian-13.")
@click.option("--user", default="debian", show_default=True, help="Who may log in, with sudo.")
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The public key that lets that user in: a file as ssh-keygen writes it.",
)
@click.option("-o", "output", type=click.Choice(["table", "json", "yaml"]), default="table")
def up(  # noqa: PLR0913 - one parameter an option
    name: str, machines: Sequence[str], image: str, user: str, key: Path, output: str
) -> None:
    """Start machines, beside those that stand; print all with what their owner knows of them: address, host keys."""
    from khw.lab import bare as labs
    from khw.output import render

    wanted = [labs.Bare.parse(text) for text in machines]
    lines = [f"{user}:{key.read_text().strip()}"]
    rows = labs.up(name, wanted, ssh_keys=lines, image_name=image, progress=lambda text: click.echo(text, err=True))
    if output == "table":
        render.table(("name", "address", "host key"), ([row.name, row.address, row.host_keys[0]] for row in rows))
    else:
        render.data(labs.as_data(rows), output)


@bare.command()
@_name
@click.argument("machine")
def start(name: str, machine: str) -> None:
    """Switch a machine on, after `stop` or a reboot: nobody else does it here."""
    from khw.lab import bare as labs

    labs.start(name, machine)


@bare.command()
@_name
@click.argument("machine")
@click.option("--pull", is_flag=True, help="Pull its plug instead of shutting it down.")
def stop(name: str, machine: str, pull: bool) -> None:
    """Shut a machine down."""
    from khw.lab import bare as labs

    labs.stop(name, machine, politely=not pull)


@bare.command("exec", context_settings={"ignore_unknown_options": True})
@_name
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(name: str, command: Sequence[str]) -> None:
    """Run a command as somebody who stands in the machines' network: the host has no route to them."""
    from khw.lab import bare as labs

    argv = labs.inside(name, command)
    os.execvp(argv[0], argv)  # noqa: S606 - to become the command is the point
