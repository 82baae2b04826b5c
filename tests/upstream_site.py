"""A web server on loopback with the layout of the upstream's sites: paths to bytes, and what was asked for."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from khw.artifacts.lock import Entry, Lock, Release

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Site:
    """What is served; `files` may be changed while it runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.token = ""  # if set, every path under /v2/ wants it
        self.cut: set[str] = set()  # paths whose next answer breaks off half way


@contextmanager
def site() -> Iterator[Site]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    served = Site(f"http://127.0.0.1:{server.server_port}")
    server.site = served  # type: ignore[attr-defined]  # the handler's way to it
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        served: Site = self.server.site  # type: ignore[attr-defined]  # set in site()
        path = self.path.partition("?")[0]
        served.asked.append(self.path)
        if served.token and "/v2/" in path and self.headers.get("Authorization") != f"Bearer {served.token}":
            self.send_response(401)
            challenge = 'Bearer realm="https://auth.example/token",service="registry",scope="repository:pull"'
            self.send_header("WWW-Authenticate", challenge)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = served.files.get(path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if path in served.cut:
            served.cut.discard(path)
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tgz(members: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def entry(name: str, release: Release, *, kind: str = "binary", reference: str = "") -> Entry:
    return Entry(
        name=name,
        kind="image" if kind == "image" else "binary",
        version="v1.0.0",
        recipe="none",
        reference=reference,
        upstream={"amd64": release, "arm64": release},
    )


def lock_of(*entries: Entry) -> Lock:
    return Lock({row.name: row for row in entries})


KUBELET = Release(
    url="https://dl.k8s.io/v1.0.0/bin/linux/amd64/kubelet",
    digest_url="https://dl.k8s.io/v1.0.0/bin/linux/amd64/kubelet.sha256",
)


def serve_kubelet(served: Site, content: bytes = b"the kubelet") -> None:
    served.files["/dl.k8s.io/v1.0.0/bin/linux/amd64/kubelet"] = content
    served.files["/dl.k8s.io/v1.0.0/bin/linux/amd64/kubelet.sha256"] = sha256(content).encode()


def serve_image(served: Site, host: str, repository: str, tag: str) -> str:
    """Serve a two-architecture image and return the digest of its index."""
    base = f"/{host}/v2/{repository}"

    def put(data: bytes, kind: str) -> str:
        digest = f"sha256:{sha256(data)}"
        served.files[f"{base}/{kind}/{digest}"] = data
        return digest

    rows = []
    for architecture in ("arm64", "amd64"):
        layer = put(f"a layer for {architecture}".encode(), "blobs")
        config = put(json.dumps({"architecture": architecture}).encode(), "blobs")
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"digest": config},
                "layers": [{"digest": layer}],
            }
        ).encode()
        digest = put(manifest, "manifests")
        rows.append({"digest": digest, "platform": {"os": "linux", "architecture": architecture}})
    index = json.dumps({"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": rows}).encode()
    served.files[f"{base}/manifests/{tag}"] = index
    return put(index, "manifests")


def members_of(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as packed:
        return {m.name: (packed.extractfile(m) or io.BytesIO()).read() for m in packed if m.isfile()}
