"""What the checks look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from khw.certs.pki import Pki
    from khw.cluster.model import Cluster, Node
    from khw.inventory.provider import Provider
    from khw.kubectl import Kubectl
    from khw.ssh.connection import Agent


@dataclass(frozen=True, kw_only=True)
class Context:
    """
    A cluster as `khw verify` meets it.

    `agents` are the nodes that answer, by name; `unreachable` says of every other why it does not.
    """

    cluster: Cluster
    pki: Pki
    agents: Mapping[str, Agent]
    provider: Provider
    kubectl: Kubectl
    unreachable: Mapping[str, str] = field(default_factory=dict)

    def seen(self, node: Node) -> Node:
        """Return the node with what its agent saw, if it answers."""
        agent = self.agents.get(node.name)
        return node.with_facts(agent.facts) if agent else node
