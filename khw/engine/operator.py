"""
What is done from the operator's own side: cloud, certificates, client tools.

Each step is `(run) -> changes`; `run` carries what the steps share. Chapters 1, 2, 3, 4, 8, 10, 11 and 13.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from khw.agent.facts import ARCHITECTURES
from khw.agent.masking import visible
from khw.artifacts.cache import sha256_of
from khw.certs.identities import AUTHORITIES
from khw.checks import Status
from khw.converge.changes import Action, Change
from khw.converge.difference import SALT, of_masked
from khw.errors import KhwError, PkiError, ProviderError, StepError
from khw.files import write_atomically, write_private

if TYPE_CHECKING:
    from pathlib import Path

    from khw.artifacts.store import Store
    from khw.certs.pki import Pki
    from khw.checks import CheckResult
    from khw.cluster.model import Cluster
    from khw.cluster.spec import Spec
    from khw.cluster.workspace import Workspace
    from khw.engine.phases import Phase
    from khw.inventory.provider import Provider
    from khw.ssh.connection import Agent
    from khw.verify import Context


@dataclass(kw_only=True)
class Run:
    """What the steps of one run share. `cluster` and `pki` are there once the machines are known."""

    spec: Spec
    workspace: Workspace
    provider: Provider
    store: Store
    check: bool = False
    foresee: bool = False  # what chapter 3 has not made yet is taken from the cluster file
    agents: Callable[[], tuple[Mapping[str, Agent], Mapping[str, str]]] = lambda: (
        {},
        {},
    )  # reached, unreachable
    notice: Callable[[str], None] = lambda _text: None
    before: Callable[[Phase, str], None] = lambda _phase, _host: None  # a phase begins on a host; it may be held up
    progress: Callable[[str], None] = lambda _text: None  # the next line takes the place of this one
    flag_check: Callable[[Run], list[Change]] = lambda _run: []  # chapter 2's; nothing is looked at without it
    _flags: list[Change] | None = field(default=None, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)  # lanes meet in the two below
    _cluster: Cluster | None = field(default=None, repr=False)
    _pki: Pki | None = field(default=None, repr=False)

    @property
    def cluster(self) -> Cluster:
        """The cluster, discovered at first use."""
        with self._lock:
            if self._cluster is None:
                found = self.provider.foresee() if self.foresee else self.provider.discover()
                self._cluster = replace(found, may_bootstrap=self._may_bootstrap())
            return self._cluster

    @property
    def pki(self) -> Pki:
        """The cluster's authorities and certificates, made or loaded at first use."""
        from khw.certs.pki import load_or_issue

        with self._lock:
            if self._pki is None:
                cluster = self.cluster
                require_kept(self.workspace)
                if cluster.may_bootstrap and not self.check:
                    allow_bootstrap(self.workspace)
                self._pki = load_or_issue(self.workspace.pki, cluster, check=self.check)
                if not self.check and not self.workspace.issued.exists():
                    write_private(self.workspace.issued, b"keys were made\n")
            return self._pki

    def _may_bootstrap(self) -> bool:
        """Whether etcd was never whole: nothing was ever issued, or the note of that is there still."""
        workspace = self.workspace
        new = not workspace.issued.exists() and not (workspace.pki / "etcd-ca.pem").exists()
        return new or workspace.bootstrap.exists()

    def require_flags(self) -> list[Change]:
        """Return what was checked of flags and fields, once a run; FlagError if a pinned binary does not know one."""
        with self._lock:
            if self._flags is None:
                self._flags = self.flag_check(self)
            return self._flags


Step: TypeAlias = Callable[[Run], Iterable[Change]]
Note: TypeAlias = Callable[[Run], None]


def require_kept(workspace: Workspace) -> None:
    """Stop where a key is gone that was there: load_or_issue sees a loss by what is left, and nothing may be left."""
    if not workspace.issued.exists():
        return
    authorities = [f"{authority.name}-ca{part}.pem" for authority in AUTHORITIES for part in ("", "-key")]
    kept = ("encryption-key", *authorities, "service-accounts-key.pem")
    lost = [str(workspace.pki / name) for name in kept if not (workspace.pki / name).exists()]
    if lost:
        raise PkiError(
            f"{', '.join(lost)} {'is' if len(lost) == 1 else 'are'} lost, and the cluster is built on it: "
            "khw makes no other in its place",
            hint=f"restore it from a backup; or give the cluster up: khw destroy, remove {workspace.pki}, khw run",
        )


def allow_bootstrap(workspace: Workspace) -> None:
    """Note that etcd may be started as a new cluster, until it was whole for the first time."""
    if not workspace.bootstrap.exists():
        workspace.prepare()
        write_private(workspace.bootstrap, b"etcd of this cluster was never whole\n")


def etcd_lives(run: Run) -> None:
    """Chapter 7: from now on members only ever join."""
    run.workspace.bootstrap.unlink(missing_ok=True)


def give_up(workspace: Workspace) -> None:
    """Chapter 14, with nothing left: the next run may make a new cluster."""
    workspace.issued.unlink(missing_ok=True)
    workspace.machines.unlink(missing_ok=True)
    allow_bootstrap(workspace)


def prerequisites(run: Run) -> Iterable[Change]:
    """Chapter 1: what the provider misses, all of it at once, before anything is made."""
    results = run.provider.preflight()
    raise_failed("prerequisites", results, ProviderError)
    return [_unchanged(f"finding:{result.name}", result.actual) for result in results]


def tools(run: Run) -> Iterable[Change]:
    """Chapter 2: every artifact into the cache, kubectl into the cluster's own bin, every flag held against them."""
    missing = [name for name in run.store.lock.entries if not run.store.digest(name)]
    fetched = [Change(resource=f"artifact:{name}", action=Action.CREATED) for name in missing]
    target = run.workspace.bin / "kubectl"
    if run.check:
        return [*fetched, _installed(run.store.digest("kubectl", here()), target), *run.require_flags()]
    run.store.fetch(forms=["zstd"], progress=run.progress)
    kubectl = run.store.get("kubectl", here(), progress=run.progress)
    return [*fetched, install(kubectl.path, target), *run.require_flags()]


def here() -> str:
    """Return this machine's architecture, as Go calls it: kubectl runs here, whatever the nodes are."""
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


def compute(run: Run) -> Iterable[Change]:
    """Chapter 3: network, firewall, address and machines."""
    changes = list(run.provider.ensure_compute(check=run.check))
    made = {change.resource for change in changes if change.changed}
    if not run.check and made >= {f"instance:{machine.name}" for machine in run.spec.planned} != set():
        allow_bootstrap(run.workspace)  # no machine was there: no member either
    return changes


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
    from khw.tasks.kubeconfigs import remote_admin

    text = remote_admin(run.cluster, run.pki).reveal()
    path = run.workspace.kubeconfig
    found = path.read_bytes() if path.exists() else None
    if found == text:
        return [_unchanged(f"kubeconfig:{path.name}")]
    if not run.check:
        write_private(path, text)
    seen = None if found is None else visible(found.decode(errors="replace"), SALT)
    return [
        Change(
            resource=f"kubeconfig:{path.name}",
            action=Action.CREATED if found is None else Action.UPDATED,
            before="" if found is None else "another",
            after=run.cluster.api_url,
            diff=of_masked(path.name, seen, text.decode()) if found is None or seen is not None else "",
        )
    ]


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
        kubectl=Kubectl(run.workspace.bin / "kubectl", run.workspace.kubeconfig, run.spec.timeouts.command),
    )


def install(source: Path, target: Path) -> Change:
    """Put an executable into place if it is not the same already."""
    change = _installed(sha256_of(source), target)
    if change.changed:
        write_atomically(target, source.read_bytes(), mode=0o755)
    return change


def _installed(sha256: str, target: Path) -> Change:
    """Return what putting an executable of this digest ('': not known yet) into place does."""
    if not target.exists():
        return Change(resource=f"tool:{target.name}", action=Action.CREATED, after=str(target))
    if sha256_of(target) == sha256:
        return _unchanged(f"tool:{target.name}")
    return Change(resource=f"tool:{target.name}", action=Action.UPDATED, after=str(target), certain=bool(sha256))


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
