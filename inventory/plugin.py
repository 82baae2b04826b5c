"""
The Nornir inventory plugin `khw`: the cluster's machines as hosts, in groups `controller` and `worker`.

It needs nothing else of khw in the script that uses it:

    nr = InitNornir(inventory={"plugin": "khw", "options": {"cluster_file": "khw.yaml"}})
    nr.filter(F(groups__contains="worker")).run(task=netmiko_send_command, command_string="uptime")
"""

from __future__ import annotations

import os
import shlex
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nornir.core.inventory import (
    ConnectionOptions,
    Defaults,
    Group,
    Groups,
    Host,
    Hosts,
    Inventory,
    ParentGroups,
)

from khw.cluster.file import load
from khw.cluster.workspace import Workspace
from khw.files import write_atomically
from khw.inventory import provider_for
from khw.inventory.keys import login_key, login_public_key
from khw.inventory.logins import jump_of, netmiko_options, node_options
from khw.ssh.known_hosts import called

if TYPE_CHECKING:
    from collections.abc import Sequence

    from khw.cluster.model import Cluster, Node


class KhwInventory:
    """What Nornir's `InitNornir` finds as the plugin `khw`; `cluster_file` is its one option."""

    def __init__(self, cluster_file: str = "khw.yaml") -> None:
        self._file = Path(cluster_file).expanduser()

    def load(self) -> Inventory:
        """Read the cluster file, ask its provider for the machines, and return them as hosts."""
        spec = load(self._file)
        workspace = Workspace.beside(self._file, spec.name)
        cluster = provider_for(spec, login_public_key(spec, workspace)).discover()
        return inventory_of(cluster, workspace)


def inventory_of(cluster: Cluster, workspace: Workspace, *, check: bool = False) -> Inventory:
    """
    Return the cluster's machines as a Nornir inventory, and write their host keys to the workspace's known_hosts.

    A host that there is no use in connecting to has the reason in its data, as `unreachable`. With `check` nothing is
    written: host keys that are not in the file yet are kept in memory, for as long as the inventory lives.
    """
    keys = known_hosts(cluster.nodes).encode()
    data: dict[str, Any] = {"cluster": cluster.name}
    host_keys = workspace.known_hosts
    if not check:
        workspace.prepare()
        write_atomically(workspace.known_hosts, keys, mode=0o600)
    elif not (workspace.known_hosts.exists() and workspace.known_hosts.read_bytes() == keys):
        data["host_keys"] = in_memory = _InMemory(keys)
        host_keys = in_memory.path
    ways: dict[str, str] = {}
    if text := bastions(cluster, str(login_key(cluster.spec, workspace, check=check)), str(host_keys)):
        if check:
            data["ways"] = in_memory = _InMemory(text.encode())
            ways["ssh_config_file"] = str(in_memory.path)
        else:
            write_atomically(workspace.ssh_config, text.encode(), mode=0o600)
            ways["ssh_config_file"] = str(workspace.ssh_config)
    groups = Groups({role: Group(name=role) for role in ("controller", "etcd", "worker")})
    options = netmiko_options(cluster.spec, login_key(cluster.spec, workspace, check=check), host_keys)
    hosts = Hosts()
    for node in cluster.nodes:
        hosts[node.name] = Host(
            name=node.name,
            hostname=node.ssh_host,
            port=node.ssh_port,
            username=node.ssh_user,
            platform="linux",
            groups=ParentGroups([groups[role.value] for role in node.titles]),
            data=_data(node),
            connection_options={
                "netmiko": ConnectionOptions(
                    platform="terminal_server", extras={**options, **(ways if node.ssh_jump else {})}
                ),
                "khw_agent": ConnectionOptions(
                    platform="terminal_server",
                    extras=node_options(cluster.spec, node, options),
                ),
            },
        )
    return Inventory(hosts=hosts, groups=groups, defaults=Defaults(data=data))


def _data(node: Node) -> dict[str, Any]:
    return {
        "role": node.role.value,
        "internal_ip": node.internal_ip,
        "external_ip": node.external_ip,
        "pod_cidr": node.pod_cidr,
        "zone": node.zone,
        "unreachable": node.unreachable,
    }


class _InMemory:
    """A file that is on no disk; it goes with the last who holds this."""

    def __init__(self, data: bytes) -> None:
        descriptor = os.memfd_create("known_hosts")
        weakref.finalize(self, os.close, descriptor)
        os.write(descriptor, data)
        self.path = Path(f"/proc/{os.getpid()}/fd/{descriptor}")  # ssh reads it too, on the way through a bastion


def known_hosts(nodes: Sequence[Node]) -> str:
    """Return the host keys in OpenSSH's form, by the address that SSH connects to."""
    rows = ["# Written by khw: the host keys that the provider published. A change here is lost at the next run."]
    for node in nodes:
        name = called(node.ssh_host, node.ssh_port)
        rows += [f"{name} {key}" for key in node.host_keys if node.ssh_host]
    bastions = {(node.bastion, key): None for node in nodes for key in node.jump_keys}
    rows += [f"{host} {key}" for host, key in bastions]
    return "\n".join(rows) + "\n"


def bastions(cluster: Cluster, key: str, host_keys: str) -> str:
    """Return the ways through bastions as OpenSSH's configuration, which is all that netmiko takes; '' if none."""
    rows = []
    for node in cluster.nodes:
        if node.ssh_jump:
            jump = jump_of(cluster.spec, node, key, host_keys)
            way = shlex.join(jump.command(node.ssh_host, node.ssh_port, cluster.spec.timeouts.connect))
            rows += [f"Host {node.ssh_host}", f"    ProxyCommand {way}"]
    return "\n".join(["# Written by khw. A change here is lost at the next run.", *rows, ""]) if rows else ""
