"""
The gcloud commands that khw names, each with those of its flags that were looked up.

Source: gcloud's own table of its commands (data/cli/gcloud_completions.py) in release 528.0.0, and for each its page,
https://cloud.google.com/sdk/gcloud/reference/compute/instances/create and so on. What is not here was not looked up:
a command or a flag that khw is to name is added once it was found there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

EVERYWHERE = frozenset({"project", "format", "quiet"})
"""Flags that every command takes."""

COMMANDS: Mapping[str, frozenset[str]] = {
    command: frozenset(flags.split())
    for command, flags in {
        "auth application-default login": "",
        "beta compute addresses update": "region update-labels",
        "compute addresses create": "region description",
        "compute addresses delete": "region",
        "compute backend-services add-backend": "region instance-group instance-group-zone balancing-mode",
        "compute backend-services create": (
            "load-balancing-scheme protocol health-checks health-checks-region region description"
        ),
        "compute backend-services delete": "region",
        "compute disks delete": "zone",
        "compute firewall-rules create": "network allow action rules source-ranges target-tags priority description",
        "compute firewall-rules delete": "",
        "compute forwarding-rules create": (
            "load-balancing-scheme ip-protocol address ports backend-service region description"
        ),
        "compute forwarding-rules delete": "region",
        "compute forwarding-rules update": "region update-labels",
        "compute health-checks create https": (
            "port request-path check-interval timeout healthy-threshold unhealthy-threshold region description"
        ),
        "compute health-checks delete": "region",
        "compute images list": "",
        "compute instance-groups unmanaged add-instances": "zone instances",
        "compute instance-groups unmanaged create": "zone description",
        "compute instance-groups unmanaged delete": "zone",
        "compute instance-groups unmanaged remove-instances": "zone instances",
        "compute instances create": (
            "machine-type subnet private-network-ip can-ip-forward tags labels metadata boot-disk-size image "
            "image-family image-project no-address no-service-account no-scopes zone description"
        ),
        "compute instances delete": "zone",
        "compute instances describe": "zone",
        "compute instances get-guest-attributes": "query-path zone",
        "compute instances get-serial-port-output": "zone",
        "compute instances list": "",
        "compute instances start": "zone",
        "compute machine-types list": "",
        "compute networks create": "subnet-mode bgp-routing-mode description",
        "compute networks delete": "",
        "compute networks subnets create": "network range region description",
        "compute networks subnets delete": "region",
        "compute routers create": "network region description",
        "compute routers delete": "region",
        "compute routers nats create": "router region nat-external-ip-pool nat-all-subnet-ip-ranges",
        "compute routes create": "network destination-range next-hop-address priority description",
        "compute routes delete": "",
        "compute zones describe": "",
        "compute zones list": "",
        "projects list": "",
        "services enable": "",
    }.items()
}

GROUPS = ("auth", "beta", "compute", "projects", "services")
"""The first words of those commands: 'gcloud compute …' is a command, 'gcloud is not here' is not."""

NEEDED: Mapping[str, frozenset[str]] = {
    "compute addresses create": frozenset({"region"}),
    "compute backend-services add-backend": frozenset({"region", "instance-group", "instance-group-zone"}),
    "compute backend-services create": frozenset({"region", "load-balancing-scheme", "health-checks"}),
    "compute forwarding-rules create": frozenset({"region", "backend-service"}),
    "compute networks subnets create": frozenset({"network", "range", "region"}),
    "compute routes create": frozenset({"destination-range", "next-hop-address"}),
    "compute instance-groups unmanaged add-instances": frozenset({"instances", "zone"}),
}
"""Flags without which the command is refused, or asks."""


def commands(text: str) -> list[list[str]]:
    """Return the words after `gcloud` of every such command in a script or in prose (there between backticks)."""
    joined = text.replace("\\\n", " ")
    found = re.findall(rf"\bgcloud ((?:{'|'.join(GROUPS)}) (?:'[^']*'|\"[^\"]*\"|[^`'\"|;)\n])*)", joined)
    return [_less_redirections(shlex.split(words)) for words in found]


def wrong(words: list[str]) -> str:
    """Return what gcloud would not take of a command; '' if it takes all of it."""
    name = next((n for size in range(len(words), 0, -1) if (n := " ".join(words[:size])) in COMMANDS), None)
    if name is None:
        return f"gcloud {' '.join(words)}: the command is not in tests/gcloud.py"
    flags = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
    unknown = flags - COMMANDS[name] - EVERYWHERE
    missing = NEEDED.get(name, frozenset()) - flags
    if unknown or missing:
        return f"gcloud {' '.join(words)}: unknown {sorted(unknown)}, missing {sorted(missing)}"
    return ""


def _less_redirections(words: list[str]) -> list[str]:
    return [word for word in words if not re.match(r"\d?>", word)]
