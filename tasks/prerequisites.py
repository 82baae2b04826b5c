"""
Chapter 1 on the nodes: what must hold before anything is changed, as named findings.

Each is a `Require`: it looks, changes nothing, prints what it saw, and says what to do. Clock skew is judged by the
engine, which knows its own clock; python3 and sudo are proven by the agent's having started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.cluster.spec import Role
from khw.converge.resources import Require
from khw.distributions import all_known, known

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.certs.pki import Pki
    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource

ETCD_PORTS = {
    2379: "etcd.service",
    2380: "etcd.service",
}
CONTROLLER_PORTS = {
    10257: "kube-controller-manager.service",
    10259: "kube-scheduler.service",
}
WORKER_PORTS = {
    10248: "kubelet.service",
    10249: "kube-proxy.service",
    10250: "kubelet.service",
    10256: "kube-proxy.service",
}
DISK_MIB = 5 * 1024
DISK_LEFT_MIB = 500  # on a machine that was installed before
MEMORY_MIB = 900  # what a 1 GB machine has left for its system

KERNEL_FEATURES = {
    "overlay": "grep -qw overlay /proc/filesystems",
    "br_netfilter": "test -e /proc/sys/net/bridge/bridge-nf-call-iptables",
    "nf_conntrack": "test -e /proc/sys/net/netfilter/nf_conntrack_max",
}
"""Kernel modules that workers need, and how it is seen that the feature is there already."""


def resources(node: Node, cluster: Cluster, pki: Pki) -> Iterator[Resource]:
    """Yield the findings for this node."""
    del pki
    yield _systemd()
    yield _distribution(node)
    yield _host_name(node)
    yield _machine_id()
    yield _memory()
    yield _disk()
    yield _control_groups(node)
    yield _ports(ports(node, cluster))
    if Role.WORKER in node.roles:
        yield from (_kernel_feature(module, seen) for module, seen in KERNEL_FEATURES.items())
        yield _swap()


def _systemd() -> Require:
    return Require(
        name="systemd",
        argv=_shell('echo "process 1 is $(cat /proc/1/comm)"; test -d /run/systemd/system'),
        problem="systemd does not run this machine",
        hint="use an image that boots systemd, such as Debian 12 or Ubuntu 22.04",
    )


def _distribution(node: Node) -> Require:
    """Return the finding about the distribution; the agent has read which it is, so that nothing is asked here."""
    facts = node.facts
    seen = f"{facts.distribution or 'no ID in /etc/os-release'} {facts.release}".strip()
    return Require(
        name="distribution",
        argv=_shell('echo "$1"; test "$2" = known', seen, "known" if known(facts) else "unknown"),
        problem=f"the distribution is {seen}, and khw knows {all_known()}",
        hint="install one of those; or add a file to khw/distributions, if its packages are apt's",
    )


def _host_name(node: Node) -> Require:
    return Require(
        name="host-name",
        argv=_shell('echo "the host name is $(uname -n)"; test "$(uname -n)" = "$1"', node.name),
        problem=f"the host name is not {node.name}, and its kubelet or etcd would go by another name",
        hint=f"hostnamectl set-hostname {node.name}",
    )


def _machine_id() -> Require:
    return Require(
        name="machine-id",
        argv=_shell('echo "machine-id: $(cat /etc/machine-id)"; grep -qxE "[0-9a-f]{32}" /etc/machine-id'),
        problem="the machine has no identity of its own in /etc/machine-id",
        hint="rm -f /etc/machine-id && systemd-machine-id-setup",
    )


def _memory() -> Require:
    script = """\
total=$(awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo)
echo "$total MiB"
test "$total" -ge "$1"
"""
    return Require(
        name="memory",
        argv=_shell(script, str(MEMORY_MIB)),
        problem=f"less than {MEMORY_MIB} MiB of memory",
        hint="choose a larger machine_type; the guide's is e2-standard-2",
    )


def _disk() -> Require:
    script = """\
free=$(df -Pm /var/lib | awk 'NR == 2 {print $4}')
echo "$free MiB free in /var/lib"
test -e /usr/local/bin/etcd || test -e /usr/local/bin/kubelet && set -- "$2"
test "$free" -ge "$1"
"""
    return Require(
        name="disk",
        argv=_shell(script, str(DISK_MIB), str(DISK_LEFT_MIB)),
        problem=f"less than {DISK_MIB} MiB free in /var/lib ({DISK_LEFT_MIB} once Kubernetes is installed)",
        hint="make room, or give the machine a larger disk",
    )


def _control_groups(node: Node) -> Require:
    listed = (
        "cat /sys/fs/cgroup/cgroup.controllers"
        if node.facts.cgroup == 2
        else "awk '$4 == 1 {printf \"%s \", $1}' /proc/cgroups"
    )
    script = f"""\
controllers=$({listed} 2>/dev/null)
echo "control groups v{node.facts.cgroup}: $controllers"
for wanted in cpu memory pids; do
  case " $controllers " in *" $wanted "*) ;; *) exit 1 ;; esac
done
"""
    return Require(
        name="control-groups",
        argv=_shell(script),
        problem="the control groups cpu, memory and pids are not all there",
        hint="boot with cgroup_enable=memory (on the kernel command line); containers must be given their cgroups",
    )


def _kernel_feature(module: str, seen: str) -> Require:
    script = f"{seen} || test -d /sys/module/{module} || modprobe -n -q {module} || {{ echo 'not there'; exit 1; }}"
    return Require(
        name=f"kernel-{module}",
        argv=_shell(script),
        problem=f"the kernel has no {module}",
        hint=f"modprobe {module}; install the kernel's modules, or in a container load it on the host",
    )


def _swap() -> Require:
    script = "cat /proc/swaps; test $(wc -l < /proc/swaps) -le 1 || command -v swapoff"
    return Require(
        name="swap",
        argv=_shell(script),
        problem="swap is on, and there is no swapoff for chapter 9 to turn it off",
        hint="turn swap off, in /etc/fstab too",
    )


def ports(node: Node, cluster: Cluster) -> dict[int, str]:
    """Return the ports that Kubernetes needs on this node, and the unit that each is for."""
    mine = {cluster.network.api_port: "kube-apiserver.service", **CONTROLLER_PORTS}
    shared = {cluster.spec.api_port: "haproxy.service"}
    rows = {Role.ETCD: ETCD_PORTS, Role.CONTROLLER: mine, Role.WORKER: WORKER_PORTS, Role.BALANCER: shared}
    return {port: unit for role, wanted in rows.items() if role in node.roles for port, unit in wanted.items()}


def _ports(ports: dict[int, str]) -> Require:
    return Require(
        name="ports",
        argv=("python3", "-c", _FIND_STRANGERS, *(f"{port}={unit}" for port, unit in ports.items())),
        problem="a port that Kubernetes needs is taken",
        hint="stop what listens there: ss -ltnp",
    )


def _shell(script: str, *arguments: str) -> tuple[str, ...]:
    return ("sh", "-c", "PATH=$PATH:/usr/sbin:/sbin\n" + script, "sh", *arguments)


_FIND_STRANGERS = """\
import glob, os, sys

wanted = dict(pair.split("=") for pair in sys.argv[1:])
inodes = {}
for table in ("/proc/net/tcp", "/proc/net/tcp6"):
    if not os.path.exists(table):
        continue
    with open(table) as lines:
        for row in (line.split() for line in list(lines)[1:]):
            port = str(int(row[1].rpartition(":")[2], 16))
            if row[3] == "0A" and port in wanted:
                inodes[row[9]] = port
strangers = {port: "something" for port in inodes.values()}
for link in glob.glob("/proc/[0-9]*/fd/*") if inodes else ():
    try:
        port = inodes.get(os.readlink(link).removeprefix("socket:[").rstrip("]"))
        if port is None:
            continue
        process = link.split("/")[2]
        with open(f"/proc/{process}/cgroup") as groups, open(f"/proc/{process}/comm") as name:
            if "/" + wanted[port] in groups.read():
                strangers.pop(port, None)
            elif port in strangers:
                strangers[port] = name.read().strip()
    except OSError:
        continue
print(", ".join(f"port {port} is held by {name}" for port, name in strangers.items()) or "all free, or ours")
sys.exit(bool(strangers))
"""
"""Ports in LISTEN, whose process is not in the unit that the port is for."""
