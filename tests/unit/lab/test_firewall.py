from __future__ import annotations

from dataclasses import replace

from labnet import EXTERNAL, INTERNAL, NETWORK, rule, vpc

from khw.lab.backend import Nat, NetworkState, Traffic
from khw.lab.firewall import interface, merged_ports, render, rules_of, translated

SSH = Traffic(protocol="tcp", ports=("22",))


def chain(text: str, name: str) -> list[str]:
    body = text.split(f"chain {name} {{\n", 1)[1].split("\n  }", 1)[0]
    return [line.strip() for line in body.splitlines()]


def test_interface_names_fit_linux_and_differ() -> None:
    names = {interface(f"a-very-long-machine-name-{i}") for i in range(50)}
    assert len(names) == 50
    assert all(len(name) <= 15 for name in names)


def test_ingress_is_dropped_unless_a_rule_allows_it() -> None:
    text = render(vpc(INTERNAL, EXTERNAL))
    assert chain(text, f"rules-{interface('worker-0')}") == [
        "tcp dport { 22 } accept",
        "meta l4proto icmp accept",
        "ip saddr { 10.200.0.0/16, 10.240.0.0/24 } meta l4proto tcp accept",
        "ip saddr { 10.200.0.0/16, 10.240.0.0/24 } meta l4proto udp accept",
        "ip saddr { 10.200.0.0/16, 10.240.0.0/24 } meta l4proto icmp accept",
        "drop",
    ]


def test_the_lowest_priority_number_wins_and_deny_goes_before_allow() -> None:
    state = vpc(
        rule("late", SSH, priority=2000),
        rule("same-allow", SSH),
        rule("same-deny", SSH, action="deny"),
        rule("early", SSH, priority=10),
    )
    verdicts = [r.allow for r in rules_of(state, state.attachments[0], "INGRESS")]
    assert verdicts == [True, False, True, True]


def test_target_tags_choose_the_machines() -> None:
    text = render(vpc(rule("workers", SSH, target_tags=("worker",))))
    assert "tcp dport { 22 } accept" in chain(text, f"rules-{interface('worker-1')}")
    assert chain(text, f"rules-{interface('controller-0')}") == ["drop"]


def test_source_tags_become_the_addresses_of_their_machines() -> None:
    state = vpc(rule("from-workers", SSH, source_ranges=(), source_tags=("worker",)))
    found = rules_of(state, state.attachments[0], "INGRESS")
    assert [str(peer) for peer in found[0].peers] == ["10.240.0.20/31"]


def test_a_rule_for_a_tag_that_no_machine_has_matches_nothing() -> None:
    state = vpc(rule("nobody", SSH, source_ranges=(), source_tags=("nobody",)))
    assert rules_of(state, state.attachments[0], "INGRESS") == ()


def test_egress_is_allowed_unless_a_rule_denies_it() -> None:
    denied = rule(
        "no-web",
        Traffic(protocol="tcp", ports=("80", "443")),
        direction="EGRESS",
        action="deny",
        source_ranges=(),
        destination_ranges=("10.240.0.11/32",),
    )
    text = render(vpc(denied))
    assert chain(text, f"from-{interface('worker-0')}") == ["ip daddr { 10.240.0.11/32 } tcp dport { 80, 443 } drop"]


def test_a_machine_that_may_not_forward_sends_and_gets_only_its_own() -> None:
    state = vpc()
    bound = replace(state.attachments[0], can_ip_forward=False)
    text = render(replace(state, attachments=(bound, *state.attachments[1:])))
    name = interface("controller-0")
    assert chain(text, f"from-{name}")[0] == "ip saddr != { 10.240.0.10, 127.240.0.10 } drop"
    assert "ip daddr != { 10.240.0.10, 127.240.0.10 } drop" in chain(text, f"to-{name}")


def test_networks_do_not_reach_each_other() -> None:
    state = vpc()
    other = replace(state.attachments[0], network="other")
    text = render(replace(state, attachments=(other, *state.attachments[1:])))
    assert chain(text, f"to-{interface('controller-0')}")[0] == (f'iifname != {{ "{interface("controller-0")}" }} drop')


def test_health_checks_are_judged_by_the_rules_of_the_machine() -> None:
    text = render(vpc())
    assert "ip saddr 35.191.0.1 jump probe" in chain(text, "output")
    assert f'"{interface("worker-0")}" : goto rules-' in chain(text, "probe")[0]


def test_a_vpc_without_machines_renders_without_empty_maps() -> None:
    assert "vmap" not in render(NetworkState())


def test_ports_that_overlap_or_touch_become_one_range() -> None:
    assert merged_ports(("30000-32767", "22", "32000-33000", "23")) == ((22, 23), (30000, 33000))


def private(*nats: Nat) -> NetworkState:
    """The VPC, whose worker-0 has no external address."""
    whole = vpc(INTERNAL)
    alone = [replace(m, external_ip=None) if m.machine == "worker-0" else m for m in whole.attachments]
    return replace(whole, attachments=tuple(alone), nats=nats)


def test_a_machine_without_external_address_reaches_none_without_nat() -> None:
    text = render(private())
    assert chain(text, f"from-{interface('worker-0')}") == ["ip daddr 127.0.0.0/8 drop"]
    assert text.count("127.0.0.0/8") == 1


def test_nat_gives_its_address_to_machines_that_have_none_of_their_own() -> None:
    nat = Nat(network=NETWORK, address="127.240.0.50", subnets=None)
    text = render(private(nat))
    assert "ip daddr 127.0.0.0/8 drop" not in text
    for hook in ("nat-input", "nat-postrouting"):
        assert chain(text, hook)[1:] == [
            "ip daddr 127.0.0.0/8 snat ip to ip saddr map { 10.240.0.20 : 127.240.0.50, 127.176.0.20 : 127.240.0.50 }"
        ]


def test_nat_is_for_the_subnets_that_it_lists() -> None:
    nat = Nat(network=NETWORK, address="127.240.0.50", subnets=("other",))
    assert translated(private(nat)) == {}
    assert translated(private(replace(nat, subnets=("sub",))))["10.240.0.20"] == "127.240.0.50"
    assert translated(private(replace(nat, network="other"))) == {}
