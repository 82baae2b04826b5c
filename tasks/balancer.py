"""
Chapter 8 on machines of one's own: the load balancer, as haproxy and keepalived on the controllers.

keepalived gives the API's address to one controller at a time, whose haproxy answers there and passes bytes on to
every API server that is ready. Both units and both files are khw's own, and replace those of the packages. haproxy has
a port of its own, because the API server beside it has api_port at every address. docs/decisions/0031.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from khw.converge.resources import Directory, File, Package, Unit
from khw.distributions import package
from khw.tasks.units import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.certs.pki import Pki
    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource

HAPROXY = "/etc/haproxy/haproxy.cfg"
KEEPALIVED = "/etc/keepalived/keepalived.conf"
HIGHEST = 150  # of VRRP's priorities; each further controller has one less


def resources(node: Node, cluster: Cluster, pki: Pki) -> Iterator[Resource]:
    """Yield haproxy and keepalived on this controller."""
    del pki
    yield Package(name=package(node.facts, "haproxy"), provides="haproxy")
    yield Package(name=package(node.facts, "keepalived"), provides="keepalived")
    yield Directory(path="/etc/haproxy")
    yield File(path=HAPROXY, content=haproxy(cluster))
    yield Unit(name="haproxy.service", content=haproxy_unit(), inputs=(HAPROXY,))
    yield Directory(path="/etc/keepalived")
    yield File(path=KEEPALIVED, content=keepalived(node, cluster))
    yield Unit(name="keepalived.service", content=keepalived_unit(), inputs=(KEEPALIVED,))


def haproxy(cluster: Cluster) -> str:
    """Return haproxy.cfg: bytes are passed on, nothing is decrypted; who is ready says /readyz."""
    port = cluster.network.api_port
    servers = "\n".join(
        f"    server {node.name} {node.internal_ip}:{port} check check-ssl verify none" for node in cluster.controllers
    )
    return f"""\
global
    maxconn 4000
    log stdout format raw local0 notice

defaults
    mode tcp
    log global
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout check 3s

frontend kube-apiserver
    bind *:{cluster.spec.api_port}
    default_backend kube-apiservers

backend kube-apiservers
    balance leastconn
    option httpchk GET /readyz
    http-check expect status 200
    option redispatch 1
    default-server inter 2s fastinter 500ms downinter 1s rise 1 fall 2 on-marked-down shutdown-sessions
{servers}
"""


def haproxy_unit() -> str:
    """Return haproxy.service: in the foreground, master and worker, reloadable."""
    return render(
        description="HAProxy in front of the API servers",
        documentation="https://docs.haproxy.org/",
        binary="/usr/sbin/haproxy",
        words=("-Ws", "-f", HAPROXY),
        unit={"Wants": "network-online.target", "After": "network-online.target"},
        service={
            "Type": "notify",
            "ExecStartPre": f"/usr/sbin/haproxy -c -q -f {HAPROXY}",
            "ExecReload": "/bin/kill -USR2 $MAINPID",
            "KillMode": "mixed",
        },
        restart="always",
        sandbox={
            "NoNewPrivileges": True,
            "ProtectSystem": "strict",
            "ProtectHome": True,
            "PrivateTmp": True,
            "PrivateDevices": True,
            "ProtectKernelTunables": True,
            "ProtectKernelModules": True,
            "ProtectControlGroups": True,
            "RestrictRealtime": True,
            "RestrictSUIDSGID": True,
            "LockPersonality": True,
        },
    )


def keepalived(node: Node, cluster: Cluster) -> str:
    """
    Return keepalived.conf: VRRP between the controllers, by unicast, because many networks carry no multicast.

    All begin as BACKUP, and the highest priority whose haproxy answers has the address. The router's id comes of the
    address, so that two clusters in one network do not meet.
    """
    place = [n.name for n in cluster.controllers].index(node.name)
    peers = "\n".join(f"        {n.internal_ip}" for n in cluster.controllers if n.name != node.name)
    unicast = f"    unicast_peer {{\n{peers}\n    }}\n" if peers else ""
    return f"""\
global_defs {{
    router_id {node.name}
    script_user root
    enable_script_security
}}

vrrp_script haproxy {{
    script "/usr/bin/systemctl is-active --quiet haproxy.service"
    interval 2
    timeout 2
    fall 2
    rise 1
}}

vrrp_instance api {{
    state BACKUP
    interface {node.facts.interface(node.internal_ip)}
    virtual_router_id {router_id(cluster)}
    priority {HIGHEST - place}
    advert_int 1
    unicast_src_ip {node.internal_ip}
{unicast}    virtual_ipaddress {{
        {cluster.api_address}/32
    }}
    track_script {{
        haproxy
    }}
}}
"""


def router_id(cluster: Cluster) -> int:
    """Return VRRP's id of the shared address: 1 to 255, the same on every controller."""
    digest = hashlib.sha256(IPv4Address(cluster.api_address).packed).digest()
    return 1 + digest[0] % 255


def keepalived_unit() -> str:
    """Return keepalived.service, in the foreground."""
    return render(
        description="Keepalived, which gives the API's address to one controller at a time",
        documentation="https://www.keepalived.org/documentation.html",
        binary="/usr/sbin/keepalived",
        words=("--dont-fork", "--log-console", f"--use-file={KEEPALIVED}"),
        unit={"Wants": "network-online.target", "After": "network-online.target haproxy.service"},
        service={"ExecReload": "/bin/kill -HUP $MAINPID", "KillMode": "process"},
        restart="always",
    )
