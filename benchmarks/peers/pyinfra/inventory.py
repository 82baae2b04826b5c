"""pyinfra's inventory: the machines that the benchmark wrote down."""

import json
import os
from pathlib import Path

_KNOWN = json.loads((Path(os.environ["BENCH_ROOT"]) / "machines.json").read_text())


def _of(role: str) -> list[tuple[str, dict[str, object]]]:
    return [
        (
            machine["name"],
            {
                "ssh_hostname": machine["host"],
                "ssh_port": machine["port"],
                "ssh_user": machine["user"],
                "ssh_key": _KNOWN["key"],
                "ssh_known_hosts_file": _KNOWN["known_hosts"],
                "ssh_strict_host_key_checking": "yes",
                "ssh_allow_agent": False,
                "ssh_look_for_keys": False,
            },
        )
        for machine in _KNOWN["machines"]
        if machine["role"] == role
    ]


controllers = _of("controller")
workers = _of("worker")
