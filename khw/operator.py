"""
What is done from the operator's own side: cloud, certificates, client tools.

Each step is `(run) -> changes`; `run` carries what the steps share. Chapters 1, 2, 3, 4, 8, 10, 11 and 13.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from khw.changes import Action, Change
from khw.checks import Status
from khw.errors import KhwError, ProviderError, StepError
from khw.files import write_atomically, write_private

if TYPE_CHECKING:
    from pathlib import Path

    from khw.artifacts.store import Store
    from khw.certs.pki import Pki
    from khw.checks import CheckResult
    from khw.cluster import Cluster, Spec
    from khw.connection import Agent
    from khw.inventory.provider import Provider
    from khw.verify import Context
    from khw.workspace import Workspace


@dataclass(kw_only=True)
class Run:
    """What the steps of one run share. `cluster` and `pki` are there once the machines are known."""

    spec: Spec
    workspace: Workspace
    provider: Provider
    store: Store
    check: bool = False
    agents: Callable[[], tuple[Mapping[str, Agent], Mapping[str, str]]] = lambda: (
        {},
        {},
    )  # reached, unreachable
    notice: Callable[[str], None] = lambda _text: None
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)  # lanes meet in the two below
    _cluster: Cluster | None = field(default=None, repr=False)
    _pki: Pki | None = field(default=None, repr=False)

    @property
    def cluster(self) -> Cluster:
        """The cluster, discovered at first use."""
        with self._lock:
            if self._cluster is None:
                self._cluster = self.provider.discover()
            return self._cluster

    @property
    def pki(self) -> Pki:
        """The cluster's authorities and certificates, made or loaded at first use."""
        from khw.certs.pki import load_or_issue

        with self._lock:
            if self._pki is None:
                self._pki = load_or_issue(self.workspace.pki, self.cluster, check=self.check)
            return self._pki


Step: TypeAlias = Callable[[Run], Iterable[Change]]


def prerequisites(run: Run) -> Iterable[Change]:
    """Chapter 1: what the provider misses, all of it at once, before anything is made."""
    results = run.provider.preflight()
    raise_failed("prerequisites", results, ProviderError)
    return [_unchanged(f"finding:{result.name}", result.actual) for result in results]


def tools(run: Run) -> Iterable[Change]:
    """Chapter 2: every artifact into the cache, kubectl into the cluster's own bin."""
    run.store.fetch(forms=["zstd"], progress=run.notice)
    kubectl = run.store.get("kubectl", progress=run.notice)
    return [install(kubectl.path, run.workspace.bin / "kubectl", check=run.check)]


def compute(run: Run) -> Iterable[Change]:
    """Chapter 3: network, firewall, address and machines."""
    return run.provider.ensure_compute(check=run.check)


def certificates(run: Run) -> Iterable[Change]:
    """Chapter 4: issue what is missing, or no longer fits."""
    return run.pki.changes


def load_balancer(run: Run) -> Iterable[Change]:
    """Chapter 8: the API's address and who answers it."""
    return run.provider.ensure_load_balancer(run.cluster, check=run.check)


def routes(run: Run) -> Iterable[Change]:
    """Chapter 11: a route to each worker's pods."""
    return run.provider.ensure_routes(run.cluster, check=run.check)


def kubectl(run: Run) -> Iterable[Change]:
    """Chapter 10: the administrator's kubeconfig, through the load balancer; the user's own is not touched."""
    from khw.certs.kubeconfig import render

    text = render(
        server=run.cluster.api_url,
        ca=run.pki.authority("kubernetes").certificate,
        pair=run.pki.pair("admin"),
        user="admin",
        cluster_name=run.cluster.name,
    ).reveal()
    path = run.workspace.kubeconfig
    if path.exists() and path.read_bytes() == text:
        return [_unchanged(f"kubeconfig:{path.name}")]
    action = Action.UPDATED if path.exists() else Action.CREATED
    if not run.check:
        write_private(path, text)
    return [Change(resource=f"kubeconfig:{path.name}", action=action, after=run.cluster.api_url)]


def smoke(run: Run) -> Iterable[Change]:
    """
    Chapter 13: the guide's smoke test, and what both editions leave out.

    Where nothing has changed since it passed it is not done again: a run without changes is to take no time.
    """
    if run.check:
        return []
    if run.workspace.smoked.exists():
        return [_unchanged("smoke test", f"passed {run.workspace.smoked.read_text()}; nothing has changed since")]
    from khw.verify.smoke import run as smoke_test

    results = smoke_test(verify_context(run))
    raise_failed("the smoke test", results, StepError)
    write_atomically(run.workspace.smoked, datetime.now(UTC).isoformat(timespec="seconds").encode())
    return [_unchanged(f"smoke:{result.name}", result.actual) for result in results]


def verify_context(run: Run) -> Context:
    """Return what checks look at: the cluster, its agents, kubectl."""
    from khw.kubectl import Kubectl
    from khw.verify import Context

    reached, unreachable = run.agents()
    return Context(
        cluster=run.cluster,
        pki=run.pki,
        agents=reached,
        unreachable=unreachable,
        provider=run.provider,
        kubectl=Kubectl(run.workspace.bin / "kubectl", run.workspace.kubeconfig),
    )


def install(source: Path, target: Path, *, check: bool = False) -> Change:
    """Put an executable into place if it is not the same already."""
    data = source.read_bytes()
    if target.exists() and target.stat().st_size == len(data) and target.read_bytes() == data:
        return _unchanged(f"tool:{target.name}")
    action = Action.UPDATED if target.exists() else Action.CREATED
    if not check:
        write_atomically(target, data, mode=0o755)
    return Change(resource=f"tool:{target.name}", action=action, after=str(target))


def raise_failed(what: str, results: Iterable[CheckResult], error: type[KhwError]) -> None:
    """Raise one error that names every failed check, each with its way out."""
    failed = [result for result in results if result.status is Status.FAILED]
    if failed:
        lines = "\n".join(f"  {r.name} {r.node}: expected {r.expected}, saw {r.actual}" for r in failed)
        hints = "\n".join(dict.fromkeys(r.hint for r in failed if r.hint))
        msg = f"{what}: {len(failed)} failed\n{lines}"
        raise error(msg, hint=hints)


def _unchanged(resource: str, seen: str = "") -> Change:
    return Change(resource=resource, action=Action.UNCHANGED, after=seen)
