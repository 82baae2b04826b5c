"""A small VPC as the API would ask a backend for it: machines, a load balancer, rules and routes."""

from __future__ import annotations

from dataclasses import replace

from khw.lab.backend import (
    Attachment,
    Firewall,
    HealthCheck,
    LoadBalancer,
    MachineSpec,
    Network,
    NetworkState,
    Route,
    Subnet,
    Traffic,
)

NETWORK = "vpc"
ADDRESSES = {"controller-0": 10, "controller-1": 11, "worker-0": 20, "worker-1": 21}
POD_CIDRS = {"worker-0": "10.200.0.0/24", "worker-1": "10.200.1.0/24"}


def attachment(name: str, block: str = "127.240.0", *, running: bool = True) -> Attachment:
    number = ADDRESSES[name]
    return Attachment(
        machine=name,
        network=NETWORK,
        subnet="sub",
        internal_ip=f"10.240.0.{number}",
        external_ip=f"{block}.{number}",
        tags=("k8s", name.partition("-")[0]),
        can_ip_forward=True,
        running=running,
    )


def rule(name: str, *traffic: Traffic, **changes: object) -> Firewall:
    whole = Firewall(
        name=name,
        network=NETWORK,
        direction="INGRESS",
        priority=1000,
        action="allow",
        traffic=traffic,
        source_ranges=("0.0.0.0/0",),
    )
    return replace(whole, **changes)  # type: ignore[arg-type]  # a test names the fields that it changes


INTERNAL = rule(
    "internal",
    *(Traffic(protocol=p) for p in ("tcp", "udp", "icmp")),
    source_ranges=("10.240.0.0/24", "10.200.0.0/16"),
)
EXTERNAL = rule("external", Traffic(protocol="tcp", ports=("22",)), Traffic(protocol="icmp"))
CHECKERS = rule("checkers", Traffic(protocol="tcp", ports=("6443",)), source_ranges=("35.191.0.0/16",))


def balancer(block: str = "127.240.0", kind: str = "HTTPS") -> LoadBalancer:
    check = HealthCheck(kind=kind, port=6443, path="/readyz", interval=1, timeout=1)  # type: ignore[arg-type]
    return LoadBalancer(
        name="api",
        backend_service="api-service",
        address=f"{block}.100",
        ports=("6443",),
        machines=("controller-0", "controller-1"),
        health_check=check,
    )


def vpc(*rules: Firewall, block: str = "127.240.0", balancers: tuple[LoadBalancer, ...] = ()) -> NetworkState:
    return NetworkState(
        networks=(Network(name=NETWORK),),
        subnets=(Subnet(name="sub", network=NETWORK, cidr="10.240.0.0/24"),),
        firewalls=rules or (INTERNAL, EXTERNAL, CHECKERS),
        routes=tuple(
            Route(
                name=f"to-{name}",
                network=NETWORK,
                dest_range=cidr,
                next_hop_ip=f"10.240.0.{ADDRESSES[name]}",
                priority=1000,
            )
            for name, cidr in POD_CIDRS.items()
        ),
        attachments=tuple(attachment(name, block) for name in ADDRESSES),
        load_balancers=balancers,
    )


def spec(name: str, project: str, block: str, ssh_keys: str, image: str = "debian-12") -> MachineSpec:
    place = attachment(name, block)
    return MachineSpec(
        project=project,
        zone="us-west1-c",
        name=name,
        image=image,
        machine_type="e2-standard-2",
        network=place.network,
        subnet=place.subnet,
        internal_ip=place.internal_ip,
        external_ip=place.external_ip,
        can_ip_forward=True,
        tags=place.tags,
        metadata={"ssh-keys": ssh_keys},
    )
