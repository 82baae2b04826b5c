"""
The fault matrix: each fault during a run, and each after one.

All heal by themselves, by a re-run, or end in an error that names them and heal by a re-run once it is lifted; and
nothing is lost. `make faults` does all of it and prints the table; `make test` a part.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from commandline import going
from faults import CONTROLLERS, FAULTS, Reboot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commandline import Khw
    from faults import Fault

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

RUN = ("run", "--skip", "smoke")
IN_MAKE_TEST = {
    ("a controller cut off", "during a run"),
    ("a clock ten minutes ahead", "after a run"),
    ("the cloud answers 429", "after a run"),
}
MOMENTS = ("during a run", "after a run")


@pytest.fixture(scope="module", autouse=True)
def kept(khw: Khw, first_run: Any) -> Iterator[None]:
    """An object that has to be there at the end as it was at the beginning: nothing was lost."""
    assert first_run["ok"]
    khw.kubectl("create", "configmap", "kept-by-faults", "--from-literal=since=the-beginning")
    yield
    said = khw.kubectl("get", "configmap", "kept-by-faults", "--output=jsonpath={.data.since}")
    assert said == "the-beginning"
    khw.kubectl("delete", "configmap", "kept-by-faults")


def undo(khw: Khw) -> None:
    """Give the next run something to do on several machines, in several phases."""
    khw.on("controller-1", "sudo rm -f /usr/local/bin/kube-scheduler /var/lib/kubernetes/encryption-config.yaml")
    khw.on("worker-1", "sudo rm -f /usr/local/bin/kubelet /etc/cni/net.d/10-bridge.conf")


def struck_during(khw: Khw, fault: Fault) -> tuple[int, str]:
    """Let a fault strike in the middle of a run; return how the run ended, and what it said."""
    undo(khw)
    host, phase = fault.begins.split()
    with going(khw, *RUN) as run:
        assert run.until(lambda line: line.startswith(host) and phase in line), "".join(run.seen)
        fault.strike(khw)
        code, _ = run.end(timeout=600)
        return code, "".join(run.seen)


def struck_after(khw: Khw, fault: Fault) -> tuple[int, str]:
    """Let a fault strike while nothing runs; return how the next run ends, and what it says."""
    if fault.meets_work:
        undo(khw)
    fault.strike(khw)
    if isinstance(fault, Reboot):
        return 0, ""  # it comes back without a run
    done = khw(*RUN)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        pytest.param(name, moment, marks=[] if (name, moment) in IN_MAKE_TEST else pytest.mark.apart)
        for name in FAULTS
        for moment in MOMENTS
    ],
)
def test_a_fault_heals_or_is_named(cluster: Khw, name: str, moment: str, matrix: list[tuple[str, ...]]) -> None:
    fault = FAULTS[name]
    began = time.monotonic()
    with fault.arranged(cluster):
        code, said = (struck_during if moment == "during a run" else struck_after)(cluster, fault)
        assert code in {0, 1, 3, 4}, said
        by, well = "named", False
        if code == 0:
            looked = cluster("verify", "--wait", "120" if isinstance(fault, Reboot) else "0")
            by, well, said = "named by verify", looked.returncode == 0, looked.stdout + looked.stderr
        found = re.search(fault.says, said)
        assert found or code == 0, said
        fault.lift(cluster)
    ending = "healed by itself" if moment == MOMENTS[0] or isinstance(fault, Reboot) else "healed by the next run"
    if not well:
        cluster.ok(*RUN)
        ending = f"{by} ({found.group()}), healed by a re-run" if found else "healed by a re-run"
        cluster.ok("verify", "--wait", "120")
    again = cluster.json(*RUN)
    assert not [row for rows in again["hosts"].values() for row in rows if row["changed"]]
    matrix.append((name, moment, ending, f"{time.monotonic() - began:.0f} s"))


@pytest.mark.apart
def test_a_worker_and_a_controller_that_reboot_come_back_by_themselves(
    cluster: Khw, matrix: list[tuple[str, ...]]
) -> None:
    nodes = (CONTROLLERS[2], "worker-2")
    boots = {node: cluster.on(node, "systemctl show --property=UserspaceTimestampMonotonic --value") for node in nodes}
    began = time.monotonic()
    Reboot(nodes).strike(cluster)
    cluster.ok("verify", "--wait", "180")
    matrix.append(
        ("a worker and a controller rebooted", "after a run", "by themselves", f"{time.monotonic() - began:.0f} s")
    )
    for node in nodes:
        assert cluster.on(node, "systemctl show --property=UserspaceTimestampMonotonic --value") != boots[node]
