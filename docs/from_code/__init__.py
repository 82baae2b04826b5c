"""
The pages of the reference that are made from the code, at each build: they cannot go stale.

A Sphinx extension: as soon as the configuration is read, the pages are written to `reference/from-code/` beside the
written ones (and never into git), and each command's page is named as a manual page. One file here a page.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes

from from_code import checks, cis, clusterfile, commands, errors, flags, onnodes, phases

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

FOLDER = "reference/from-code"


def pages() -> dict[str, str]:
    """Return every page, by its name in the folder."""
    return {
        **commands.pages(),
        "phases": phases.page(),
        "cluster-file": clusterfile.page(),
        "checks": checks.page(),
        "cis": cis.page(),
        "errors": errors.page(),
        "flags": flags.page(),
        "on-the-nodes": onnodes.page(),
    }


def manuals() -> list[tuple[str, str, str, str, int]]:
    """Return the manual pages, as Sphinx lists them: where, name, what in a line, author, section."""
    rows = [(commands.file_name(path), "-".join(path), what, "", 1) for path, what in commands.summaries()]
    rows.append(("cluster-file", "khw.yaml", "the cluster file of khw", "", 5))
    return [(f"{FOLDER}/{page}", *rest) for page, *rest in rows]  # type: ignore[misc]  # a star hides the length


def write(folder: Path) -> None:
    """Write the pages; leave those alone that are right, so that Sphinx reads only what has changed."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {f"{name}.md": text for name, text in pages().items()}
    for stale in {path.name for path in folder.iterdir()} - set(made):
        (folder / stale).unlink()
    for name, text in made.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            aside = folder / f".{name}.{os.getpid()}"  # two builds may write at once
            aside.write_text(text)
            aside.replace(path)


def _prepare(app: Sphinx, config: Config) -> None:
    write(Path(app.srcdir) / FOLDER)
    config.man_pages = manuals()


def _without_links(app: Sphinx, doctree: nodes.document, _page: str) -> None:
    """In a manual page a link to another page leads nowhere."""
    if app.builder.name == "man":
        for reference in list(doctree.findall(nodes.reference)):
            if reference.get("internal"):
                reference.replace_self(reference.children)


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx what to call."""
    app.connect("config-inited", _prepare)
    app.connect("doctree-resolved", _without_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
