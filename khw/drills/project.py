"""What is broken in the cloud project: a route, a firewall rule, the load balancer, a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.drills.drill import Cause, Drill
from khw.inventory.gcp.kinds import FIREWALL, FORWARDING_RULE, ROUTE

if TYPE_CHECKING:
    from khw.drills.drill import Values
    from khw.drills.ground import Ground


def _lose_route(ground: Ground, values: Values) -> None:
    from khw.drills import cloud
    from khw.inventory.gcp.routes import route_name

    cloud.delete(ground.project, ROUTE, route_name(values["pod_cidr"]))


def _lose_firewall(ground: Ground, values: Values) -> None:
    from khw.drills import cloud

    cloud.delete(ground.project, FIREWALL, f"{values['network']}-allow-internal")


def _lose_balancer(ground: Ground, values: Values) -> None:
    from khw.drills import cloud

    cloud.delete(ground.project, FORWARDING_RULE, f"{values['network']}-api")


def _stop_machine(ground: Ground, values: Values) -> None:
    from khw.drills import cloud

    cloud.stop(ground.project, values["last"])


POD_ROUTE = Drill(
    name="pod-route",
    title="a lost pod route",
    chapter=11,
    workers=2,
    project=True,
    story="""
It is the oddest thing. The shop's front end talks to its cart service all day, and since somebody tidied up the
project this morning about half of the requests hang until they time out. Restarting the pods helps, sometimes: it
depends on where they land. `kubectl get nodes` is all green, `kubectl logs` works for every pod, and two pods on the
same machine never have any trouble with each other.
""",
    hints=(
        "Find the pattern first. `kubectl get pods -A -o wide` shows where each pod runs. Which pairs of machines can"
        " talk, and which cannot? `khw verify` tries every pair.",
        "Pods of one machine reach each other over its bridge, cnio0. From machine to machine nobody but the network"
        " knows the way: the machines have a default route and nothing else (`khw ssh {worker} ip route`).",
        "`khw routes` prints the network's table. Each worker's pod CIDR must be there, with the worker's own address"
        " as next hop. Count them.",
    ),
    repair=("khw run --phase routes",),
    cause=Cause(id="route", node="{worker}"),
    proof=("pod to pod",),
    make=_lose_route,
)

FIREWALL_RULE = Drill(
    name="firewall",
    title="a firewall rule gone",
    chapter=3,
    workers=2,
    project=True,
    story="""
Security did its quarterly clean-up of firewall rules an hour ago: "nothing that anybody uses". Since then `kubectl
logs` and `kubectl exec` hang and give up, for every pod on every machine, and services fail whenever the other side is
not on the same machine. I can still log in everywhere over SSH, the API answers, and the nodes say Ready. They swear
that they have touched nothing of Kubernetes.
""",
    hints=(
        "What works comes from outside (SSH, 6443). What fails goes from machine to machine. Who stands between two"
        " machines of one network?",
        "Try it: `khw ssh {controller} 'timeout 3 bash -c \"</dev/tcp/{worker_ip}/10250\" && echo open || echo closed'`"
        " says closed. The kubelet listens (`khw ssh {worker} sudo ss -ltn`), and yet nobody gets there.",
        "Chapter 3 makes the rules allow-internal, allow-external and allow-nodeports; chapter 8's load balancer"
        " has allow-health-check and allow-nodes. `khw plan --phase compute` says which one it would have to make.",
    ),
    repair=("khw run --phase compute",),
    cause=Cause(id="cloud:firewall:{network}-allow-internal"),
    proof=("pod to pod", "logs", "exec"),
    make=_lose_firewall,
)

LOAD_BALANCER = Drill(
    name="load-balancer",
    title="a forwarding rule gone",
    chapter=8,
    project=True,
    story="""
Nobody can work. `kubectl` from any laptop says that it cannot connect to {api_address}:{port}, and the nodes went
NotReady one after another, about a minute ago. But when I log in to a controller and use the kubeconfig there,
everything answers as if nothing had happened. I have restarted kube-apiserver twice. It made no difference.
""",
    hints=(
        "Two kubeconfigs, two ways: yours goes to {api_url}, the one on a controller goes to 127.0.0.1. So the API"
        " servers are fine. What is in between?",
        "Chapter 8 puts a load balancer on the static address: a forwarding rule, a backend service, an instance group"
        " and a health check. All four are needed.",
        "`khw plan --phase load-balancer` compares them with what is there.",
    ),
    repair=("khw run --phase load-balancer",),
    cause=Cause(id="cloud:forwarding-rule:{network}-api"),
    proof=("load balancer",),
    make=_lose_balancer,
)

MACHINE = Drill(
    name="machine-stopped",
    title="a controller that is switched off",
    chapter=3,
    controllers=3,
    stacked=True,
    project=True,
    story="""
The dashboard turned yellow at lunch, and nobody complains, which is what worries me: the cluster answers, deployments
go through, only `kubectl get componentstatuses` has a red line. I wanted to look at {last}, and cannot log in.
If we lose one more we are done, aren't we? Please have it back in its place before anybody touches another controller.
""",
    hints=(
        "Is it the service, the network or the machine? `khw verify` says why it does not reach {last}; `khw inventory"
        " -o wide` shows the reason too.",
        "A machine that is TERMINATED has been switched off, and its disk is still there. Nothing has to be built"
        " again, and etcd takes a member back that was only away.",
        "Start it: `gcloud compute instances start {last}` in the project of khw.yaml. In the lab there is no gcloud;"
        " the API is the same, and the call is a POST to …/instances/{last}/start.",
    ),
    repair=(
        "curl --silent --show-error --fail --request POST --header 'Content-Length: 0' {start_url}",
        "khw verify etcd --wait 120",
    ),
    cause=Cause(id="machine", node="{last}"),
    proof=("etcd", "API server", "API server behind the Service"),
    make=_stop_machine,
)

DRILLS = (POD_ROUTE, FIREWALL_RULE, LOAD_BALANCER, MACHINE)
