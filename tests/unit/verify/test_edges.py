"""TLS connections tried for real, on this machine: who is let in, who is refused, and what is said of it."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from fakes import cluster

from khw.certs.authority import Pair, issue, make_authority
from khw.certs.identities import BOTH, CLIENT, Authority, Identity
from khw.cluster.spec import Pool, Spec
from khw.ssh.client import Completed
from khw.verify import Context, edges, handshake

if TYPE_CHECKING:
    from collections.abc import Iterator

CLUSTER = cluster()
PROGRAM = Path(handshake.__file__).read_text()
CONTROLLER = CLUSTER.node("controller-0")
WORKER = CLUSTER.node("worker-1")
CONTEXT = Context(
    cluster=CLUSTER, pki=cast("Any", None), agents={}, provider=cast("Any", None), kubectl=cast("Any", None)
)


class Answer(BaseHTTPRequestHandler):
    """Answers 200 to whom the handshake knows, 401 to others: as an API server does."""

    def do_GET(self) -> None:
        known = cast("ssl.SSLSocket", self.connection).getpeercert()
        self.send_response(200 if known else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    ours, others = (make_authority(Authority(name, name, "test"), days=1) for name in ("ours", "others"))
    pairs: dict[str, Pair] = {
        "server": issue(Identity("s", "ours", "server", "test", BOTH, ("x",), ("127.0.0.1",)), ours, days=1),
        "elsewhere": issue(Identity("e", "ours", "server", "test", BOTH, ("x",), ("127.0.0.2",)), ours, days=1),
        "client": issue(Identity("c", "ours", "client", "test", CLIENT), ours, days=1),
        "other": issue(Identity("o", "others", "admin", "system:masters", CLIENT), others, days=1),
    }
    (folder / "ca.pem").write_bytes(ours.certificate)
    for name, pair in pairs.items():
        (folder / f"{name}.pem").write_bytes(pair.certificate)
        (folder / f"{name}-key.pem").write_bytes(pair.key.reveal())
    return folder


@contextmanager
def serving(pki: Path, verify: ssl.VerifyMode, name: str = "server") -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}-key.pem")
    context.load_verify_locations(pki / "ca.pem")
    context.verify_mode = verify
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # refused handshakes are what is tested
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def three_ways(pki: Path, port: int, **more: Any) -> dict[str, str]:
    """Run the program as a node does, with this edge."""
    edge = {
        "address": "127.0.0.1",
        "port": port,
        "path": "/",
        "ca": str(pki / "ca.pem"),
        "kubeconfig": "",
        "certificate": str(pki / "client.pem"),
        "key": str(pki / "client-key.pem"),
        **more,
    }
    stranger = [(pki / name).read_text() for name in ("other.pem", "other-key.pem")]
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM],
        input=json.dumps({"edges": [edge], "stranger": stranger}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    return dict(row)


def test_a_server_that_asks_for_certificates_lets_in_the_right_one_alone(pki: Path) -> None:
    with serving(pki, ssl.CERT_REQUIRED) as port:
        row = three_ways(pki, port)
    assert row["mine"] == "200"
    assert row["none"].startswith("refused")
    assert row["stranger"].startswith("refused")
    assert edges._problem(row) == ""


def test_a_server_that_asks_nobody_is_found_out(pki: Path) -> None:
    with serving(pki, ssl.CERT_NONE) as port:
        row = three_ways(pki, port)
    assert row["mine"] == "401"  # it does not even look
    assert "not let in" in edges._problem(row)


def test_a_server_without_the_name_that_it_is_called_by_is_not_believed(pki: Path) -> None:
    with serving(pki, ssl.CERT_REQUIRED, "elsewhere") as port:
        row = three_ways(pki, port)
    assert row["mine"].startswith("the server was not believed")
    assert "127.0.0.1" in row["mine"]


def test_nobody_there_is_no_refusal(pki: Path) -> None:
    with serving(pki, ssl.CERT_REQUIRED) as port:
        pass
    row = three_ways(pki, port)
    assert list(row) == ["mine"], "asked once: a network that drops packets lets each try wait"
    assert row["mine"].startswith("no connection")
    assert edges._problem(row).startswith("no connection")


def test_the_pair_in_a_kubeconfig_is_shown_too(pki: Path, tmp_path: Path) -> None:
    from base64 import b64encode

    data = {
        name: b64encode((pki / f"client{end}.pem").read_bytes()).decode() for name, end in (("c", ""), ("k", "-key"))
    }
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(f"    client-certificate-data: {data['c']}\n    client-key-data: {data['k']}\n")
    with serving(pki, ssl.CERT_REQUIRED) as port:
        row = three_ways(pki, port, certificate="", key="", kubeconfig=str(kubeconfig))
    assert row["mine"] == "200"


def test_a_certificate_that_is_not_there_is_named(pki: Path) -> None:
    row = three_ways(pki, 1, certificate=str(pki / "gone.pem"))
    assert "no certificate to show" in row["mine"]
    assert "gone.pem" in row["mine"]


def test_every_node_tries_the_connections_that_it_makes() -> None:
    subjects = [edges.subject(edge) for edge in edges.tried(CONTROLLER, CLUSTER)]
    assert len(subjects) == len(set(subjects))
    assert "etcd to etcd at controller-1:2380" in subjects
    assert "kube-apiserver to etcd at controller-2:2379" in subjects
    assert "kube-apiserver to kubelet at worker-0:10250" in subjects
    assert "kubectl to kube-scheduler at controller-0:10259" in subjects
    ours = [edges.subject(edge) for edge in edges.tried(WORKER, CLUSTER)]
    assert ours == [
        "kubelet to kube-apiserver at the API's address:6443",
        "kube-proxy to kube-apiserver at the API's address:6443",
    ]


def test_a_peer_of_etcd_must_also_refuse_the_api_servers_certificate() -> None:
    (command,) = edges.ask(CONTROLLER, CONTEXT)
    rows = json.loads(command.stdin or b"")["edges"]
    peers = [row for row in rows if row["port"] == 2380]
    assert len(peers) == 2
    assert all(row["other"][0] == "/var/lib/kubernetes/apiserver-etcd-client.pem" for row in peers)


def test_a_machine_of_etcds_own_has_no_certificate_of_the_api_server_to_show() -> None:
    apart = cluster(Spec(etcd=Pool(name="etcd", count=3, first_address=IPv4Address("10.240.0.30"))))
    (command,) = edges.ask(apart.node("etcd-0"), replace(CONTEXT, cluster=apart))
    rows = json.loads(command.stdin or b"")["edges"]
    assert sorted(row["port"] for row in rows) == [2379, 2380, 2380]
    assert not [row for row in rows if "other" in row]


def judge(rows: list[dict[str, str]]) -> list[Any]:
    return list(edges.judge(WORKER, CONTEXT, [Completed((), 0, json.dumps(rows), "")]))


FINE = {"mine": "200", "none": "401", "stranger": "401"}


def test_a_server_that_cannot_ask_for_rights_gives_nothing_away() -> None:
    assert [finding.ok for finding in judge([FINE, FINE | {"none": "500"}])] == [True]


def test_all_connections_well_are_one_finding() -> None:
    (finding,) = judge([FINE, FINE])
    assert finding.ok
    assert finding.actual == "2 are so"


def test_who_lets_in_a_stranger_is_named_with_every_answer() -> None:
    (finding,) = judge([FINE, FINE | {"stranger": "200"}])
    assert not finding.ok
    assert finding.subject == "kube-proxy to kube-apiserver at the API's address:6443"
    assert finding.actual == "with a stranger's: 200, expected to be refused"
    assert finding.evidence.splitlines()[0] == "with its certificate: 200"
    assert "openssl s_client -connect 198.51.100.100:6443" in finding.command


def test_a_node_whose_python_fails_says_so() -> None:
    (finding,) = edges.judge(WORKER, CONTEXT, [Completed((), 1, "", "no module named ssl")])
    assert finding.actual == "no module named ssl"
