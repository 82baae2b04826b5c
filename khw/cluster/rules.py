"""
What a cluster file may say, beyond its form: pure rules over a `Spec`, each with the key that it is about.

A rule yields `(place, sentence)`; `khw.cluster.file` turns the place into a line.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, TypeAlias

from khw.cluster.spec import Role
from khw.ssh.known_hosts import SSH_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Network

    from khw.cluster.spec import Gcp, Pool, Spec, Static, StaticNode

Place: TypeAlias = tuple[int | str, ...]
Finding: TypeAlias = tuple[Place, str]

NAME = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
_LABEL = "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
DNS_NAME = re.compile(rf"^{_LABEL}(\.{_LABEL})*$")
HOP = re.compile(r"^(ssh://)?([^:\s-][^:\s]*@)?[^@:\s-][^@:\s]*(:\d+)?$")  # as ssh -J takes it
SERVICE_ACCOUNT = re.compile(r"^[^@\s]+@[-a-z0-9.]+\.gserviceaccount\.com$")
LARGEST_SERVICE_PREFIX = 12  # the API server refuses a service range with more than 20 bits of addresses
SMALLEST_SERVICE_PREFIX = 28  # kube-dns has the tenth address
POD_PREFIX = 24  # each worker's pod CIDR


def findings(spec: Spec) -> Iterator[Finding]:
    """Yield everything that cannot be, in the order of the file's sections."""
    yield from _sections(spec)
    yield from _ranges(spec)
    rules = (_static_nodes,) if spec.provider == "static" else (_counts, _pod_ranges, _machines)
    for rule in rules:
        yield from rule(spec)
    yield from _artifacts(spec)


def _sections(spec: Spec) -> Iterator[Finding]:
    if spec.provider == "gcp" and spec.gcp is None:
        yield ("provider",), "provider is gcp, and there is no section 'gcp' with a 'project'"
    if spec.provider == "static" and spec.static is None:
        yield (
            ("provider",),
            "provider is static, and there is no section 'static' with 'api_address' and 'nodes'",
        )
    if spec.provider == "gcp" and spec.gcp and not spec.gcp.zone.startswith(f"{spec.gcp.region}-"):
        yield ("gcp", "zone"), f"zone {spec.gcp.zone} is not in region {spec.gcp.region}"
    if spec.provider == "gcp" and spec.gcp:
        yield from _zones(spec.gcp)
        yield from _login(spec.gcp)


def _login(gcp: Gcp) -> Iterator[Finding]:
    for key in ("impersonate", "quota_project"):
        if gcp.credentials == "anonymous" and getattr(gcp, key):
            yield ("gcp", key), f"{key} needs credentials, and 'credentials' is anonymous"
    if gcp.impersonate and not SERVICE_ACCOUNT.match(gcp.impersonate):
        yield (
            ("gcp", "impersonate"),
            f"{gcp.impersonate!r} is no service account (NAME@PROJECT.iam.gserviceaccount.com)",
        )


def _zones(gcp: Gcp) -> Iterator[Finding]:
    for index, zone in enumerate(gcp.zones):
        if not zone.startswith(f"{gcp.region}-"):
            yield ("gcp", "zones", index), f"zone {zone} is not in region {gcp.region}"
        if zone in gcp.zones[:index]:
            yield ("gcp", "zones", index), f"zone {zone} is listed twice"


def _ranges(spec: Spec) -> Iterator[Finding]:
    network = spec.network
    ranges: list[tuple[str, IPv4Network]] = [
        ("cluster_cidr", network.cluster_cidr),
        ("service_cidr", network.service_cidr),
    ]
    if spec.provider == "gcp":
        ranges.insert(0, ("subnet_cidr", network.subnet_cidr))
        if network.subnet_cidr.prefixlen > 29:
            yield (
                ("network", "subnet_cidr"),
                f"subnet {network.subnet_cidr} is too small: GCP takes /29 or larger",
            )
    for index, (key, value) in enumerate(ranges):
        for other, taken in ranges[:index]:
            if value.overlaps(taken):
                yield ("network", key), f"{key} {value} overlaps {other} {taken}"
    prefix = network.service_cidr.prefixlen
    if not LARGEST_SERVICE_PREFIX <= prefix <= SMALLEST_SERVICE_PREFIX:
        yield (
            ("network", "service_cidr"),
            f"service_cidr {network.service_cidr} must be between /12 (the API server's limit) and /28"
            " (kube-dns has the tenth address)",
        )
    if not _is_port(network.api_port) or network.api_port == SSH_PORT:
        yield ("network", "api_port"), f"api_port {network.api_port} cannot be used"
    low, _, high = network.node_ports.partition("-")
    if not (low.isdigit() and high.isdigit() and 0 < int(low) <= int(high) < 65536):
        yield (
            ("network", "node_ports"),
            f"node_ports {network.node_ports!r} is not a range such as 30000-32767",
        )
    if network.source_ranges == ():
        yield ("network", "source_ranges"), "source_ranges is empty: nobody could log in"


def _counts(spec: Spec) -> Iterator[Finding]:
    for key, pool in _pools(spec):
        for listed in ("names", "addresses", "images"):
            rows = getattr(pool, listed)
            if len(rows) > pool.count:
                yield (
                    (key, listed),
                    f"{len(rows)} {listed} for {pool.count} {key}: set count, or leave it out",
                )
    if spec.etcd.count:
        yield from _apart(spec.controllers.count, ("controllers", "count"), spec.etcd.count, ("etcd", "count"))
    else:
        yield from _odd_controllers(spec.controllers.count, ("controllers", "count"))


def _pools(spec: Spec) -> tuple[tuple[str, Pool], ...]:
    return (("controllers", spec.controllers), ("etcd", spec.etcd), ("workers", spec.workers))


def _apart(controllers: int, place: Place, members: int, members_place: Place) -> Iterator[Finding]:
    """The counts where etcd has machines of its own."""
    if not controllers:
        yield place, "0 controllers: there must be at least one"
    if members % 2 == 0:
        text = f"{members} machines for etcd: it needs an odd number, so make it {members - 1} or {members + 1}"
        yield members_place, text


def _odd_controllers(count: int, place: tuple[int | str, ...]) -> Iterator[Finding]:
    if count == 0:
        yield place, "0 controllers: there must be at least one (three survive the loss of one)"
    elif count % 2 == 0:
        yield (
            place,
            f"{count} controllers: etcd needs an odd number; {count} survive no more losses than {count - 1},"
            f" so make it {count - 1} or {count + 1}",
        )


def _pod_ranges(spec: Spec) -> Iterator[Finding]:
    room = _pod_cidrs(spec.network.cluster_cidr)
    wanted = spec.workers.count or spec.controllers.count  # without workers, controllers run the pods
    if room < wanted:
        yield (
            ("network", "cluster_cidr"),
            f"cluster_cidr {spec.network.cluster_cidr} is too small: it holds {room} pod ranges (/24) "
            f"for {wanted} {'workers' if spec.workers.count else 'controllers that run pods'}",
        )


def _pod_cidrs(cluster_cidr: IPv4Network) -> int:
    return 0 if cluster_cidr.prefixlen > POD_PREFIX else 2 ** (POD_PREFIX - cluster_cidr.prefixlen)


def _machines(spec: Spec) -> Iterator[Finding]:
    """Names and addresses of the machines that GCP is asked for."""
    subnet = spec.network.subnet_cidr
    reserved = (
        {
            subnet[0]: "the network's own address",
            subnet[1]: "the gateway's",
            subnet[-2]: "reserved by GCP (the second-last)",
            subnet[-1]: "the broadcast address",
        }
        if subnet.num_addresses >= 4
        else {}
    )
    names: dict[str, str] = {}
    if spec.private_nodes:
        reserved[spec.bastion_address] = "the bastion's (gcp.private_nodes)"
        names[spec.bastion_name] = spec.bastion_name
        if not NAME.match(spec.bastion_name):
            yield ("network", "name"), f"{spec.bastion_name!r}, the bastion's, is no host name: it is too long"
    addresses: dict[IPv4Address, str] = {}
    told: set[tuple[int | str, ...]] = set()
    for key, pool in _pools(spec):
        for index, (name, address) in enumerate(_listed(pool)):
            named = (key, "names", index) if index < len(pool.names) else (key, "name")
            placed = (key, "addresses", index) if index < len(pool.addresses) else (key, "first_address")
            yield from _name(name, named, names)
            yield from _unique_address(name, address, placed, addresses)
            if placed in told:
                continue  # one address of a row that is counted up says it all
            if address not in subnet:
                told.add(placed)
                yield placed, f"address {address} of {name} is outside the subnet {subnet}"
            elif address in reserved:
                yield placed, f"address {address} of {name} is {reserved[address]} in subnet {subnet}"


def _listed(pool: Pool) -> Iterable[tuple[str, IPv4Address]]:
    for index in range(pool.count):
        name = pool.names[index] if index < len(pool.names) else f"{pool.name}-{index}"
        yield name, pool.addresses[index] if index < len(pool.addresses) else pool.first_address + index


def _name(name: str, place: tuple[int | str, ...], taken: dict[str, str]) -> Iterator[Finding]:
    if not NAME.match(name):
        yield (
            place,
            f"{name!r} is no host name: lower-case letters, digits and '-', a letter first, 63 at most",
        )
    if name in taken:
        yield place, f"two machines are named {name}"
    taken[name] = name


def _unique_address(
    name: str, address: IPv4Address, place: tuple[int | str, ...], taken: dict[IPv4Address, str]
) -> Iterator[Finding]:
    if address in taken:
        yield place, f"{name} and {taken[address]} have the same address {address}"
    taken.setdefault(address, name)


def _static_nodes(spec: Spec) -> Iterator[Finding]:
    """The rules for the user's own machines."""
    if not spec.static:
        return
    names: dict[str, str] = {}
    addresses: dict[IPv4Address, str] = {}
    pods: dict[IPv4Network, str] = {}
    doors: dict[tuple[str, int], str] = {}
    for index, node in enumerate(spec.static.nodes):
        place = ("static", "nodes", index)
        yield from _name(node.name, (*place, "name"), names)
        yield from _unique_address(node.name, node.address, (*place, "address"), addresses)
        yield from _reachable(spec, node.address, (*place, "address"), f"address {node.address} of {node.name}")
        door = (node.host or str(node.address), node.port or SSH_PORT)
        if door in doors and addresses[node.address] == node.name:  # otherwise it is told already
            host, port = door
            yield (*place, "host"), f"{node.name} and {doors[door]} are one machine to SSH: {host}, port {port}"
        doors.setdefault(door, node.name)
        if node.role is Role.WORKER or node.pod_cidr:
            yield from _static_pod_cidr(spec, node, (*place, "pod_cidr"), pods)
        if node.port is not None and not _is_port(node.port):
            yield (*place, "port"), f"port {node.port} of {node.name} is no port"
        yield from _host_keys(node.name, node.host_keys, (*place, "host_keys"))
    yield from _static_counts(spec.static)
    yield from _api_address(spec, spec.static)
    yield from _shared_address(spec, spec.static)
    yield from _bastion(spec)


def _static_counts(static: Static) -> Iterator[Finding]:
    place = ("static", "nodes")
    roles = [node.role for node in static.nodes]
    if apart := roles.count(Role.ETCD):
        yield from _apart(roles.count(Role.CONTROLLER), place, apart, place)
    else:
        yield from _odd_controllers(roles.count(Role.CONTROLLER), place)
    if Role.WORKER not in roles and not any(node.pod_cidr for node in static.nodes):
        hint = "add one, or give a controller a pod_cidr: it runs pods too then"
        yield place, f"0 workers: DNS and the smoke test (chapters 12 and 13) need at least one: {hint}"


def _is_port(number: int) -> bool:
    return 0 < number < 65536


def _reachable(spec: Spec, address: IPv4Address, place: Place, what: str) -> Iterator[Finding]:
    """Other machines have to reach `what` at its address: it is a machine's own, and no pod's or Service's."""
    if address.is_loopback:
        yield place, f"{what} is a loopback address, at which each machine reaches itself"
    elif address.is_unspecified or address.is_multicast or address.is_reserved:
        yield place, f"{what} is no machine's own"
    for key in ("cluster_cidr", "service_cidr"):
        if address in getattr(spec.network, key):
            yield place, f"{what} is inside {key}"


def _api_address(spec: Spec, static: Static) -> Iterator[Finding]:
    """Where the API is reached from everywhere: it is in certificates and kubeconfigs as it is written."""
    place, said = ("static", "api_address"), static.api_address
    try:
        address = IPv4Address(said)
    except ValueError:
        if not DNS_NAME.match(said) or said.replace(".", "").isdigit():
            yield place, f"api_address {said!r} is no IPv4 address and no name; the port is said elsewhere (api_port)"
        return
    yield from _reachable(spec, address, place, f"api_address {address}")


def _bastion(spec: Spec) -> Iterator[Finding]:
    for hop in spec.ssh.bastion.split(",") if spec.ssh.bastion is not None else ():
        if not HOP.match(hop.strip()):
            yield (
                ("ssh", "bastion"),
                f"bastion {hop.strip()!r} is not USER@HOST:PORT, as `ssh -J` takes it",
            )


def _shared_address(spec: Spec, static: Static) -> Iterator[Finding]:
    """The address that keepalived gives to one of the controllers at a time."""
    if static.balancer != "haproxy":
        return
    place = ("static", "api_address")
    try:
        shared = IPv4Address(static.api_address)
    except ValueError:
        yield place, f"api_address {static.api_address!r} is a name; keepalived shares an IPv4 address"
        return
    for node in static.nodes:
        if node.address == shared:
            yield place, f"api_address {shared} is {node.name}'s own; keepalived needs one that nobody has"
    yield from _balancer_port(spec, static.balancer_port)


def _balancer_port(spec: Spec, port: int) -> Iterator[Finding]:
    place = ("static", "balancer_port")
    low, _, high = spec.network.node_ports.partition("-")
    if not _is_port(port) or port == SSH_PORT:
        yield place, f"balancer_port {port} cannot be used"
    if port == spec.network.api_port:
        yield place, f"balancer_port {port} is api_port, where the API server listens on the same machine"
    if low.isdigit() and high.isdigit() and int(low) <= port <= int(high):
        yield place, f"balancer_port {port} is inside node_ports {spec.network.node_ports}, which Services get"


def _static_pod_cidr(
    spec: Spec,
    node: StaticNode,
    place: tuple[int | str, ...],
    taken: dict[IPv4Network, str],
) -> Iterator[Finding]:
    name, pod_cidr = node.name, node.pod_cidr
    if node.role is Role.ETCD:
        yield place, f"pod_cidr of {name}: machines for etcd run no pods"
    if pod_cidr is None:
        yield place, f"worker {name} has no pod_cidr (a part of cluster_cidr {spec.network.cluster_cidr})"
        return
    if not pod_cidr.subnet_of(spec.network.cluster_cidr):
        yield place, f"pod_cidr {pod_cidr} of {name} is outside cluster_cidr {spec.network.cluster_cidr}"
    for other in _overlapping(pod_cidr, taken):
        yield place, f"pod_cidr {pod_cidr} of {name} overlaps {other} of {taken[other]}"
    taken[pod_cidr] = name


def _overlapping(wanted: IPv4Network, taken: dict[IPv4Network, str]) -> list[IPv4Network]:
    """Return those that overlap; ranges of one size do only if they are the same, which is quickly seen."""
    if all(other.prefixlen == wanted.prefixlen for other in taken):
        return [wanted] if wanted in taken else []
    return [other for other in taken if wanted.overlaps(other)]


def _host_keys(name: str, keys: tuple[str, ...], place: tuple[int | str, ...]) -> Iterator[Finding]:
    for index, key in enumerate(keys):
        if not re.match(r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+=*( .*)?$", key):
            yield (
                (*place, index),
                f"host key of {name} is not of the form 'ssh-ed25519 AAAA…' (as in /etc/ssh/ssh_host_*.pub)",
            )


def _artifacts(spec: Spec) -> Iterator[Finding]:
    if "mirror" in spec.artifacts.sources and not spec.artifacts.mirror:
        yield ("artifacts", "sources"), "sources has 'mirror', and 'artifacts.mirror' names none"
