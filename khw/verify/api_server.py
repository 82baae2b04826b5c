"""The API servers (chapter 8): each by itself, and all through the load balancer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from khw.artifacts import lock
from khw.kubectl import KubectlError
from khw.ssh.connection import RemoteCommand
from khw.verify.check import Finding, last_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.cluster.model import Node
    from khw.ssh.connection import Completed
    from khw.verify.context import Context

ADMIN = "/var/lib/kubernetes/admin.kubeconfig"
ENDPOINTS = ("livez", "readyz")
HINT = "sudo systemctl status kube-apiserver; sudo journalctl -u kube-apiserver -n 50"
BALANCER_HINT = "khw run --phase load-balancer; curl -k {url}/readyz; is tcp:6443 open to you (source_ranges)?"


def raw(server: str, path: str) -> RemoteCommand:
    """Return a question to one server of the control plane, asked on its own node as the administrator."""
    kubectl = ("/usr/local/bin/kubectl", f"--kubeconfig={ADMIN}", f"--server={server}", "--request-timeout=5s")
    return RemoteCommand((*kubectl, "get", "--raw", path), timeout=15.0)


def ask(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Ask the API server on this node whether it lives and is ready, with each part that it looks at."""
    server = f"https://{node.internal_ip}:{context.cluster.network.api_port}"
    return tuple(raw(server, f"/{endpoint}?verbose") for endpoint in ENDPOINTS)


def judge(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Expect 'check passed' from both."""
    for endpoint, answer in zip(ENDPOINTS, answers, strict=True):
        bad = [line for line in f"{answer.out}\n{answer.err}".splitlines() if line.startswith("[-]")]
        fine = answer.code == 0 and f"{endpoint} check passed" in answer.out
        yield Finding(
            ok=fine,
            subject=endpoint,
            expected=f"/{endpoint} ok at {node.internal_ip}",
            actual="ok" if fine else "; ".join(bad) or last_line(answer),
            hint=HINT,
        )


def ask_names(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Ask this API server under every name by which clients know it."""
    server = f"https://{node.internal_ip}:{context.cluster.network.api_port}"
    commands = (raw(server, "/livez") for _ in names(context))
    return tuple(
        replace(command, argv=(*command.argv, f"--tls-server-name={name}"))
        for command, name in zip(commands, names(context), strict=True)
    )


def judge_names(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Expect that its certificate is for all of them; a server that does not answer at all is another check's."""
    refused = {
        name: last_line(answer).partition("x509: ")[2]
        for name, answer in zip(names(context), answers, strict=True)
        if "x509: " in answer.err
    }
    fine = not refused
    yield Finding(
        ok=fine,
        expected=f"its certificate is taken for {', '.join(names(context))}",
        actual="it is" if fine else "; ".join(dict.fromkeys(refused.values())),
        hint="openssl x509 -in /var/lib/kubernetes/kubernetes.pem -noout -dates -ext subjectAltName;"
        f" khw run --phase certificates --phase control-plane --limit {node.name}",
    )


def names(context: Context) -> tuple[str, ...]:
    """Return the names: of clients outside, of pods by address and by name."""
    network = context.cluster.network
    return (
        context.cluster.api_address,
        str(network.service_address),
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{network.dns_domain}",
    )


def balanced(context: Context) -> Iterable[Finding]:
    """Ask through the load balancer: it lives, it is ready, it has the pinned version."""
    url = context.cluster.api_url
    hint = BALANCER_HINT.format(url=url)
    for endpoint in ENDPOINTS:
        try:
            said = context.kubectl.run("get", "--raw", f"/{endpoint}", "--request-timeout=5s").strip()
        except KubectlError as error:
            said = error.message
        yield Finding(ok=said == "ok", subject=endpoint, expected=f"ok at {url}", actual=said, hint=hint)
    wanted = lock.entry("kube-apiserver").version
    try:
        version = str(context.kubectl.json("version", "--request-timeout=5s")["serverVersion"]["gitVersion"])
    except (KubectlError, KeyError) as error:
        version = str(error)
    yield Finding(
        ok=version == wanted,
        subject="version",
        expected=wanted,
        actual=version,
        hint="khw run --phase control-plane",
    )


def endpoints(context: Context) -> Iterable[Finding]:
    """Expect that the Service `kubernetes` stands for every controller: an API server that died drops out."""
    rows = context.kubectl.json("get", "endpointslices", "--selector=kubernetes.io/service-name=kubernetes")
    seen = {address for item in rows["items"] for address in _ready(item)}
    for node in context.cluster.controllers:
        yield Finding(
            ok=node.internal_ip in seen,
            node=node.name,
            expected=f"{node.internal_ip} behind the Service kubernetes",
            actual=f"{', '.join(sorted(seen)) or 'nobody'} behind it",
            hint=HINT,
        )


def _ready(item: Any) -> list[str]:
    return [
        address
        for endpoint in item.get("endpoints") or []
        if endpoint.get("conditions", {}).get("ready", True)
        for address in endpoint["addresses"]
    ]
