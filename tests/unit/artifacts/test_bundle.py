from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from pathlib import Path

import pytest
import zstandard
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from upstream_site import entry, lock_of, serve_kubelet, sha256, site

from khw.artifacts import bundle, unbundle
from khw.artifacts.lock import Lock, Release
from khw.artifacts.store import Store
from khw.errors import ArtifactError, DigestError, UsageError

KUBELET = entry(
    "kubelet",
    Release(
        url="https://dl.k8s.io/v1.0.0/bin/linux/amd64/kubelet",
        digest_url="https://dl.k8s.io/v1.0.0/bin/linux/amd64/kubelet.sha256",
    ),
)
PINNED = entry("tool", Release(url="https://dl.k8s.io/tool", digest=f"sha256:{sha256(b'a tool')}"))
LOCK = lock_of(KUBELET, PINNED)


def full(tmp_path: Path) -> Store:
    """Return a store with both artifacts in its cache, and nowhere to get others from."""
    with site() as served:
        serve_kubelet(served, b"the kubelet " * 9000)
        served.files["/dl.k8s.io/tool"] = b"a tool"
        Store(("cache", "upstream"), cache_dir=tmp_path / "full", lock=LOCK, upstream=served.url).fetch()
    return Store(("cache",), cache_dir=tmp_path / "full", lock=LOCK)


def empty(tmp_path: Path, lock: Lock = LOCK) -> Store:
    return Store(("cache",), cache_dir=tmp_path / "empty", lock=lock)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    bundle.write(full(tmp_path), tmp_path / "khw.tar.zst")
    return tmp_path / "khw.tar.zst"


def unpacked(file: Path) -> dict[str, bytes]:
    plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(file.read_bytes()))
    with tarfile.open(fileobj=plain, mode="r|") as archive:
        return {m.name: (archive.extractfile(m) or io.BytesIO()).read() for m in archive}


def packed(members: dict[str, bytes], to: Path) -> Path:
    with tarfile.open(to, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return to


def kept(store: Store) -> list[str]:
    return sorted(row.name for row in store.lock.entries.values() if store.cached(row.name))


def left_over(store: Store) -> list[Path]:
    return [path for path in store.cache.root.rglob("*") if path.is_file() and ".locks" not in path.parts]


def test_an_empty_cache_has_everything_after_a_bundle_and_nobody_was_asked(tmp_path: Path, made: Path) -> None:
    store = empty(tmp_path)
    assert sorted(unbundle.load(store, made)) == ["kubelet", "tool"]
    artifact = store.get("kubelet")
    assert artifact.path.read_bytes() == b"the kubelet " * 9000
    assert artifact.source == "cache"
    assert artifact.origin.startswith("bundle: upstream: https://dl.k8s.io/")
    assert artifact.path.stat().st_mode & 0o777 == 0o755


def test_the_same_artifacts_make_the_same_bytes(tmp_path: Path, made: Path) -> None:
    bundle.write(full(tmp_path / "other"), tmp_path / "second.tar.zst")
    assert (tmp_path / "second.tar.zst").read_bytes() == made.read_bytes()


def test_a_bundle_that_was_loaded_can_be_written_again(tmp_path: Path, made: Path) -> None:
    store = empty(tmp_path)
    unbundle.load(store, made)
    bundle.write(store, tmp_path / "again.tar")
    assert unbundle.load(empty(tmp_path / "third"), tmp_path / "again.tar") == ["kubelet", "tool"]


def test_a_second_load_changes_nothing(tmp_path: Path, made: Path) -> None:
    store = empty(tmp_path)
    unbundle.load(store, made)
    before = store.cached("kubelet")
    assert before
    inode = before.path.stat().st_ino
    assert unbundle.load(store, made) == []
    assert before.path.stat().st_ino == inode


def test_what_is_broken_in_the_cache_is_made_good(tmp_path: Path, made: Path) -> None:
    store = empty(tmp_path)
    unbundle.load(store, made)
    store.get("kubelet").path.write_bytes(b"bit rot")
    assert unbundle.load(store, made) == ["kubelet"]
    assert empty(tmp_path).get("kubelet").path.read_bytes().startswith(b"the kubelet")


def test_a_bundle_has_its_index_first_and_its_sums(made: Path) -> None:
    members = unpacked(made)
    assert list(members)[:3] == ["index.json", "SHA256SUMS", "sbom.cdx.json"]
    listed = dict(reversed(line.split("  ")) for line in members["SHA256SUMS"].decode().splitlines())
    assert listed == {name: sha256(data) for name, data in members.items() if name not in ("index.json", "SHA256SUMS")}


def test_a_bundle_has_an_sbom_that_its_specification_calls_right(made: Path) -> None:
    text = unpacked(made)["sbom.cdx.json"].decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    rows = {row["name"]: row for row in json.loads(text)["components"]}
    assert rows["kubelet"]["hashes"] == [{"alg": "SHA-256", "content": sha256(b"the kubelet " * 9000)}]
    assert {"type": "distribution", "url": PINNED.release("amd64").url} in rows["tool"]["externalReferences"]


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_half_a_bundle_is_an_error_and_nothing_is_written(tmp_path: Path, made: Path, share: float) -> None:
    half = tmp_path / "half.tar.zst"
    content = made.read_bytes()
    half.write_bytes(content[: int(len(content) * share)])
    store = empty(tmp_path)
    with pytest.raises(ArtifactError, match=r"half.tar.zst is (not whole|no bundle)"):
        unbundle.load(store, half)
    assert kept(store) == []
    assert left_over(store) == []


def test_a_bundle_that_ends_between_two_files_is_an_error(tmp_path: Path, made: Path) -> None:
    members = unpacked(made)
    members.pop("tool/v1.0.0/amd64/tool")
    store = empty(tmp_path)
    with pytest.raises(ArtifactError, match=r"not whole: tool/v1.0.0/amd64/tool is not in it"):
        unbundle.load(store, packed(members, tmp_path / "less.tar"))
    assert kept(store) == []


def test_a_file_that_is_not_what_the_index_says_ends_it_and_nothing_is_written(tmp_path: Path, made: Path) -> None:
    members = unpacked(made) | {"tool/v1.0.0/amd64/tool": b"a tooL"}
    store = empty(tmp_path)
    with pytest.raises(DigestError, match=r"tool .*expected sha256 \w{64}, seen \w{64}"):
        unbundle.load(store, packed(members, tmp_path / "wrong.tar"))
    assert kept(store) == []
    assert left_over(store) == []


def test_an_older_bundle_is_named_with_both_versions(tmp_path: Path, made: Path) -> None:
    newer = lock_of(dataclasses.replace(KUBELET, version="v2.0.0"), PINNED)
    store = empty(tmp_path, newer)
    with pytest.raises(ArtifactError, match=r"another khw's: it has kubelet v1.0.0, not v2.0.0") as caught:
        unbundle.load(store, made)
    assert "khw artifacts bundle" in caught.value.hint
    assert left_over(store) == []


def test_a_bundle_without_what_is_pinned_since_is_another_khws(tmp_path: Path, made: Path) -> None:
    more = lock_of(KUBELET, PINNED, entry("new", Release(url="https://dl.k8s.io/new", digest="sha256:0")))
    with pytest.raises(ArtifactError, match="no new for amd64"):
        unbundle.load(empty(tmp_path, more), made)


def test_a_bundle_of_another_release_file_than_is_pinned_is_refused(tmp_path: Path, made: Path) -> None:
    pinned = entry("tool", Release(url="https://dl.k8s.io/tool", digest=f"sha256:{'0' * 64}"))
    with pytest.raises(DigestError, match="lock file"):
        unbundle.load(empty(tmp_path, lock_of(KUBELET, pinned)), made)


def test_what_came_in_a_bundle_is_not_used_once_another_file_is_pinned(tmp_path: Path, made: Path) -> None:
    unbundle.load(empty(tmp_path), made)
    pinned = entry("tool", Release(url="https://dl.k8s.io/tool", digest=f"sha256:{'0' * 64}"))
    assert empty(tmp_path, lock_of(KUBELET, pinned)).cached("tool") is None


def test_what_is_no_bundle_is_called_that(tmp_path: Path) -> None:
    store = empty(tmp_path)
    (tmp_path / "text").write_text("nothing of the kind")
    with pytest.raises(ArtifactError, match="no bundle of khw's"):
        unbundle.load(store, tmp_path / "text")
    with pytest.raises(ArtifactError, match=r"does not begin with index.json"):
        unbundle.load(store, packed({"else": b""}, tmp_path / "other.tar"))
    with pytest.raises(ArtifactError, match="not one that this khw reads"):
        unbundle.load(store, packed({"index.json": b'{"format": 99}'}, tmp_path / "future.tar"))
    with pytest.raises(UsageError, match="is not a file"):
        unbundle.load(store, tmp_path)


def test_a_path_that_leads_out_of_the_bundle_is_refused(tmp_path: Path, made: Path) -> None:
    members = unpacked(made)
    index = json.loads(members["index.json"])
    index["artifacts"][0]["path"] = "../../outside"
    with pytest.raises(ArtifactError, match="leads out of the bundle"):
        unbundle.load(empty(tmp_path), packed({"index.json": json.dumps(index).encode()}, tmp_path / "evil.tar"))


def test_a_bundle_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = full(tmp_path)

    def ends(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle, "_add", ends)
    with pytest.raises(KeyboardInterrupt):
        bundle.write(store, tmp_path / "out" / "khw.tar.zst")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_image_of_a_lab_machine_travels_with_it(tmp_path: Path) -> None:
    machine = tmp_path / "debian-12.tar"
    machine.write_bytes(b"a machine")
    bundle.write(full(tmp_path), tmp_path / "khw.tar", lab_images={"debian-12": machine})
    taken = {}
    unbundle.load(
        empty(tmp_path), tmp_path / "khw.tar", take_image=lambda name, path: taken.update({name: path.read_bytes()})
    )
    assert taken == {"debian-12": b"a machine"}
