"""Who talks to whom with which certificate (chapters 4, 5, 7 to 10 and 12): one link for each kind of connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from khw.cluster.edges import BALANCER, Edge, Proof, edges
from khw.diagrams.layout import Column, Frame, Leaf, Row, Space
from khw.diagrams.picture import Box, Kind, Line, Link, Picture
from khw.engine.report import OPERATOR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.cluster.model import Cluster
    from khw.cluster.observed import Observed
    from khw.diagrams.layout import Part

HERE = "kubectl from here"
KINDS = "Thick lines: trusted through the etcd authority. Dashed: a token, no certificate. Dotted: nothing is shown."


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """All connections of one kind: what the table under the picture says of its number."""

    number: int
    client: str
    server: str
    where: str
    server_shows: str
    client_shows: str
    authority: str
    purpose: str
    count: int
    days: int | None = None  # until the first of their certificates ends


def talks(seen: Observed) -> tuple[Talk, ...]:
    """Return the kinds of connections, in the order of the table of edges."""
    kinds: dict[tuple[str, str, str], list[Edge]] = {}
    for edge in edges(seen.cluster):
        kinds.setdefault((_client(edge), _server(edge), edge.purpose), []).append(edge)
    days = {held.name: held.days(seen.at) for held in seen.certificates}
    return tuple(_talk(n, rows, days) for n, rows in enumerate(kinds.values(), 1))


def picture(seen: Observed) -> Picture:
    """Return the components, and a numbered link for each kind of connection."""
    cluster = seen.cluster
    rows = talks(seen)
    return Picture(
        name="tls",
        title=f"{cluster.name}: who talks to whom with which certificate",
        description="; ".join(
            f"{r.number}: {r.client} to {r.server}, {r.client_shows} to {r.server_shows}" for r in rows
        ),
        boxes=tuple(_boxes(cluster)),
        links=tuple(_link(row) for row in rows),
        legend=(*(_said(row) for row in rows), KINDS),
    )


def arrangement(seen: Observed) -> Part:
    """
    Return how it is laid out: the control plane above, what reaches it below.

    The load balancer stands aside, so that what goes straight between the two does not cross it.
    """
    left = Column((Leaf("etcd", 150), Leaf("etcdctl", 150)), gap=64)
    right = Column((Leaf("kube-controller-manager"), Leaf("kubectl"), Leaf("kube-scheduler")), gap=52, align="stretch")
    rest = (Leaf("kube-apiserver", 190), Space(width=56), right)
    if not seen.cluster.stacked:
        upper: Part = Row((Frame("members", left), Frame("controllers", Row(rest, gap=8))), gap=56)
        aside = 300
    else:
        upper = Frame("controllers", Row((Space(width=34), left, Space(width=56), *rest), gap=8))
        aside = 26
    parts: list[Part] = [upper, Row((Space(width=aside), Leaf(BALANCER)))]
    workers = Row((Leaf("kube-proxy", 150), Leaf("kubelet", 150), Leaf("CoreDNS", 150)), gap=36)
    below = (Leaf(HERE), *((Frame("workers", workers),) if seen.cluster.workers else ()))
    return Column((*parts, Row(below, gap=48)), gap=62, align="left")


def _boxes(cluster: Cluster) -> Iterable[Box]:
    of = {"controllers": len(cluster.controllers), "workers": len(cluster.workers)}
    yield Box(id="controllers", title=_each(of["controllers"], "controller"), kind=Kind.CONTROLLER)
    if not cluster.stacked:
        title = _each(len(cluster.etcd_members), "etcd machine")
        yield Box(id="members", title=title, kind=Kind.CONTROLLER)
    if cluster.workers:
        yield Box(id="workers", title=_each(of["workers"], "worker"), kind=Kind.WORKER)
    yield Box(id=HERE, title="kubectl, from here", lines=("the administrator",), kind=Kind.OUTSIDE)
    yield Box(id=BALANCER, title="Load balancer", lines=(f"{cluster.api_address}, passes TCP on",), kind=Kind.BALANCER)
    for name, line in (
        ("etcd", "every object"),
        ("etcdctl", "by hand"),
        ("kube-apiserver", "the one door"),
        ("kube-controller-manager", "leads or stands by"),
        ("kubectl", "on the controller itself"),
        ("kube-scheduler", "leads or stands by"),
    ):
        away = name in {"etcd", "etcdctl"} and not cluster.stacked
        yield Box(id=name, title=name, lines=(line,), parent="members" if away else "controllers")
    if cluster.workers:
        for name, line in (("kube-proxy", "Services"), ("kubelet", "pods"), ("CoreDNS", "a pod: names")):
            kind = Kind.PODS if name == "CoreDNS" else Kind.COMPONENT
            yield Box(id=name, title=name, lines=(line,), parent="workers", kind=kind)


def _each(count: int, what: str) -> str:
    return f"each of {count} {what}s" if count != 1 else f"the {what}"


def _client(edge: Edge) -> str:
    return HERE if edge.client.host == OPERATOR else edge.client.component


def _server(edge: Edge) -> str:
    return BALANCER if edge.server.host == BALANCER else edge.server.component


def _talk(number: int, rows: list[Edge], days: dict[str, int]) -> Talk:
    first = rows[0]
    names = {name for edge in rows for name in (edge.server_identity, edge.client_identity) if name}
    shows = {Proof.TOKEN: "a service account's token", Proof.NOTHING: "nothing"}
    return Talk(
        number=number,
        client=_client(first),
        server=_server(first),
        where=_where(rows),
        server_shows=_shown(edge.server_identity for edge in rows),
        client_shows=shows.get(first.proof) or _shown(edge.client_identity for edge in rows),
        authority=first.server_authority or "not looked at",
        purpose=first.purpose,
        count=len(rows),
        days=min((days[name] for name in names if name in days), default=None),
    )


def _where(rows: list[Edge]) -> str:
    addresses = sorted({edge.address for edge in rows})
    shown = addresses[0] if len(addresses) == 1 else "each one's address"
    return f"{shown}:{rows[0].port}"


def _shown(names: Iterable[str]) -> str:
    """Return one name, or what several have in common and that it is each one's own."""
    several = sorted(set(names))
    if len(several) == 1:
        return several[0]
    stem = several[0].rpartition("-")[0]
    while not all(name.startswith(stem) for name in several):
        stem = stem.rpartition("-")[0]
    return f"{stem.partition('-')[0]}-NAME"


def _said(row: Talk) -> str:
    return (
        f"{row.number}  {row.client} → {row.server} ({row.where}): shows {row.client_shows}; "
        f"is shown {row.server_shows} ({row.authority})"
    )


def _link(row: Talk) -> Link:
    kinds = {"etcd": Line.ETCD, "kubernetes": Line.KUBERNETES}
    kind = kinds.get(row.authority, Line.BARE)
    if "token" in row.client_shows:
        kind = Line.TOKEN
    note = f"{row.number}. {row.client} {row.purpose}: shows {row.client_shows}; {row.server} shows {row.server_shows}"
    return Link(
        source=row.client,
        target="kube-apiserver" if row.client == BALANCER else row.server,
        label=f"{row.client_shows}, {row.where}",
        kind=kind,
        number=row.number,
        note=note,
    )
