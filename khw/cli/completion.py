"""
What the shell offers after Tab: phases, checks, topics, drills, artifacts, runs, hosts and nodes.

From khw's own tables, the cluster file and the names of journals, never from the network; a file that cannot be read
offers nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from khw.errors import KhwError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import click

    from khw.cluster.spec import Spec

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_KHW_COMPLETE"


def script(shell: str, main: click.Command) -> str:
    """Return what the shell is to read once, so that it asks khw at each Tab."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:  # the command line lets no other shell through
        raise AssertionError(shell)
    completion = found(main, {}, "khw", VARIABLE)
    # click's own for fish cuts an answer at its second comma: hosts after --limit have such, and descriptions
    template = completion.source_template.replace('string split "," ', 'string split -m 1 "," ')
    return template % completion.source_vars()


def phases(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the phases, with their titles where the shell shows such."""
    from khw.engine.phases import PHASES

    return [CompletionItem(p.name, help=p.title) for p in PHASES if p.name.startswith(incomplete)]


def checks(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of `khw verify`'s checks."""
    from khw.verify.table import CHECKS, typed

    return _items(dict.fromkeys(typed(check.name) for check in CHECKS), incomplete)


def topics(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer what `khw explain` has texts of: phases, checks, certificates, files, flags and fields."""
    from khw.explain.book import words

    return _items(words(), incomplete)


def drills(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the drills, with what they are where the shell shows such: their names tell no less."""
    from khw.drills.table import DRILLS

    return [CompletionItem(d.name, help=d.title) for d in DRILLS if d.name.startswith(incomplete)]


def artifacts(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer what the lock file pins."""
    from khw.artifacts.lock import shipped

    return _items(shipped().entries, incomplete)


def faults(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the sorts of faults that the lab's API has."""
    from khw.lab.api.faults import SORTS

    return [CompletionItem(name, help=sort.text) for name, sort in SORTS.items() if name.startswith(incomplete)]


def runs(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the runs that have a journal, the newest first."""
    from khw.cluster.workspace import Workspace
    from khw.history.runs import SUFFIX

    if (spec := _spec(context)) is None:
        return []
    folder = Workspace.beside(_file(context), spec.name).runs
    return _items(sorted((path.stem for path in folder.glob(f"*{SUFFIX}")), reverse=True), incomplete)


def nodes(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the machines that the cluster file asks for."""
    return _items(_nodes(context), incomplete)


def hosts(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer what `--limit` takes: the operator's side and the machines, with commas between."""
    from khw.engine.report import OPERATOR

    before, comma, last = incomplete.rpartition(",")
    taken = set(before.split(","))
    free = [name for name in (OPERATOR, *_nodes(context)) if name not in taken]
    return [CompletionItem(f"{before}{comma}{item.value}") for item in _items(free, last)]


def _nodes(context: click.Context) -> list[str]:
    spec = _spec(context)
    return [planned.name for planned in spec.planned] if spec else []


def _spec(context: click.Context) -> Spec | None:
    from khw.cluster.file import load

    try:
        return load(_file(context))
    except KhwError:
        return None


def _file(context: click.Context) -> Path:
    return Path(context.find_root().params["file"])


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
