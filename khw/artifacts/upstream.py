"""
The projects' own release files: dl.k8s.io, GitHub releases, image registries.

A file is checked against the lock file's digest. Where the lock file has none, the digest that the project publishes
beside the file is fetched and checked, and recorded in the cache (docs/decisions/0013-artifacts.md).
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
from typing import TYPE_CHECKING

from khw.artifacts import registry
from khw.artifacts.cache import room_for
from khw.artifacts.fetched import Fetched
from khw.artifacts.web import Web
from khw.errors import ArtifactError, DigestError

if TYPE_CHECKING:
    from pathlib import Path

    from khw.artifacts.cache import Cache
    from khw.artifacts.lock import Entry, Release
    from khw.artifacts.progress import Progress

ALGORITHMS = {64: "sha256", 128: "sha512"}  # by the length of the digest in hex
DIGEST_LINE = re.compile(r"^([0-9a-f]{64}|[0-9a-f]{128})(?:\s+\*?(?:\./)?(\S+))?\s*$", re.MULTILINE)


class Upstream:
    """Downloads release files and images; `base` sends every request to one place with the same layout."""

    name = "upstream"

    def __init__(self, cache: Cache, base: str = "") -> None:
        self.cache = cache
        self.web = Web(base)

    def fetch(self, entry: Entry, architecture: str, scratch: Path, progress: Progress) -> Fetched:
        """Download one artifact into `scratch`, checked."""
        release = entry.release(architecture)
        if release.url.startswith("oci://"):
            archive, digest = registry.pull(self.web, entry, architecture, scratch, progress)
            return Fetched(archive, release.url, digest)
        expected = release.digest or published_digest(self.web, release)
        file = self._downloaded(entry, release, expected, progress)
        target = scratch / entry.file
        with room_for(file.stat().st_size, scratch, entry.name):
            if release.member:
                _extract(file, release, target)
            else:
                file.replace(target)
        return Fetched(target, release.url, expected)

    def _downloaded(self, entry: Entry, release: Release, expected: str, progress: Progress) -> Path:
        """Return the release file; one archive serves all that are in it, so it is kept."""
        home = self.cache.root / "downloads" / hashlib.sha256(release.url.encode()).hexdigest()[:16]
        file = home / release.url.rpartition("/")[2]
        algorithm = expected.partition(":")[0]
        with self.cache.exclusive(release.url), self.cache.scratch() as scratch:
            if not (file.exists() and digest_of(file, algorithm) == expected):
                part = scratch / file.name
                what = f"{entry.name} {entry.version}"
                seen = self.web.download(release.url, part, algorithm=algorithm, what=what, progress=progress)
                check(entry, release.url, expected, seen, pinned=release.digest is not None)
                home.mkdir(parents=True, exist_ok=True)
                part.replace(file)
        return file


def published_digest(web: Web, release: Release) -> str:
    """Return the digest that the project publishes beside its file."""
    if not release.digest_url:
        msg = f"{release.url}: the lock file has neither a digest nor where one is published"
        raise ArtifactError(msg)
    body, _ = web.read(release.digest_url)
    wanted = release.url.rpartition("/")[2]
    for value, name in DIGEST_LINE.findall(body.decode("utf-8", "replace")):
        if name in {"", wanted}:
            return f"{ALGORITHMS[len(value)]}:{value}"
    msg = f"{release.digest_url} has no digest for {wanted}"
    raise ArtifactError(msg, hint="pin the digest in the lock file, or use another source")


def check(entry: Entry, where: str, expected: str, seen: str, *, pinned: bool) -> None:
    """Raise if what came is not what was expected."""
    if seen == expected:
        return
    by = "the lock file" if pinned else "the digest published beside it"
    raise DigestError(
        f"{entry.name} {entry.version} from {where} is not what {by} says: expected {expected}, seen {seen}",
        hint="do not use it; try again later, or set artifacts.sources in khw.yaml to mirror or build",
    )


def digest_of(file: Path, algorithm: str) -> str:
    """Return a file's digest as ALGORITHM:HEX."""
    with file.open("rb") as content:
        return f"{algorithm}:{hashlib.file_digest(content, algorithm).hexdigest()}"


def _extract(archive: Path, release: Release, target: Path) -> None:
    wanted = release.member.removeprefix("./")
    try:
        with tarfile.open(archive) as members:
            for member in members:
                if member.name.removeprefix("./") == wanted and member.isfile():
                    content = members.extractfile(member)
                    if content is not None:
                        with target.open("wb") as file:
                            shutil.copyfileobj(content, file, 1 << 20)
                        return
    except (tarfile.TarError, EOFError) as error:
        msg = f"{release.url} is not an archive that can be read: {error}"
        raise ArtifactError(msg) from None
    msg = f"{release.url} has no member {release.member}"
    raise ArtifactError(msg, hint="the lock file names a member that this release does not have")
