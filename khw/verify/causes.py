"""
What is behind failed checks: a few root causes, each with the checks that it explains.

Every failed check accuses a thing (`Thing`: a unit, a file, a machine, a route …). `needs` says what a thing cannot be
well without, and how many of them: one etcd member of three is missed by nobody, two are. A thing that was accused and
has all that it needs is a root cause; one that lacks something is a symptom of that. Things of one name on several
nodes are one cause (`unit:etcd.service` on two controllers). The JSON form is `Cause.as_dict`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from khw.checks import Status
from khw.cluster.spec import Role
from khw.engine.gates import Quorum

if TYPE_CHECKING:
    from khw.checks import CheckResult
    from khw.cluster.model import Cluster

ALL, MAJORITY, ANY = Quorum.ALL, Quorum.MAJORITY, Quorum.ANY
UNITS = "/etc/systemd/system"
NETWORKS = "/etc/cni/net.d/"
COMPONENTS = ("kube-controller-manager", "kube-scheduler")
WAYS_IN = ("allow-external", "allow-ssh", "allow-bastion")  # firewall rules on the way of a login
NOT_TO_THE_API = ("nodeports", "router:", "allow-ssh", "bastion", "deny-ssh")


@dataclass(frozen=True, slots=True, order=True)
class Thing:
    """Something that can be broken: of a kind, with a name, on a node ('' if it is the cluster's)."""

    kind: str
    name: str = ""
    node: str = ""

    @property
    def id(self) -> str:
        """What the JSON calls it, whatever the node."""
        return f"{self.kind}:{self.name}" if self.name else self.kind


@dataclass(frozen=True, slots=True)
class Needs:
    """So many of these things must be well."""

    things: tuple[Thing, ...]
    quorum: Quorum = ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A root cause: what is broken and where, the checks that saw it, and the failed checks that it explains."""

    kind: str
    name: str
    nodes: tuple[str, ...]
    checks: tuple[CheckResult, ...]
    symptoms: tuple[CheckResult, ...] = ()

    @property
    def id(self) -> str:
        """What programs know it by: 'unit:etcd.service', 'machine', 'route' and so on."""
        return Thing(self.kind, self.name).id

    @property
    def title(self) -> str:
        """What is broken, in a line."""
        what = TITLES.get(self.kind, "{name}").format(name=self.name or self.checks[0].check)
        return f"{what} on {_listed(self.nodes)}" if any(self.nodes) else what

    @property
    def first(self) -> CheckResult:
        """The check that shows it: its likely cause, evidence and command are the cause's own."""
        return next((check for check in self.checks if check.evidence), self.checks[0])

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form: an element of "causes" in `khw verify -o json`."""
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "nodes": [node for node in self.nodes if node],
            "title": self.title,
            "seen": self.first.actual,
            "likely": self.first.cause,
            "evidence": self.first.evidence,
            "command": self.first.command,
            "way_out": self.first.hint,
            "checks": [{"name": check.name, "node": check.node} for check in self.checks],
            "symptoms": [{"name": check.name, "node": check.node} for check in self.symptoms],
        }


TITLES: Mapping[str, str] = {
    "machine": "the machine does not answer",
    "disk": "{name} is full",
    "clock": "the clock is off",
    "cloud": "{name} in the project is not as it should be",
    "file": "{name} is not what khw wrote",
    "unit": "{name} does not run",
    "etcd-member": "etcd runs and does not answer",
    "etcd-alarm": "etcd has raised an alarm",
    "etcd": "etcd has no leader that all members follow",
    "etcd-members": "etcd's members are not those that it should have",
    "etcd-open": "etcd lets in who has no certificate",
    "api-server": "the API server runs and is not ready",
    "api-names": "the API server's certificate is not for all of its names",
    "load-balancer": "the API does not answer at its external address",
    "rbac": "the API server has no right to reach kubelets",
    "admission": "nobody answers the webhook {name}",
    "forwarding": "packets of pods are not forwarded",
    "component": "{name} runs and is not healthy",
    "lease": "nobody leads as {name}",
    "runtime": "containerd runs and its CRI does not",
    "images": "images are missing",
    "swap": "swap is on, or comes back",
    "route": "the pod route is missing or wrong",
    "node": "the node is not Ready",
    "pod": "no test pod starts",
    "api-to-kubelet": "the API servers do not get through to kubelets",
    "pods-network": "pods do not reach pods",
    "tls": "a TLS connection is not as it must be: {name}",
    "dns": "names do not resolve in pods",
    "coredns": "CoreDNS is not as it should be",
    "service-rules": "Service addresses do not work",
    "node-port": "NodePorts do not answer from outside",
    "sandbox": "{name} has lost its sandbox",
}
"""What is said of a cause of each kind; in the order of this table causes are shown."""

_KIND_OF = {
    "reachable": "machine",
    "clock": "clock",
    "etcd": "etcd-member",
    "etcd leader": "etcd",
    "etcd members": "etcd-members",
    "etcd alarms": "etcd-alarm",
    "etcd mutual TLS": "etcd-open",
    "API server": "api-server",
    "API server names": "api-names",
    "RBAC user kubernetes": "rbac",
    "forwarding": "forwarding",
    "load balancer": "load-balancer",
    "CRI": "runtime",
    "CRI images": "images",
    "swap": "swap",
    "route": "route",
    "node": "node",
    "test pod": "pod",
    "pod to pod": "pods-network",
    "service": "service-rules",
    "NodePort": "node-port",
    "CoreDNS": "coredns",
    "DNS": "dns",
    "logs": "api-to-kubelet",
    "exec": "api-to-kubelet",
    "port-forward": "api-to-kubelet",
}
_NAMED = {
    "unit": "unit",
    "file": "file",
    "certificates": "file",
    "disk": "disk",
    "exposure": "sandbox",
    "cloud": "cloud",
    "admission": "admission",
    "healthz": "component",
    "lease": "lease",
    "TLS": "tls",
}
"""Checks whose subject is the thing's name."""


def accused(result: CheckResult) -> Thing:
    """Return what a failed check is directly about."""
    if kind := _NAMED.get(result.check):
        return Thing(kind, result.subject, result.node)
    kind = _KIND_OF.get(result.name) or _KIND_OF.get(result.check)
    return Thing(kind, "", result.node) if kind else Thing("check", result.name, result.node)


def diagnose(results: Iterable[CheckResult], cluster: Cluster) -> list[Cause]:
    """Return the root causes of what failed, the likeliest to matter first."""
    failed: dict[Thing, list[CheckResult]] = {}
    for result in results:
        if result.status is Status.FAILED:
            failed.setdefault(accused(result), []).append(result)
    model = Model(cluster, frozenset(failed))
    rows: dict[tuple[str, str], _Row] = {}
    roots = {thing: model.roots(thing) for thing in failed}
    for thing, checks in failed.items():
        if roots[thing] == {thing}:
            row = rows.setdefault((thing.kind, thing.name), _Row())
            row.nodes.append(thing.node)
            row.checks += checks
    for thing, checks in failed.items():
        if roots[thing] != {thing}:
            first = min(roots[thing], key=_weight)
            rows[first.kind, first.name].symptoms += checks
    causes = [
        Cause(
            kind=kind,
            name=name,
            nodes=tuple(dict.fromkeys(row.nodes)),
            checks=tuple(row.checks),
            symptoms=tuple(row.symptoms),
        )
        for (kind, name), row in rows.items()
    ]
    return sorted(causes, key=lambda cause: _weight(Thing(cause.kind, cause.name)))


@dataclass(slots=True)
class _Row:
    nodes: list[str] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    symptoms: list[CheckResult] = field(default_factory=list)


def _weight(thing: Thing) -> tuple[int, Thing]:
    kinds = list(TITLES)
    return kinds.index(thing.kind) if thing.kind in kinds else len(kinds), thing


@dataclass
class Model:
    """Which thing needs which in this cluster, and what follows from those that were accused."""

    cluster: Cluster
    accused: frozenset[Thing]
    _roots: dict[Thing, frozenset[Thing]] = field(default_factory=dict)

    def roots(self, thing: Thing) -> frozenset[Thing]:
        """Return the root causes of a thing's not being well; none if nothing says that it is not."""
        if thing not in self._roots:
            self._roots[thing] = frozenset()  # a circle explains nothing
            behind = frozenset(chain.from_iterable(self._lost(need) for need in self.needs(thing)))
            self._roots[thing] = behind or (frozenset({thing}) if thing in self.accused else frozenset())
        return self._roots[thing]

    def _lost(self, need: Needs) -> frozenset[Thing]:
        """Return the root causes of a need that is not met."""
        missing = [roots for thing in need.things if (roots := self.roots(thing))]
        left = len(need.things) - len(missing)
        return frozenset().union(*missing) if left < need.quorum.of(len(need.things)) else frozenset()

    def needs(self, thing: Thing) -> Iterable[Needs]:  # noqa: PLR0911, PLR0912 - one case a kind
        """Return what a thing cannot be well without: the whole model."""
        here = thing.node
        match thing.kind:
            case "machine":
                doors = [thing for rule in WAYS_IN for thing in self._cloud(rule)]
                bastion = Thing("cloud", f"instance:{self.cluster.spec.bastion_name}")  # of private nodes
                return [_all(*doors, bastion, Thing("cloud", f"instance:{here}"))]
            case "cloud" if "allow-nodes" in thing.name:  # by their external addresses: one that is off has none
                return [_all(*(Thing("machine", "", node.name) for node in self.cluster.nodes))]
            case "unit":
                return self._unit(thing)
            case "sandbox":
                return [_all(Thing("file", f"{UNITS}/{thing.name}", here))]
            case "file":  # a key is another's because its certificate is
                return [_all(Thing("file", thing.name.replace("-key.pem", ".pem"), here))]
            case "etcd-member" | "etcd-open" | "etcd-alarm":
                etcd = Thing("unit", "etcd.service", here)
                inside = etcd if thing.kind == "etcd-member" else Thing("etcd-member", "", here)
                others = tuple(Thing("unit", "etcd.service", node.name) for node in self.cluster.etcd_members)
                return [_all(inside), Needs(others, MAJORITY), *self._internal_network, *self._ground(here)]
            case "etcd":
                return [Needs(self._on_members("etcd-member"), MAJORITY), *self._internal_network]
            case "etcd-members":
                return [Needs(self._on_members("etcd-member")), *self._internal_network]
            case "api-server":
                return [_all(Thing("unit", "kube-apiserver.service", here), Thing("etcd")), *self._ground(here)]
            case "component":
                return [_all(Thing("unit", f"{thing.name}.service", here)), *self._ground(here)]
            case "api-names":
                return [_all(*self._here("/var/lib/kubernetes/kubernetes", here))]
            case "load-balancer":
                ways = [thing for thing in self._cloud() if not any(part in thing.name for part in NOT_TO_THE_API)]
                pairs = self._files("/var/lib/kubernetes/kubernetes")  # whoever is sent to that one is not served
                sides = [Needs(self._on_controllers(kind), ANY) for kind in ("api-server", "api-names")]
                sides += [Needs(units, ANY) for units in self._balancers()]
                return [*sides, _all(*ways, *pairs)]
            case "route":  # on machines of one's own, which have them themselves
                mine = (Thing("unit", "pod-routes.service", here), Thing("file", "/etc/kubernetes/pod-routes", here))
                return [_all(*mine)]
            case "rbac" | "admission":
                return [_all(API)]  # where they are looked at
            case "lease":
                names = tuple(Thing("component", thing.name, node.name) for node in self.cluster.controllers)
                return [_all(API), Needs(names, ANY)]
            case "images" | "runtime":
                containerd = Thing("unit", "containerd.service", here)
                inside = containerd if thing.kind == "runtime" else Thing("runtime", "", here)
                return [_all(inside), *self._ground(here)]
            case "node":
                return [_all(API, *self._worker(here), *self._cloud("router:")), *self._ground(here)]
            case "pod":
                leading = [Needs(tuple(Thing("lease", name) for name in COMPONENTS))]
                mine = (Thing("node", "", here), Thing("images", "", here))
                return [_all(API, *mine, *self._of("admission")), *self._written, *leading]
            case "tls":
                return self._both_ends(thing)
            case _:
                return self._seen_from_outside(thing)

    def _seen_from_outside(self, thing: Thing) -> Iterable[Needs]:  # noqa: PLR0911 - one return a kind
        """Return what the checks of chapters 11 to 13 stand on."""
        here = thing.node
        pods = [Thing("pod", "", here)] if here else list(self._on_workers("pod"))
        proxy = Thing("unit", "kube-proxy.service", here)
        routes = self._on_workers("route")
        filters = self._on_workers("forwarding")
        network = [*self._cloud("allow-internal"), *routes, *filters, *self._files(NETWORKS)]
        asked = Thing("api-to-kubelet", "", here)  # by exec: what a pod sees, it is asked in the pod
        match thing.kind:
            case "pods-network":
                return [_all(*self._on_workers("pod"), asked, *network)]
            case "service-rules":
                return [_all(*pods, asked, proxy, *self._kube_proxy(here), *network)]
            case "node-port":
                way = (*network, *self._cloud("allow-nodeports"))  # on to whichever worker has a pod
                return [_all(*pods, proxy, *self._kube_proxy(here), *way)]
            case "coredns":
                return [_all(API, *self._on_workers("pod")), *self._written, _all(*self._on_workers("service-rules"))]
            case "dns":
                kubelet = Thing("file", "/var/lib/kubelet/kubelet-config.yaml", here)
                return [_all(kubelet, *pods, asked, Thing("coredns"), Thing("service-rules", "", here), *network)]
            case "api-to-kubelet":
                kubelets = [Thing("rbac"), *self._serving(here), *self._cloud("allow-internal")]
                return [_all(API, *pods, *kubelets), *self._client_pair()]
            case "check":
                leads = [Thing("lease", name) for name in COMPONENTS]
                keys = list(self._files("/var/lib/kubernetes/encryption-config.yaml"))
                keys += self._files("/var/lib/kubernetes/service-account")
                return [
                    _all(API, *pods, asked, *leads, *keys, *self._of("admission")),
                    *self._written,
                    *self._named_components(thing),
                    *self._standing_for(here),
                ]
            case _:
                return []

    def _both_ends(self, tls: Thing) -> Iterable[Needs]:
        """Return what a connection needs: what its client shows, and that its server runs on what it should read."""
        from khw.verify.edges import subject, tried

        node = next((node for node in self.cluster.nodes if node.name == tls.node), None)
        edge = next((e for e in tried(node, self.cluster) if subject(e) == tls.name), None) if node else None
        if edge is None or edge.credential is None:
            return []
        shown = edge.credential
        mine = (edge.ca, shown.kubeconfig, shown.certificate, shown.key)
        files = [Thing("file", path, tls.node) for path in mine if path]
        there, unit = edge.server.host, f"{edge.server.component}.service"
        if (there, unit) not in self._inputs:  # behind the load balancer
            return [_all(API, *files)]
        server = [Thing("machine", "", there), Thing("clock", "", there), Thing("unit", unit, there)]
        if edge.server.component == "kubelet":  # it asks the API what its client may do
            server += [API, Thing("rbac")]
        return [_all(*files, *server, Thing("clock", "", tls.node)), *self._internal_network]

    def _unit(self, unit: Thing) -> Iterable[Needs]:
        here = unit.node
        paths = (f"{UNITS}/{unit.name}", *self._inputs.get((here, unit.name), ()))
        files = (Thing("file", path, here) for path in paths)
        above: dict[str, Thing] = {
            "kube-apiserver.service": Thing("etcd"),
            "kube-controller-manager.service": Thing("api-server", "", here),
            "kube-scheduler.service": Thing("api-server", "", here),
            "kubelet.service": Thing("unit", "containerd.service", here),
        }
        more = [above[unit.name]] if unit.name in above else []
        swap = [Thing("swap", "", here)] if unit.name == "kubelet.service" else []
        return [_all(*files, *more, *swap, *self._disks(here), Thing("machine", "", here))]

    def _worker(self, node: str) -> Iterable[Thing]:
        yield from (Thing("unit", f"{name}.service", node) for name in ("containerd", "kubelet"))
        yield Thing("runtime", "", node)
        yield from (thing for thing in self._files("") if thing.node == node and not self._is_proxys(thing))

    def _kube_proxy(self, node: str) -> Iterable[Thing]:
        return (thing for thing in self._files("") if thing.node == node and self._is_proxys(thing))

    def _is_proxys(self, thing: Thing) -> bool:
        return "kube-proxy" in thing.name

    def _client_pair(self) -> Iterable[Needs]:
        return [_all(*self._files("/var/lib/kubernetes/apiserver-kubelet-client"))]

    def _named_components(self, thing: Thing) -> Iterable[Needs]:
        """Componentstatuses name etcd-N, the controller manager and the scheduler of whichever controller answered."""
        if not thing.name.startswith("component status"):
            return []
        name = thing.name.rpartition(" ")[2]
        kind, named = ("etcd-member", "") if name.startswith("etcd") else ("component", name)
        away = self._internal_network if kind == "etcd-member" else ()
        return [_all(*(Thing(kind, named, node.name) for node in self.cluster.controllers)), *away]

    def _standing_for(self, node: str) -> Iterable[Needs]:
        """Return what a controller needs for being one of those behind a Service."""
        return [_all(Thing("api-server", "", row.name)) for row in self.cluster.controllers if row.name == node]

    @property
    def _written(self) -> Iterable[Needs]:
        """What writes need beyond what reads do."""
        return [_all(*self._on_members("etcd-alarm"))]

    @property
    def _internal_network(self) -> Iterable[Needs]:
        return [_all(*self._cloud("allow-internal"))]

    def _ground(self, node: str) -> Iterable[Needs]:
        """What everything on a machine stands on."""
        return [_all(Thing("machine", "", node), Thing("clock", "", node), *self._disks(node))]

    def _disks(self, node: str) -> Iterable[Thing]:
        return (thing for thing in self.accused if thing.kind == "disk" and thing.node == node)

    def _here(self, start: str, node: str) -> Iterable[Thing]:
        return (thing for thing in self._files(start) if thing.node == node)

    def _serving(self, node: str) -> Iterable[Thing]:
        """Return what a kubelet shows to an API server, if it was accused."""
        return self._here(f"/var/lib/kubelet/{node}", node)

    def _of(self, kind: str) -> Iterable[Thing]:
        return (thing for thing in self.accused if thing.kind == kind)

    def _files(self, start: str) -> Iterable[Thing]:
        return (thing for thing in self.accused if thing.kind == "file" and thing.name.startswith(start))

    def _cloud(self, part: str = "") -> Iterable[Thing]:
        """Return the project's resources that were accused, machines left out: those are looked at over SSH."""
        found = (thing for thing in self.accused if thing.kind == "cloud" and part in thing.name)
        return (thing for thing in found if not thing.name.startswith("instance:"))

    def _on_controllers(self, kind: str) -> tuple[Thing, ...]:
        return tuple(Thing(kind, "", node.name) for node in self.cluster.controllers)

    def _balancers(self) -> Iterable[tuple[Thing, ...]]:
        """What stands before the API on controllers of one's own: each unit, wherever it is."""
        where = [node.name for node in self.cluster.nodes if Role.BALANCER in node.roles]
        if where:
            for unit in ("haproxy.service", "keepalived.service"):
                yield tuple(Thing("unit", unit, name) for name in where)

    def _on_members(self, kind: str) -> tuple[Thing, ...]:
        return tuple(Thing(kind, "", node.name) for node in self.cluster.etcd_members)

    def _on_workers(self, kind: str) -> tuple[Thing, ...]:
        return tuple(Thing(kind, "", node.name) for node in self.cluster.workers)

    @cached_property
    def _inputs(self) -> Mapping[tuple[str, str], tuple[str, ...]]:
        """What each unit reads at its start, as the tasks say it."""
        from khw.converge.resources import Unit
        from khw.engine.phases import PHASES
        from khw.flags.rendered import render_one, specimens

        pki = specimens(self.cluster)
        return {
            (node.name, unit.name): unit.inputs
            for node in self.cluster.nodes
            for unit in render_one(PHASES, self.cluster, node, node.facts, pki).resources
            if isinstance(unit, Unit)
        }


API = Thing("load-balancer")


def _all(*things: Thing) -> Needs:
    return Needs(things)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]
