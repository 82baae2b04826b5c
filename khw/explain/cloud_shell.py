"""
The project's resources (chapters 3, 8 and 11) as commands: gcloud's on Google, curl against the API in the lab.

Both are rendered from the rows that the provider itself makes (`khw.inventory.gcp.wanted.Wanted`). The lab has no
gcloud; its API is Google's, so what curl posts there is what gcloud would.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from khw.explain.shell import heredoc, joined, quoted
from khw.explain.symbols import SSH_KEY
from khw.inventory.gcp.kinds import (
    ADDRESS,
    BACKEND,
    FIREWALL,
    FORWARDING_RULE,
    GROUP,
    HEALTH_CHECK,
    INSTANCE,
    NETWORK,
    ROUTE,
    ROUTER,
    SUBNET,
)
from khw.inventory.gcp.operations import last

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from khw.cluster.model import Node
    from khw.inventory.gcp.clients import Api, Message
    from khw.inventory.gcp.wanted import Wanted

PUBLIC_KEY = "$public_key"
FUNCTIONS = """\
post() {{  # PATH, with the body on standard input: start an operation, and wait until it is done
  operation=$(curl -fsS -H 'Content-Type: application/json' --data-binary @- "$api/$1" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["selfLink"].partition("/projects/{project}/")[2])')
  until curl -fsS -X POST "$api/$operation/wait" | grep -q '"status": *"DONE"'; do :; done
}}

label() {{  # PATH KEY=VALUE: what takes labels only once it is there
  curl -fsS "$api/$1" | python3 -c '
import json, sys
seen, (key, _, value) = json.load(sys.stdin), sys.argv[1].partition("=")
print(json.dumps({{"labels": {{key: value}}, "labelFingerprint": seen["labelFingerprint"]}}))' "$2" |
    post "$1/setLabels"
}}"""


def in_lab(api: Api, rows: Iterable[Wanted], members: Sequence[Node] = ()) -> str:
    """Return curl commands that make these; `members` are put into the instance groups."""
    project = f"projects/{api.gcp.project}/"
    blocks = [
        f"api={api.gcp.endpoint}/compute/v1/projects/{api.gcp.project}",
        FUNCTIONS.format(project=api.gcp.project),
    ]
    for row in rows:
        where = api.link(row.kind, "", row.zone).removeprefix(project).rstrip("/")
        blocks.append(f"post {where} {_body(row.message)}")
        if row.labels:
            blocks.append(f"label {where}/{row.name} {joined(f'{k}={v}' for k, v in sorted(row.labels.items()))}")
        if row.kind is GROUP:
            here = [node for node in members if node.zone == row.zone]
            links = ", ".join(f'{{"instance": "{api.link(INSTANCE, node.name, row.zone)}"}}' for node in here)
            body = heredoc(f'{{"instances": [{links}]}}\n')
            blocks.append(f"post {where}/{row.name}/addInstances {body}")
    return "\n".join(blocks)


def _body(message: Message) -> str:
    text = json.dumps(message.body, indent=2)
    if SSH_KEY not in text:
        return heredoc(text)
    return heredoc(text.replace("\\", "\\\\").replace("$", "\\$").replace(SSH_KEY, PUBLIC_KEY), expands=True)


def on_google(api: Api, rows: Iterable[Wanted], members: Sequence[Node] = ()) -> str:
    """Return gcloud commands that make these."""
    blocks = [f"export CLOUDSDK_CORE_PROJECT={quoted(api.gcp.project)}"]
    for row in rows:
        blocks.append(_gcloud(api, row))
        if row.labels:
            pairs = ",".join(f"{key}={value}" for key, value in sorted(row.labels.items()))
            flags = joined((f"--update-labels={pairs}", f"--region={api.gcp.region}"))
            track = "beta compute" if row.kind is ADDRESS else "compute"  # where gcloud has it, as of 528.0.0
            blocks.append(f"gcloud {track} {row.kind.command} update {row.name} {flags}")
        if row.kind is GROUP:
            names = ",".join(node.name for node in members if node.zone == row.zone)
            flags = joined((f"--zone={row.zone}", f"--instances={names}"))
            blocks.append(f"gcloud compute instance-groups unmanaged add-instances {row.name} {flags}")
        if row.kind is ROUTER:
            blocks += [_create_nat(api, row, nat) for nat in row.message.nats]
        if row.kind is BACKEND:
            blocks += [_add_backend(api, row, backend) for backend in row.message.backends]
    return "\n".join(blocks)


def _gcloud(api: Api, row: Wanted) -> str:
    flags = _FLAGS[row.kind](row.message)
    if row.kind.scope == "region":
        flags["region"] = api.gcp.region
    elif row.kind.scope == "zone":
        flags["zone"] = row.zone or api.gcp.zone
    if row.message.description:
        flags["description"] = row.message.description
    verb = "create https" if row.kind is HEALTH_CHECK else "create"
    words = (_word(name, value) for name, value in flags.items() if value not in ("", False))
    return " \\\n  ".join((f"gcloud compute {row.kind.command} {verb} {row.name}", *words))


def _word(name: str, value: object) -> str:
    if value is True:
        return f"--{name}"
    word = quoted(f"--{name}={value}")
    return f'"{word.strip(chr(39)).replace(SSH_KEY, PUBLIC_KEY)}"' if SSH_KEY in word else word


def _create_nat(api: Api, row: Wanted, nat: Message) -> str:
    pool = ",".join(last(link) for link in nat.nat_ips)
    return (
        f"gcloud compute routers nats create {nat.name} --router={row.name} --region={api.gcp.region} "
        f"--nat-external-ip-pool={pool} --nat-all-subnet-ip-ranges"
    )


def _add_backend(api: Api, row: Wanted, backend: Message) -> str:
    parts = backend.group.split("/")
    return (
        f"gcloud compute backend-services add-backend {row.name} --region={api.gcp.region} "
        f"--instance-group={parts[-1]} --instance-group-zone={parts[-3]} --balancing-mode={backend.balancing_mode}"
    )


def _network(seen: Message) -> dict[str, Any]:
    return {"subnet-mode": "custom", "bgp-routing-mode": seen.routing_config.routing_mode.lower()}


def _subnet(seen: Message) -> dict[str, Any]:
    return {"network": last(seen.network), "range": seen.ip_cidr_range}


def _address(_seen: Message) -> dict[str, Any]:
    return {}


def _firewall(seen: Message) -> dict[str, Any]:
    traffic = [*seen.allowed, *seen.denied]
    rules = [f"{row.I_p_protocol}:{port}" for row in traffic for port in row.ports]
    rules += [row.I_p_protocol for row in traffic if not row.ports]
    how = {"action": "DENY", "rules": ",".join(rules)} if seen.denied else {"allow": ",".join(rules)}
    return {
        "network": last(seen.network),
        **how,
        "source-ranges": ",".join(seen.source_ranges),
        "target-tags": ",".join(seen.target_tags),
        "priority": seen.priority,
    }


def _instance(seen: Message) -> dict[str, Any]:
    disk = seen.disks[0].initialize_params
    image = disk.source_image.split("/")
    interface = seen.network_interfaces[0]
    pairs = [f"{item.key}={item.value}" for item in seen.metadata.items]
    return {
        "machine-type": last(seen.machine_type),
        "subnet": last(interface.subnetwork),
        "private-network-ip": interface.network_i_p,
        "can-ip-forward": seen.can_ip_forward,
        "no-address": not interface.access_configs,
        "tags": ",".join(seen.tags.items),
        "labels": ",".join(f"{key}={value}" for key, value in sorted(seen.labels.items())),
        "metadata": ",".join(pairs),
        "boot-disk-size": f"{disk.disk_size_gb}GB",
        "no-service-account": not seen.service_accounts,  # gcloud gives a machine the project's own if it is not told
        "no-scopes": not seen.service_accounts,
        **({"image-family": image[-1], "image-project": image[1]} if "family" in image else {"image": image[-1]}),
    }


def _health_check(seen: Message) -> dict[str, Any]:
    return {
        "port": seen.https_health_check.port,
        "request-path": seen.https_health_check.request_path,
        "check-interval": f"{seen.check_interval_sec}s",
        "timeout": f"{seen.timeout_sec}s",
        "healthy-threshold": seen.healthy_threshold,
        "unhealthy-threshold": seen.unhealthy_threshold,
    }


def _backend(seen: Message) -> dict[str, Any]:
    checks = [link.split("/") for link in seen.health_checks]
    return {
        "load-balancing-scheme": seen.load_balancing_scheme.lower(),
        "protocol": seen.protocol,
        "health-checks": ",".join(parts[-1] for parts in checks),
        "health-checks-region": checks[0][-3],
    }


def _forwarding_rule(seen: Message) -> dict[str, Any]:
    return {
        "load-balancing-scheme": seen.load_balancing_scheme.lower(),
        "ip-protocol": seen.I_p_protocol,
        "address": seen.I_p_address,
        "ports": seen.port_range,
        "backend-service": last(seen.backend_service),
    }


def _route(seen: Message) -> dict[str, Any]:
    return {
        "network": last(seen.network),
        "destination-range": seen.dest_range,
        "next-hop-address": seen.next_hop_ip,
        "priority": seen.priority,
    }


_FLAGS: dict[Any, Callable[[Message], dict[str, Any]]] = {
    NETWORK: _network,
    SUBNET: _subnet,
    ADDRESS: _address,
    ROUTER: lambda seen: {"network": last(seen.network)},
    FIREWALL: _firewall,
    INSTANCE: _instance,
    GROUP: lambda _seen: {},
    HEALTH_CHECK: _health_check,
    BACKEND: _backend,
    FORWARDING_RULE: _forwarding_rule,
    ROUTE: _route,
}
