"""`khw artifacts`: the binaries and images that go on the nodes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from khw.cli import completion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from khw.artifacts.store import Store


def _store(file: Path) -> Store:
    """Use the cluster file's sources where there is one, the default ones elsewhere."""
    from khw.artifacts.store import Store
    from khw.cluster.model import ArtifactSources

    sources = ArtifactSources()
    if file.exists():
        from khw.cluster.file import load

        sources = load(file).artifacts
    return Store(sources.sources, sources.mirror)


@click.group()
def artifacts() -> None:
    """Every binary and image: pinned, cached, checked."""


@artifacts.command(name="list")
@click.option("-o", "output", type=click.Choice(["table", "json", "yaml", "name"]), default="table")
@click.pass_obj
def list_(file: Path, output: str) -> None:
    """List what the lock file pins, and what of it is in the cache."""
    from dataclasses import asdict

    from khw.artifacts.survey import listed
    from khw.output import render

    rows = [asdict(row) for row in listed(_store(file))]
    if output == "name":
        click.echo("\n".join(row["name"] for row in rows))
    elif output == "table":
        columns = ("name", "version", "architecture", "state", "size", "source", "sha256")
        render.table(columns, ([row[column] or "-" for column in columns] for row in rows))
    else:
        render.data(rows, output)


@artifacts.command()
@click.argument("names", nargs=-1, shell_complete=completion.artifacts)
@click.pass_obj
def fetch(file: Path, names: Sequence[str]) -> None:
    """Put artifacts (all, if none is named) into the cache, from the first source that has them."""
    for artifact in _store(file).fetch(names, forms=["zstd"], progress=_progress):
        click.echo(f"{artifact.name} {artifact.version} {artifact.source} sha256:{artifact.sha256}")


@artifacts.command()
@click.pass_obj
def verify(file: Path) -> None:
    """Hash everything in the cache again and compare; exit code 1 if anything differs."""
    from khw.artifacts.survey import verified

    problems = [row for row in verified(_store(file)) if row.problem]
    for row in problems:
        click.echo(row.problem, err=True)
    click.echo(f"{len(problems)} problems" if problems else "every artifact in the cache is what it should be")
    sys.exit(1 if problems else 0)


@artifacts.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.pass_obj
def bundle(file: Path, target: Path) -> None:
    """Write a mirror: a directory from which a machine without internet takes everything."""
    from khw.artifacts.bundle import write

    write(_store(file), target, progress=_progress)
    click.echo(f"wrote {target}")


@artifacts.command()
@click.pass_obj
def where(file: Path) -> None:
    """Print the cache's directory."""
    click.echo(_store(file).cache.root)


def _progress(text: str) -> None:
    click.echo(text, err=True)
