"""The micro measurement as a Nornir user writes it: fifty netmiko_send_command on every host, six workers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nornir.core import Nornir
from nornir.core.inventory import ConnectionOptions, Defaults, Groups, Host, Hosts, Inventory
from nornir.core.plugins.connections import ConnectionPluginRegister
from nornir.core.task import Result
from nornir.plugins.runners import ThreadedRunner
from nornir_netmiko.tasks import netmiko_send_command

if TYPE_CHECKING:
    from nornir.core.task import Task

STEPS = 50


def inventory(known: dict[str, Any]) -> Inventory:
    """Return the machines as Nornir's inventory."""
    extras = {
        "use_keys": True,
        "key_file": known["key"],
        "allow_agent": False,
        "ssh_strict": True,
        "system_host_keys": False,
        "alt_host_keys": True,
        "alt_key_file": known["known_hosts"],
    }
    hosts = Hosts()
    for machine in known["machines"]:
        hosts[machine["name"]] = Host(
            name=machine["name"],
            hostname=machine["host"],
            port=machine["port"],
            username=machine["user"],
            platform="linux",
            connection_options={"netmiko": ConnectionOptions(extras=dict(extras))},
        )
    return Inventory(hosts=hosts, groups=Groups(), defaults=Defaults())


def steps(task: Task) -> Result:
    """Send fifty commands that do nothing."""
    for _ in range(STEPS):
        task.run(netmiko_send_command, command_string="true")
    return Result(host=task.host)


def main() -> int:
    """Do the steps on all hosts."""
    known = json.loads(Path(sys.argv[1]).read_text())
    ConnectionPluginRegister.auto_register()
    nornir = Nornir(inventory=inventory(known), runner=ThreadedRunner(num_workers=6))
    result = nornir.run(task=steps)
    for host, multi in result.failed_hosts.items():
        sys.stdout.write(f"{host}: {multi.exception!r}\n")
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
