"""
Chapter 7: etcd, a member on each controller or on machines of its own; mutual TLS between members and with clients.

The members wait for each other, so none is waited for (`block=False`) before all have been started; the trailing
Wait asks this member for its health with the guide's own flags. On a data directory that is there already etcd
ignores the initial cluster, so that a second run and a restart are the same as the first.

Without data etcd.service starts nothing, unless there is a note that says how: to join, or to start the cluster. Only
`etcd_member` writes it, and it is gone as soon as etcd is ready. docs/decisions/0019.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from khw.converge.resources import Binary, Command, Directory, Unit, Wait
from khw.engine.turns import Health
from khw.tasks import etcd_member
from khw.tasks.certificates import ETCD_USER
from khw.tasks.units import STRICT, render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.certs.pki import Pki
    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource
    from khw.tasks.units import Flag

BINARY = "/usr/local/bin/etcd"
DATA = "/var/lib/etcd"
AUTHORITY = "/etc/etcd/ca.pem"
CERTIFICATE = "/etc/etcd/kubernetes.pem"
KEY = "/etc/etcd/kubernetes-key.pem"
CLIENT_PORT = 2379
PEER_PORT = 2380
ENVIRONMENT = "/run/khw/etcd.env"
MEMBER = "etcd-member"
JOINING = 60.0  # seconds for a change of members: etcd takes none until all have been well for five

IDENTITY = (f"--cacert={AUTHORITY}", f"--cert={CERTIFICATE}", f"--key={KEY}")
ETCDCTL = ("/usr/local/bin/etcdctl", f"--endpoints=https://127.0.0.1:{CLIENT_PORT}", *IDENTITY)
"""etcdctl as the guide calls it on a controller."""

HAS_DATA = f"ls {DATA}/member/wal/*.wal >/dev/null 2>&1"
IS_PREPARED = f"find {ENVIRONMENT} -mmin -10 2>/dev/null | grep -q ."  # by a run cut off before it started etcd
STRANGER = r"tocommit.* is out of range|permanently removed|cluster ID mismatch"
"""What etcd says of data that its cluster knows nothing of, or has gone on without."""
SAYS_SO = (
    "journalctl --no-pager --output=cat "
    "_SYSTEMD_INVOCATION_ID=$(systemctl show --property=InvocationID --value etcd.service) "
    f"| grep -qE '{STRANGER}'"
)
IS_MEMBER = f"{HAS_DATA} && {{ systemctl is-active --quiet etcd.service || ! {SAYS_SO}; }}"
REFUSAL = "no data, and no word that it may join: khw run --phase etcd makes this controller a member again"


def resources(node: Node, cluster: Cluster, pki: Pki) -> Iterator[Resource]:
    """Yield etcd on this controller."""
    del pki
    yield Binary(path=BINARY, artifact="etcd")
    yield Binary(path="/usr/local/bin/etcdctl", artifact="etcdctl")
    yield Binary(path="/usr/local/bin/etcdutl", artifact="etcdutl")
    yield Directory(path="/etc/etcd")
    yield Directory(path=DATA, mode=0o700, owner=f"{ETCD_USER}:{ETCD_USER}")
    yield _membership(node, cluster)
    yield Unit(
        name="etcd.service",
        content=unit(node, cluster),
        inputs=(BINARY, AUTHORITY, CERTIFICATE, KEY),
        block=False,
    )
    yield Wait(
        name="etcd-healthy",
        argv=(*ETCDCTL, "endpoint", "health", "--command-timeout=5s"),
        timeout=cluster.spec.timeouts.ready,
        unit="etcd.service",
    )


def health(node: Node, cluster: Cluster) -> Health:
    """Say how members are asked for their health: a majority of all must be left when this one is away."""
    others = [other for other in cluster.etcd_members if other.name != node.name]
    return Health(
        service="etcd",
        mine=_healthy(node),
        others=tuple(_healthy(other) for other in others),
        needed=len(cluster.etcd_members) // 2 + 1 if others else 0,
        joins=f"command:{MEMBER}",
    )


def _healthy(node: Node) -> tuple[str, ...]:
    endpoint = f"--endpoints=https://{node.internal_ip}:{CLIENT_PORT}"
    limits = ("--command-timeout=2s", "--dial-timeout=2s")
    return ("/usr/local/bin/etcdctl", endpoint, *IDENTITY, "endpoint", "health", *limits)


def _membership(node: Node, cluster: Cluster) -> Command:
    wish = {
        "name": node.name,
        "url": _peer(node),
        "members": {other.name: _peer(other) for other in cluster.etcd_members},
        "others": [f"https://{o.internal_ip}:{CLIENT_PORT}" for o in cluster.etcd_members if o.name != node.name],
        "may_bootstrap": cluster.may_bootstrap,
        "data": DATA,
        "environment": ENVIRONMENT,
        "etcdctl": ["/usr/local/bin/etcdctl", *IDENTITY],
        "patience": JOINING,
    }
    return Command(
        name=MEMBER,
        argv=("python3", "-I", "-", json.dumps(wish)),
        stdin=Path(etcd_member.__file__).read_text(),
        unless=("sh", "-c", f"{{ {IS_MEMBER}; }} || {IS_PREPARED}"),
        timeout=JOINING + 60.0,
        by_hand=_note(cluster),
    )


def _note(cluster: Cluster) -> str:
    """Return what a person types on a bare controller of a cluster that was never whole: it may start as a new one."""
    members = {_peer(node): node.name for node in cluster.etcd_members}
    rows = (f"{name}={value}" for name, value in etcd_member.environment_of("new", members).items())
    words = " \\\n  ".join(f"'{row}'" for row in rows)
    warning = "# Only for a cluster that never was: a member that lost its data must be removed and added, and join."
    return f"{warning}\ninstall -d {Path(ENVIRONMENT).parent}\nprintf '%s\\n' \\\n  {words} >{ENVIRONMENT}\n"


def _peer(node: Node) -> str:
    return f"https://{node.internal_ip}:{PEER_PORT}"


def unit(node: Node, cluster: Cluster) -> str:
    """Return etcd.service."""
    return render(
        description="etcd",
        documentation="https://etcd.io/docs/",
        binary=BINARY,
        flags=_flags(node, cluster),
        unit={"Wants": "network-online.target", "After": "network-online.target"},
        service={
            "Type": "notify",
            "User": ETCD_USER,
            "Environment": (
                "ETCD_INITIAL_CLUSTER=" + ",".join(f"{n.name}={_peer(n)}" for n in cluster.etcd_members),
                "ETCD_INITIAL_CLUSTER_STATE=existing",
            ),
            "EnvironmentFile": f"-{ENVIRONMENT}",
            # a member that lost its data would come back under its old name, without what it promised
            "ExecStartPre": (
                f"+/bin/sh -c '{HAS_DATA} || test -f {ENVIRONMENT} || {{ echo {REFUSAL}; exit 1; }}'",
                # what root restored or put back, and data of a member that ran as root
                f"+/bin/chown --recursive {ETCD_USER}:{ETCD_USER} {DATA}",
            ),
            "ExecStartPost": f"+-/bin/rm -f {ENVIRONMENT}",
        },
        sandbox={**STRICT, "ReadWritePaths": DATA},
    )


def _flags(node: Node, cluster: Cluster) -> dict[str, Flag]:
    peer = _peer(node)
    client = f"https://{node.internal_ip}:{CLIENT_PORT}"
    return {
        "name": node.name,
        "cert-file": CERTIFICATE,
        "key-file": KEY,
        "peer-cert-file": CERTIFICATE,
        "peer-key-file": KEY,
        "trusted-ca-file": AUTHORITY,
        "peer-trusted-ca-file": AUTHORITY,
        "peer-client-cert-auth": True,
        "client-cert-auth": True,
        # the API server's client certificate is of the same authority and is no member
        "peer-cert-allowed-cn": "kubernetes",
        "initial-advertise-peer-urls": peer,
        "listen-peer-urls": peer,
        "listen-client-urls": (client, f"https://127.0.0.1:{CLIENT_PORT}"),
        "advertise-client-urls": client,
        "initial-cluster-token": "etcd-cluster-0",
        "data-dir": DATA,
    }
