from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from labnet import EXTERNAL, INTERNAL, balancer, rule, vpc

from khw.lab.backend import Health, NetworkState, Traffic
from khw.lab.balancer import read_health, render

HERE = Path("/lab")


def section(text: str, name: str) -> list[str]:
    body = text.split(f"\n{name}\n", 1)[1]
    lines = []
    for line in body.splitlines():
        if not line.startswith("    "):
            break
        lines.append(line.strip())
    return lines


def test_an_external_address_leads_to_its_machine_on_the_ports_that_rules_open() -> None:
    text = render(vpc(INTERNAL, EXTERNAL), "khw-x", HERE)
    assert section(text, "frontend worker-0") == [
        "bind 127.240.0.20:22",
        "tcp-request connection accept if { dst_port 22 }",
        "tcp-request connection accept if { src 10.200.0.0/16 10.240.0.0/24 }",
        "tcp-request connection reject",
        "default_backend machine-worker-0",
    ]
    assert "server worker-0 10.240.0.20 namespace khw-x" in section(text, "backend machine-worker-0")


def test_a_machine_that_no_rule_opens_has_no_listener() -> None:
    assert "frontend" not in render(vpc(INTERNAL), "khw-x", HERE)


def test_a_stopped_machine_has_no_listener() -> None:
    state = vpc()
    state = replace(state, attachments=tuple(replace(a, running=False) for a in state.attachments))
    assert "frontend" not in render(state, "khw-x", HERE)


def test_a_deny_rule_of_lower_number_is_tried_first() -> None:
    denied = rule("not-you", Traffic(protocol="tcp"), action="deny", priority=1, source_ranges=("127.0.0.9/32",))
    lines = section(render(vpc(denied, EXTERNAL), "khw-x", HERE), "frontend worker-0")
    assert lines[1] == "tcp-request connection reject if { src 127.0.0.9/32 }"


def test_a_load_balancer_answers_outside_and_inside() -> None:
    text = render(vpc(balancers=(balancer(),)), "khw-x", HERE)
    assert section(text, "frontend balancer-api")[:2] == [
        "bind 127.240.0.100:6443",
        "bind 127.240.0.100:6443 namespace khw-x",
    ]
    assert any(
        line.endswith("track check-api/controller-1 on-marked-down shutdown-sessions") for line in text.splitlines()
    )


def test_https_checks_ask_the_path_over_tls_from_the_checkers_address() -> None:
    lines = section(render(vpc(balancers=(balancer(),)), "khw-x", HERE), "backend check-api")
    assert "source 35.191.0.1" in lines
    assert "http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host 127.240.0.100" in lines
    assert sum("check check-ssl verify none inter 1s" in line for line in lines) == 2


def test_tcp_checks_only_connect() -> None:
    lines = section(render(vpc(balancers=(balancer(kind="TCP"),)), "khw-x", HERE), "backend check-api")
    assert not any("http" in line or "ssl" in line for line in lines)


def test_a_port_that_the_host_holds_is_caught_elsewhere() -> None:
    lines = section(render(vpc(), "khw-x", HERE, frozenset({22})), "frontend worker-0")
    assert lines[0] == "bind 127.240.0.20:1"


def test_no_machines_and_no_balancers_is_still_a_configuration() -> None:
    assert render(NetworkState(), "khw-x", HERE).startswith("global\n")


@pytest.mark.parametrize(
    ("status", "check", "health"),
    [
        ("UP", "L7OK", Health.HEALTHY),
        ("UP 1/2", "L4OK", Health.HEALTHY),
        ("UP", "INI", Health.UNHEALTHY),
        ("UP", "", Health.UNHEALTHY),
        ("DOWN", "L4CON", Health.UNHEALTHY),
    ],
)
def test_only_a_server_whose_check_passed_is_healthy(status: str, check: str, health: Health) -> None:
    assert read_health({"status": status, "check_status": check}) is health
