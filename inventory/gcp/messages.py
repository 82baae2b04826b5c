"""
Compute Engine's messages as khw reads and writes them: by google-cloud-compute's names, without that library.

Importing the library makes two thousand classes, which takes longer than a whole run that changes nothing. So what
khw only looks at is taken from the API's JSON as it comes, and the library is there when something is to be made,
changed or removed (docs/decisions/0028-start-up.md). `compute_v1` here makes messages in the library's own way of
writing them; `Message.whole` gives the library's.
"""

from __future__ import annotations

import re
from functools import cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TEXT, NUMBER, LONG, REAL, TRUTH, LIST, PART, MAP = "text", "number", "long", "real", "truth", "list", "part", "map"

_ABSENT: dict[str, Callable[[], Any]] = {
    TEXT: str,
    NUMBER: int,
    LONG: int,  # JSON has it as text
    REAL: float,
    TRUTH: bool,
    LIST: list,
    MAP: dict,
}

# Every field that khw reads, with its kind: JSON leaves out what is not set, and then this says what that is.
# A test holds the table against the library.
FIELDS: dict[str, str] = {
    **dict.fromkeys(
        (
            "I_p_address",
            "I_p_protocol",
            "address",
            "address_type",
            "balancing_mode",
            "description",
            "dest_range",
            "direction",
            "group",
            "instance",
            "ip_cidr_range",
            "key",
            "label_fingerprint",
            "load_balancing_scheme",
            "machine_type",
            "metric",
            "name",
            "nat_i_p",
            "nat_ip_allocate_option",
            "network",
            "network_i_p",
            "next_hop_gateway",
            "next_hop_instance",
            "next_hop_ip",
            "next_hop_network",
            "port_range",
            "protocol",
            "backend_service",
            "request_path",
            "routing_mode",
            "source_image",
            "source_subnetwork_ip_ranges_to_nat",
            "status",
            "subnetwork",
            "type_",
            "value",
            "zone",
        ),
        TEXT,
    ),
    **dict.fromkeys(
        (
            "check_interval_sec",
            "guest_cpus",
            "healthy_threshold",
            "memory_mb",
            "port",
            "priority",
            "timeout_sec",
            "unhealthy_threshold",
        ),
        NUMBER,
    ),
    "disk_size_gb": LONG,
    "limit": REAL,
    "usage": REAL,
    **dict.fromkeys(("auto_create_subnetworks", "auto_delete", "boot", "can_ip_forward", "disabled"), TRUTH),
    **dict.fromkeys(
        (
            "access_configs",
            "allowed",
            "backends",
            "denied",
            "destination_ranges",
            "disks",
            "health_checks",
            "instances",
            "items",
            "nat_ips",
            "nats",
            "network_interfaces",
            "ports",
            "quotas",
            "service_accounts",
            "source_ranges",
            "source_tags",
            "target_tags",
            "users",
        ),
        LIST,
    ),
    **dict.fromkeys(
        ("https_health_check", "initialize_params", "metadata", "query_value", "routing_config", "tags"), PART
    ),
    "labels": MAP,
}


@cache
def json_name(field: str) -> str:
    """Return what a field is called in JSON: `network_i_p` is networkIP, `type_` is type."""
    return re.sub(r"_(.)", lambda found: found[1].upper(), field.rstrip("_"))


class Message:
    """A message: `kind` is the library's name of it ('' for what was read), `body` its JSON."""

    __slots__ = ("body", "kind")

    def __init__(self, body: Mapping[str, Any], kind: str = "") -> None:
        self.body = body
        self.kind = kind

    def __repr__(self) -> str:
        return f"Message({self.kind or self.body.get('name', '')})"

    def __getattr__(self, field: str) -> Any:
        kind = FIELDS.get(field)
        if kind is None:
            raise AttributeError(f"{field} is no field that khw reads: khw.inventory.gcp.messages has the table")
        value = self.body.get(json_name(field))
        if kind == PART:
            return Message(value or {})
        if value is None:
            return _ABSENT[kind]()
        if kind == LIST:
            return [Message(item) if isinstance(item, dict) else item for item in value]
        return int(value) if kind == LONG else value

    def whole(self) -> Any:
        """Return it as the library has it."""
        import json

        from khw.inventory.gcp.library import compute_v1 as library

        return getattr(library, self.kind).from_json(json.dumps(self.body))


def _written(value: Any, field: str = "") -> Any:
    """Return a value, given by the library's names, as JSON has it."""
    if isinstance(value, Message):
        return value.body
    if isinstance(value, dict):
        if FIELDS.get(field) == MAP:
            return value
        return {json_name(name): _written(part, name) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    return str(value) if FIELDS.get(field) == LONG else value


def _made(kind: str, /, **fields: Any) -> Message:
    return Message(_written(fields), kind)


class _Kinds:
    """`compute_v1.Network(name=…)` and so on."""

    def __getattr__(self, kind: str) -> Callable[..., Message]:
        return partial(_made, kind)


compute_v1 = _Kinds()
