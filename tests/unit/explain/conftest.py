"""The guide of a cluster that there is not, with the project's API never asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes import cluster

from khw.artifacts.store import Store
from khw.cluster.spec import Gcp, Network, Spec
from khw.explain.guide import Guide
from khw.inventory.gcp.clients import Api

if TYPE_CHECKING:
    from pathlib import Path

LAB = Gcp(project="khw-tests", endpoint="http://127.0.0.1:1", credentials="anonymous")
GOOGLE = Gcp(project="my-project")


def guide_of(home: Path, gcp: Gcp = LAB) -> Guide:
    bare = cluster(Spec(gcp=gcp, network=Network(source_ranges=["203.0.113.7/32"])))
    nodes = tuple(replace(node, zone=gcp.zone, ssh_host=node.external_ip or "") for node in bare.nodes)
    return Guide(
        cluster=replace(bare, nodes=nodes),
        store=Store(("cache",), cache_dir=home / "cache"),
        home=home,
        ssh_key=home / "ssh_key",
        api=Api(gcp, timeout=1.0),
    )


@pytest.fixture
def guide(tmp_path: Path) -> Guide:
    return guide_of(tmp_path)


@pytest.fixture
def google(tmp_path: Path) -> Guide:
    return guide_of(tmp_path, GOOGLE)
