"""
Chapters 4 to 12 as a pyinfra deploy, on booted machines whose load balancer and routes are there.

Run with --no-wait: hosts go at their own pace, so that workers do not wait for controllers before they have to.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.operations import files, server, systemd
from pyinfra.operations.util import any_changed

TREE = Path(os.environ["BENCH_ROOT"]) / "tree"
REFERENCES = json.loads((TREE / "images" / "references.json").read_text())
BIN = "/usr/local/bin"
ADMIN = f"{BIN}/kubectl --kubeconfig=/var/lib/kubernetes/admin.kubeconfig"
ETCD_KEY = "/etc/etcd/kubernetes-key.pem"
KUBELET = f"{BIN}/kubectl --kubeconfig=/var/lib/kubelet/kubeconfig"


def chapter(name: str) -> list[Any]:
    """Put every directory and file of a chapter in its place; return the operations."""
    home = TREE / name / host.name
    done: list[Any] = []
    for place in sorted(home.rglob("*")):
        path = "/" + str(place.relative_to(home))
        mode = f"{place.stat().st_mode & 0o777:o}"
        if place.is_dir() and not place.is_symlink():
            if path.count("/") > 2:  # not /etc, /var/lib and the like
                files.directory(name=f"{name}: {path}", path=path, mode=mode, _sudo=True)
        else:
            done.append(files.put(name=f"{name}: {path}", src=str(place), dest=path, mode=mode, _sudo=True))
    return done


def service(name: str, changed: list[Any]) -> None:
    """Enable and start a unit; restart it if one of its files has changed."""
    systemd.service(
        name=f"{name} restarts",
        service=f"{name}.service",
        restarted=True,
        enabled=True,
        daemon_reload=True,
        _sudo=True,
        _if=any_changed(*changed),
    )
    systemd.service(name=f"{name} runs", service=f"{name}.service", running=True, enabled=True, _sudo=True)


def patiently(name: str, command: str) -> None:
    """Wait until a command succeeds."""
    server.shell(
        name=name,
        commands=[f"for i in $(seq 300); do {command} >/dev/null 2>&1 && exit 0; sleep 1; done; exit 1"],
        _sudo=True,
    )


def controller() -> None:
    """Chapters 4 to 8."""
    files_done = [*chapter("certificates"), *chapter("kubeconfigs"), *chapter("encryption"), *chapter("etcd")]
    server.user(name="etcd's user", user="etcd", system=True, home="/var/lib/etcd", ensure_home=False, _sudo=True)
    for path, operation, mode in (("/var/lib/etcd", files.directory, 700), (ETCD_KEY, files.file, 600)):
        operation(name=f"etcd: {path}", path=path, user="etcd", group="etcd", mode=mode, _sudo=True)
    server.shell(
        name="a member without data founds the cluster",
        commands=[
            "test -d /var/lib/etcd/member/wal || "
            "{ mkdir -p /run/khw && echo ETCD_INITIAL_CLUSTER_STATE=new >/run/khw/etcd.env; }"
        ],
        _sudo=True,
    )
    service("etcd", files_done)
    files_done += chapter("control-plane")
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        service(name, files_done)
    patiently("the API server is ready", f"{ADMIN} get --raw=/readyz")


def worker() -> None:
    """Chapters 4, 5 and 9."""
    files_done = [*chapter("certificates"), *chapter("kubeconfigs")]
    runtime = chapter("runtime")
    server.shell(
        name="swap stays off; kernel modules and settings",
        commands=[
            "systemctl mask --quiet swap.target",
            "test -d /proc/sys/net/bridge || modprobe br_netfilter",
            "/usr/sbin/sysctl --quiet --load=/etc/sysctl.d/99-kubernetes.conf",
        ],
        _sudo=True,
    )
    service("containerd", runtime)
    files.directory(name="archives of images", path="/var/lib/images", _sudo=True)
    for image, reference in REFERENCES.items():
        archive = f"/var/lib/images/{image}.tar"
        files.put(name=f"archive of {image}", src=str(TREE / "images" / f"{image}.tar"), dest=archive, _sudo=True)
        server.shell(
            name=image,
            commands=[
                f"{BIN}/ctr --namespace=k8s.io images list --quiet | grep -qxF '{reference}' || "
                f"{BIN}/ctr --namespace=k8s.io images import {archive}"
            ],
            _sudo=True,
        )
    files_done += runtime + chapter("workers")
    files.link(
        name="the resolver of the pods",
        path="/var/lib/kubelet/resolv.conf",
        target="/etc/resolv.conf",
        _sudo=True,
    )
    patiently("an API server answers", f"{KUBELET} get --raw=/readyz")
    for name in ("kubelet", "kube-proxy"):
        service(name, files_done)
    ready = f"wait node/{host.name} --for=create --for=condition=Ready --timeout=180s"
    server.shell(name="the node is Ready", commands=[f"{KUBELET} {ready}"], _sudo=True)


def once() -> None:
    """Chapters 8 and 12, once a cluster."""
    for manifest in sorted((TREE / "manifests").iterdir()):
        path = f"/var/lib/kubernetes/{manifest.name}"
        files.put(name=manifest.name, src=str(manifest), dest=path, mode="600", _sudo=True)
        server.shell(name=f"{manifest.stem} applied", commands=[f"{ADMIN} apply -f {path}"], _sudo=True)
    status = "--namespace=kube-system rollout status deployment/coredns --timeout=180s"
    server.shell(name="CoreDNS is ready", commands=[f"{ADMIN} {status}"], _sudo=True)


if "controllers" in host.groups:
    controller()
    if host.name.endswith("-0"):
        once()
else:
    worker()
