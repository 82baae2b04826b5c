from __future__ import annotations

import dataclasses
import hashlib
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest
from upstream_site import (
    KUBELET,
    Site,
    entry,
    lock_of,
    members_of,
    serve_image,
    serve_kubelet,
    sha256,
    tgz,
)

from khw.artifacts.lock import Release
from khw.artifacts.store import Store
from khw.artifacts.web import Web
from khw.errors import ArtifactError, DigestError, SpaceError

if TYPE_CHECKING:
    from pathlib import Path

    from khw.artifacts.lock import Entry

BINARY = "/dl.k8s.io/v1.0.0/bin/linux/amd64/kubelet"


def store(tmp_path: Path, served: Site, *entries: Entry, sources: tuple[str, ...] = ("cache", "upstream")) -> Store:
    return Store(sources, cache_dir=tmp_path / "cache", lock=lock_of(*entries), upstream=served.url)


def test_a_binary_is_checked_against_the_digest_that_is_published_beside_it(tmp_path: Path, served: Site) -> None:
    serve_kubelet(served)
    lines: list[str] = []
    artifact = store(tmp_path, served, entry("kubelet", KUBELET)).get("kubelet", progress=lines.append)
    assert artifact.path.read_bytes() == b"the kubelet"
    assert artifact.source == "upstream"
    assert artifact.origin == f"upstream: {KUBELET.url}"
    assert artifact.sha256 == sha256(b"the kubelet")
    assert any("kubelet v1.0.0: downloading" in line for line in lines)


def test_the_second_time_it_comes_from_the_cache_and_nothing_is_asked(tmp_path: Path, served: Site) -> None:
    serve_kubelet(served)
    store(tmp_path, served, entry("kubelet", KUBELET)).get("kubelet")
    served.asked.clear()
    artifact = store(tmp_path, served, entry("kubelet", KUBELET)).get("kubelet")
    assert artifact.source == "cache"
    assert artifact.origin == f"upstream: {KUBELET.url}"
    assert served.asked == []


def test_a_file_that_is_not_what_the_published_digest_says_is_refused(tmp_path: Path, served: Site) -> None:
    serve_kubelet(served)
    served.files[BINARY] = b"something else"
    with pytest.raises(DigestError) as caught:
        store(tmp_path, served, entry("kubelet", KUBELET)).get("kubelet")
    message = caught.value.message
    assert "kubelet v1.0.0" in message
    assert f"expected sha256:{sha256(b'the kubelet')}" in message
    assert f"seen sha256:{sha256(b'something else')}" in message
    assert "mirror or build" in caught.value.hint
    assert not (tmp_path / "cache" / "kubelet").exists()


def test_a_pinned_digest_wins_over_the_published_one(tmp_path: Path, served: Site) -> None:
    serve_kubelet(served, b"changed at the site, digest and all")
    pinned = dataclasses.replace(KUBELET, digest=f"sha256:{sha256(b'the kubelet')}")
    with pytest.raises(DigestError, match="the lock file"):
        store(tmp_path, served, entry("kubelet", pinned)).get("kubelet")
    assert served.asked == [BINARY]


def test_a_wrong_digest_is_the_end_and_no_reason_to_ask_the_next_source(tmp_path: Path, served: Site) -> None:
    serve_kubelet(served)
    served.files[BINARY] = b"something else"
    with pytest.raises(DigestError):
        store(tmp_path, served, entry("kubelet", KUBELET), sources=("upstream", "build")).get("kubelet")


def test_what_came_with_another_digest_than_is_pinned_since_is_fetched_again(tmp_path: Path, served: Site) -> None:
    serve_kubelet(served, b"first")
    store(tmp_path, served, entry("kubelet", KUBELET)).get("kubelet")
    serve_kubelet(served, b"second")
    pinned = dataclasses.replace(KUBELET, digest=f"sha256:{sha256(b'second')}")
    artifact = store(tmp_path, served, entry("kubelet", pinned)).get("kubelet")
    assert artifact.path.read_bytes() == b"second"


def test_a_sha512_is_a_digest_too(tmp_path: Path, served: Site) -> None:
    served.files[BINARY] = b"the kubelet"
    pinned = dataclasses.replace(KUBELET, digest=f"sha512:{hashlib.sha512(b'the kubelet').hexdigest()}")
    artifact = store(tmp_path, served, entry("kubelet", pinned)).get("kubelet")
    assert artifact.sha256 == sha256(b"the kubelet")


def etcd(member: str) -> Release:
    base = "https://github.com/etcd-io/etcd/releases/download/v1.0.0"
    return Release(url=f"{base}/etcd-v1.0.0.tar.gz", digest_url=f"{base}/SHA256SUMS", member=member)


def serve_etcd(served: Site) -> str:
    packed = tgz({"etcd-v1.0.0/etcd": b"the server", "etcd-v1.0.0/etcdctl": b"the client"})
    base = "/github.com/etcd-io/etcd/releases/download/v1.0.0"
    served.files[f"{base}/etcd-v1.0.0.tar.gz"] = packed
    sums = f"{'0' * 64}  other.tar.gz\n{sha256(packed)} *etcd-v1.0.0.tar.gz\n"
    served.files[f"{base}/SHA256SUMS"] = sums.encode()
    return f"{base}/etcd-v1.0.0.tar.gz"


def test_members_of_one_archive_cost_one_download(tmp_path: Path, served: Site) -> None:
    archive = serve_etcd(served)
    entries = (entry("etcd", etcd("etcd-v1.0.0/etcd")), entry("etcdctl", etcd("./etcd-v1.0.0/etcdctl")))
    both = store(tmp_path, served, *entries).fetch()
    assert [artifact.path.read_bytes() for artifact in both] == [b"the server", b"the client"]
    assert served.asked.count(archive) == 1


def test_a_member_that_is_not_in_the_archive_is_named(tmp_path: Path, served: Site) -> None:
    serve_etcd(served)
    with pytest.raises(ArtifactError, match=r"has no member etcd-v1.0.0/etcdutl"):
        store(tmp_path, served, entry("etcdutl", etcd("etcd-v1.0.0/etcdutl"))).get("etcdutl")


def test_a_digest_file_without_a_line_for_the_file_is_an_error(tmp_path: Path, served: Site) -> None:
    serve_etcd(served)
    served.files["/github.com/etcd-io/etcd/releases/download/v1.0.0/SHA256SUMS"] = b"<html>gone</html>"
    with pytest.raises(ArtifactError, match=r"has no digest for etcd-v1.0.0.tar.gz"):
        store(tmp_path, served, entry("etcd", etcd("etcd-v1.0.0/etcd"))).get("etcd")


def test_a_transfer_that_breaks_off_is_tried_once_more(tmp_path: Path, served: Site) -> None:
    serve_kubelet(served)
    served.cut.add(BINARY)
    lines: list[str] = []
    artifact = store(tmp_path, served, entry("kubelet", KUBELET)).get("kubelet", progress=lines.append)
    assert artifact.path.read_bytes() == b"the kubelet"
    assert "kubelet v1.0.0: the transfer broke off, once more" in lines


def test_a_file_that_is_not_there_is_an_error_with_its_address(tmp_path: Path, served: Site) -> None:
    with pytest.raises(ArtifactError, match=r"kubelet.sha256: HTTP 404"):
        store(tmp_path, served, entry("kubelet", KUBELET)).get("kubelet")


def test_a_site_that_does_not_answer_is_asked_once_in_a_process(tmp_path: Path, served: Site) -> None:
    web = Web("http://127.0.0.1:1")  # nothing listens on port 1
    with pytest.raises(ArtifactError, match="does not answer"):
        web.open("https://dl.k8s.io/a")
    with pytest.raises(ArtifactError, match="did not answer before"):
        web.open("https://dl.k8s.io/b")


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_download_that_will_not_fit_is_not_begun(
    tmp_path: Path, served: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_kubelet(served)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 95, 5))
    with pytest.raises(SpaceError, match=r"no space left for kubelet v1.0.0 in .*: 11 bytes are needed, 5 are free"):
        store(tmp_path, served, entry("kubelet", KUBELET)).get("kubelet")


def image() -> Entry:
    release = Release(url="oci://registry.example/team/pause:3.10")
    return entry("image-pause", release, kind="image", reference="registry.example/team/pause:3.10")


def test_an_image_is_pulled_for_one_architecture_into_an_archive(tmp_path: Path, served: Site) -> None:
    serve_image(served, "registry.example", "team/pause", "3.10")
    artifact = store(tmp_path, served, image()).get("image-pause", "amd64")
    assert artifact.reference == "registry.example/team/pause:3.10"
    members = members_of(artifact.path)
    assert b"a layer for amd64" in members.values()
    assert b"a layer for arm64" not in members.values()
    assert b'"io.containerd.image.name":"registry.example/team/pause:3.10"' in members["index.json"]
    for name, content in members.items():
        if name.startswith("blobs/sha256/"):
            assert name == f"blobs/sha256/{sha256(content)}"


def test_a_registry_that_wants_a_token_gets_the_one_that_it_gives(tmp_path: Path, served: Site) -> None:
    serve_image(served, "registry.example", "team/pause", "3.10")
    served.token = "given"  # noqa: S105 - of a server in this test
    served.files["/auth.example/token"] = b'{"token": "given"}'
    artifact = store(tmp_path, served, image()).get("image-pause")
    assert artifact.source == "upstream"
    assert "/auth.example/token?service=registry&scope=repository%3Apull" in served.asked


def test_a_blob_that_is_not_what_its_manifest_names_is_refused(tmp_path: Path, served: Site) -> None:
    serve_image(served, "registry.example", "team/pause", "3.10")
    layer = f"/registry.example/v2/team/pause/blobs/sha256:{sha256(b'a layer for amd64')}"
    served.files[layer] = b"another layer"
    with pytest.raises(DigestError, match="image-pause"):
        store(tmp_path, served, image()).get("image-pause")


def test_a_tag_that_names_another_image_than_is_pinned_is_refused(tmp_path: Path, served: Site) -> None:
    digest = serve_image(served, "registry.example", "team/pause", "3.10")
    row = image()
    pinned = {"amd64": Release(url=row.upstream["amd64"].url, digest=digest)}
    assert store(tmp_path, served, dataclasses.replace(row, upstream=pinned)).get("image-pause")
    wrong = {"amd64": Release(url=row.upstream["amd64"].url, digest=f"sha256:{'0' * 64}")}
    with pytest.raises(DigestError, match=r"expected sha256:0{64}"):
        store(tmp_path, served, dataclasses.replace(row, upstream=wrong)).get("image-pause")


def test_an_image_without_this_architecture_is_an_error(tmp_path: Path, served: Site) -> None:
    served.files["/registry.example/v2/team/pause/manifests/3.10"] = b'{"manifests": []}'
    with pytest.raises(ArtifactError, match="no image for linux/amd64"):
        store(tmp_path, served, image()).get("image-pause")
