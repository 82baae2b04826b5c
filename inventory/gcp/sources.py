"""
Who may come in from outside: the ranges that the cluster file lists, or else the operator's own address alone.

Nobody is asked what that address is. It is the one that this machine reaches the API from, if the internet sees it so;
behind address translation it cannot be known here, and the cluster file has to say it
(docs/decisions/0032-google-for-real.md).
"""

from __future__ import annotations

import socket
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from khw.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from khw.cluster.spec import Gcp, Spec

GOOGLE = ("compute.googleapis.com", 443)
WORLD = "0.0.0.0/0"


def source_ranges(spec: Spec, gcp: Gcp) -> tuple[str, ...]:
    """Return the ranges that SSH, the API and NodePorts are open to; ProviderError if they have to be said."""
    if spec.network.source_ranges is not None:
        return tuple(str(row) for row in spec.network.source_ranges)
    return (own_address(gcp.endpoint) + "/32",)


def own_address(endpoint: str | None) -> str:
    """Return the address that whoever serves the API sees this machine at."""
    address = _outgoing(*_place(endpoint))
    if address.is_loopback or address.is_global:
        return str(address)
    raise ProviderError(
        f"network.source_ranges is not set, and this machine is {address}, which is no address on the internet: "
        "something on the way translates it, so that khw cannot know who is to be let in",
        hint="say it in the cluster file: `source_ranges: [ADDRESS/32]` below `network`, with the address that others "
        "see you at (whoever gives you your internet access, or your router, knows it); [0.0.0.0/0] is the world",
    )


def _place(endpoint: str | None) -> tuple[str, int]:
    if not endpoint:
        return GOOGLE
    parts = urlsplit(endpoint)
    return parts.hostname or endpoint, parts.port or (443 if parts.scheme == "https" else 80)


@cache
def _outgoing(host: str, port: int) -> IPv4Address:
    """Return the address that this machine's packets to `host` come from: the kernel knows; nothing is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect((host, port))
            return IPv4Address(way.getsockname()[0])
    except OSError as error:
        raise ProviderError(
            f"network.source_ranges is not set, and this machine has no way to {host}: {error}",
            hint="say in the cluster file who may come in: `source_ranges: [ADDRESS/32]` below `network`",
        ) from None


def admits(ranges: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether a rule lets the wanted addresses in, and not the whole world beside them."""
    networks = [IPv4Network(row) for row in ranges if ":" not in row]
    return WORLD not in ranges and all(any(IPv4Network(row).subnet_of(net) for net in networks) for row in wanted)
