from __future__ import annotations

from typing import TYPE_CHECKING

from labnet import INTERNAL, balancer, rule, vpc

from khw.lab.backend import Traffic
from khw.lab.listeners import bind_ports, by_listener, held_ports, of_machine, render_host

if TYPE_CHECKING:
    from pathlib import Path

NONE: frozenset[int] = frozenset()
NODE_PORTS = rule("node-ports", Traffic(protocol="tcp", ports=("30000-32767",)), target_tags=("worker",))
WEB = rule("web", Traffic(protocol="tcp", ports=("80", "443")))


def test_single_ports_are_listeners_and_wide_ranges_share_one() -> None:
    assert by_listener(((22, 22), (30000, 32767)), NONE) == (((22, 22),), ((30000, 32767),))
    assert bind_ports(((22, 22), (30000, 32767)), NONE) == ("22", "1")


def test_a_port_held_by_the_host_is_led_to_the_shared_listener() -> None:
    assert bind_ports(((22, 22), (80, 80)), frozenset({22, 9999})) == ("80", "1")


def test_the_host_has_rules_only_where_they_are_needed() -> None:
    assert render_host(vpc(WEB), "khw-x", NONE) == "add table ip khw-x\ndelete table ip khw-x\n"
    text = render_host(vpc(WEB, NODE_PORTS), "khw-x", NONE)
    assert "ip daddr 127.240.0.20 tcp dport { 30000-32767 } dnat to 127.240.0.20:1" in text
    assert "127.240.0.10" not in text


def test_a_balancer_on_a_held_port_is_led_too() -> None:
    text = render_host(vpc(WEB, balancers=(balancer(),)), "khw-x", frozenset({6443}))
    assert "ip daddr 127.240.0.100 tcp dport { 6443 } dnat to 127.240.0.100:1" in text


def test_rules_for_other_sources_and_protocols_open_nothing_outside() -> None:
    state = vpc(INTERNAL, rule("dns", Traffic(protocol="udp", ports=("53",))))
    assert of_machine(state, state.attachments[0]) == ()


def test_a_rule_without_ports_opens_all_of_them() -> None:
    state = vpc(rule("all", Traffic(protocol="all")))
    assert of_machine(state, state.attachments[0]) == ((2, 65535),)


def test_ports_held_at_every_address_are_read_from_the_kernel(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(
        "  sl  local_address rem_address   st\n"
        "   0: 00000000:0016 00000000:0000 0A 0\n"  # 0.0.0.0:22 listens
        "   1: 0100007F:1F90 00000000:0000 0A 0\n"  # 127.0.0.1:8080 listens
        "   2: 00000000:01BB 00000000:0000 01 0\n"  # 0.0.0.0:443 does not listen
    )
    assert held_ports((table, tmp_path / "missing")) == {22}
