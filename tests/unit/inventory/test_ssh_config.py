from __future__ import annotations

import io
import os
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from khw.cluster.file import load
from khw.cluster.spec import Role, Spec, Ssh, Static, StaticNode
from khw.errors import ClusterFileError, UsageError
from khw.inventory import sudo
from khw.inventory.ssh_config import Login, known_keys, login_to
from khw.inventory.static import StaticProvider

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDExxYuOVgb3xUvIYcYLw4+Gxo5k5QmWqS2y2Pv5mjRc"


def row(**said: object) -> StaticNode:
    return StaticNode.model_validate({"name": "w", "role": Role.WORKER, "address": "192.0.2.20", **said})


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "config"
    file.write_text(
        "Host w\n  HostName w.example\n  Port 2222\n  User debian\n  IdentityFile /keys/w\n  ProxyJump door\n"
        "Host odd\n  ProxyCommand nc %h %p\n"
    )
    return str(file)


def test_without_a_configuration_a_machine_is_where_the_file_says() -> None:
    assert login_to(row(), Ssh(user="me")) == Login("192.0.2.20", 22, "me")
    assert login_to(row(host="h", port=23, user="u"), Ssh()) == Login("h", 23, "u")


def test_the_users_configuration_counts(config: str) -> None:
    assert login_to(row(host="w"), Ssh(config=config)) == Login("w.example", 2222, "debian", "/keys/w", "door")


def test_the_cluster_file_comes_first(config: str) -> None:
    ssh = Ssh(config=config, private_key="/mine", bastion="other")
    assert login_to(row(host="w", port=22, user="root"), ssh) == Login("w.example", 22, "root", "", "other")


def test_a_proxy_command_is_refused_and_the_way_out_named(config: str) -> None:
    with pytest.raises(UsageError, match="ProxyCommand") as caught:
        login_to(row(host="odd"), Ssh(config=config))
    assert "ProxyJump" in caught.value.hint


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere cannot be read"):
        login_to(row(), Ssh(config=str(tmp_path / "nowhere")))


def test_host_keys_are_those_that_the_users_ssh_knows(tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"192.0.2.20 {KEY}\n[192.0.2.20]:2222 {KEY}\n")
    for port in (22, 2222):
        assert known_keys(Login("192.0.2.20", port, "u"), (str(known),)) == (KEY,)
    assert known_keys(Login("192.0.2.21", 22, "u"), (str(known), str(tmp_path / "none"))) == ()


def test_a_machine_that_was_never_met_is_not_connected_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    spec = Spec(provider="static", ssh=Ssh(user="me", bastion="door"), static=Static(api_address="a", nodes=(row(),)))
    (found,) = StaticProvider(spec).discover().nodes
    assert "`ssh -J door me@192.0.2.20`" in found.unreachable
    assert "fingerprint" in found.unreachable


HOSTS = """\
c0: {hostname: 192.0.2.10, groups: [controllers], data: {host_keys: [KEY]}}
w0: {hostname: w0.example, port: 2222, groups: [workers], data: {address: 192.0.2.20, pod_cidr: 10.200.0.0/24}}
"""
CLUSTER = "provider: static\nstatic:\n  api_address: 192.0.2.10\n  hosts_file: nornir/hosts.yaml\n"


def test_machines_may_be_in_nornirs_own_form(tmp_path: Path) -> None:
    (tmp_path / "nornir").mkdir()
    (tmp_path / "nornir/hosts.yaml").write_text(HOSTS.replace("KEY", KEY))
    (tmp_path / "nornir/groups.yaml").write_text("controllers: {username: admin}\nworkers: {}\n")
    (tmp_path / "khw.yaml").write_text(CLUSTER)
    controller, worker = load(tmp_path / "khw.yaml").static.nodes  # type: ignore[union-attr]
    assert (controller.role, controller.user, controller.host_keys) == (Role.CONTROLLER, "admin", (KEY,))
    assert (worker.role, worker.address, worker.host, worker.port) == (
        Role.WORKER,
        IPv4Address("192.0.2.20"),
        "w0.example",
        2222,
    )


def test_a_host_of_no_group_is_named(tmp_path: Path) -> None:
    (tmp_path / "nornir").mkdir()
    (tmp_path / "nornir/hosts.yaml").write_text("x: {hostname: 192.0.2.10}\n")
    (tmp_path / "khw.yaml").write_text(CLUSTER)
    with pytest.raises(ClusterFileError, match="x is in none of the groups"):
        load(tmp_path / "khw.yaml")


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (
            "{hostname: w0.example, groups: [workers], data: {pod_cidr: 10.200.0.0/24}}",
            "khw.yaml:4: nornir/hosts.yaml: w0: 'address' is 'w0.example'; it should be an IPv4 address",
        ),
        (
            "{hostname: 192.0.2.10, groups: [workers], data: {pod_cidr: 10.200.0.0/24}}",
            "khw.yaml:4: nornir/hosts.yaml: w0: w0 and c0 have the same address 192.0.2.10",
        ),
        (
            "{hostname: 192.0.2.20, groups: [workers], data: {pod-cidr: 10.200.0.0/24}}",
            "hosts.yaml: w0: khw reads no 'pod-cidr' of its data",
        ),
        (
            "{hostname: 192.0.2.20, groups: [controllers]}",
            "khw.yaml:4: nornir/hosts.yaml: 2 controllers: etcd needs an odd number",
        ),
    ],
)
def test_what_is_wrong_with_a_host_is_told_by_its_name_and_file(tmp_path: Path, host: str, said: str) -> None:
    """khw.yaml has no static.nodes then, whose number would say something."""
    (tmp_path / "nornir").mkdir()
    (tmp_path / "nornir/hosts.yaml").write_text(f"c0: {{hostname: 192.0.2.10, groups: [controllers]}}\nw0: {host}\n")
    (tmp_path / "nornir/groups.yaml").write_text("controllers: {}\nworkers: {}\n")
    (tmp_path / "khw.yaml").write_text(CLUSTER)
    with pytest.raises(ClusterFileError) as caught:
        load(tmp_path / "khw.yaml")
    assert said in caught.value.message


@pytest.fixture
def nothing_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    sudo._asked.cache_clear()
    for name in (sudo.VARIABLE, sudo.DESCRIPTOR):
        monkeypatch.delenv(name, raising=False)


ASKS = Spec(provider="static", ssh=Ssh(sudo="password"))


@pytest.mark.usefixtures("nothing_asked")
def test_the_password_comes_from_the_environment_and_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sudo.VARIABLE, "hunter2")
    given = sudo.sudo_password(ASKS.ssh)
    assert given is not None
    assert given.reveal() == b"hunter2"
    assert sudo.VARIABLE not in os.environ
    assert "hunter2" not in repr(given)


@pytest.mark.usefixtures("nothing_asked")
def test_or_from_a_file_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.write(write, b"hunter2\n")
    os.close(write)
    monkeypatch.setenv(sudo.DESCRIPTOR, str(read))
    given = sudo.sudo_password(ASKS.ssh)
    assert given is not None
    assert given.reveal() == b"hunter2"


@pytest.mark.usefixtures("nothing_asked")
def test_without_a_terminal_to_ask_at_the_ways_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(UsageError, match="no terminal") as caught:
        sudo.sudo_password(ASKS.ssh)
    assert sudo.VARIABLE in caught.value.hint


def test_where_sudo_asks_for_nothing_nobody_is_asked() -> None:
    assert sudo.sudo_password(Spec().ssh) is None
