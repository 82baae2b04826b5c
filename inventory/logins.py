"""What a login to a node takes, as options of netmiko and of khw's own connection."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from khw.inventory.sudo import sudo_password
from khw.ssh.jump import Jump

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from khw.cluster.model import Node
    from khw.cluster.spec import Spec


def netmiko_options(spec: Spec, private_key: Path, host_keys: Path) -> dict[str, Any]:
    """Return netmiko's options: khw's key and no other, and only the host keys that the provider published."""
    timeout = spec.timeouts.connect
    return {
        "use_keys": True,
        "key_file": str(private_key),
        "allow_agent": False,
        "ssh_strict": True,
        "system_host_keys": False,
        "alt_host_keys": True,
        "alt_key_file": str(host_keys),
        "conn_timeout": timeout,
        "auth_timeout": timeout,
        "banner_timeout": timeout,
    }


def node_options(spec: Spec, node: Node, options: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the options of khw's own connection to a node: netmiko's, and what is the node's.

    Machines of one's own may have a key of theirs, a bastion before them, and a sudo that asks for a password. All of
    it travels with the host to other processes (`khw_dask`): no more of the cluster than this node's login takes.
    """
    own: dict[str, Any] = {"sudo": partial(sudo_password, spec.ssh)}
    if node.ssh_key:
        own["key_file"] = node.ssh_key
    if node.ssh_jump:
        own["jump"] = jump_of(spec, node, str(options["key_file"]), str(options["alt_key_file"]))
    keys = list(node.host_keys)
    return {"name": node.name, "unreachable": node.unreachable, "host_keys": keys, **options, **own}


def jump_of(spec: Spec, node: Node, key: str, known_hosts: str) -> Jump:
    """Return the way through a node's bastion: by khw's own key and the published host keys if khw made it."""
    if node.jump_keys:
        return Jump(node.ssh_jump, key=key, known_hosts=known_hosts)
    return Jump(node.ssh_jump, spec.ssh.config or "")
