from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from fakes import cluster

from khw.converge.resources import File, Require
from khw.flags.rendered import specimens
from khw.tasks import certificates

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LIVING = cluster()
NEW = replace(LIVING, may_bootstrap=True)
PKI = specimens(LIVING)


def guard(role: str = "controller-0") -> Require:
    found = next(iter(certificates.resources(NEW.node(role), NEW, PKI)))
    assert isinstance(found, Require), "it is looked at before anything is written"
    return found


def looked(on: Require) -> subprocess.CompletedProcess[str]:
    return subprocess.run(on.argv, capture_output=True, text=True, check=False, timeout=30)


def test_a_new_cluster_does_not_take_a_machine_from_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "KUBERNETES", str(tmp_path / "kubernetes"))
    monkeypatch.setattr(certificates, "ETCD", str(tmp_path / "etcd"))
    (tmp_path / "kubernetes").mkdir()
    (tmp_path / "etcd").mkdir()
    assert looked(guard()).returncode == 0, "a bare machine is nobody's"

    for resource in certificates.resources(NEW.node("controller-0"), NEW, PKI):
        if isinstance(resource, File) and isinstance(resource.content, bytes):
            (tmp_path / resource.path).write_bytes(resource.content)
    assert (tmp_path / "etcd" / "ca.pem").exists()
    assert looked(guard()).returncode == 0, "a first run that did not come to its end goes on"

    (tmp_path / "etcd" / "ca.pem").write_text("of somebody else\n")
    seen = looked(guard())
    assert seen.returncode == 1
    assert seen.stdout.startswith(f"another authority's: {tmp_path}/etcd/ca.pem, of 20")
    assert len(seen.stdout.splitlines()) == 1
    assert "part of another cluster" in guard().problem
    assert ".khw" in guard().hint


def test_once_a_cluster_has_lived_a_strange_authority_is_a_thing_to_mend() -> None:
    for node in LIVING.nodes:
        assert not [r for r in certificates.resources(node, LIVING, PKI) if isinstance(r, Require)]
