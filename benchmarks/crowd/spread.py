"""
Every machine of a cluster file asked by a Nornir script, through khw's inventory and connection, by one of two runners.

    python -m benchmarks.crowd.spread KHW_YAML khw_lanes|khw_dask

Each host's task opens the agent, has it look at the machine's kubeconfig, and counts; a file that is missing is an
error, so that nobody is counted who was not asked.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from nornir import InitNornir

from khw.ssh.connection import CONNECTION

if TYPE_CHECKING:
    from nornir.core.task import Task

KUBECONFIGS = {"controller": "/var/lib/kubernetes/admin.kubeconfig", "worker": "/var/lib/kubelet/kubeconfig"}
RUNNERS: dict[str, dict[str, Any]] = {"khw_lanes": {"num_workers": 64}, "khw_dask": {"processes": 2, "threads": 16}}


def look(task: Task) -> str:
    """Return the digest of the host's kubeconfig."""
    agent = task.host.get_connection(CONNECTION, task.nornir.config)
    try:
        (state,) = agent.stat([KUBECONFIGS[task.host["role"]]])
    finally:
        task.host.close_connection(CONNECTION)
    if state.kind != "file":
        raise FileNotFoundError(state.path)
    return str(state.sha256)


def main() -> int:
    """Ask all, and say how many answered."""
    nornir = InitNornir(
        inventory={"plugin": "khw", "options": {"cluster_file": sys.argv[1]}},
        runner={"plugin": sys.argv[2], "options": RUNNERS[sys.argv[2]]},
        logging={"enabled": False},
    )
    results = nornir.run(task=look)
    digests = {multi[0].result for multi in results.values() if not multi.failed}
    sys.stdout.write(f"{len(results)} asked, {len(results.failed_hosts)} failed, {len(digests)} kubeconfigs\n")
    for name, multi in list(results.failed_hosts.items())[:5]:
        sys.stdout.write(f"{name}: {multi[0].exception}\n")
    return int(results.failed or len(results) != len(nornir.inventory.hosts) or len(digests) < 2)


if __name__ == "__main__":
    sys.exit(main())
