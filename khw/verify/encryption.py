"""Encryption at rest (chapters 6 and 13): a Secret, as etcd keeps it."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING

from khw.errors import KhwError
from khw.ssh.connection import RemoteCommand
from khw.verify.api_server import ADMIN
from khw.verify.check import Finding, last_line
from khw.verify.etcd import etcdctl, said

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.ssh.connection import Agent
    from khw.verify.bench import Bench
    from khw.verify.context import Context

NAME = "kubernetes-the-hard-way"  # the guide's secret
VALUE = "mydata"
LIST = (
    "/usr/local/bin/kubectl",
    f"--kubeconfig={ADMIN}",
    "--request-timeout=10s",
    "get",
    "secrets",
    "--all-namespaces",
    "--output=name",
)
NO_ANSWER = ("refused", "x509", "deadline", "timeout", "was refused", "EOF")
HINT = "--encryption-provider-config of every API server; khw run --phase encryption --phase control-plane"


def at_rest(context: Context, bench: Bench) -> Iterable[Finding]:
    """Make the guide's Secret and read it raw on a controller that answers."""
    prefix = f"k8s:enc:{context.cluster.spec.encryption.provider}:v1:"
    expected = f"etcd keeps a Secret as {prefix}KEY:…"
    agent = next((context.agents[n.name] for n in context.cluster.etcd_members if n.name in context.agents), None)
    if agent is None:
        yield Finding(ok=False, expected=expected, actual="no member of etcd answers over SSH", hint="khw inventory")
        return
    bench.kubectl.run(
        "create", "secret", "generic", NAME, f"--namespace={bench.namespace}", f"--from-literal=mykey={VALUE}"
    )
    yield from _read_everywhere(context, f"{bench.namespace}/{NAME}")
    try:
        value = raw(agent, f"/registry/secrets/{bench.namespace}/{NAME}")
    except (KhwError, ValueError) as error:
        yield Finding(ok=False, expected=expected, actual=str(error), hint=HINT)
        return
    yield judge(value, prefix, expected)


def _read_everywhere(context: Context, name: str) -> Iterable[Finding]:
    """Have every API server read every Secret, also those that others wrote: only names leave the node."""
    for node in context.cluster.controllers:
        agent = context.agents.get(node.name)
        if agent is None:
            continue
        (answer,) = agent.run(RemoteCommand(LIST, timeout=15.0), timeout=20.0)
        unreachable = answer.code != 0 and any(sign in answer.err for sign in NO_ANSWER)
        yield Finding(
            ok=None if unreachable else answer.code == 0,
            subject="readable",
            node=node.name,
            expected=f"its API server reads every Secret, {name} too",
            actual=f"{len(answer.out.split())} read" if answer.code == 0 else last_line(answer),
            hint="do all API servers have the same keys? grep name: /var/lib/kubernetes/encryption-config.yaml;"
            " khw run --phase encryption --phase control-plane",
        )


def judge(value: bytes, prefix: str, expected: str) -> Finding:
    """Judge a value as etcd keeps it."""
    fine = value.startswith(prefix.encode()) and VALUE.encode() not in value
    name = value[: len(prefix) + 40].split(b":")
    seen = b":".join(name[:5]).decode(errors="replace") if value.startswith(b"k8s:enc:") else "in the clear"
    return Finding(ok=fine, expected=expected, actual=seen, hint=HINT)


def raw(agent: Agent, key: str) -> bytes:
    """Return what etcd keeps under `key`; ValueError says why it cannot be had."""
    (answer,) = agent.run(etcdctl("https://127.0.0.1:2379", "get", key, "--write-out=json"), timeout=20.0)
    if answer.code:
        raise ValueError(said(answer))
    pairs = json.loads(answer.out).get("kvs") or []
    if not pairs:
        msg = f"etcd has no {key}"
        raise ValueError(msg)
    return b64decode(pairs[0]["value"])
