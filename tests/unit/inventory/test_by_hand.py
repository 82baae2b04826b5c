"""The project by hand: the scripts' curl, run against the emulated API, leaves the provider nothing to make."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from khw.artifacts.store import Store
from khw.explain import operator_shell
from khw.explain.guide import Guide
from khw.inventory import provider_for
from khw.inventory.plugin import known_hosts

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Lab

    from khw.inventory.gcp import GcpProvider


def guide_of(provider: GcpProvider, home: Path) -> Guide:
    return Guide(
        cluster=provider.foresee(),
        store=Store(("cache",), cache_dir=home / "cache"),
        home=home,
        ssh_key=home / "ssh_key",
        api=provider.api,
    )


def by_hand(guide: Guide, phase: str) -> None:
    text = f'set -eu\nKHW_HOME="{guide.home}"\nKHW_SSH_KEY="{guide.ssh_key}"\n' + operator_shell.of(guide, phase)
    done = subprocess.run(["sh"], input=text, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{phase}: {done.stdout}\n{done.stderr}"


def test_what_curl_makes_is_what_the_provider_would_make(lab: Lab, tmp_path: Path) -> None:
    home = tmp_path / "home"
    before = guide_of(lab.provider(), home)
    assert not any(node.exists for node in before.cluster.nodes)
    for phase in ("prerequisites", "compute"):
        by_hand(before, phase)
    key = " ".join((home / "ssh_key.pub").read_text().split()[:2])
    provider = provider_for(lab.spec(), key)
    cluster = provider.discover()
    assert [node.unreachable for node in cluster.nodes] == ["", "", ""]
    published = {line for line in known_hosts(cluster.nodes).splitlines() if not line.startswith("#")}
    assert set((home / "known_hosts").read_text().splitlines()) == published
    after = guide_of(lab.provider(), home)
    for phase in ("load-balancer", "routes"):
        by_hand(after, phase)
    changes = [
        *provider.ensure_compute(check=True),
        *provider.ensure_load_balancer(cluster, check=True),
        *provider.ensure_routes(cluster, check=True),
    ]
    assert len(changes) > 12
    assert [change.resource for change in changes if change.changed] == []
