"""A page a command, from click's own tree: HTML and manual pages alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from from_code.errors import exit_codes
from from_code.markdown import definitions, mark_code
from khw.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = (
    ("`khw.yaml`", "The cluster file: **khw.yaml**(5). `-f` or `KHW_FILE` names another."),
    (
        "`.khw/CLUSTER/`",
        "Beside it, for its owner's eyes only: keys, certificates, kubeconfig, client tools, journals.",
    ),
    ("The cache", "Binaries and images; `khw artifacts where` prints it, `KHW_CACHE` sets it."),
)


def pages() -> dict[str, str]:
    """Return the pages of all commands."""
    return {file_name(_path(context)): _page(context) for context in _walk(_root())}


def summaries() -> list[tuple[tuple[str, ...], str]]:
    """Return each command's path and what it does, in a line."""
    return [(_path(context), _summary(context.command)) for context in _walk(_root())]


def file_name(path: tuple[str, ...]) -> str:
    """Return the page's name: that of its manual page."""
    return "-".join(path)


def _root() -> click.Context:
    return click.Context(main, info_name="khw", **main.context_settings)


def _walk(context: click.Context) -> Iterator[click.Context]:
    yield context
    for child in _children(context):
        yield from _walk(child)


def _children(context: click.Context) -> Iterator[click.Context]:
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command and not command.hidden:
                yield click.Context(command, info_name=name, parent=context)


def _path(context: click.Context) -> tuple[str, ...]:
    return tuple(context.command_path.split())


def _summary(command: click.Command) -> str:
    return re.sub(r"\s+", " ", (command.help or "").partition("\n\n")[0]).strip().rstrip(".")


def _page(context: click.Context) -> str:
    path = _path(context)
    usage = " ".join((*path, *context.command.collect_usage_pieces(context)))
    parts = [f"# {' '.join(path)}", f"## Synopsis\n\n`{usage}`", f"## Description\n\n{_help(context.command)}"]
    options = [record for parameter in context.command.get_params(context) if (record := _option(parameter, context))]
    if options:
        parts.append("## Options\n\n" + definitions(options))
    children = [
        (f"[{' '.join(_path(child))}]({file_name(_path(child))}.md)", mark_code(_summary(child.command)))
        for child in _children(context)
    ]
    if children:
        parts.append("## Commands\n\n" + definitions(children))
    if len(path) == 1:
        parts.append("## Exit codes\n\nData goes to stdout, progress and errors to stderr.")
        parts.append(definitions(exit_codes()))
        parts.append("## Files\n\n" + definitions(FILES))
    else:
        parts.append(f"## See also\n\n[{' '.join(path[:-1])}]({file_name(path[:-1])}.md)")
    return "\n\n".join(parts) + "\n"


def _option(parameter: click.Parameter, context: click.Context) -> tuple[str, str] | None:
    record = parameter.get_help_record(context)
    if not record:
        return None
    names, text = record
    return f"`{names}`", mark_code(text) or "-"


def _help(command: click.Command) -> str:
    r"""Return a command's help as Markdown; paragraphs after \b are shown as they stand."""
    shown = []
    for paragraph in re.split(r"\n\s*\n", command.help or ""):
        if paragraph.startswith("\b"):
            shown.append("```text\n" + paragraph.removeprefix("\b").strip("\n") + "\n```")
        else:
            shown.append(mark_code(re.sub(r"\s+", " ", paragraph).strip()))
    return "\n\n".join(shown)
