"""The workers as the cluster sees them, their container runtime, and swap (chapter 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from khw.artifacts import lock
from khw.ssh.connection import RemoteCommand
from khw.verify.check import Finding, last_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.cluster.model import Node
    from khw.ssh.connection import Completed
    from khw.verify.context import Context

IMAGES = ("image-pause", "image-coredns", "image-agnhost")
CRI_PLUGINS = ("io.containerd.cri.v1", "io.containerd.grpc.v1 cri")


def ready(context: Context) -> Iterable[Finding]:
    """Expect every worker to be a node: Ready, at the pinned version, with its own address; and no other node."""
    items = context.kubectl.json("get", "nodes")["items"]
    seen = {item["metadata"]["name"]: item for item in items}
    for node in context.cluster.workers:
        yield judge_node(node, seen.get(node.name))
    strangers = sorted(set(seen) - {node.name for node in context.cluster.workers})
    if strangers:
        yield Finding(
            ok=False,
            subject="strangers",
            expected="no node that is not in the cluster file",
            actual=", ".join(strangers),
            hint="kubectl delete node NAME, if it is gone for good",
        )


def judge_node(node: Node, item: Any) -> Finding:
    """Judge one worker by its Node object."""
    version = lock.entry("kubelet").version
    expected = f"Ready, {version}, {node.internal_ip}"
    hint = "sudo systemctl status kubelet containerd; kubectl describe node " + node.name
    if item is None:
        return Finding(ok=False, node=node.name, expected=expected, actual="it never registered", hint=hint)
    status = item["status"]
    condition: dict[str, str] = next((c for c in status["conditions"] if c["type"] == "Ready"), {})
    addresses = [a["address"] for a in status["addresses"] if a["type"] == "InternalIP"]
    is_ready = condition.get("status") == "True"
    seen_version = status["nodeInfo"]["kubeletVersion"]
    word = "Ready" if is_ready else f"not Ready ({condition.get('message', 'no condition')})"
    return Finding(
        ok=is_ready and seen_version == version and node.internal_ip in addresses,
        node=node.name,
        expected=expected,
        actual=f"{word}, {seen_version}, {', '.join(addresses)}",
        hint=hint,
    )


def ask_runtime(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Ask containerd for its version, its CRI plugins and its images."""
    ctr = "/usr/local/bin/ctr"
    return (
        RemoteCommand((ctr, "version")),
        RemoteCommand((ctr, "plugins", "ls")),
        RemoteCommand((ctr, "--namespace=k8s.io", "images", "ls", "--quiet")),
    )


def judge_runtime(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Expect containerd to answer at the pinned version with CRI ok, and the images that were pushed."""
    version, plugins, images = answers
    wanted = lock.entry("containerd").version.removeprefix("v")
    versions = server_version(version.out)
    broken = broken_plugins(plugins.out)
    fine = version.code == 0 and versions == wanted and plugins.code == 0 and not broken
    said = f"containerd {versions or last_line(version)}" + (f", {'; '.join(broken)}" if broken else "")
    yield Finding(
        ok=fine,
        subject="containerd",
        expected=f"containerd {wanted}, CRI ok",
        actual=f"{said}, CRI ok" if fine else said,
        hint="sudo systemctl status containerd; sudo ctr plugins ls",
    )
    references = [lock.entry(name).reference for name in IMAGES]
    missing = sorted(set(references) - set(images.out.split()))
    yield Finding(
        ok=images.code == 0 and not missing,
        subject="images",
        expected=", ".join(references),
        actual=f"missing: {', '.join(missing)}" if missing else "all there",
        hint=f"khw run --phase runtime --limit {node.name}; ctr -n k8s.io images ls",
    )


def server_version(text: str) -> str:
    """Return the server's version from what `ctr version` prints ('' if it is not there)."""
    server = text.partition("Server:")[2]
    rows = (line.split(":", 1) for line in server.splitlines() if ":" in line)
    return next((value.strip().removeprefix("v") for key, value in rows if key.strip() == "Version"), "")


def broken_plugins(text: str) -> list[str]:
    """Return the CRI plugins that `ctr plugins ls` does not call ok, or that it does not list at all."""
    rows = [" ".join(line.split()) for line in text.splitlines()]
    cri = [row for row in rows if row.startswith(CRI_PLUGINS)]
    broken = [row for row in cri if not row.endswith(" ok")]
    return broken if cri else ["no CRI plugin"]


def ask_swap(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Ask what swap is on, whether it could come back at a boot, and whether this is a container."""
    return (
        RemoteCommand(("cat", "/proc/swaps")),
        RemoteCommand(("readlink", "/etc/systemd/system/swap.target")),
        RemoteCommand(("systemd-detect-virt", "--container")),
    )


def judge_swap(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Expect none, now and after a reboot. In a container swap is the host's."""
    swaps, target, container = answers
    devices = [line.split()[0] for line in swaps.out.splitlines()[1:] if line.split()]
    masked = target.out.strip() == "/dev/null"
    expected = "off, and off after a reboot"
    if devices and container.code == 0:
        yield Finding(ok=None, expected=expected, actual=f"a container: {', '.join(devices)} is its host's")
        return
    seen = f"on: {', '.join(devices)}" if devices else "off"
    yield Finding(
        ok=not devices and masked,
        expected=expected,
        actual=f"{seen}, {'and stays off' if masked else 'but swap.target is not masked'}",
        hint=f"khw run --phase runtime --limit {node.name}; cat /proc/swaps /etc/fstab",
    )
