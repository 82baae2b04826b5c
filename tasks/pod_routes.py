"""
Chapter 11 on machines of one's own: each has a route to every other's pods, also after a reboot.

A cloud's network has these routes itself. Here one unit puts them, whatever sets up the machine's network
(systemd-networkd, ifupdown, NetworkManager): a .network file would need networkd to own the interface. They carry a
protocol number of their own, so that `ip route show proto 211` lists them and a worker that is gone leaves none.
docs/decisions/0031.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.converge.resources import Command, Directory, File, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.certs.pki import Pki
    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource

PROTOCOL = 211
DIRECTORY = "/etc/kubernetes"
TABLE = f"{DIRECTORY}/pod-routes"
UNIT = "pod-routes.service"
NETWORKD = "/etc/systemd/networkd.conf.d"
THERE = (
    f"test \"$(ip -4 route show proto {PROTOCOL} | awk '{{print $1, $3}}' | sort)\" = "
    f"\"$(awk '{{print $3, $5}}' {TABLE} | sort)\""
)
"""Whether the kernel has these routes and no others of ours: somebody may have taken one away by hand."""
KEPT = f"{NETWORKD}/50-pod-routes.conf"


def resources(node: Node, cluster: Cluster, pki: Pki) -> Iterator[Resource]:
    """Yield this node's routes to the pods of all others, and the unit that puts them."""
    del pki
    yield Directory(path=DIRECTORY)
    yield File(path=TABLE, content=table(node, cluster))
    yield Directory(path=NETWORKD)
    yield File(path=KEPT, content=_KEPT)
    yield Unit(name=UNIT, content=_UNIT, inputs=(TABLE,))
    yield Command(name="pod-routes", argv=("systemctl", "restart", UNIT), unless=("sh", "-c", THERE))


def table(node: Node, cluster: Cluster) -> str:
    """Return what `ip -batch` reads: a route a line, to each other worker's pods by way of that worker."""
    return "".join(f"route replace {pods} via {hop} proto {PROTOCOL}\n" for pods, hop in wanted(node, cluster).items())


def wanted(node: Node, cluster: Cluster) -> dict[str, str]:
    """Return this node's routes: each other worker's pod CIDR, and its address as the next hop."""
    others = (worker for worker in cluster.workers if worker.name != node.name)
    return {str(worker.pod_cidr): worker.internal_ip for worker in others}


_KEPT = """\
# systemd-networkd takes away routes that it did not make itself, unless it is told not to.
[Network]
ManageForeignRoutes=no
"""

# PartOf: whoever sets up the network anew takes its routes along, and these come back behind it.
_UNIT = f"""\
[Unit]
Description=Routes to the pods of the other nodes
Documentation=https://kubernetes.io/docs/concepts/cluster-administration/networking/
Wants=network-online.target
After=network-online.target systemd-networkd.service networking.service NetworkManager.service
PartOf=systemd-networkd.service networking.service NetworkManager.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'exec ip -batch {TABLE}'
ExecStop=/bin/sh -c 'exec ip route flush proto {PROTOCOL}'
Restart=on-failure
RestartSec=5

[Install]
WantedBy=multi-user.target
"""
