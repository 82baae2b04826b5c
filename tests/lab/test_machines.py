"""The lab's machines and network for themselves, without the API over them: a lab of its own, gone at the end."""

from __future__ import annotations

import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from labnet import ADDRESSES, EXTERNAL, INTERNAL, balancer, rule, spec, vpc

from khw.lab import lab, layout
from khw.lab.backend import Health, MachineState, Traffic
from khw.lab.real import RealBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from khw.lab.backend import NetworkState

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

NAME = "machines"
ANSWER = "python3 -m http.server --directory /etc/khw-lab {port} >/dev/null 2>&1"


@dataclass(frozen=True)
class Place:
    """A lab with its backend in this process."""

    lab: layout.Layout
    backend: RealBackend

    @property
    def block(self) -> str:
        return f"127.{self.lab.octet}.0"

    def wanted(self, **changes: object) -> NetworkState:
        whole = vpc(block=self.block, balancers=(balancer(self.block, "TCP"),))
        return replace(whole, **changes)  # type: ignore[arg-type]  # a test names the fields that it changes

    def on(self, node: str, command: str, *, check: bool = True) -> str:
        done = subprocess.run(
            lab.ssh_command(NAME, node, [command]), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0 or not check, f"{node}: {command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def answers(self, node: str) -> bool:
        try:
            command = lab.ssh_command(NAME, node, ["true"])
        except lab.LabError:
            return False
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not come to be in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    lab.down(NAME)  # a killed run's leftover
    where = layout.allocate(NAME)
    lab._make_key(where)
    backend = RealBackend(where)
    it = Place(where, backend)
    try:
        backend.apply_network(it.wanted())
        with ThreadPoolExecutor(4) as pool:
            images = {"worker-1": "debian-13"}
            machines = [spec(n, where.project, it.block, "", images.get(n, "debian-12")) for n in ADDRESSES]
            list(pool.map(backend.create_machine, machines))
        backend.apply_network(it.wanted())
        for node in ADDRESSES:
            until(lambda node=node: it.answers(node))  # type: ignore[misc]  # mypy cannot see a default's type
        yield it
    finally:
        backend.close()
        lab.down(NAME)


@pytest.mark.parametrize("node", ADDRESSES)
def test_a_machine_boots_without_a_failed_unit(place: Place, node: str) -> None:
    assert place.on(node, "systemctl is-system-running --wait || systemctl --failed") == "running"
    assert place.on(node, "hostname") == node
    assert place.on(node, "sudo -n id -u") == "0"


def test_images_are_the_releases_that_they_say(place: Place) -> None:
    assert "bookworm" in place.on("worker-0", "cat /etc/os-release")
    assert "trixie" in place.on("worker-1", "cat /etc/os-release")


def test_machines_differ_in_machine_id_and_host_key(place: Place) -> None:
    assert len({place.on(node, "cat /etc/machine-id") for node in ADDRESSES}) == len(ADDRESSES)
    keys = {place.backend.guest_attributes(node)["hostkeys/ssh-ed25519"] for node in ADDRESSES}
    assert len(keys) == len(ADDRESSES)


def test_machines_find_each_other_by_name(place: Place) -> None:
    assert "10.240.0.11" in place.on("worker-0", "ping -c1 -W2 controller-1")
    assert "10.240.0.20" in place.on("worker-1", f"getent hosts worker-0.c.{place.lab.project}.internal")
    assert place.on("worker-0", "getent hosts example.com || echo none") == "none"


@pytest.mark.parametrize("address", ["8.8.8.8", "10.99.0.1", "10.200.77.1"])
def test_an_address_that_nobody_has_is_unreachable_at_once(place: Place, address: str) -> None:
    code = place.on("worker-0", f"curl --silent --max-time 3 http://{address}; echo $?")
    assert code == "7"  # refused or unreachable; 28 would be a timeout


def test_a_pod_range_leads_to_its_machine(place: Place) -> None:
    place.on("worker-1", "sudo ip address replace 10.200.1.5/32 dev lo")
    assert "1 received" in place.on("worker-0", "ping -c1 -W2 10.200.1.5")


def test_a_machine_can_make_cgroups_as_kubelet_does(place: Place) -> None:
    place.on("worker-0", "for c in memory cpu pids; do d=/sys/fs/cgroup/$c/khw; sudo mkdir $d && sudo rmdir $d; done")


def test_firewall_rules_decide_inside_and_outside(place: Place) -> None:
    def reached(command: str) -> bool:
        return subprocess.run(["bash", "-c", command], capture_output=True, timeout=10, check=False).returncode == 0

    outside = f"exec 3<>/dev/tcp/{place.block}.20/31080 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q 200 <&3"
    inside = f"curl --silent --max-time 3 --output /dev/null {place.block}.20:31080 && echo yes || echo no"
    place.on("worker-0", f"sudo systemd-run --quiet --unit=answer sh -c '{ANSWER.format(port=31080)}'")
    until(lambda: place.on("worker-1", "curl -s -o /dev/null http://worker-0:31080 && echo yes", check=False) == "yes")
    assert not reached(outside)
    assert place.on("controller-0", inside) == "no"
    node_ports = rule("node-ports", Traffic(protocol="tcp", ports=("30000-32767",)), target_tags=("worker",))
    place.backend.apply_network(place.wanted(firewalls=(INTERNAL, EXTERNAL, node_ports)))
    assert reached(outside)
    assert place.on("controller-0", inside) == "yes"
    place.backend.apply_network(place.wanted(firewalls=(EXTERNAL,)))
    assert place.on("worker-1", "ping -c1 -W2 worker-0 >/dev/null && echo yes") == "yes"
    closed = "curl --silent --max-time 2 http://worker-0:31080 >/dev/null; echo $?"
    assert place.on("worker-1", closed) == "28"  # dropped, as on Google
    place.backend.apply_network(place.wanted())


def test_a_port_that_the_host_holds_everywhere_still_leads_to_the_machine(place: Place) -> None:
    with socket.create_server(("0.0.0.0", 0)) as held:  # noqa: S104 - as the host's sshd does
        port = held.getsockname()[1]
        place.on("worker-0", f"sudo systemd-run --quiet --unit=held sh -c '{ANSWER.format(port=port)}'")
        opened = rule("held", Traffic(protocol="tcp", ports=(str(port),)))
        place.backend.apply_network(place.wanted(firewalls=(INTERNAL, EXTERNAL, opened)))
        asked = (
            f"curl --silent --max-time 5 --output /dev/null --write-out %{{http_code}} http://{place.block}.20:{port}"
        )
        until(lambda: subprocess.run(asked.split(), capture_output=True, check=False).stdout == b"200", 10)
    place.backend.apply_network(place.wanted())


def test_a_load_balancer_serves_from_what_is_healthy(place: Place) -> None:
    assert set(place.backend.backend_health("api-service").values()) == {Health.UNHEALTHY}
    place.on("controller-1", f"sudo systemd-run --quiet --unit=api sh -c '{ANSWER.format(port=6443)}'")
    until(lambda: place.backend.backend_health("api-service")["controller-1"] is Health.HEALTHY)
    assert place.backend.backend_health("api-service")["controller-0"] is Health.UNHEALTHY
    place.backend.apply_network(place.wanted(firewalls=(*place.wanted().firewalls, _open_api())))
    asked = f"curl --silent --max-time 5 --output /dev/null --write-out %{{http_code}} http://{place.block}.100:6443"
    assert place.on("worker-0", asked) == "200"
    outside = subprocess.run(asked.split(), capture_output=True, text=True, timeout=10, check=False)
    assert outside.stdout == "200"
    until(lambda: place.backend.backend_health("api-service")["controller-1"] is Health.HEALTHY)  # over the reload
    place.on("controller-1", "sudo systemctl stop api")
    until(lambda: place.backend.backend_health("api-service")["controller-1"] is Health.UNHEALTHY)


def _open_api() -> object:
    return rule("api", Traffic(protocol="tcp", ports=("6443",)), target_tags=("controller",))


def test_health_checks_need_a_firewall_rule(place: Place) -> None:
    place.on("controller-0", f"sudo systemd-run --quiet --unit=api sh -c '{ANSWER.format(port=6443)}'")
    until(lambda: place.backend.backend_health("api-service")["controller-0"] is Health.HEALTHY)
    place.backend.apply_network(place.wanted(firewalls=(INTERNAL, EXTERNAL)))
    until(lambda: place.backend.backend_health("api-service")["controller-0"] is Health.UNHEALTHY)
    place.backend.apply_network(place.wanted())


def test_users_follow_the_metadata(place: Place, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text().strip()
    options = f"-i {key} -o UserKnownHostsFile={place.lab.directory}/known_hosts -o HostKeyAlias=worker-1"
    login = ["ssh", *options.split(), "-o", "BatchMode=yes", f"ann@{place.block}.21", "sudo -n id -u"]
    place.on("worker-1", "true")  # writes known_hosts
    assert subprocess.run(login, capture_output=True, timeout=30, check=False).returncode == 255
    place.backend.set_metadata("worker-1", {"ssh-keys": f"ann:{public}"})
    assert subprocess.run(login, capture_output=True, timeout=30, check=True).stdout == b"0\n"
    place.backend.set_metadata("worker-1", {"ssh-keys": ""})
    assert subprocess.run(login, capture_output=True, timeout=30, check=False).returncode == 255


def test_a_stopped_machine_keeps_its_files_its_keys_and_its_name(place: Place) -> None:
    before = place.backend.guest_attributes("controller-0")
    place.on("controller-0", "echo kept | sudo tee /etc/kept /var/lib/kept")
    place.backend.stop_machine("controller-0")
    place.backend.apply_network(place.wanted())
    assert place.backend.machine_state("controller-0") is MachineState.STOPPED
    assert not place.answers("controller-0")
    place.backend.start_machine("controller-0")
    until(lambda: place.answers("controller-0"))
    assert place.on("controller-0", "cat /etc/kept /var/lib/kept") == "kept\nkept"
    assert place.backend.guest_attributes("controller-0") == before
    assert "1 received" in place.on("worker-0", "ping -c1 -W2 controller-0")


@pytest.fixture
def foreign_programs(tmp_path: Path) -> Iterator[Path]:
    """A format of programs that this machine's kernel runs by an interpreter, as qemu-user and Wine register theirs."""
    subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", tmp_path], check=True)
    entry = tmp_path / f"khw-test-{NAME}"
    try:
        (tmp_path / "register").write_text(f":{entry.name}:M::khw-test::/bin/true:")
        yield entry
    finally:
        if entry.exists():
            entry.write_text("-1")
        subprocess.run(["umount", tmp_path], check=True)


def test_what_the_kernel_runs_for_others_it_still_runs_when_a_machine_has_booted_and_ended(
    place: Place, foreign_programs: Path
) -> None:
    place.backend.stop_machine("controller-0")
    place.backend.start_machine("controller-0")
    until(lambda: place.answers("controller-0"))
    assert place.on("controller-0", "systemctl is-system-running --wait") == "running"
    assert foreign_programs.read_text().startswith("enabled")


@pytest.mark.parametrize("how", ["reset", "reboot"])
def test_a_machine_comes_back_by_itself(place: Place, how: str) -> None:
    started = "systemctl show --property=UserspaceTimestamp"
    before = place.on("worker-1", started)
    if how == "reset":
        place.backend.reset_machine("worker-1")
    else:
        place.on("worker-1", "sudo systemctl reboot", check=False)
    until(lambda: place.answers("worker-1") and place.on("worker-1", started, check=False) not in {"", before})
    assert place.on("worker-1", "systemctl is-system-running --wait") == "running"
    assert b"Reached target" in place.backend.serial_output("worker-1")


def test_a_second_backend_finds_everything_as_it_is(place: Place) -> None:
    again = RealBackend(place.lab)
    try:
        again.apply_network(place.wanted())
        assert set(again.machines()) == set(ADDRESSES)
        assert all(again.machine_state(node) is MachineState.RUNNING for node in ADDRESSES)
    finally:
        again.close()
    assert place.answers("worker-0")


def test_down_leaves_nothing(place: Place) -> None:
    """The last: it takes the lab away."""
    place.backend.close()
    lab.down(NAME)
    lab.down(NAME)

    def said(*argv: str) -> str:
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout

    mark = f"khw-{NAME}"
    assert f"{mark}." not in said("podman", "ps", "--all", "--format", "{{.Names}}")
    assert f"{mark}." not in said("podman", "volume", "ls", "--quiet")
    assert mark not in said("ip", "netns", "list").split()
    assert mark not in said("nft", "list", "tables").split()
    assert str(place.lab.directory) not in said("ps", "ax", "-o", "args")
    assert str(place.lab.directory) not in Path("/proc/mounts").read_text()
    assert not place.lab.directory.exists()
