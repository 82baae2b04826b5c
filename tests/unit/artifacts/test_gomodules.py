from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from khw.artifacts import gomodules, images
from khw.artifacts.gomodules import Built, Module

LISTED = """\
path\tk8s.io/kubernetes/cmd/kubelet
mod\tkhw.build/kubernetes\t(devel)
dep\tk8s.io/api\tv0.0.0
=>\tk8s.io/api\tv0.37.2\th1:abc=
dep\tcel.dev/expr\tv0.25.1\th1:def=
build\t-trimpath=true
"""
BUILT = Built(
    "go1.26.8",
    "k8s.io/kubernetes/cmd/kubelet",
    (Module("cel.dev/expr", "v0.25.1", "h1:def="), Module("k8s.io/api", "v0.37.2", "h1:abc=")),
)


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def program(listed: str = LISTED) -> bytes:
    """Return what the Go linker writes, behind the magic as a text, which a program that reads others' also has."""
    around = b"0123456789abcdef"
    modules = around + listed.encode() + around
    header = gomodules.MAGIC + bytes([8, 2]) + bytes(16)
    strings = varint(8) + b"go1.26.8" + varint(len(modules)) + modules
    return b"\x7fELF" + bytes(12) + gomodules.MAGIC + bytes(64) + header + strings + bytes(40)


def test_a_program_tells_its_modules_and_a_replaced_one_is_what_replaced_it() -> None:
    assert gomodules.parse(program()) == BUILT


def test_what_is_no_go_program_tells_nothing() -> None:
    assert gomodules.parse(b"\x7fELF" + bytes(100)) is None
    assert gomodules.parse(gomodules.MAGIC) is None


def test_a_program_in_an_image_tells_its_modules_too(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(program())
    archive = tmp_path / "image-coredns.tar"
    image = images.IMAGES["image-coredns"]
    images.write_image(image, tmp_path / "program", reference="x/y:1", architecture="amd64", to=archive)
    assert gomodules.of_image(archive) == [BUILT]


@pytest.mark.skipif(not shutil.which("go"), reason="no Go client to compare with")
def test_it_reads_what_the_go_client_reads() -> None:
    go = Path(shutil.which("go") or "")
    said = subprocess.run([go, "version", "-m", go], capture_output=True, text=True, check=True).stdout.splitlines()
    built = gomodules.of_binary(go.resolve())
    assert built is not None
    assert built.go == said[0].split(": ")[1].split()[0]
    assert built.package == said[1].split("\t")[2]
