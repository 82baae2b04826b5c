"""
Container images without a registry: an OCI archive of one layer, the same bytes for the same content.

`ctr -n k8s.io images import FILE` takes it and calls the image by its reference. The layout is that of the OCI image
specification: oci-layout, index.json, and the manifest, the configuration and the layers as blobs.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image of one layer: a program, what else lies around it, and how it is started."""

    program: str  # its path in the image
    entrypoint: tuple[str, ...]
    command: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, Path] = field(default_factory=dict)  # what the program needs: path in the image to the file
    user: str = ""


IMAGES: dict[str, Image] = {
    "image-pause": Image(program="pause", entrypoint=("/pause",), user="65535:65535"),
    "image-coredns": Image(program="coredns", entrypoint=("/coredns",)),
    "image-agnhost": Image(
        program="agnhost",
        entrypoint=("/agnhost",),
        command=("pause",),
        directories=("tmp", "uploads"),
        links={"agnhost-2": "agnhost"},
    ),
}


def write_image(image: Image, program: Path, *, reference: str, architecture: str, to: Path) -> None:
    """Write the OCI archive of this image around a static program."""
    layer = to.with_suffix(".layer")
    with layer.open("wb") as file:
        _write_layer(image, program, file)
    with layer.open("rb") as file:
        diff = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    config = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "config": _run_config(image),
            "rootfs": {"type": "layers", "diff_ids": [diff]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "khw"}],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, config),
            "layers": [{"mediaType": LAYER, "digest": diff, "size": layer.stat().st_size}],
        }
    )
    blobs: dict[str, bytes | Path] = {digest_of(config): config, digest_of(manifest): manifest, diff: layer}
    write_archive(to, reference=reference, manifest=descriptor(MANIFEST, manifest), blobs=blobs)
    layer.unlink()


def write_archive(to: Path, *, reference: str, manifest: Mapping[str, Any], blobs: Mapping[str, bytes | Path]) -> None:
    """Write an OCI archive from its blobs (by digest) and the descriptor of its manifest."""
    named = {
        **manifest,
        "annotations": {
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
        },
    }
    index = _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]})
    with tarfile.open(to, "w", format=tarfile.PAX_FORMAT) as archive:
        _add_bytes(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add_bytes(archive, "index.json", index)
        for digest in sorted(blobs):
            algorithm, _, value = digest.partition(":")
            _add(archive, f"blobs/{algorithm}/{value}", blobs[digest])


def digest_of(data: bytes) -> str:
    """Return the OCI digest of these bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    """Return the OCI descriptor of these bytes."""
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def _run_config(image: Image) -> dict[str, Any]:
    config: dict[str, Any] = {"Entrypoint": list(image.entrypoint), "WorkingDir": "/"}
    if image.command:
        config["Cmd"] = list(image.command)
    if image.user:
        config["User"] = image.user
    return config


def _write_layer(image: Image, program: Path, file: io.BufferedWriter) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as layer:
        for name in sorted(image.directories):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o1777
            layer.addfile(directory)
        _add(layer, image.program, program, mode=0o755)
        for name, source in sorted(image.others.items()):
            _add(layer, name, source, mode=0o755)
        for name, target in sorted(image.links.items()):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            layer.addfile(link)


def _add(archive: tarfile.TarFile, name: str, content: bytes | Path, mode: int = 0o644) -> None:
    if isinstance(content, bytes):
        _add_bytes(archive, name, content)
        return
    member = tarfile.TarInfo(name)  # owner 0, time 0: the same bytes each time
    member.size, member.mode = content.stat().st_size, mode
    with content.open("rb") as file:
        archive.addfile(member, file)


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    archive.addfile(member, io.BytesIO(content))


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
