"""What a login to a node takes, as options of netmiko and of khw's own connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from khw.cluster.model import Node, Spec


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


def node_options(node: Node, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of khw's own connection to a node: netmiko's, and what is the node's."""
    return {"name": node.name, "unreachable": node.unreachable, "host_keys": list(node.host_keys), **options}
