"""A lab's API on a loopback port over a fake backend, asked by Google's own clients, judged by Google's description."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import discovery
import uvicorn
from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1 as compute

from khw.lab.daemon import LabServer, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fakes import FakeBackend
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from khw.lab.daemon import Lab

REGION = "us-west1"
ZONE = "us-west1-c"
PROJECT = "khw-unit"


class Judge:
    """Stands before the application and holds every exchange against Google's description."""

    def __init__(self, application: ASGIApp, found: list[str]) -> None:
        self.application = application
        self.found = found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, answer, status = bytearray(), bytearray(), 0

        async def receiving() -> Message:
            message = await receive()
            request.extend(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            answer.extend(message.get("body", b""))
            await send(message)

        await self.application(scope, receiving, sending)  # an answer that breaks off raises, and is no answer
        if scope["type"] == "http" and not scope["path"].startswith("/lab/"):  # the lab's own, beside Google's
            query = {pair.split("=")[0] for pair in scope["query_string"].decode().split("&") if pair}
            exchange = discovery.Exchange(scope["method"], scope["path"], query, bytes(request), status, bytes(answer))
            self.found += discovery.judge(exchange)


class Cloud:
    """Google's clients, pointed at the lab."""

    def __init__(self, endpoint: str, project: str = PROJECT, lab: Lab | None = None) -> None:
        self.endpoint = endpoint
        self.lab = lab  # the other side, for what a client cannot see
        self.project = project
        self._clients: dict[type, Any] = {}

    def __getattr__(self, name: str) -> Any:
        """Return a client: `cloud.networks` is a NetworksClient, `cloud.zone_operations` and so on."""
        kind = getattr(compute, "".join(part.title() for part in name.split("_")) + "Client")
        if kind not in self._clients:
            options = {"api_endpoint": self.endpoint}
            self._clients[kind] = kind(credentials=AnonymousCredentials(), client_options=options)
        return self._clients[kind]

    def close(self) -> None:
        for client in self._clients.values():
            client.transport.close()

    def wait(self, operation: compute.Operation) -> compute.Operation:
        """Wait for an operation where it lives."""
        common = {"project": self.project, "operation": operation.name}
        if operation.zone:
            return self.zone_operations.wait(zone=operation.zone.rsplit("/", 1)[-1], **common)
        if operation.region:
            return self.region_operations.wait(region=operation.region.rsplit("/", 1)[-1], **common)
        return self.global_operations.wait(**common)

    def done(self, operation: compute.Operation) -> compute.Operation:
        """Wait for an operation that ends well."""
        ended = self.wait(operation)
        assert ended.status == compute.Operation.Status.DONE
        assert not ended.error.errors
        return ended

    def failed(self, operation: compute.Operation) -> compute.Error | Any:
        """Wait for an operation that ends in an error, and return the error."""
        ended = self.wait(operation)
        assert ended.status == compute.Operation.Status.DONE
        (error,) = ended.error.errors
        return error

    # Shorthands for what most tests need before they begin

    def network(self, name: str = "net") -> None:
        resource = compute.Network(name=name, auto_create_subnetworks=False)
        self.done(self.networks.insert_unary(project=self.project, network_resource=resource))

    def subnet(self, name: str = "sub", network: str = "net", cidr: str = "10.240.0.0/24") -> None:
        resource = compute.Subnetwork(name=name, network=f"global/networks/{network}", ip_cidr_range=cidr)
        insert = self.subnetworks.insert_unary
        self.done(insert(project=self.project, region=REGION, subnetwork_resource=resource))

    def insert_machine(self, name: str, zone: str = ZONE, **changes: Any) -> compute.Operation:
        resource = machine(name, zone, **changes)
        return self.instances.insert_unary(project=self.project, zone=zone, instance_resource=resource)

    def machine(self, name: str, zone: str = ZONE, **changes: Any) -> compute.Instance:
        self.done(self.insert_machine(name, zone, **changes))
        return self.instances.get(project=self.project, zone=zone, instance=name)


def machine(name: str, zone: str = ZONE, address: str = "", **changes: Any) -> compute.Instance:
    """Return an instance as khw inserts it."""
    image = compute.AttachedDiskInitializeParams(
        source_image="projects/debian-cloud/global/images/family/debian-12", disk_size_gb=200
    )
    interface = compute.NetworkInterface(
        subnetwork=f"regions/{REGION}/subnetworks/sub",
        access_configs=[compute.AccessConfig(name="external-nat", type_="ONE_TO_ONE_NAT")],
    )
    if address:
        interface.network_i_p = address
    fields: dict[str, Any] = {
        "name": name,
        "machine_type": f"zones/{zone}/machineTypes/e2-standard-2",
        "can_ip_forward": True,
        "disks": [compute.AttachedDisk(boot=True, auto_delete=True, initialize_params=image)],
        "network_interfaces": [interface],
        "tags": compute.Tags(items=["khw", "worker"]),
        "labels": {"cluster": "c1"},
        "metadata": metadata({"pod-cidr": "10.200.0.0/24", "enable-guest-attributes": "TRUE"}),
    }
    return compute.Instance(**(fields | changes))


def metadata(values: dict[str, str], fingerprint: str = "") -> compute.Metadata:
    items = [compute.Items(key=key, value=value) for key, value in values.items()]
    return compute.Metadata(items=items, fingerprint=fingerprint) if fingerprint else compute.Metadata(items=items)


@contextmanager
def served(state: Path, backend: FakeBackend) -> Iterator[tuple[Cloud, list[str]]]:
    """Serve a lab as the daemon does; yield its clients and what the judge found."""
    found: list[str] = []
    with opened("unit", state, "127.0.0.1", backend) as lab:
        config = uvicorn.Config(Judge(lab.application, found), "127.0.0.1", 0, log_config=None, lifespan="off")
        server = LabServer(config, lab.operations)
        listening = config.bind_socket()
        listening.listen()  # a client that is quicker than the server waits
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        cloud = Cloud(f"http://127.0.0.1:{listening.getsockname()[1]}", lab=lab)
        try:
            yield cloud, found
        finally:
            cloud.close()
            lab.operations.release()
            server.should_exit = True
            thread.join(30)
            listening.close()


def names(items: Sequence[Any]) -> list[str]:
    return [item.name for item in items]
