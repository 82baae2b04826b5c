"""`khw lab`: the emulated GCP project on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

_name = click.option("--name", default="default", show_default=True, help="The lab's name; labs stand side by side.")


@click.group()
def lab() -> None:
    """The lab: a GCP project on this machine, whose instances are real systemd machines."""


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
    from khw import render
    from khw.lab import lab as labs

    state = labs.status(name)
    if output == "table":
        labs.print_status(state)
    else:
        render.data(state.as_dict(), output)


@lab.command(context_settings={"ignore_unknown_options": True})
@_name
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def ssh(name: str, node: str, command: Sequence[str]) -> None:
    """Log in to a machine of the lab, or run one command on it."""
    from khw.lab import lab as labs

    argv = labs.ssh_command(name, node, command)
    os.execvp(argv[0], argv)  # noqa: S606 - to become the shell is the point
