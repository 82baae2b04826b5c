"""Encryption at rest (chapters 6 and 13): a Secret, as etcd keeps it."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING

from khw.errors import KhwError
from khw.verify.check import Finding
from khw.verify.etcd import etcdctl, said

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.connection import Agent
    from khw.verify.bench import Bench
    from khw.verify.context import Context

NAME = "kubernetes-the-hard-way"  # the guide's secret
VALUE = "mydata"
HINT = "--encryption-provider-config of every API server; khw run --phase encryption --phase control-plane"


def at_rest(context: Context, bench: Bench) -> Iterable[Finding]:
    """Make the guide's Secret and read it raw on a controller that answers."""
    prefix = f"k8s:enc:{context.cluster.spec.encryption.provider}:v1:"
    expected = f"etcd keeps a Secret as {prefix}KEY:…"
    agent = next((context.agents[n.name] for n in context.cluster.controllers if n.name in context.agents), None)
    if agent is None:
        yield Finding(ok=False, expected=expected, actual="no controller answers over SSH", hint="khw inventory")
        return
    bench.kubectl.run(
        "create", "secret", "generic", NAME, f"--namespace={bench.namespace}", f"--from-literal=mykey={VALUE}"
    )
    try:
        value = raw(agent, f"/registry/secrets/{bench.namespace}/{NAME}")
    except (KhwError, ValueError) as error:
        yield Finding(ok=False, expected=expected, actual=str(error), hint=HINT)
        return
    yield judge(value, prefix, expected)


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
