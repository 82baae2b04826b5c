from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from khw.kubectl import Kubectl, KubectlError
from khw.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "kubectl"


def kubectl(script: Path, body: str) -> Kubectl:
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return Kubectl(script, script.with_name("kubeconfig"))


def test_the_users_own_kubeconfig_is_never_asked(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/home/user/.kube/config")
    assert kubectl(script, 'echo "$1"').run("get", "nodes") == f"--kubeconfig={script.with_name('kubeconfig')}\n"


def test_json_is_decoded(script: Path) -> None:
    assert kubectl(script, 'echo "{\\"items\\": []}"').json("get", "nodes") == {"items": []}


def test_what_is_no_json_is_an_error_of_ours(script: Path) -> None:
    with pytest.raises(KubectlError, match="printed no JSON"):
        kubectl(script, "echo hello").json("get", "nodes")


def test_a_failure_says_its_last_line_and_keeps_the_rest(script: Path) -> None:
    with pytest.raises(KubectlError, match="kubectl get nodes: Unauthorized") as caught:
        kubectl(script, "echo trying >&2; echo Unauthorized >&2; exit 1").run("get", "nodes")
    assert caught.value.evidence == "trying\nUnauthorized"
    assert caught.value.exit_code == 3


def test_a_kubectl_that_hangs_is_ended(script: Path) -> None:
    with pytest.raises(KubectlError, match=r"did not end within 0\.2 s"):
        kubectl(script, "exec sleep 60").run("get", "nodes", timeout=0.2)


def test_a_kubectl_that_is_not_there_names_the_phase_that_brings_it(tmp_path: Path) -> None:
    with pytest.raises(KubectlError) as caught:
        Kubectl(tmp_path / "none", tmp_path / "kubeconfig").run("version")
    assert "--phase tools" in caught.value.hint


def test_a_secret_travels_on_stdin_and_not_in_the_error(script: Path) -> None:
    assert kubectl(script, "cat").run("create", "-f", "-", stdin=Secret("hush")) == "hush"
    with pytest.raises(KubectlError) as caught:
        kubectl(script, "cat >/dev/null; exit 1").run("create", "-f", "-", stdin=Secret("hush"))
    assert "hush" not in f"{caught.value} {caught.value.evidence}"


def test_a_forwarded_port_is_read_from_what_kubectl_says(script: Path) -> None:
    it = kubectl(script, "echo 'Forwarding from 127.0.0.1:40123 -> 8080'; exec sleep 60")
    with it.port_forward("pod/echo", 8080, namespace="default") as port:
        assert port == 40123


def test_a_port_that_is_not_forwarded_says_why(script: Path) -> None:
    it = kubectl(script, "echo 'error: unable to forward port because pod is not running' >&2; exit 1")
    with pytest.raises(KubectlError, match="pod is not running"), it.port_forward("pod/echo", 8080, namespace="x"):
        pass
