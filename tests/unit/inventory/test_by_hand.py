"""The project by hand: what the curl and gcloud of the scripts make leaves the provider nothing to make."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from khw.artifacts.store import Store
from khw.explain import operator_shell
from khw.explain.guide import Guide
from khw.inventory import provider_for
from khw.inventory.plugin import known_hosts

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Lab

    from khw.inventory.gcp.provider import GcpProvider

GCLOUD = {
    "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "1",
    "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
    "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
}


class GoogleGuide(Guide):
    """The guide as Google's users get it, whatever the endpoint is."""

    in_lab = False


def guide_of(provider: GcpProvider, home: Path, kind: type[Guide] = Guide) -> Guide:
    return kind(
        cluster=provider.foresee(),
        store=Store(("cache",), cache_dir=home / "cache"),
        home=home,
        ssh_key=home / "ssh_key",
        api=provider.api,
    )


def by_hand(guide: Guide, phase: str) -> None:
    text = f'set -eu\nKHW_HOME="{guide.home}"\nKHW_SSH_KEY="{guide.ssh_key}"\n' + operator_shell.of(guide, phase)
    assert guide.api
    theirs = {
        "CLOUDSDK_CONFIG": str(guide.home / "gcloud"),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{guide.api.gcp.endpoint}/compute/v1/",
    }
    env = {**os.environ, **GCLOUD, **theirs}
    done = subprocess.run(["sh"], input=text, capture_output=True, text=True, timeout=600, check=False, env=env)
    assert done.returncode == 0, f"{phase}: {done.stdout}\n{done.stderr}"


def leaves_nothing_to_make(lab: Lab, home: Path, kind: type[Guide]) -> None:
    before = guide_of(lab.provider(), home, kind)
    assert not any(node.exists for node in before.cluster.nodes)
    for phase in ("prerequisites", "compute"):
        by_hand(before, phase)
    key = " ".join((home / "ssh_key.pub").read_text().split()[:2])
    provider = provider_for(lab.spec(), key)
    cluster = provider.discover()
    assert [node.unreachable for node in cluster.nodes] == ["", "", ""]
    published = {line for line in known_hosts(cluster.nodes).splitlines() if not line.startswith("#")}
    assert set((home / "known_hosts").read_text().splitlines()) == published
    after = guide_of(lab.provider(), home, kind)
    for phase in ("load-balancer", "routes"):
        by_hand(after, phase)
    changes = [
        *provider.ensure_compute(check=True),
        *provider.ensure_load_balancer(cluster, check=True),
        *provider.ensure_routes(cluster, check=True),
    ]
    assert len(changes) > 12
    assert [change.resource for change in changes if change.changed] == []


def test_what_curl_makes_is_what_the_provider_would_make(lab: Lab, tmp_path: Path) -> None:
    leaves_nothing_to_make(lab, tmp_path / "home", Guide)


@pytest.mark.timeout(900)
@pytest.mark.skipif("KHW_TEST_BY_HAND" not in os.environ, reason="it takes minutes: make by-hand does it")
@pytest.mark.skipif(shutil.which("gcloud") is None, reason="there is no gcloud on this machine")
def test_what_gcloud_makes_is_what_the_provider_would_make(lab: Lab, tmp_path: Path) -> None:
    leaves_nothing_to_make(lab, tmp_path / "home", GoogleGuide)
