"""Chapter 6: the encryption configuration, on every controller; one key for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.certs import encryption
from khw.converge.resources import Directory, File

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.certs.pki import Pki
    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource


def resources(node: Node, cluster: Cluster, pki: Pki) -> Iterator[Resource]:
    """Yield the configuration that the API server reads."""
    del node
    yield Directory(path="/var/lib/kubernetes")
    yield File(
        path="/var/lib/kubernetes/encryption-config.yaml",
        content=encryption.render(cluster.spec.encryption.provider, {encryption.KEY_NAME: pki.encryption_key}),
        mode=0o600,
        masked=True,
    )
