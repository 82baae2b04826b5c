"""The guide for one cluster: each phase as a script that does it by hand, on each host or on all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from khw.converge.limits import limited
from khw.engine.report import OPERATOR
from khw.errors import UsageError
from khw.explain import operator_shell, symbols
from khw.explain.book import phase_entry
from khw.explain.shell import FUNCTIONS, Needed, script

if TYPE_CHECKING:
    from pathlib import Path

    from khw.artifacts.store import Store
    from khw.certs.pki import Pki
    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource
    from khw.engine.phases import Phase
    from khw.inventory.gcp.clients import Api


@dataclass(frozen=True)
class Guide:
    """
    A cluster, as it is done by hand.

    `cluster` has its nodes' facts as far as they are known; `home` is where the operator keeps what is the cluster's,
    `ssh_key` the key that logs in; `api` is None where the machines are the user's own.
    """

    cluster: Cluster
    store: Store
    home: Path
    ssh_key: Path
    api: Api | None
    _needed: dict[tuple[str, str], Needed] = field(default_factory=dict, repr=False)

    @property
    def in_lab(self) -> bool:
        """Whether the project is not Google's own."""
        return self.api is not None and self.api.gcp.endpoint is not None

    @cached_property
    def pki(self) -> Pki:
        """Keys and certificates by name: no script holds a secret."""
        return symbols.pki(self.cluster)

    def resources(self, phase: Phase, node: Node) -> list[Resource]:
        """Return what a phase asks for on a node."""
        if phase.task is None or not phase.on(node):
            return []
        wanted = phase.task(node, self.cluster, self.pki)
        return [limited(resource, self.cluster.spec.timeouts) for resource in wanted]

    def hosts(self, phase: Phase) -> list[str]:
        """Return where the phase has something to be done, the operator's machine first."""
        nodes = [node.name for node in self.nodes(phase)]
        ours = self._ours(phase)
        return [OPERATOR, *nodes] if ours else nodes

    def nodes(self, phase: Phase) -> Sequence[Node]:
        """Return the nodes that have a part in a phase: of once-per-cluster work only the first."""
        mine = [node for node in self.cluster.nodes if phase.on(node)]
        return mine[:1] if phase.once else mine

    def shell_for(self, phase: Phase, host: str | None) -> str:
        """Return the phase's script; UsageError if the host has no part in it."""
        hosts = self.hosts(phase)
        if host and host not in hosts:
            raise UsageError(f"{phase.name} has nothing to do on {host}", hint="its hosts: " + ", ".join(hosts))
        return self.shell(phase, host or "")

    def shell(self, phase: Phase, host: str = "") -> str:
        """Return a phase as a script for one host, or one that finds out where it runs."""
        hosts = [host] if host else self.hosts(phase)
        head = [_head(phase, hosts), "set -eu", self._places(hosts)]
        bodies = {name: self._body(phase, name) for name in hosts}
        head += [FUNCTIONS[name] for name in self._functions(phase, hosts)]
        if host:
            return "\n\n".join((*head, bodies[host])) + "\n"
        return "\n\n".join((*head, *_choose(bodies, [node.name for node in self.cluster.nodes]))) + "\n"

    def _body(self, phase: Phase, host: str) -> str:
        return self._ours(phase) if host == OPERATOR else self._theirs(phase, host)

    def _theirs(self, phase: Phase, host: str) -> str:
        needed = self._needed.setdefault((phase.name, host), Needed())
        return script(self.resources(phase, self.cluster.node(host)), needed)

    def _ours(self, phase: Phase) -> str:
        """Return what is done here: the operator's own part, then what is copied to the nodes."""
        ours = operator_shell.of(self, phase.name)
        copies = list(self._copies(phase))
        if not ours and not copies:
            return ""
        reaches = bool(copies) or phase.name == "smoke"
        blocks = [operator_shell.remote(self.cluster.nodes)] if reaches else []
        return "\n\n".join((*blocks, *([ours] if ours else []), *(["\n".join(copies)] if copies else [])))

    def _copies(self, phase: Phase) -> Iterator[str]:
        """Yield what is copied to the nodes; those that need the same, together."""
        groups: dict[tuple[str, ...], list[str]] = {}
        for node in self.nodes(phase):
            needed = self._needed.setdefault((phase.name, node.name), Needed())
            script(self.resources(phase, node), needed)
            files = (*(f"pki/{name}" for name in needed.pki), *(f"artifacts/{name}" for name in needed.artifacts))
            groups.setdefault(files, []).append(node.name)
        for files, names in groups.items():
            if files and len(names) == 1:
                yield " \\\n  ".join((f"copy {names[0]}", *files))
            elif files:
                copied = " \\\n    ".join(('  copy "$node"', *files))
                yield f"for node in {' '.join(names)}; do\n{copied}\ndone"

    def _functions(self, phase: Phase, hosts: Sequence[str]) -> Iterator[str]:
        rows = [self._needed[phase.name, host] for host in hosts if (phase.name, host) in self._needed]
        return (name for name in FUNCTIONS if any(name in row.functions for row in rows))

    def _places(self, hosts: Sequence[str]) -> str:
        user = next((node.ssh_user for node in self.cluster.nodes), "root")
        files = f"{'/root' if user == 'root' else f'/home/{user}'}/{operator_shell.FILES}"
        rows = []
        if OPERATOR in hosts:
            rows.append(f"KHW_HOME=${{KHW_HOME:-{self.home}}}  # keys, certificates, artifacts, kubeconfig")
            rows.append(f"KHW_SSH_KEY=${{KHW_SSH_KEY:-{self.ssh_key}}}")
        if any(host != OPERATOR for host in hosts):
            rows.append(f"KHW_FILES=${{KHW_FILES:-{files}}}  # on a node: what was copied to it")
            rows.append("PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin")
        return "\n".join(rows)


def _head(phase: Phase, hosts: Sequence[str]) -> str:
    entry = phase_entry(phase.name)
    rows = ["#!/bin/sh", f"# Chapter {phase.chapter}, {phase.name}: {phase.title}."]
    rows += [f"# {line}" for line in (entry.what if entry else "").splitlines()]
    nodes = [host for host in hosts if host != OPERATOR]
    if OPERATOR in hosts:
        rows.append("# On your own machine" + (" first; then" if nodes else "."))
    if nodes:
        together = ", at the same time (they wait for each other)" if len(nodes) > 1 else ""
        rows.append(f"# as root on {', '.join(nodes)}{together}.")
    return "\n".join(rows)


def _choose(bodies: dict[str, str], nodes: Sequence[str]) -> Iterator[str]:
    """Yield a function for each host, and the choice between them: by the machine's name, or $KHW_HOST."""
    cases = []
    for host, body in bodies.items():
        name = f"on_{host}".replace("-", "_").replace(".", "_")
        yield f"{name}() {{\n{body}\n}}"
        if host != OPERATOR:
            cases.append(f"  {host}) {name} ;;")
    others = [name for name in nodes if name not in bodies]
    if others:
        cases.append(f"  {' | '.join(others)}) echo 'nothing is to be done here' ;;")
    cases.append("  *) on_operator ;;" if OPERATOR in bodies else "  *) echo 'nothing is to be done here' ;;")
    yield "case ${KHW_HOST:-$(uname -n)} in\n" + "\n".join(cases) + "\nesac"
