"""Routes that lie on the machines: what `ip -N -json route` says on a real one, and what is made of it."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any, cast

import pytest
from fakes import FakeAgent, cluster

from khw.checks import CheckResult, Status
from khw.cluster.spec import Role, Spec, Static, StaticNode
from khw.errors import UnreachableError
from khw.inventory.static import StaticProvider
from khw.ssh.client import Completed
from khw.verify import Context, network, pod_routes
from khw.verify.causes import diagnose
from khw.verify.check import Finding
from khw.verify.rounds import run_checks
from khw.verify.table import select

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from khw.cluster.model import Cluster, Node
    from khw.verify.causes import Cause


def own(routes: Literal["nodes", "own"] = "nodes", balancer: Literal["own", "haproxy"] = "own") -> Cluster:
    nodes = (
        StaticNode(name="c", role=Role.CONTROLLER, address=IPv4Address("192.0.2.10")),
        *(
            StaticNode(
                name=f"w{n}",
                role=Role.WORKER,
                address=IPv4Address(f"192.0.2.{20 + n}"),
                pod_cidr=IPv4Network(f"10.200.{n}.0/24"),
            )
            for n in range(2)
        ),
    )
    static = Static(api_address="192.0.2.100", balancer=balancer, routes=routes, nodes=nodes)
    return cluster(Spec(provider="static", static=static), api_address="192.0.2.100")


OWN = own()
AT_HOME: list[dict[str, Any]] = [
    {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0", "flags": []},
    {"dst": "10.200.0.0/24", "dev": "cnio0", "protocol": "2", "scope": "253", "prefsrc": "10.200.0.1", "flags": []},
    {"dst": "192.0.2.0/24", "dev": "eth0", "protocol": "2", "scope": "253", "prefsrc": "192.0.2.20", "flags": []},
]
"""What w0 has of its own: the bridge of its pods, its network, the way out."""


def route(dest: str, hop: str, protocol: str | None = "211", **more: Any) -> dict[str, Any]:
    """A route as `ip` shows it; typed by hand (protocol None) it has no protocol."""
    return {"dst": dest, "gateway": hop, "dev": "eth0", "flags": [], **more} | (
        {"protocol": protocol} if protocol else {}
    )


RIGHT = route("10.200.1.0/24", "192.0.2.21")


def judged(*routes: dict[str, Any], node: str = "w0", it: Cluster = OWN) -> Finding:
    answer = Completed((), 0, json.dumps([*AT_HOME, *routes]), "")
    (finding,) = pod_routes.judge(it.node(node), context(it), [answer])
    return finding


def context(it: Cluster, agents: Mapping[str, Any] | None = None, unreachable: Mapping[str, str] | None = None) -> Any:
    return Context(
        cluster=it,
        pki=cast("Any", None),
        agents=agents or {},
        provider=StaticProvider(it.spec),
        kubectl=cast("Any", None),
        unreachable=unreachable or {},
    )


def test_a_machine_that_has_the_routes_of_its_table_is_well() -> None:
    found = judged(RIGHT)
    assert (found.ok, found.actual) == (True, "they are there")
    assert found.expected == "1 to other workers' pods, each by its worker"


@pytest.mark.parametrize(
    ("there", "seen"),
    [
        ([], "missing: 10.200.1.0/24 by 192.0.2.21"),
        ([route("10.200.1.0/24", "192.0.2.99")], "wrong: 10.200.1.0/24 by 192.0.2.99 instead of 192.0.2.21"),
        ([RIGHT, route("10.200.7.0/24", "192.0.2.27")], "extra: 10.200.7.0/24 by 192.0.2.27"),
        (
            [route("10.200.7.0/24", "192.0.2.27")],
            "missing: 10.200.1.0/24 by 192.0.2.21; extra: 10.200.7.0/24 by 192.0.2.27",
        ),
    ],
)
def test_a_route_that_is_missing_wrong_or_too_many_is_named_with_the_way_out(there: list[Any], seen: str) -> None:
    found = judged(*there)
    assert (found.ok, found.actual) == (False, seen)
    assert found.hint == "khw run --phase routes --limit w0; khw routes"
    assert found.command == "khw ssh w0 ip route show proto 211"


def test_somebody_elses_route_in_the_place_of_ours_is_wrong_and_goes_with_a_run() -> None:
    """It has no metric either, so that `ip route replace` takes its place."""
    found = judged(route("10.200.1.0/24", "192.0.2.99", None))
    assert found.actual == "wrong: 10.200.1.0/24 by 192.0.2.99 instead of 192.0.2.21 (protocol 3: not khw's)"
    assert found.hint.startswith("khw run --phase routes --limit w0")


def test_a_narrower_route_of_somebody_elses_is_named_and_is_theirs_to_take_away() -> None:
    found = judged(RIGHT, route("10.200.1.128/25", "192.0.2.99", "4"))
    assert found.actual == "extra: 10.200.1.128/25 by 192.0.2.99 (protocol 4: not khw's)"
    assert found.hint == "sudo ip route del 10.200.1.128/25 on w0, and find out what put it there; khw routes"


def test_a_route_that_leads_nowhere_is_named_by_its_kind() -> None:
    blackhole = {"type": "blackhole", "dst": "10.200.1.7", "flags": []}
    assert "extra: 10.200.1.7 by blackhole" in judged(RIGHT, blackhole).actual


@pytest.mark.parametrize(
    "beside",
    [
        route("10.200.1.0/24", "192.0.2.99", "16", metric=100),  # the network's own, which ours come before
        route("10.0.0.0/8", "192.0.2.1", "4"),  # wider: ours come before it
        route("172.17.0.0/16", "192.0.2.1", "4"),
    ],
)
def test_what_does_no_harm_to_pods_is_nobodys_business(beside: dict[str, Any]) -> None:
    assert judged(RIGHT, beside).ok


def test_a_machine_that_is_alone_has_no_such_route() -> None:
    (found,) = pod_routes.judge(OWN.node("w0"), context(only(OWN.node("w0"))), [Completed((), 0, "[ ]", "")])
    assert (found.ok, found.expected) == (True, "none: no other has pods")


def only(node: Node) -> Cluster:
    return type(OWN)(OWN.spec, (node,), OWN.api_address)


def test_what_ip_complains_of_is_the_finding() -> None:
    (found,) = pod_routes.judge(OWN.node("w0"), context(OWN), [Completed((), 127, "", "ip: not found\n")])
    assert (found.ok, found.actual) == (False, "ip: not found")


def test_every_machine_with_routes_is_asked_controllers_too() -> None:
    rows = run_checks(context(OWN, {n.name: FakeAgent(lambda _: "[]") for n in OWN.nodes}), select(("route",)))
    assert [(row.node, row.status) for row in rows] == [(name, Status.FAILED) for name in ("c", "w0", "w1")]


def test_where_routes_are_the_users_own_it_is_said_that_nothing_is_compared() -> None:
    mine = own(routes="own")
    (row,) = run_checks(context(mine, {n.name: FakeAgent(lambda _: "[]") for n in mine.nodes}), select(("route",)))
    assert (row.status, row.actual) == (Status.SKIPPED, network.ELSEWHERE)
    assert "static.routes: own" in row.actual


def test_a_table_of_all_says_who_did_not_answer() -> None:
    def silent(_: tuple[str, ...]) -> str:
        raise UnreachableError("its connection broke")

    agents = {"w0": FakeAgent(lambda _: json.dumps([*AT_HOME, RIGHT])), "w1": FakeAgent(silent)}
    found, why = pod_routes.look(context(OWN, agents, {"c": "it is off"}))
    assert [(row.node, row.dest_range, row.next_hop, row.expected, row.state) for row in found] == [
        ("w0", "10.200.1.0/24", "192.0.2.21", "192.0.2.21", "ok")
    ]
    assert why == {"c": "it is off", "w1": "its connection broke"}


def test_in_the_report_what_all_machines_have_is_one_table_and_what_one_lacks_is_not_in_it() -> None:
    said = {
        "c": [route("10.200.0.0/24", "192.0.2.20"), route("10.200.1.0/24", "192.0.2.21")],
        "w0": [route("10.200.9.0/24", "192.0.2.29")],
        "w1": [route("10.200.0.0/24", "192.0.2.20")],
    }
    found = [row for name, rows in said.items() for row in pod_routes.compared(OWN.node(name), OWN, json.dumps(rows))]
    assert [(one.name, one.dest_range, one.next_hop) for one in pod_routes.as_one(OWN, found)] == [
        ("on 2 machines", "10.200.0.0/24", "192.0.2.20"),
        ("on w0, extra", "10.200.9.0/24", "192.0.2.29"),
    ]


def failed(check: str, node: str = "", subject: str = "") -> CheckResult:
    return CheckResult(
        name=f"{check} {subject}".rstrip(),
        check=check,
        subject=subject,
        node=node,
        status=Status.FAILED,
        expected="",
        actual="",
    )


def the_cause(it: Cluster, *results: CheckResult) -> Cause:
    (cause,) = diagnose(results, it)
    return cause


def test_the_unit_that_puts_the_routes_is_behind_their_absence() -> None:
    unit = failed("unit", "w1", "pod-routes.service")
    cause = the_cause(OWN, failed("route", "w1"), unit, failed("pod to pod", "w1", "to w0"))
    assert (cause.id, cause.nodes, len(cause.symptoms)) == ("unit:pod-routes.service", ("w1",), 2)


def test_a_table_that_somebody_wrote_is_behind_the_routes_that_came_of_it() -> None:
    cause = the_cause(OWN, failed("route", "w1"), failed("file", "w1", "/etc/kubernetes/pod-routes"))
    assert (cause.id, len(cause.symptoms)) == ("file:/etc/kubernetes/pod-routes", 1)


@pytest.mark.parametrize("unit", ["haproxy.service", "keepalived.service"])
def test_a_balancer_that_runs_on_no_controller_is_behind_an_api_that_does_not_answer(unit: str) -> None:
    balanced = own(balancer="haproxy")
    cause = the_cause(balanced, failed("unit", "c", unit), failed("load balancer", subject="livez"))
    assert (cause.id, len(cause.symptoms)) == (f"unit:{unit}", 1)
