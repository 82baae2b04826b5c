"""Losing any one controller, with a writer and a reader at work all along: soon back, and no write lost."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from commandline import instance
from faults import CONTROLLERS, container, podman
from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commandline import Khw

pytestmark = [pytest.mark.lab, pytest.mark.apart, pytest.mark.timeout(600)]

AGAIN = 5.0  # seconds within which the API has to answer again
PATIENCE = 1.0  # seconds that a client waits for one answer before it asks again
PATH = "/api/v1/namespaces/losing/configmaps"


@dataclass
class Client:
    """The administrator, through the load balancer; a connection for each request, as after a failure."""

    server: str
    port: int
    trust: ssl.SSLContext

    @classmethod
    def of(cls, kubeconfig: Path, scratch: Path) -> Client:
        read = YAML(typ="safe").load(kubeconfig.read_text())
        where, who = read["clusters"][0]["cluster"], read["users"][0]["user"]
        files = {
            "ca": where["certificate-authority-data"],
            "cert": who["client-certificate-data"],
            "key": who["client-key-data"],
        }
        for name, text in files.items():
            (scratch / name).touch(mode=0o600)
            (scratch / name).write_bytes(base64.b64decode(text))
        trust = ssl.create_default_context(cafile=str(scratch / "ca"))
        trust.load_cert_chain(scratch / "cert", scratch / "key")
        url = urlsplit(where["server"])
        assert url.hostname
        return cls(url.hostname, url.port or 443, trust)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPSConnection(self.server, self.port, timeout=PATIENCE, context=self.trust)
        with contextlib.closing(connection):
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())


@dataclass
class Traffic:
    """A writer and a reader, each in a thread of its own, until `stop`."""

    client: Client
    written: list[str] = field(default_factory=list)  # acknowledged
    lost: list[str] = field(default_factory=list)  # acknowledged, and not there when read
    answered: dict[str, list[float]] = field(default_factory=lambda: {"write": [], "read": []})
    stop: threading.Event = field(default_factory=threading.Event)

    def write(self) -> None:
        while not self.stop.is_set():
            name = f"w-{len(self.written)}"
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                status, _ = self.client.ask("POST", PATH, {"metadata": {"name": name}})
                if status in {201, 409}:  # 409: the try before this one came through, its answer did not
                    self.written.append(name)
                    self.answered["write"].append(time.monotonic())
            self.stop.wait(0.05)

    def read(self) -> None:
        while not self.stop.is_set():
            name = self.written[-1] if self.written else ""
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                status, _ = self.client.ask("GET", f"{PATH}/{name}")
                if status == 404:
                    self.lost.append(name)
                if status == 200:
                    self.answered["read"].append(time.monotonic())
            self.stop.wait(0.05)

    def gap(self, what: str, since: float) -> float:
        """Return the longest time without an answer from `since` on."""
        times = [at for at in self.answered[what] if at >= since]
        assert times, f"never a {what} again"
        return max(after - before for before, after in zip([since, *times], times, strict=False))


@pytest.fixture
def traffic(cluster: Khw, tmp_path: Path) -> Iterator[Traffic]:
    it = Traffic(Client.of(Path(cluster.ok("kubeconfig").strip()), tmp_path))
    cluster.kubectl("create", "namespace", "losing")
    threads = [threading.Thread(target=it.write), threading.Thread(target=it.read)]
    try:
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 30
        while len(it.answered["read"]) < 10:
            assert time.monotonic() < deadline, "there is no traffic to begin with"
            time.sleep(0.05)
        yield it
    finally:
        it.stop.set()
        for thread in threads:
            thread.join()
        cluster.kubectl("delete", "namespace", "losing")  # waits: the next controller begins with a new one


@pytest.mark.parametrize("node", CONTROLLERS)
def test_without_power_for_one_controller_the_api_answers_again_and_no_write_is_lost(
    cluster: Khw, traffic: Traffic, node: str, matrix: list[tuple[str, ...]]
) -> None:
    began = time.monotonic()
    podman("kill", "--signal=KILL", container(node))
    try:
        traffic.stop.wait(3 * AGAIN)
        gaps = {what: traffic.gap(what, began) for what in ("write", "read")}
    finally:
        instance(cluster, node, "start")
    cluster.ok("verify", "--wait", "180")
    traffic.stop.set()
    status, found = traffic.client.ask("GET", PATH)
    assert status == 200
    assert set(traffic.written) <= {row["metadata"]["name"] for row in found["items"]}
    assert traffic.lost == []
    longest = ", ".join(f"{seconds:.1f} s without a {what}" for what, seconds in gaps.items())
    told = f"{longest}; none of {len(traffic.written)} writes lost"
    matrix.append((f"{node} without power", "with traffic", told, f"{time.monotonic() - began:.0f} s"))
    assert max(gaps.values()) <= AGAIN, told
