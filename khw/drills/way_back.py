"""What puts a cluster right whatever was done to it, beside a run of khw's: others' files, and etcd's own data."""

from __future__ import annotations

import json
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from khw.drills.drill import ETCDCTL
from khw.errors import StepError
from khw.files import write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from khw.cluster.model import Node
    from khw.drills.ground import Ground

WATCHED = ("/etc/systemd/system/*.d/*", "/etc/cni/net.d/*")
"""Where files of others change what khw's own mean, and no run looks."""
ON_NODE = "/var/lib/khw-drill.db"
DATA = "/var/lib/etcd"
PATIENCE = 20.0  # seconds for members that were only stopped
STOP_API = "systemctl kill --signal=KILL kube-apiserver; systemctl stop kube-apiserver"
"""The API server waits for its etcd, half a minute long, before it ends; what it still has to write is given up."""
T = TypeVar("T")
HEALTH = f"{ETCDCTL} endpoint health --command-timeout=3s --dial-timeout=3s"


def files_of_others(ground: Ground) -> tuple[str, ...]:
    """Return 'node:path' for every file that lies where only khw's should."""
    nodes = ground.within_reach(ground.cluster.nodes)
    return tuple(sorted(f"{node.name}:{path}" for node in nodes for path in _listed(ground, node.name)))


def _listed(ground: Ground, node: str) -> list[str]:
    return ground.tried(node, f"ls -1d {' '.join(WATCHED)} 2>/dev/null")[1].split()


def sweep(ground: Ground, found: tuple[str, ...]) -> None:
    """Remove the files that have come since `found` was noted."""
    for node in ground.within_reach(ground.cluster.nodes):
        new = [path for path in _listed(ground, node.name) if f"{node.name}:{path}" not in found]
        if new:
            ground.tried(node.name, f"rm -rf {' '.join(map(shlex.quote, new))}; systemctl daemon-reload")


def keep_snapshot(ground: Ground, file: Path) -> None:
    """Take a snapshot of etcd, from any member, to this side: what is restored when nothing else helps."""
    for node in ground.within_reach(ground.cluster.etcd_members):
        code, _, _ = ground.tried(node.name, f"rm -f {ON_NODE}; {ETCDCTL} snapshot save {ON_NODE}")
        if code == 0:
            try:
                write_private(file, ground.context.agents[node.name].read(ON_NODE))
            finally:
                ground.tried(node.name, f"rm -f {ON_NODE}")
            return
    raise StepError("no member of etcd gives a snapshot", hint="khw verify: a drill begins with a cluster that is well")


def revive_etcd(ground: Ground, snapshot: Path) -> None:
    """Have an etcd that lives: by starting its members, else from the snapshot. Who is missing joins in the run."""
    if lives(ground):
        return
    for node in ground.within_reach(ground.cluster.etcd_members):
        ground.tried(node.name, "systemctl reset-failed etcd; systemctl start --no-block etcd")
    if snapshot.exists() and not _until(lambda: lives(ground), PATIENCE):
        restore_etcd(ground, snapshot)


def lives(ground: Ground) -> bool:
    """Whether there is one etcd with a majority: a member that is well has one, and no other cluster may be there."""
    return len(set(_well(ground))) == 1


def whole(ground: Ground) -> bool:
    """Whether every member is well, and of one etcd."""
    clusters = _well(ground)
    return len(clusters) == len(ground.cluster.etcd_members) and len(set(clusters)) == 1


def _well(ground: Ground) -> list[int]:
    """Return the cluster that each member is part of that is well."""
    asked = f"{HEALTH} >/dev/null && {ETCDCTL} endpoint status --write-out=json"
    nodes = ground.within_reach(ground.cluster.etcd_members)
    answers = _each(nodes, lambda node: ground.tried(node.name, asked))
    return [int(json.loads(out)[0]["Status"]["header"]["cluster_id"]) for code, out, _ in answers if code == 0]


def restore_etcd(ground: Ground, snapshot: Path) -> None:
    """Have all members begin again from the snapshot: what was written since is lost."""
    nodes = ground.within_reach(ground.cluster.etcd_members)
    controllers = ground.within_reach(ground.cluster.controllers)
    data = snapshot.read_bytes()
    names = ",".join(f"{node.name}={_peer(node)}" for node in ground.cluster.etcd_members)

    def begin(node: Node) -> None:
        ground.sh(node.name, f"umask 077 && cat >{ON_NODE}", stdin=data)
        ground.sh(
            node.name,
            f"""set -e
mkdir -p {DATA} && chmod 700 {DATA}
rm -rf {DATA}/member {DATA}/restored
etcdutl snapshot restore {ON_NODE} --name={node.name} --initial-cluster={names} \
  --initial-cluster-token=etcd-cluster-0 --initial-advertise-peer-urls={_peer(node)} \
  --bump-revision=1000000 --mark-compacted --data-dir={DATA}/restored
mv {DATA}/restored/member {DATA}/member
rm -rf {DATA}/restored {ON_NODE}""",
            timeout=120.0,
        )

    _each(controllers, lambda node: ground.tried(node.name, STOP_API))
    _each(nodes, lambda node: ground.tried(node.name, "systemctl stop etcd"))
    _each(nodes, begin)
    _each(
        nodes, lambda node: ground.sh(node.name, "systemctl reset-failed etcd || true; systemctl start --no-block etcd")
    )
    _until(lambda: lives(ground), 2 * PATIENCE)
    _each(controllers, lambda node: ground.tried(node.name, "systemctl start --no-block kube-apiserver"))


def _each(nodes: Sequence[Node], do: Callable[[Node], T]) -> list[T]:
    """Do something on several nodes at once: what waits for its limit on each of them waits once."""
    with ThreadPoolExecutor(max(1, len(nodes))) as pool:
        return list(pool.map(do, nodes))


def _peer(node: Node) -> str:
    return f"https://{node.internal_ip}:2380"


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(1.0)
    return True
