from __future__ import annotations

import dataclasses
import functools
import json
import tarfile
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from upstream_site import KUBELET, Site, entry, lock_of, serve_kubelet, sha256

from khw.artifacts import bundle
from khw.artifacts.store import Store
from khw.errors import ArtifactError, DigestError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from khw.artifacts.lock import Entry

ENTRY = entry("kubelet", KUBELET)
FILE = "kubelet/v1.0.0/amd64/kubelet"


@pytest.fixture
def mirror(tmp_path: Path, served: Site) -> Path:
    serve_kubelet(served)
    full = Store(("cache", "upstream"), cache_dir=tmp_path / "full", lock=lock_of(ENTRY), upstream=served.url)
    bundle.write(full, tmp_path / "mirror")
    return tmp_path / "mirror"


def store(tmp_path: Path, location: str, row: Entry = ENTRY) -> Store:
    return Store(("cache", "mirror"), location, tmp_path / "empty", lock=lock_of(row))


def test_a_bundle_serves_what_was_put_in_it(tmp_path: Path, mirror: Path) -> None:
    artifact = store(tmp_path, str(mirror)).get("kubelet")
    assert artifact.source == "mirror"
    assert artifact.path.read_bytes() == b"the kubelet"
    assert artifact.path.is_relative_to(tmp_path / "empty")


def test_a_bundle_has_the_sums_that_sha256sum_reads(mirror: Path) -> None:
    assert f"{sha256(b'the kubelet')}  {FILE}\n" in (mirror / "SHA256SUMS").read_text()


def test_a_bundle_can_be_one_file(tmp_path: Path, mirror: Path) -> None:
    again = Store(("mirror",), str(mirror), tmp_path / "empty", lock=lock_of(ENTRY))
    bundle.write(again, tmp_path / "mirror.tar")
    with tarfile.open(tmp_path / "mirror.tar") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert store(tmp_path / "b", str(tmp_path / "unpacked")).get("kubelet").source == "mirror"


def test_a_bundle_does_not_overwrite_a_file(tmp_path: Path, mirror: Path) -> None:
    (tmp_path / "something").write_text("mine")
    again = Store(("mirror",), str(mirror), tmp_path / "empty", lock=lock_of(ENTRY))
    with pytest.raises(UsageError, match="is not a directory"):
        bundle.write(again, tmp_path / "something")


def test_a_file_in_the_mirror_that_is_not_what_its_index_says_is_refused(tmp_path: Path, mirror: Path) -> None:
    (mirror / FILE).write_bytes(b"something else")
    with pytest.raises(DigestError, match=r"kubelet v1.0.0 .* expected sha256:\w+, seen sha256:"):
        store(tmp_path, str(mirror)).get("kubelet")


def test_a_mirror_made_from_another_release_file_than_is_pinned_is_refused(tmp_path: Path, mirror: Path) -> None:
    pinned = dataclasses.replace(KUBELET, digest=f"sha256:{'0' * 64}")
    with pytest.raises(DigestError, match="lock file"):
        store(tmp_path, str(mirror), entry("kubelet", pinned)).get("kubelet")


def test_what_a_mirror_does_not_have_is_named_with_the_mirror(tmp_path: Path, mirror: Path) -> None:
    newer = dataclasses.replace(ENTRY, version="v2.0.0")
    with pytest.raises(ArtifactError, match=r"mirror has no kubelet v2.0.0 for amd64") as caught:
        store(tmp_path, str(mirror), newer).get("kubelet")
    assert "khw artifacts bundle" in caught.value.hint


def test_a_mirror_that_is_not_there_is_a_mistake_in_the_cluster_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a directory"):
        store(tmp_path, str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"does not say where"):
        Store(("mirror",), None, tmp_path / "empty")


def test_an_index_that_cannot_be_read_is_an_error(tmp_path: Path, mirror: Path) -> None:
    (mirror / "index.json").write_text(json.dumps({"artifacts": [{}]}))
    with pytest.raises(ArtifactError, match="is not an index"):
        store(tmp_path, str(mirror)).get("kubelet")


@contextmanager
def web_server(directory: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(directory))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def test_a_bundle_behind_a_web_server_is_a_mirror_too(tmp_path: Path, mirror: Path) -> None:
    with web_server(mirror) as url:
        assert store(tmp_path, url).get("kubelet").path.read_bytes() == b"the kubelet"


def test_a_mirror_may_have_the_upstreams_layout_by_host(tmp_path: Path, served: Site) -> None:
    serve_kubelet(served)
    artifact = store(tmp_path, served.url).get("kubelet")
    assert artifact.source == "mirror"
    assert "/index.json" in served.asked
    assert "/dl.k8s.io/v1.0.0/bin/linux/amd64/kubelet" in served.asked


def test_a_directory_may_have_the_upstreams_layout_too(tmp_path: Path, served: Site) -> None:
    serve_kubelet(served)
    for path, content in served.files.items():
        file = tmp_path / "by-host" / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    assert store(tmp_path, str(tmp_path / "by-host")).get("kubelet").source == "mirror"
