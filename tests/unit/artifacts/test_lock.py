from __future__ import annotations

import re
from importlib import resources

import pytest

from khw.artifacts import lock
from khw.artifacts.images import IMAGES
from khw.artifacts.recipes import CNI_PLUGINS, CONTAINERD, KUBERNETES, RECIPES
from khw.artifacts.toolchain import NEEDED
from khw.errors import UsageError

SHIPPED = lock.shipped()
MODULES = resources.files("khw.artifacts") / "modules"


@pytest.mark.parametrize("name", SHIPPED.entries)
def test_every_entry_has_both_architectures_an_address_and_a_way_to_check(name: str) -> None:
    entry = SHIPPED.entry(name)
    for architecture in lock.ARCHITECTURES:
        release = entry.release(architecture)
        assert release.url.startswith(("https://", "oci://"))
        assert release.digest or release.digest_url.startswith("https://") or release.url.startswith("oci://")
        assert release.digest is None or re.fullmatch(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", release.digest)
        if entry.kind == "binary":
            assert architecture in release.url
    assert bool(entry.reference) == (entry.kind == "image")


@pytest.mark.parametrize("name", SHIPPED.entries)
def test_every_entry_can_be_built(name: str) -> None:
    entry = SHIPPED.entry(name)
    assert name in RECIPES or entry.recipe == "pause"
    assert (name in IMAGES) == (entry.kind == "image")


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_built_has_the_version_that_the_lock_file_says(name: str) -> None:
    entry, recipe = SHIPPED.entry(name), RECIPES[name]
    folder = MODULES / recipe.folder
    required = re.findall(r"^require (\S+) (\S+)$", (folder / "go.mod").read_text(), re.MULTILINE)
    versions = {version.removeprefix("v") for _, version in required}
    expected = KUBERNETES if name == "image-agnhost" else entry.version
    assert versions == {expected.removeprefix("v")}
    assert (folder / "go.sum").read_text().strip()
    listed = folder / ("main.go" if recipe.package == "." else "tools.go")
    assert recipe.package == "." or f'"{recipe.package}"' in listed.read_text()


def test_every_module_asks_for_the_go_that_khw_looks_for() -> None:
    for folder in {recipe.folder for recipe in RECIPES.values()}:
        asked = re.search(r"^go (\d+)\.(\d+)", (MODULES / folder / "go.mod").read_text(), re.MULTILINE)
        assert asked is not None
        assert (int(asked[1]), int(asked[2])) <= NEEDED


def test_the_version_that_the_linker_writes_is_the_lock_files() -> None:
    assert SHIPPED.entry("kubelet").version == KUBERNETES
    assert SHIPPED.entry("containerd").version == CONTAINERD
    assert SHIPPED.entry("cni-bridge").version == CNI_PLUGINS


def test_a_name_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="no artifact is called 'kubectx'") as caught:
        lock.entry("kubectx")
    assert "kubectl" in caught.value.hint


def test_an_architecture_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="riscv64") as caught:
        lock.entry("kubectl").release("riscv64")
    assert caught.value.hint == "it has amd64, arm64"
