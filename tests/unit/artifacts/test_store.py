from __future__ import annotations

import errno
import gzip
from pathlib import Path

import pytest
import zstandard
from upstream_site import KUBELET, Site, entry, lock_of, serve_kubelet

from khw.artifacts import survey
from khw.artifacts.lock import Release
from khw.artifacts.store import Form, Store
from khw.errors import ArtifactError, SpaceError, UsageError

ENTRY = entry("kubelet", KUBELET)
CONTENT = b"the kubelet " * 1000


@pytest.fixture
def store(tmp_path: Path, served: Site) -> Store:
    serve_kubelet(served, CONTENT)
    lock = lock_of(ENTRY, entry("kubectl", Release(url="https://dl.k8s.io/kubectl", digest_url="https://dl.k8s.io/x")))
    return Store(("cache", "upstream"), cache_dir=tmp_path / "cache", lock=lock, upstream=served.url)


@pytest.mark.parametrize("form", ["zstd", "gzip"])
def test_an_artifact_is_compressed_once_and_kept(store: Store, form: Form) -> None:
    artifact = store.get("kubelet")
    packed = store.compressed(artifact, form)
    content = packed.read_bytes()
    plain = zstandard.decompress(content) if form == "zstd" else gzip.decompress(content)
    assert plain == CONTENT
    before = packed.stat().st_ino
    assert store.compressed(artifact, form) == packed
    assert packed.stat().st_ino == before


def test_the_compressed_file_belongs_to_one_content(store: Store, served: Site) -> None:
    first = store.compressed(store.get("kubelet"), "zstd")
    serve_kubelet(served, b"another kubelet")
    again = Store(("upstream",), cache_dir=store.cache.root, lock=store.lock, upstream=served.url)
    second = again.compressed(again.get("kubelet"), "zstd")
    assert second.name != first.name
    assert zstandard.decompress(second.read_bytes()) == b"another kubelet"


def test_a_form_that_nobody_knows_is_an_error(store: Store) -> None:
    artifact = store.get("kubelet")
    with pytest.raises(UsageError, match="'brotli'"):
        store.compressed(artifact, "brotli")  # type: ignore[arg-type]  # what is tested


def test_a_full_disk_while_compressing_is_called_that(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = store.get("kubelet")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gzip, "GzipFile", full)
    with pytest.raises(SpaceError, match="kubelet compressed"):
        store.compressed(artifact, "gzip")


def test_a_full_disk_while_downloading_is_called_that(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.open

    def full(path: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
        if path.name == "kubelet" and "w" in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(path, mode, *args, **kwargs)  # type: ignore[call-overload]  # handed through

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(SpaceError, match="12,000 bytes are needed"):
        store.get("kubelet")


def test_only_the_cache_is_asked_where_only_the_cache_is_allowed(tmp_path: Path) -> None:
    alone = Store(("cache",), cache_dir=tmp_path / "cache", lock=lock_of(ENTRY))
    with pytest.raises(ArtifactError, match="is not in the cache, and no other source may be asked"):
        alone.get("kubelet")


def test_a_source_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'torrent'"):
        Store(("cache", "torrent"), cache_dir=tmp_path)


def test_a_list_says_what_is_here_and_where_it_came_from(store: Store) -> None:
    store.get("kubelet")
    here, missing = survey.listed(store)
    assert (here.name, here.state, here.source, here.size) == ("kubelet", "present", "upstream", len(CONTENT))
    assert here.origin == KUBELET.url
    assert (missing.name, missing.state) == ("kubectl", "missing")


def test_verifying_finds_the_file_that_was_changed(store: Store) -> None:
    artifact = store.get("kubelet")
    assert [row.state for row in survey.verified(store)] == ["present", "missing"]
    artifact.path.write_bytes(b"changed")
    wrong, _ = survey.verified(store)
    assert wrong.state == "wrong"
    assert str(artifact.path) in wrong.problem


def test_what_is_cached_can_be_asked_for_without_fetching(store: Store, served: Site) -> None:
    assert store.cached("kubelet") is None
    assert served.asked == []
    store.get("kubelet")
    assert store.cached("kubelet", thorough=True) is not None


def test_the_digest_on_record_is_known_without_fetching_or_writing(store: Store) -> None:
    assert store.digest("kubelet") == ""
    assert not store.cache.root.exists()
    artifact = store.get("kubelet")
    before = sorted((path, path.stat().st_mtime_ns) for path in store.cache.root.rglob("*"))
    assert store.digest("kubelet") == artifact.sha256
    assert sorted((path, path.stat().st_mtime_ns) for path in store.cache.root.rglob("*")) == before
