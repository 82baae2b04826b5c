"""One emulated project: its resources, the addresses that it gives out, and its way to the backend."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import threading
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from khw.lab.api.desired import network_state
from khw.lab.api.faults import Faults
from khw.lab.api.kind import link_fields
from khw.lab.api.links import link, parse
from khw.lab.api.problems import OperationError, not_found, not_ready

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from khw.lab.api.kind import Kind
    from khw.lab.backend import Backend
    from khw.lab.state import Entry, State

    Json = dict[str, Any]

log = logging.getLogger(__name__)


class Project:
    """
    The project of a lab.

    `pool` is the lab's block of loopback addresses, where external addresses come from; its first ten are kept
    for the lab itself.
    """

    RESERVED = 10

    def __init__(self, name: str, state: State, backend: Backend, pool: IPv4Network) -> None:
        self.name = name
        self.state = state
        self.backend = backend
        self.pool = pool
        self.kinds: Mapping[str, Kind] = {}
        self.faults = Faults()
        self._applying = threading.Lock()
        self._wanted = 0
        self._applied = 0

    # Resources

    def of(self, collection: str) -> Iterator[Entry]:
        """Return the resources of a collection."""
        return self.state.of(collection)

    def path(self, key: str) -> str:
        """Return a key as errors print it."""
        return f"projects/{self.name}/{key}"

    def link(self, key: str) -> str:
        """Return a key as a selfLink."""
        return link(self.name, key)

    def referenced(self, text: object, field: str) -> Entry:
        """Return the resource that a field names; it must be there and ready."""
        reference = parse(text, self.name, field)
        entry = self.state.entries.get(reference.key) if reference.project == self.name else None
        if entry is None:
            raise not_found(reference.path)
        if not entry.ready or entry.deleting:
            raise not_ready(reference.path)
        return entry

    def at(self, url: str) -> Entry:
        """Return the resource of a selfLink that is known to be good."""
        return self.state.entries[url.split(f"projects/{self.name}/", 1)[1]]

    def users_of(self, entry: Entry) -> list[Entry]:
        """Return what stands on a resource: it names it, and did not come with it or with another."""
        mine = entry.body["selfLink"]
        return [
            other for other in self.state.entries.values() if not other.hidden.get("owner") and self._names(other, mine)
        ]

    def _names(self, other: Entry, url: str) -> bool:
        fields = link_fields(other.body, self.kinds[other.collection].links)
        return any(holder[key] == url for holder, key, _ in fields)  # type: ignore[index]  # see resolve_links

    # What Google makes up

    def now(self) -> str:
        """Return the time as Google writes it."""
        return datetime.now(UTC).isoformat(timespec="milliseconds")

    def fingerprint(self, content: object) -> str:
        """Return what changes when `content` changes."""
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
        return base64.b64encode(digest[:8]).decode()

    # Addresses

    def external_addresses(self) -> dict[str, Entry]:
        """Return the external addresses that are taken: by reservations first, then by what uses them."""
        taken: dict[str, Entry] = {}
        for entry in self.of("addresses"):
            if entry.body["addressType"] == "EXTERNAL":
                taken[entry.body["address"]] = entry
        for entry in self.of("forwardingRules"):
            taken.setdefault(entry.body["IPAddress"], entry)
        for entry in self.of("instances"):
            for address in nat_addresses(entry.body):
                taken.setdefault(address, entry)
        return taken

    def users_of_address(self, address: str) -> list[Entry]:
        """Return what has this external address now."""
        rules = [e for e in self.of("forwardingRules") if e.body["IPAddress"] == address]
        rules += [e for e in self.of("routers") if address in self._nat_ips(e)]
        return rules + [e for e in self.of("instances") if address in nat_addresses(e.body)]

    def _nat_ips(self, router: Entry) -> set[str]:
        links = [url for row in router.body.get("nats", ()) for url in row["natIps"]]
        return {self.at(url).body["address"] for url in links}

    def free_external_address(self, preferred: str = "") -> str:
        """Return an address of the pool that nothing has; `preferred` if it is still free."""
        taken = self.external_addresses()
        if preferred and preferred not in taken:
            return preferred
        for address in list(self.pool.hosts())[self.RESERVED - 1 :]:
            if str(address) not in taken:
                return str(address)
        raise OperationError("QUOTA_EXCEEDED", f"Quota 'IN_USE_ADDRESSES' exceeded. The pool is {self.pool}.")

    def internal_addresses(self, subnet: str) -> dict[str, Entry]:
        """Return the addresses of a subnet (its link) that are taken."""
        taken: dict[str, Entry] = {}
        for entry in self.of("addresses"):
            if entry.body.get("subnetwork") == subnet:
                taken[entry.body["address"]] = entry
        for entry in self.of("instances"):
            for interface in entry.body["networkInterfaces"]:
                if interface["subnetwork"] == subnet:
                    taken[interface["networkIP"]] = entry
        return taken

    def free_internal_address(self, subnet: Entry) -> str:
        """Return the lowest free address of a subnet; Google keeps its first two and last two."""
        network = IPv4Network(subnet.body["ipCidrRange"])
        taken = self.internal_addresses(subnet.body["selfLink"])
        for number in range(2, network.num_addresses - 2):
            if str(network[number]) not in taken:
                return str(network[number])
        message = f"IP space of '{self.path(subnet.key)}' is exhausted."
        raise OperationError("IP_SPACE_EXHAUSTED", message)

    # The backend

    def apply_network(self) -> None:
        """
        Have the backend make the network as the state says.

        Requests that come while one is being applied share the next: six inserts cost two rounds.
        """
        with self.state.lock:
            self._wanted += 1
            mine = self._wanted
        with self._applying:
            if self._applied >= mine:
                return
            with self.state.lock:
                upto = self._wanted
                desired = network_state(self)
            self.backend.apply_network(desired)
            self._applied = upto


def nat_addresses(instance: Json) -> list[str]:
    """Return an instance's external addresses: one, or none."""
    return [
        config["natIP"]
        for interface in instance["networkInterfaces"]
        for config in interface.get("accessConfigs", [])
        if config.get("natIP")
    ]


def usable(address: object, subnet: Entry) -> bool:
    """Return whether a machine may have this address: in the range, and not one of Google's four."""
    network = IPv4Network(subnet.body["ipCidrRange"])
    try:
        wanted = IPv4Address(str(address))
    except ValueError:
        return False
    return wanted in network and wanted not in {network[0], network[1], network[-2], network[-1]}
