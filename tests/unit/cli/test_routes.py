"""`khw routes`: a cloud's table, what machines of one's own have, and a router of whose table nothing is known."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from fakes import OWN_MACHINES

from khw.cli.main import main
from khw.inventory.provider import Route
from khw.session import Session
from khw.verify import pod_routes
from khw.verify.pod_routes import NodeRoute

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "khw.yaml"


def run(file: Path, *args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["-f", str(file), "routes", *args])
    return result.exit_code, result.stdout, result.stderr


def asked(monkeypatch: pytest.MonkeyPatch, *found: NodeRoute, silent: dict[str, str] | None = None) -> None:
    monkeypatch.setattr(Session, "connected", lambda _: nullcontext())
    monkeypatch.setattr(pod_routes, "look", lambda _: (list(found), silent or {}))


def test_machines_of_ones_own_show_what_they_have_beside_what_they_should(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(OWN_MACHINES + "  routes: nodes\n")
    asked(monkeypatch, NodeRoute("c", "10.200.0.0/24", "", "192.0.2.20"), NodeRoute("w", "10.200.7.0/24", "x", ""))
    code, out, err = run(file)
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["NODE", "DEST_RANGE", "NEXT_HOP", "EXPECTED", "STATE"],
        ["c", "10.200.0.0/24", "-", "192.0.2.20", "missing"],
        ["w", "10.200.7.0/24", "x", "-", "extra"],
    ]
    assert json.loads(run(file, "-o", "json")[1])[0] == {
        "node": "c",
        "dest_range": "10.200.0.0/24",
        "next_hop": "",
        "expected": "192.0.2.20",
        "state": "missing",
    }
    assert "state: missing" in run(file, "-o", "yaml")[1]


def test_a_machine_that_does_not_answer_is_named_beside_the_others(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(OWN_MACHINES + "  routes: nodes\n")
    asked(monkeypatch, NodeRoute("c", "10.200.0.0/24", "192.0.2.20", "192.0.2.20"), silent={"w": "it is off"})
    code, out, err = run(file, "-o", "json")
    assert (code, err) == (4, "w did not say its routes: it is off\n")
    assert [row["state"] for row in json.loads(out)] == ["ok"]


def test_of_a_router_of_the_users_own_it_is_said_that_nothing_is_known(file: Path) -> None:
    file.write_text(OWN_MACHINES + "  routes: own\n")
    code, out, err = run(file, "-o", "json")
    assert (code, json.loads(out)) == (0, [])
    assert "in a router of your own (static.routes: own)" in err


def test_a_clouds_table_is_printed_as_the_guide_does(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("gcp: {project: p}\n")
    rows = [Route("default-route", "n", "0.0.0.0/0", "default-internet-gateway", 0)]
    provider: Any = type("Provider", (), {"routes": lambda _: rows})()
    monkeypatch.setattr(Session, "provider", provider)
    code, out, _ = run(file)
    assert code == 0
    assert out.split() == [
        *("NAME", "NETWORK", "DEST_RANGE", "NEXT_HOP", "PRIORITY"),
        *("default-route", "n", "0.0.0.0/0", "default-internet-gateway", "0"),
    ]
