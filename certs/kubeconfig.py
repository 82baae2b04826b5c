"""Kubeconfigs as the guide makes them (chapters 5 and 10): everything embedded, one context, `default`."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from khw.secret import Secret

if TYPE_CHECKING:
    from khw.certs.authority import Pair


def render(*, server: str, ca: bytes, pair: Pair, user: str, cluster_name: str) -> Secret:
    """Return a kubeconfig: `server` trusted through `ca`, `user` proven by `pair`."""
    return Secret(
        f"""\
apiVersion: v1
kind: Config
clusters:
- name: {cluster_name}
  cluster:
    certificate-authority-data: {_base64(ca)}
    server: {server}
users:
- name: {user}
  user:
    client-certificate-data: {_base64(pair.certificate)}
    client-key-data: {_base64(pair.key.reveal())}
contexts:
- name: default
  context:
    cluster: {cluster_name}
    user: {user}
current-context: default
preferences: {{}}
"""
    )


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
