"""
What the shell offers after Tab: phases, checks, topics, hosts and nodes.

From the table of phases and the cluster file alone, never from the network; a file that cannot be read offers nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from khw.errors import KhwError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import click

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
    from khw.phases import PHASES

    return [CompletionItem(p.name, help=p.title) for p in PHASES if p.name.startswith(incomplete)]


def checks(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of `khw verify`'s checks."""
    from khw.verify.table import CHECKS, typed

    return _items(dict.fromkeys(typed(check.name) for check in CHECKS), incomplete)


def topics(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer what `khw explain` has texts of: phases, checks, certificates, files, flags and fields."""
    from khw.explain.book import words

    return _items(words(), incomplete)


def nodes(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the machines that the cluster file asks for."""
    return _items(_nodes(context), incomplete)


def hosts(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer what `--limit` takes: the operator's side and the machines, with commas between."""
    from khw.report import OPERATOR

    before, comma, last = incomplete.rpartition(",")
    taken = set(before.split(","))
    free = [name for name in (OPERATOR, *_nodes(context)) if name not in taken]
    return [CompletionItem(f"{before}{comma}{item.value}") for item in _items(free, last)]


def _nodes(context: click.Context) -> list[str]:
    from khw.clusterfile import load

    try:
        spec = load(Path(context.find_root().params["file"]))
    except KhwError:
        return []
    return [planned.name for planned in spec.planned]


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
