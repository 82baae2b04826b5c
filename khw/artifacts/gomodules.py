"""
Which Go modules a program was linked from: what the Go linker writes into it, read without the Go client.

The format is that of debug/buildinfo (Go 1.18 and newer): a magic, flags, and two strings with their lengths before
them. Programs lie on disk as they are, or in the layers of an image's OCI archive.
"""

from __future__ import annotations

import gzip
import io
import json
import mmap
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC = b"\xff Go buildinf:"
INLINE = 2  # the flag that says that the strings follow at once
HEADER = 32  # bytes before the first string
SENTINEL = 16  # bytes around the list of modules
LONGEST = 5  # bytes of a length
ELF = b"\x7fELF"
GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, order=True)
class Module:
    """A Go module at one version; `checksum` is go.sum's, of the module's whole tree."""

    path: str
    version: str
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    """What one program says of its build."""

    go: str  # go1.26.8
    package: str
    modules: tuple[Module, ...]


def of_binary(path: Path) -> Built | None:
    """Return what this program says; None if it is not one of Go's."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return parse(content)


def of_image(path: Path) -> list[Built]:
    """Return what the Go programs in this OCI archive say."""
    with tarfile.open(path) as archive:
        return [built for program in _programs(archive) if (built := parse(program))]


def _programs(archive: tarfile.TarFile) -> Iterator[bytes]:
    index = json.loads(_blob(archive, "index.json"))
    manifest = json.loads(_blob(archive, _place(index["manifests"][0]["digest"])))
    for layer in manifest["layers"]:
        data = _blob(archive, _place(layer["digest"]))
        if data.startswith(GZIP):
            data = gzip.decompress(data)
        with tarfile.open(fileobj=io.BytesIO(data)) as files:
            for member in files:
                content = files.extractfile(member) if member.isfile() else None
                if content and (program := content.read()).startswith(ELF):
                    yield program


def _place(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _blob(archive: tarfile.TarFile, name: str) -> bytes:
    content = archive.extractfile(name)
    return content.read() if content else b""


def parse(content: bytes | mmap.mmap) -> Built | None:
    """Return what a program says, by its content."""
    at = content.find(MAGIC)
    while at >= 0:
        # elsewhere it is the magic as a text, in a program that reads others'
        if at + HEADER < len(content) and content[at + len(MAGIC) + 1] & INLINE:
            version, end = _string(content, at + HEADER)
            listed, _ = _string(content, end)
            if version.startswith(b"go"):
                return _read(version.decode(), listed[SENTINEL:-SENTINEL].decode(errors="replace"))
        at = content.find(MAGIC, at + 1)
    return None


def _string(content: bytes | mmap.mmap, at: int) -> tuple[bytes, int]:
    """Return the string at this place, its length before it as a varint, and where it ends."""
    length = shift = 0
    for place in range(at, min(at + LONGEST, len(content))):
        length |= (content[place] & 0x7F) << shift
        shift += 7
        if content[place] < 0x80:
            return content[place + 1 : place + 1 + length], place + 1 + length
    return b"", len(content)


def _read(go: str, listed: str) -> Built:
    package, modules = "", []
    for kind, *values in (line.split("\t") for line in listed.splitlines()):
        if kind == "path":
            package = values[0]
        elif kind in ("mod", "dep") and len(values) > 1:
            modules.append(Module(*values[:3]))
        elif kind == "=>" and len(values) > 1:  # the one before it is replaced
            modules[-1] = Module(*values[:3])
    return Built(go, package, tuple(sorted(module for module in modules if module.version != "(devel)")))
