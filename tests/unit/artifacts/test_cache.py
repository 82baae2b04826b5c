from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from upstream_site import KUBELET, entry

from khw.artifacts import cache as cache_module
from khw.artifacts.cache import Cache, Kept, default_directory
from khw.errors import DigestError, SpaceError

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRY = entry("kubelet", KUBELET)


def publish(cache: Cache, content: bytes = b"the kubelet") -> Kept:
    with cache.scratch() as scratch:
        file = scratch / "kubelet"
        file.write_bytes(content)
        return cache.publish(ENTRY, "amd64", file, source="build", origin="go1.26")


def test_what_is_published_is_read_back_with_its_record(cache: Cache) -> None:
    kept = publish(cache)
    again = cache.read(ENTRY, "amd64")
    assert again == kept
    assert kept.path == cache.root / "kubelet" / "v1.0.0" / "amd64" / "kubelet"
    assert kept.path.read_bytes() == b"the kubelet"
    assert os.access(kept.path, os.X_OK)
    assert (kept.record.source, kept.record.origin, kept.record.size) == ("build", "go1.26", 11)


def test_nothing_is_read_where_nothing_was_published(cache: Cache) -> None:
    assert cache.read(ENTRY, "arm64") is None


def test_a_second_publication_takes_the_place_of_the_first(cache: Cache) -> None:
    publish(cache, b"old")
    publish(cache, b"new and longer")
    kept = cache.read(ENTRY, "amd64", thorough=True)
    assert kept is not None
    assert kept.path.read_bytes() == b"new and longer"


def test_a_changed_file_is_an_error_that_names_it_and_both_digests(cache: Cache) -> None:
    kept = publish(cache)
    kept.path.write_bytes(b"the evil one")
    with pytest.raises(DigestError) as caught:
        cache.read(ENTRY, "amd64")
    assert str(kept.path) in caught.value.message
    assert kept.record.sha256 in caught.value.message
    assert "seen" in caught.value.message
    assert f"delete {kept.path.parent}" in caught.value.hint


def test_a_change_with_size_and_mtime_put_back_is_still_seen(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "SETTLED", -1.0)
    kept = publish(cache)
    cache.read(ENTRY, "amd64")
    assert (kept.path.parent / cache_module.STAMP).exists()
    before = kept.path.stat()
    replacement = kept.path.with_name("other")
    replacement.write_bytes(b"THE KUBELET")
    os.utime(replacement, ns=(before.st_atime_ns, before.st_mtime_ns))
    replacement.replace(kept.path)
    with pytest.raises(DigestError):
        cache.read(ENTRY, "amd64")


def test_a_file_that_was_checked_and_did_not_change_is_not_hashed_again(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "SETTLED", -1.0)
    publish(cache)
    cache.read(ENTRY, "amd64")
    hashed: list[Path] = []
    monkeypatch.setattr(cache_module, "sha256_of", _noting(hashed))
    cache.read(ENTRY, "amd64")
    assert hashed == []
    cache.read(ENTRY, "amd64", thorough=True)
    assert len(hashed) == 1


def _noting(hashed: list[Path]) -> Callable[[Path], str]:
    original = cache_module.sha256_of

    def noting(path: Path) -> str:
        hashed.append(path)
        return original(path)

    return noting


def test_a_record_that_cannot_be_read_is_an_error_with_a_way_out(cache: Cache) -> None:
    kept = publish(cache)
    (kept.path.parent / cache_module.RECORD).write_text("{")
    with pytest.raises(DigestError, match="record of kubelet"):
        cache.find(ENTRY, "amd64")


def test_a_full_disk_names_the_directory_and_the_bytes_and_leaves_what_was_there(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(cache, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "move", full)
    with pytest.raises(SpaceError) as caught:
        publish(cache, b"a new one")
    assert str(cache.root) in caught.value.message
    assert "9 bytes are needed" in caught.value.message
    assert "KHW_CACHE" in caught.value.hint
    monkeypatch.undo()
    kept = cache.read(ENTRY, "amd64", thorough=True)
    assert kept is not None
    assert kept.path.read_bytes() == b"old"
    assert list((cache.root / ".scratch").iterdir()) == []


def test_other_trouble_with_the_disk_is_not_called_a_full_disk(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(shutil, "move", broken)
    with pytest.raises(OSError, match="Input/output"):
        publish(cache)


def test_a_working_directory_goes_when_its_work_fails(cache: Cache) -> None:
    def work() -> None:
        with cache.scratch() as scratch:
            (scratch / "half").write_bytes(b"half of it")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert list((cache.root / ".scratch").iterdir()) == []


def test_what_a_killed_process_left_is_cleared_and_what_a_live_one_has_is_not(cache: Cache) -> None:
    with cache.scratch() as living:
        dead = cache.root / ".scratch" / "left-behind"
        dead.mkdir()
        (dead / ".held").touch()
        (dead / "half").write_bytes(b"half of it")
        with cache.scratch():
            assert not dead.exists()
            assert living.exists()


COUNT_UP = """
import sys
from pathlib import Path
from khw.artifacts.cache import Cache
cache = Cache(Path(sys.argv[1]))
counter = cache.root / "counter"
for _ in range(50):
    with cache.exclusive("counter"):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


def test_two_processes_do_not_work_at_the_same_thing_at_once(cache: Cache) -> None:
    cache.root.mkdir()
    (cache.root / "counter").write_text("0")
    command = [sys.executable, "-c", COUNT_UP, str(cache.root)]
    with subprocess.Popen(command) as one, subprocess.Popen(command) as other:
        assert one.wait(60) == other.wait(60) == 0
    assert (cache.root / "counter").read_text() == "100"


def test_the_environment_says_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KHW_CACHE", str(tmp_path))
    assert default_directory() == tmp_path
    monkeypatch.delenv("KHW_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "khw" / "artifacts"


def test_the_record_is_readable_json(cache: Cache) -> None:
    kept = publish(cache)
    record = json.loads((kept.path.parent / cache_module.RECORD).read_text())
    assert record["sha256"] == kept.record.sha256
