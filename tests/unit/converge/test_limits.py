"""Every limit of the cluster file limits something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import khw
from khw.cluster.spec import Gcp, Spec, Timeouts
from khw.converge.limits import limited
from khw.converge.resources import Command, File, Image, Manifest, Package, Resource, Unit, Wait
from khw.errors import StepError
from khw.inventory.gcp.clients import REQUEST_TIMEOUT, Api
from khw.kubectl import Kubectl

TIMEOUTS = Timeouts(command=7, install=9)


@pytest.mark.parametrize(
    ("resource", "limit"),
    [
        (Command(name="x", argv=("a",), unless=("b",)), 7),
        (Command(name="x", argv=("a",), unless=("b",), timeout=3), 3),
        (Manifest(name="x", documents="", kubeconfig="k"), 7),
        (Unit(name="x", content=""), 7),
        (Image(artifact="image-pause", reference="r"), 9),
        (Package(name="x", provides="y"), 9),
        (Wait(name="x", argv=("a",), timeout=5), 5),
    ],
)
def test_what_runs_on_a_node_has_its_limit_from_the_cluster_file(resource: Resource, limit: float) -> None:
    assert getattr(limited(resource, TIMEOUTS), "timeout", None) == limit


def test_a_file_needs_none() -> None:
    file = File(path="/x", content="")
    assert limited(file, TIMEOUTS) is file


def test_no_limit_of_the_cluster_file_is_without_use() -> None:
    root = Path(khw.__file__).parent
    source = "\n".join(path.read_text() for path in root.glob("**/*.py")) + "\n".join(
        path.read_text() for name in ("inventory", "tasks") for path in (root / name).rglob("*.py")
    )
    for name in Timeouts.model_fields:
        assert re.search(rf"timeouts\.{name}\b[^`:\"]", source), name


def test_every_call_of_kubectl_ends_within_timeouts_command(tmp_path: Path) -> None:
    hangs = tmp_path / "kubectl"
    hangs.write_text("#!/bin/sh\nsleep 60 & wait\n")
    hangs.chmod(0o755)
    with pytest.raises(StepError, match=r"did not end within 0\.2 s"):
        Kubectl(hangs, tmp_path / "kubeconfig", 0.2).run("get", "nodes")


def test_a_request_to_the_cloud_takes_no_longer_than_an_operation_may() -> None:
    gcp = Gcp(project="p")
    assert Api(gcp, timeout=5).request_timeout == 5
    assert Api(gcp, timeout=Spec().timeouts.cloud).request_timeout == REQUEST_TIMEOUT
