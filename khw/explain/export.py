"""The whole guide for one cluster as Markdown: each phase with its why, what it writes, and the shell that does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from khw.converge.resources import Unit
from khw.engine.phases import PHASES
from khw.engine.report import OPERATOR
from khw.explain import book
from khw.flags.unitfile import commands, flag_names

if TYPE_CHECKING:
    from khw.engine.phases import Phase
    from khw.explain.guide import Guide


def markdown(guide: Guide) -> str:
    """Return the guide; every block of shell runs as it is, where its heading says."""
    return "\n".join([*_head(guide), *(line for phase in PHASES for line in _phase(guide, phase))]) + "\n"


def _head(guide: Guide) -> Iterator[str]:
    cluster = guide.cluster
    yield f"# Kubernetes The Hard Way, for the cluster {cluster.name}"
    yield ""
    yield "Written by `khw export` from what khw itself does. Each block of shell is whole: copy it into a file or a"
    yield "terminal, in the order of this page. No key of khw's is in it: keys are made on the spot, in chapter 4."
    yield ""
    yield "| machine | role | internal | external | pods | SSH |"
    yield "|--|--|--|--|--|--|"
    for node in cluster.nodes:
        ssh = f"{node.ssh_user}@{node.ssh_host}:{node.ssh_port}" if node.ssh_host else "-"
        columns = (node.name, node.role, node.internal_ip, node.external_ip, node.pod_cidr, ssh)
        yield "| " + " | ".join(str(column or "-") for column in columns) + " |"
    yield ""
    ranges = f"Services have {cluster.network.service_cidr}, pods {cluster.network.cluster_cidr}"
    yield f"The API is at {cluster.api_url}; {ranges}."
    yield ""


def _phase(guide: Guide, phase: Phase) -> Iterator[str]:
    entry = book.phase_entry(phase.name)
    hosts = guide.hosts(phase)
    yield f"## {phase.chapter}. {phase.name}: {phase.title}"
    yield ""
    if entry:
        yield from (entry.what, "", entry.why, "", f"Without it: {entry.breaks}", "", f"Read more: {entry.source}", "")
    yield from _explained(guide, phase)
    for host in hosts:
        yield f"### On {'your own machine' if host == OPERATOR else host}"
        yield ""
        yield "````sh"
        yield guide.shell(phase, host).rstrip("\n")
        yield "````"
        yield ""


def _explained(guide: Guide, phase: Phase) -> Iterator[str]:
    """Yield a table of the files and of the flags that the phase brings, each with its why."""
    rows: dict[str, str] = {}
    for node in guide.nodes(phase):
        for resource in guide.resources(phase, node):
            if isinstance(resource, Unit):
                rows |= _told(f"/etc/systemd/system/{resource.name}")
                rows |= _flags(resource)
            elif path := getattr(resource, "path", ""):
                rows |= _told(path)
    if rows:
        yield "| what | why |"
        yield "|--|--|"
        yield from (f"| `{name}` | {_cell(text)} |" for name, text in rows.items())
        yield ""


def _told(path: str) -> dict[str, str]:
    entry = book.file_entry(path)
    return {path: f"{entry.what} {entry.why}"} if entry else {}


def _flags(unit: Unit) -> dict[str, str]:
    component = unit.name.removesuffix(".service")
    names = [name for argv in commands(unit.content) for name in flag_names(argv)]
    entries = {name: book.flag_entry(component, name) for name in names}
    return {f"--{name}": f"{entry.what} {entry.why}" for name, entry in entries.items() if entry}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
