"""What is broken on a worker: kubelet, container runtime, CNI, kube-proxy, packet filter (chapter 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.drills.drill import Cause, Drill

if TYPE_CHECKING:
    from khw.drills.drill import Values
    from khw.drills.ground import Ground

KUBELET = "/var/lib/kubelet/kubelet-config.yaml"
CNI = "/etc/cni/net.d/10-bridge.conf"
CONTAINERD = "/etc/containerd/config.toml"
PROXY = "/var/lib/kube-proxy/kubeconfig"


def _misdirect_dns(ground: Ground, values: Values) -> None:
    dns = values["dns_address"]
    ground.sh(
        values["worker"],
        f"sed -i 's/^  - {dns}$/  - {values['wrong_dns']}/' {KUBELET} && systemctl restart kubelet",
    )


DNS = Drill(
    name="cluster-dns",
    title="a wrong clusterDNS",
    chapter=9,
    story="""
Pods that were started on {worker} since its reinstallation cannot resolve anything, not even `kubernetes.default`. The
old ones there are fine, and so is everything on the other machines. CoreDNS is healthy, and from these pods it answers
when I ask it by its address. They just don't seem to ask it.
""",
    hints=(
        "If they don't ask it, whom do they ask? Start a pod on {worker} and look at its /etc/resolv.conf, then at one"
        " on another machine.",
        "The file is written by the kubelet when the pod starts; that is why the old ones are fine. It takes the"
        " address from its own configuration.",
        "`khw ssh {worker} sudo grep -A1 clusterDNS {kubelet}`, and the address that the Service has:"
        " `kubectl -n kube-system get service kube-dns`.",
    ),
    repair=(
        "khw ssh {worker} 'sudo sed -i s/{wrong_dns}/{dns_address}/ {kubelet} && sudo systemctl restart kubelet'",
        "kubectl wait --for=condition=Ready node/{worker} --timeout=60s",
    ),
    cause=Cause(id="file:{kubelet}", node="{worker}"),
    proof=("DNS",),
    find=lambda ground: {"wrong_dns": str(ground.cluster.network.service_cidr[53]), "kubelet": KUBELET},
    make=_misdirect_dns,
)


def _switch_driver(ground: Ground, values: Values) -> None:
    """Turn the runtime's cgroup driver into the other one. A kubelet asks at its start alone, so it is left running."""
    ground.sh(
        values["worker"],
        f"sed -i 's/SystemdCgroup = {values['right_driver']}/SystemdCgroup = {values['wrong_driver']}/' {CONTAINERD}"
        " && systemctl restart containerd",
        timeout=90.0,
    )


def _find_driver(ground: Ground) -> Values:
    version = ground.context.agents[ground.cluster.workers[0].name].facts.cgroup
    right, wrong = ("true", "false") if version == 2 else ("false", "true")
    return {
        "right_driver": right,
        "wrong_driver": wrong,
        "right_name": "systemd" if version == 2 else "cgroupfs",
        "wrong_name": "cgroupfs" if version == 2 else "systemd",
        "cgroup": str(version),
        "containerd": CONTAINERD,
        "kubelet": KUBELET,
    }


DRIVER = Drill(
    name="cgroup-driver",
    title="the wrong cgroup driver",
    chapter=9,
    story="""
After the hardening of {worker} with the settings from a blog, no new pod comes up there: they sit in
ContainerCreating, or are restarted for ever. Those that were running before still run. The node is Ready all the time.
The blog has four stars, and on the author's laptop it works.
""",
    hints=(
        "What does the kubelet say when it starts one? `kubectl describe pod`, or `khw ssh {worker} sudo journalctl -u"
        " kubelet -n 30`: it names the part that refuses.",
        "The kubelet, containerd and runc must agree on who makes cgroups: systemd, or they themselves (cgroupfs)."
        " The kubelet asks the runtime when it starts, and follows it (so {kubelet} is not the place to look). Which of"
        " the two was started last?",
        "`khw ssh {worker} grep SystemdCgroup {containerd}`. These machines have cgroup v{cgroup}, and the driver that"
        " fits is {right_name}.",
    ),
    repair=(
        "khw ssh {worker} \"sudo sed -i 's/SystemdCgroup = {wrong_driver}/SystemdCgroup = {right_driver}/'"
        ' {containerd} && sudo systemctl restart containerd kubelet"',
        "kubectl wait --for=condition=Ready node/{worker} --timeout=60s",
    ),
    cause=Cause(id="file:{containerd}", node="{worker}"),
    proof=("test pod",),
    find=_find_driver,
    make=_switch_driver,
)


def _cut_cni(ground: Ground, values: Values) -> None:
    """Leave the file as an editor on a full disk does: its first half."""
    ground.sh(values["worker"], f"truncate --size=$(($(stat --format=%s {CNI}) / 2)) {CNI}")


NETWORK = Drill(
    name="cni-broken",
    title="a broken CNI file",
    chapter=9,
    workers=2,
    story="""
Pods on {worker} don't start any more. They stay in ContainerCreating, while on the other machines everything starts at
once. What was running there still runs. I had a look at the network configuration of {worker} earlier, to see what the
bridge is called, and may have hit a key; but I have not *changed* anything.
""",
    hints=(
        "`kubectl describe pod` of one that does not start: read the event to its end. Who could not do what?",
        "The sandbox gets its network from CNI: containerd reads /etc/cni/net.d, in the order of the names, and calls"
        " the plugins that the files name. `khw ssh {worker} ls -l /etc/cni/net.d`, and compare with another worker.",
        "`khw ssh {worker} sudo python3 -m json.tool {cni}` says whether it is JSON at all. The file differs from"
        " machine to machine in its subnet alone, which is the node's pod CIDR: {pod_cidr}.",
    ),
    repair=(
        "khw ssh {other_worker} sudo cat {cni} | sed 's#{other_cidr}#{pod_cidr}#' | khw ssh {worker} sudo tee {cni}",
        "khw ssh {worker} sudo systemctl restart containerd",
        "kubectl wait --for=condition=Ready node/{worker} --timeout=90s",
    ),
    cause=Cause(id="file:{cni}", node="{worker}"),
    proof=("test pod", "pod to pod"),
    find=lambda ground: {"cni": CNI, "other_cidr": ground.cluster.workers[-1].pod_cidr or ""},
    make=_cut_cni,
)


def _misdirect_proxy(ground: Ground, values: Values) -> None:
    ground.sh(
        values["worker"],
        f"sed -i 's#:{values['port']}$#:{values['wrong_port']}#' {PROXY} && systemctl restart kube-proxy",
    )


SERVICES = Drill(
    name="kube-proxy",
    title="a kube-proxy that does not reach the API",
    chapter=9,
    story="""
From pods on {worker}, services that were made in the last hour cannot be reached; connections are refused or hang. The
same services work from everywhere else, and older ones work from {worker} too. All units on it are running, the node
is Ready. Its kubeconfigs were renewed by hand this morning.
""",
    hints=(
        "Old services work, new ones do not: something there has stopped listening for news. Who turns Services into"
        " rules of the packet filter on each node?",
        "'running' is not 'working': `khw ssh {worker} sudo journalctl -u kube-proxy -n 10`. Where does it try to"
        " connect?",
        "Where the API is, it reads in {proxy}: `khw ssh {worker} sudo grep server: {proxy}`. Compare with {api_url}.",
    ),
    repair=("khw ssh {worker} 'sudo sed -i s/:{wrong_port}/:{port}/ {proxy} && sudo systemctl restart kube-proxy'",),
    cause=Cause(id="file:{proxy}", node="{worker}"),
    proof=("service",),
    find=lambda ground: {"wrong_port": str(ground.cluster.network.api_port + 1), "proxy": PROXY},
    make=_misdirect_proxy,
)


def _drop_forwarded(ground: Ground, values: Values) -> None:
    """Set the policy as Docker does when it is installed."""
    ground.sh(values["worker"], "iptables --policy FORWARD DROP")


def _mend_forwarded(ground: Ground, values: Values) -> None:
    ground.tried(values["worker"], "iptables --policy FORWARD ACCEPT")


FORWARD = Drill(
    name="forward-policy",
    title="a node that forwards nothing",
    chapter=9,
    workers=2,
    story="""
Somebody needed Docker on {worker} "just for a build", installed it, and removed it again. Since then the pods there are
on their own: no other machine reaches them and they reach no other machine. The node is Ready, its kubelet and
kube-proxy are happy, the route table is complete, and from {worker} itself I can ping all of it.
""",
    hints=(
        "From the node itself it works, from its pods it does not. What is the difference on the way? Packets of pods"
        " are not sent by the node; it forwards them.",
        "Forwarding is on (`khw ssh {worker} sudo sysctl net.ipv4.ip_forward`), and the routes are right (`khw"
        " routes`). Something else can say no to a forwarded packet.",
        "`khw ssh {worker} sudo iptables -S FORWARD`: read the first line. It is what happens to a packet that no rule"
        " accepts. Docker sets it, and does not set it back.",
    ),
    repair=("khw ssh {worker} sudo iptables --policy FORWARD ACCEPT",),
    cause=Cause(id="forwarding", node="{worker}"),
    proof=("pod to pod",),
    make=_drop_forwarded,
    mend=_mend_forwarded,
)

DRILLS = (DNS, DRIVER, NETWORK, SERVICES, FORWARD)
