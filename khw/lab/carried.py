"""The image of the lab's machines as a file, for a machine that reaches no mirror of Debian's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.errors import LabError
from khw.lab.command import run
from khw.lab.image import ensure, recipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE = 600  # seconds for an image of some 100 MB


def save(name: str, to: Path, progress: Callable[[str], None] = lambda _: None) -> None:
    """Write the image of this name, which is made first if it is not there."""
    run(
        ["podman", "save", "--quiet", "--format=oci-archive", f"--output={to}", ensure(name, progress)],
        timeout=PATIENCE,
    )


def take(name: str, archive: Path) -> None:
    """Give podman the image; LabError if it is another khw's, which would be of no use here."""
    said = run(["podman", "load", "--quiet", f"--input={archive}"], timeout=PATIENCE)
    wanted = recipe(name).reference
    if wanted in said:
        return
    for reference in (line.partition(": ")[2] for line in said.splitlines()):
        run(["podman", "rmi", reference], allow_failure=True)
    msg = f"the image {name} in the bundle is another khw's: expected {wanted}, seen {said.strip() or 'none'}"
    raise LabError(msg, hint="write the bundle again with `khw artifacts bundle` of this khw")
