"""
A directory or a web server of the user's own with what khw needs, for machines without internet.

Two layouts are understood: the one that `khw artifacts bundle` writes (index.json, and below it the cache's own
layout), and the upstream's by host (`MIRROR/dl.k8s.io/v1.…`), as a proxy of release files has it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from khw.artifacts.fetched import Fetched
from khw.artifacts.upstream import Upstream, check
from khw.artifacts.web import NotThereError, Web
from khw.errors import ArtifactError, UsageError

if TYPE_CHECKING:
    from khw.artifacts.cache import Cache
    from khw.artifacts.lock import Entry
    from khw.artifacts.progress import Progress

INDEX = "index.json"


class Mirror:
    """Fetches from one directory or URL."""

    name = "mirror"

    def __init__(self, cache: Cache, location: str) -> None:
        self.location = location
        self._base = _as_url(location)
        self._web = Web()
        self._upstream = Upstream(cache, self._base)
        self._rows: dict[tuple[str, str, str], dict[str, Any]] | None = None

    def fetch(self, entry: Entry, architecture: str, scratch: Path, progress: Progress) -> Fetched:
        """Bring one artifact into `scratch`, checked against the mirror's index or the upstream's digest."""
        if self._rows is None:
            self._rows = self._read_index()
        row = self._rows.get((entry.name, entry.version, architecture))
        if row is None:
            return self._by_host(entry, architecture, scratch, progress)
        url = f"{self._base}/{row['path']}"
        what = f"{entry.name} {entry.version}"
        pinned = entry.release(architecture).digest
        if pinned and row.get("upstream_digest"):
            check(entry, f"the index of {self.location}", pinned, row["upstream_digest"], pinned=True)
        target = scratch / entry.file
        seen = self._web.download(url, target, algorithm="sha256", what=what, progress=progress)
        check(entry, url, f"sha256:{row['sha256']}", seen, pinned=False)
        return Fetched(target, f"{url} ({row['origin']})", str(row.get("upstream_digest", "")))

    def _by_host(self, entry: Entry, architecture: str, scratch: Path, progress: Progress) -> Fetched:
        try:
            return self._upstream.fetch(entry, architecture, scratch, progress)
        except NotThereError as error:
            msg = f"{self.location} has no {entry.name} {entry.version} for {architecture} ({error.message})"
            raise ArtifactError(msg, hint="write the mirror with `khw artifacts bundle` of this khw") from None

    def _read_index(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        try:
            body, _ = self._web.read(f"{self._base}/{INDEX}")
        except NotThereError:
            return {}
        try:
            rows = json.loads(body)["artifacts"]
            return {(row["name"], row["version"], row["architecture"]): row for row in rows}
        except (ValueError, KeyError, TypeError):
            msg = f"{self._base}/{INDEX} is not an index that `khw artifacts bundle` wrote"
            raise ArtifactError(msg, hint="write it again") from None


def _as_url(location: str) -> str:
    if location.startswith(("http://", "https://")):
        return location.rstrip("/")
    directory = Path(location.removeprefix("file://")).expanduser()
    if not directory.is_dir():
        msg = f"the artifact mirror {location} is not a directory"
        raise UsageError(msg, hint="artifacts.mirror in khw.yaml takes a directory or an http(s) URL")
    return directory.resolve().as_uri()
