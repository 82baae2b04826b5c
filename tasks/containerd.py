"""Chapter 9, first part: containerd and runc, and the pods' network on the node (CNI)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from khw.converge.resources import Binary, Directory, File, Image, Unit
from khw.tasks import units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.cluster.model import Node
    from khw.converge.resources import Resource

CONFIG = "/etc/containerd/config.toml"
SOCKET = "/run/containerd/containerd.sock"
CNI_BIN = "/opt/cni/bin"
CNI_CONF = "/etc/cni/net.d"
BINARIES = ("containerd", "containerd-shim-runc-v2", "runc", "ctr")
PLUGINS = ("bridge", "loopback", "host-local", "portmap", "firewall")


def runtime(node: Node, pause: str) -> Iterator[Resource]:
    """Yield containerd and what it reads, the daemon started, and the sandbox image `pause` in it."""
    yield Directory(path="/etc/containerd")
    for name in BINARIES:
        yield Binary(path=f"/usr/local/bin/{name}", artifact=name)
    yield File(path=CONFIG, content=config(node, pause))
    yield Unit(
        name="containerd.service",
        content=unit(node),
        inputs=(
            CONFIG,
            *(f"/usr/local/bin/{name}" for name in ("containerd", "containerd-shim-runc-v2", "runc")),
        ),
    )
    yield Image(artifact="image-pause", reference=pause)


def network(node: Node) -> Iterator[Resource]:
    """Yield the CNI plugins and the two networks of the guide."""
    yield Directory(path=CNI_BIN)
    for name in PLUGINS:
        yield Binary(path=f"{CNI_BIN}/{name}", artifact=f"cni-{name}")
    yield Directory(path=CNI_CONF)
    yield File(path=f"{CNI_CONF}/10-bridge.conf", content=bridge(node), mode=0o600)
    yield File(path=f"{CNI_CONF}/99-loopback.conf", content=loopback(), mode=0o600)


def config(node: Node, pause: str) -> str:
    """Return config.toml, version 3 (containerd 2.x)."""
    cri = "plugins.'io.containerd.cri.v1"
    lines = [
        "version = 3",
        # without it containerd runs on when its CRI part fails to start, and every pod fails later
        "required_plugins = ['io.containerd.grpc.v1.cri']",
        "",
        f"[{cri}.images'.pinned_images]",
        f"  sandbox = '{pause}'",
        "",
        f"[{cri}.runtime']",
        *([] if node.facts.can_lower_oom_score else ["  restrict_oom_score_adj = true"]),
        f"  [{cri}.runtime'.cni]",
        f"    bin_dirs = ['{CNI_BIN}']",
        f"    conf_dir = '{CNI_CONF}'",
        f"  [{cri}.runtime'.containerd]",
        "    default_runtime_name = 'runc'",
        f"    [{cri}.runtime'.containerd.runtimes.runc]",
        "      runtime_type = 'io.containerd.runc.v2'",
        f"      [{cri}.runtime'.containerd.runtimes.runc.options]",
        "        BinaryName = '/usr/local/bin/runc'",
        f"        SystemdCgroup = {'true' if node.facts.cgroup == 2 else 'false'}",
        "",
    ]
    return "\n".join(lines)


def unit(node: Node) -> str:
    """Return containerd.service. It starts every container, so there is little to take from it."""
    return units.render(
        description="containerd container runtime",
        documentation="https://containerd.io",
        binary="/usr/local/bin/containerd",
        unit={"After": "network.target local-fs.target"},
        service={
            "Type": "notify",
            "ExecStartPre": "-/sbin/modprobe overlay",
            "Delegate": True,
            "KillMode": "process",
            **({"OOMScoreAdjust": -999} if node.facts.can_lower_oom_score else {}),
            "LimitNOFILE": 1048576,
            "LimitNPROC": "infinity",
            "LimitCORE": "infinity",
            "TasksMax": "infinity",
        },
        restart="always",
    )


def bridge(node: Node) -> str:
    """
    Return 10-bridge.conf: the node's pods on cnio0, with addresses of its pod CIDR.

    hairpinMode, which the guide leaves out: without it a pod does not reach itself by way of a Service.
    """
    return _conf(
        {
            "cniVersion": "1.0.0",
            "name": "bridge",
            "type": "bridge",
            "bridge": "cnio0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": node.pod_cidr}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    )


def loopback() -> str:
    """Return 99-loopback.conf."""
    return _conf({"cniVersion": "1.0.0", "name": "lo", "type": "loopback"})


def _conf(values: dict[str, object]) -> str:
    return json.dumps(values, indent=2) + "\n"
