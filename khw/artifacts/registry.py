"""
Images from a registry, by the OCI distribution API: pulled for one architecture, written as one OCI archive.

Every blob is checked against the digest that names it, down from the manifest's, which is the lock file's if it has
one and else what the registry says (and is recorded).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from khw.artifacts import images
from khw.artifacts.web import HttpError
from khw.errors import ArtifactError, DigestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from khw.artifacts.lock import Entry
    from khw.artifacts.progress import Progress
    from khw.artifacts.web import Web

INDEXES = (images.INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = (images.MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
ADDRESS = re.compile(r"oci://(?P<host>[^/]+)/(?P<repository>[^:]+):(?P<tag>[\w.-]+)")
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
UNAUTHORIZED = 401


def pull(web: Web, entry: Entry, architecture: str, scratch: Path, progress: Progress) -> tuple[Path, str]:
    """Pull an image; return its OCI archive and the digest of what its tag names."""
    release = entry.release(architecture)
    address = ADDRESS.fullmatch(release.url)
    if address is None:
        msg = f"{release.url} is not the address of an image"
        raise ArtifactError(msg)
    pulling = _Pull(web, entry, f"https://{address['host']}/v2/{address['repository']}", progress)
    top, top_digest = pulling.manifest(address["tag"], release.digest)
    manifest, digest = top, top_digest
    if top.get("mediaType") in INDEXES or "manifests" in top:
        digest = _for_platform(top, architecture, release.url)
        manifest, digest = pulling.manifest(digest, digest)
    blobs: dict[str, bytes | Path] = {digest: pulling.bodies[digest]}
    for row in (manifest["config"], *manifest["layers"]):
        blobs[row["digest"]] = pulling.blob(row["digest"], scratch)
    archive = scratch / entry.file
    named = {
        "mediaType": manifest.get("mediaType", images.MANIFEST),
        "digest": digest,
        "size": len(pulling.bodies[digest]),
    }
    images.write_archive(archive, reference=entry.reference, manifest=named, blobs=blobs)
    return archive, top_digest


class _Pull:
    """One image's requests, with the token that the registry asks for."""

    def __init__(self, web: Web, entry: Entry, base: str, progress: Progress) -> None:
        self.web = web
        self.entry = entry
        self.base = base
        self.progress = progress
        self.token = ""
        self.bodies: dict[str, bytes] = {}

    def manifest(self, reference: str, expected: str | None) -> tuple[dict[str, Any], str]:
        """Return a manifest or index and its digest, checked."""
        url = f"{self.base}/manifests/{reference}"
        accept = {"Accept": ", ".join((*INDEXES, *MANIFESTS))}
        try:
            body, headers = self.web.read(url, {**accept, **self._authorization()})
        except HttpError as error:
            if error.status != UNAUTHORIZED or self.token:
                raise
            self.token = self._fetch_token(error)
            body, headers = self.web.read(url, {**accept, **self._authorization()})
        seen = images.digest_of(body)
        self._check(url, expected or _header(headers, "Docker-Content-Digest") or seen, seen)
        self.bodies[seen] = body
        try:
            manifest: dict[str, Any] = json.loads(body)
        except ValueError:
            msg = f"{url} is not a manifest"
            raise ArtifactError(msg) from None
        return manifest, seen

    def blob(self, digest: str, scratch: Path) -> Path:
        """Download one blob, checked against the digest that names it."""
        algorithm, _, value = digest.partition(":")
        url = f"{self.base}/blobs/{digest}"
        file = scratch / f"blob-{value}"
        what = f"{self.entry.name} {self.entry.version}"
        seen = self.web.download(
            url, file, algorithm=algorithm, what=what, progress=self.progress, headers=self._authorization()
        )
        self._check(url, digest, seen)
        return file

    def _check(self, url: str, expected: str, seen: str) -> None:
        if seen != expected:
            raise DigestError(
                f"{self.entry.name} {self.entry.version} from {url} is not what was asked for: "
                f"expected {expected}, seen {seen}",
                hint="do not use it; try again later, or use a mirror that you trust or the build source",
            )

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _fetch_token(self, error: HttpError) -> str:
        challenge = dict(CHALLENGE.findall(_header(error.headers, "WWW-Authenticate")))
        if "realm" not in challenge:
            raise error
        query = "&".join(f"{key}={quote(challenge[key])}" for key in ("service", "scope") if key in challenge)
        body, _ = self.web.read(f"{challenge['realm']}?{query}")
        answer = json.loads(body)
        return str(answer.get("token") or answer.get("access_token") or "")


def _for_platform(index: Mapping[str, Any], architecture: str, url: str) -> str:
    for row in index["manifests"]:
        platform = row.get("platform", {})
        if platform.get("os") == "linux" and platform.get("architecture") == architecture:
            return str(row["digest"])
    msg = f"{url} has no image for linux/{architecture}"
    raise ArtifactError(msg)


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name.lower()), "")
