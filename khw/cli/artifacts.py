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

ARCHITECTURE = click.Choice(["amd64", "arm64"])
PATH = click.Path(path_type=Path)


def _store(file: Path) -> Store:
    """Use the cluster file's sources where there is one, the default ones elsewhere."""
    from khw.artifacts.store import Store
    from khw.cluster.spec import ArtifactSources

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
@click.option("--arch", "architectures", multiple=True, type=ARCHITECTURE, default=("amd64",), show_default=True)
@click.pass_obj
def fetch(file: Path, names: Sequence[str], architectures: Sequence[str]) -> None:
    """Put artifacts (all, if none is named) into the cache, from the first source that has them."""
    store = _store(file)
    for architecture in architectures:
        for artifact in store.fetch(names, architecture, forms=["zstd"], progress=_progress):
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
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path),
    help="A file (.tar.zst, .tar), or a directory: a mirror.",
)
@click.option("--arch", "architectures", multiple=True, type=ARCHITECTURE, default=("amd64",), show_default=True)
@click.option("--lab-image", "images", multiple=True, help="The image of the lab's machines too (debian-12).")
@click.pass_obj
def bundle(file: Path, target: Path | None, architectures: Sequence[str], images: Sequence[str]) -> None:
    """Write all that goes on the nodes, with its digests and an SBOM, as one file for a machine without internet."""
    from khw.artifacts import bundle as bundles
    from khw.lab import carried

    store = _store(file)
    to = target or Path(f"khw-{store.lock.entry('kubelet').version}-{'-'.join(architectures)}.tar.zst")
    with store.cache.scratch() as scratch:
        machines = {name: scratch / f"{name}.tar" for name in images}
        for name, archive in machines.items():
            carried.save(name, archive, _progress)
        bundles.write(store, to, architectures=architectures, lab_images=machines, progress=_progress)
    click.echo(f"wrote {to}")


@artifacts.command()
@click.argument("bundle", type=PATH)
@click.pass_obj
def load(file: Path, bundle: Path) -> None:
    """Put what `khw artifacts bundle` wrote into the cache, each file checked; all of it, or nothing."""
    from khw.artifacts import unbundle
    from khw.lab import carried

    store = _store(file)
    came = unbundle.load(store, bundle, take_image=carried.take, progress=_progress)
    click.echo(f"{len(came)} artifacts came into {store.cache.root}" if came else "all of it was there")


@artifacts.command()
@click.option("-o", "--output", "target", type=PATH, help="A file instead of standard output.")
@click.option("--arch", "architectures", multiple=True, type=ARCHITECTURE, default=("amd64",), show_default=True)
@click.pass_obj
def sbom(file: Path, target: Path | None, architectures: Sequence[str]) -> None:
    """Say what goes on the nodes, down to the Go modules of each program: CycloneDX, JSON."""
    from khw.artifacts.sbom import document
    from khw.files import write_atomically

    store = _store(file)
    all_of = [one for name in architectures for one in store.fetch((), name, progress=_progress)]
    text = document(store.lock, all_of)
    if target is None:
        click.echo(text, nl=False)
    else:
        write_atomically(target, text.encode())
        click.echo(f"wrote {target}", err=True)


@artifacts.command()
@click.pass_obj
def where(file: Path) -> None:
    """Print the cache's directory."""
    click.echo(_store(file).cache.root)


def _progress(text: str) -> None:
    click.echo(text, err=True)
