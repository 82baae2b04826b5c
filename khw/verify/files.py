"""Unit files and configuration files: each is the one that khw wrote, and if not, which lines are others."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from khw.converge.difference import of_text
from khw.converge.resources import File, Unit
from khw.secret import Secret
from khw.ssh.connection import RemoteCommand
from khw.verify.certificates import is_certificate
from khw.verify.check import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from khw.cluster.model import Node
    from khw.ssh.connection import Completed
    from khw.verify.context import Context

MARK = "== "
SHOWN = 12  # lines of a difference


def wanted(node: Node, context: Context) -> dict[str, str]:
    """Return the text of every file and unit file of this node that is no secret and no certificate, by path."""
    from khw.engine.phases import PHASES

    texts: dict[str, str] = {}
    for phase in PHASES:
        if phase.task and phase.on(node):
            texts |= _texts(phase.task(context.seen(node), context.cluster, context.pki))
    return texts


def _texts(resources: Iterable[object]) -> Iterator[tuple[str, str]]:
    for resource in resources:
        if isinstance(resource, Unit):
            yield f"/etc/systemd/system/{resource.name}", resource.content
        elif isinstance(resource, File) and not isinstance(resource.content, Secret) and not is_certificate(resource):
            text = resource.content
            yield resource.path, text if isinstance(text, str) else text.decode()


def ask(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Ask for all of them at once; one that is not there is not in the answer. A cut-off one may end in no newline."""
    paths = " ".join(shlex.quote(path) for path in wanted(node, context))
    script = f'for f in {paths}; do [ -f "$f" ] && echo && echo "{MARK}$f" && cat "$f"; done'
    return (RemoteCommand(("sh", "-c", script)),)


def judge(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Give one finding for all that is well, else one for each file that is not."""
    seen = parse(answers[0].out)
    texts = wanted(node, context)
    off = {path: problem for path, text in texts.items() if (problem := _problem(path, text, seen.get(path)))}
    for path, (actual, evidence) in off.items():
        yield Finding(
            ok=False,
            subject=path,
            expected="as khw wrote it",
            actual=actual,
            evidence=evidence,
            hint=f"khw run --limit {node.name} writes it again, and restarts what reads it",
        )
    if not off:
        yield Finding(ok=True, expected=f"{len(texts)} files as khw wrote them", actual="they are")


def parse(text: str) -> dict[str, str]:
    """Return the files in the answer, by path."""
    parts = (part.partition("\n") for part in text.split(f"\n{MARK}")[1:])
    return {path: content for path, _, content in parts}


def _problem(path: str, text: str, seen: str | None) -> tuple[str, str] | None:
    if seen is None:
        return f"{path} is missing", ""
    if seen == text:
        return None
    lines = [line for line in of_text(path, seen, text).splitlines()[2:] if line[:1] in "+-"]
    more = [f"… and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return f"{path} was changed", "\n".join([*lines[:SHOWN], *more]) or "only blank lines at its end differ"
