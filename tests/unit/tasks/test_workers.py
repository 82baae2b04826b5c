from __future__ import annotations

import json
import subprocess
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from fakes import cluster
from ruamel.yaml import YAML

from khw.artifacts import lock
from khw.cluster.model import Facts
from khw.cluster.spec import Proxy, Spec
from khw.converge.resources import Binary, Command, File, Image, Unit, Wait
from khw.tasks import containerd, kube_proxy, kubelet, workers

if TYPE_CHECKING:
    from pathlib import Path

    from khw.certs.pki import Pki
    from khw.cluster.model import Node
    from khw.converge.resources import Resource

CLUSTER = cluster()
WORKER = CLUSTER.node("worker-1")
CONTAINER = replace(WORKER, facts=Facts(cgroup=1, can_lower_oom_score=False, can_set_conntrack=False))
NO_PKI = cast("Pki", None)  # these tasks need none
PAUSE = "registry.k8s.io/pause:3.10.2"


def everything(node: Node = WORKER) -> list[Resource]:
    return [*workers.prepare(node, CLUSTER, NO_PKI), *workers.resources(node, CLUSTER, NO_PKI)]


def yaml(text: str) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(text))


def test_every_resource_of_a_worker_has_a_name_of_its_own() -> None:
    names = [resource.id for resource in everything()]
    assert len(names) == len(set(names))


def test_every_binary_and_image_is_in_the_lock_file() -> None:
    artifacts = [r.artifact for r in everything() if isinstance(r, Binary | Image)]
    assert all(lock.entry(name) for name in artifacts)


def test_a_unit_reads_only_files_that_the_tasks_place() -> None:
    placed = {r.path for r in everything() if isinstance(r, File | Binary)}
    elsewhere = {  # chapters 4 and 5
        "/var/lib/kubelet/kubeconfig",
        "/var/lib/kube-proxy/kubeconfig",
        "/var/lib/kubernetes/ca.pem",
        "/var/lib/kubelet/worker-1.pem",
        "/var/lib/kubelet/worker-1-key.pem",
    }
    read = {path for r in everything() if isinstance(r, Unit) for path in r.inputs}
    assert read <= placed | elsewhere


def test_the_kubelet_starts_in_the_phase_that_waits_for_an_api_server() -> None:
    early = [r.name for r in workers.prepare(WORKER, CLUSTER, NO_PKI) if isinstance(r, Unit)]
    late = [r.name for r in workers.resources(WORKER, CLUSTER, NO_PKI) if isinstance(r, Unit)]
    assert early == ["containerd.service"]
    assert late == ["kubelet.service", "kube-proxy.service"]


def test_the_last_thing_of_a_worker_is_the_wait_for_its_node() -> None:
    last = everything()[-1]
    assert isinstance(last, Wait)
    assert last.unit == "kubelet.service"
    assert last.timeout == CLUSTER.spec.timeouts.ready


def test_pods_find_their_network_before_the_runtime_starts() -> None:
    names = [resource.id for resource in everything()]
    assert names.index("file:/etc/cni/net.d/10-bridge.conf") < names.index("unit:containerd.service")


@pytest.mark.parametrize(("cgroup", "expected"), [(1, False), (2, True)])
def test_runc_uses_systemd_for_cgroups_only_where_there_is_cgroup_v2(cgroup: int, expected: bool) -> None:
    node = replace(WORKER, facts=Facts(cgroup=cgroup))
    runtime = tomllib.loads(containerd.config(node, PAUSE))["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is expected


def test_the_sandbox_image_is_pinned() -> None:
    config = tomllib.loads(containerd.config(WORKER, PAUSE))
    assert config["version"] == 3
    assert config["plugins"]["io.containerd.cri.v1.images"]["pinned_images"] == {"sandbox": PAUSE}


def test_oom_scores_are_restricted_only_where_they_cannot_be_lowered() -> None:
    assert "restrict_oom_score_adj" not in containerd.config(WORKER, PAUSE)
    assert "OOMScoreAdjust=-999" in containerd.unit(WORKER)
    assert "restrict_oom_score_adj = true" in containerd.config(CONTAINER, PAUSE)
    assert "OOMScoreAdjust" not in containerd.unit(CONTAINER)


def test_pods_get_addresses_of_their_nodes_range() -> None:
    conf = json.loads(containerd.bridge(WORKER))
    assert conf["bridge"] == "cnio0"
    assert conf["ipam"]["ranges"] == [[{"subnet": "10.200.1.0/24"}]]
    assert conf["hairpinMode"] is True


def test_the_kubelet_trusts_only_the_clusters_authority_and_the_api() -> None:
    config = yaml(kubelet.config(WORKER, CLUSTER))
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authentication"]["x509"] == {"clientCAFile": "/var/lib/kubernetes/ca.pem"}
    assert config["authorization"] == {"mode": "Webhook"}
    assert config["clusterDNS"] == ["10.32.0.10"]
    assert config["tlsPrivateKeyFile"] == "/var/lib/kubelet/worker-1-key.pem"


def test_cgroup_v1_is_allowed_only_where_there_is_no_v2() -> None:
    modern, old = yaml(kubelet.config(WORKER, CLUSTER)), yaml(kubelet.config(CONTAINER, CLUSTER))
    assert modern["cgroupDriver"] == "systemd"
    assert "failCgroupV1" not in modern
    assert old["cgroupDriver"] == "cgroupfs"
    assert old["failCgroupV1"] is False


def test_swap_of_a_containers_host_does_not_stop_the_kubelet() -> None:
    inside = replace(WORKER, facts=Facts(container=True))
    assert "failSwapOn" not in yaml(kubelet.config(WORKER, CLUSTER))  # true is the default
    assert yaml(kubelet.config(inside, CLUSTER))["failSwapOn"] is False


def test_the_kubelet_is_the_node_of_its_name_and_address() -> None:
    text = kubelet.unit(WORKER)
    assert "--hostname-override=worker-1" in text
    assert "--node-ip=10.240.0.21" in text


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_kube_proxy_has_the_mode_of_the_cluster_file(mode: str) -> None:
    config = yaml(kube_proxy.config(WORKER, cluster(Spec(proxy=Proxy(mode=mode)))))  # type: ignore[arg-type]
    assert config["mode"] == mode
    assert config["clusterCIDR"] == "10.200.0.0/16"


def test_kube_proxy_leaves_conntrack_alone_where_it_cannot_set_it() -> None:
    assert "conntrack" not in yaml(kube_proxy.config(WORKER, CLUSTER))
    assert yaml(kube_proxy.config(CONTAINER, CLUSTER))["conntrack"] == {"maxPerCore": 0}


FSTAB = """\
# /etc/fstab
UUID=1-2 /    ext4 errors=remount-ro 0 1
/dev/sda2 none swap sw 0 0
/swap.img\tnone\tswap\tsw\t0\t0
# UUID=3 none swap sw 0 0
"""


def swap_command(name: str, fstab: Path) -> tuple[list[str], list[str]]:
    command = next(r for r in workers.swap() if isinstance(r, Command) and r.name == name)
    argv, unless = ([word.replace("/etc/fstab", str(fstab)) for word in it] for it in (command.argv, command.unless))
    return argv, unless


def test_swap_goes_out_of_fstab_and_nothing_else_does(tmp_path: Path) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_text(FSTAB)
    argv, unless = swap_command("swap-out-of-fstab", fstab)
    assert subprocess.run(unless, check=False).returncode != 0
    subprocess.run(argv, check=True)
    assert subprocess.run(unless, check=False).returncode == 0
    mounted = [line for line in fstab.read_text().splitlines() if not line.startswith("#")]
    assert mounted == ["UUID=1-2 /    ext4 errors=remount-ro 0 1"]
    assert (tmp_path / "fstab.before-khw").read_text() == FSTAB


def test_a_machine_without_fstab_has_no_swap_in_it(tmp_path: Path) -> None:
    _, unless = swap_command("swap-out-of-fstab", tmp_path / "fstab")
    assert subprocess.run(unless, check=False).returncode == 0
