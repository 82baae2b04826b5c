from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

from upstream_site import members_of, sha256

from khw.artifacts.images import IMAGES, Image, write_image

if TYPE_CHECKING:
    from pathlib import Path


def written(tmp_path: Path, name: str, to: str = "image.tar") -> Path:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF a static program")
    archive = tmp_path / to
    write_image(IMAGES[name], program, reference="example.test/team/thing:1.2", architecture="arm64", to=archive)
    return archive


def blob(members: dict[str, bytes], digest: str) -> bytes:
    return members[f"blobs/{digest.replace(':', '/')}"]


def test_the_archive_is_an_oci_layout_whose_blobs_are_what_their_names_say(tmp_path: Path) -> None:
    members = members_of(written(tmp_path, "image-agnhost"))
    assert json.loads(members["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    for name, content in members.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{sha256(content)}"
    (manifest_row,) = json.loads(members["index.json"])["manifests"]
    assert manifest_row["annotations"]["io.containerd.image.name"] == "example.test/team/thing:1.2"
    assert manifest_row["annotations"]["org.opencontainers.image.ref.name"] == "1.2"
    manifest = json.loads(blob(members, manifest_row["digest"]))
    config = json.loads(blob(members, manifest["config"]["digest"]))
    assert (config["os"], config["architecture"]) == ("linux", "arm64")
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    assert config["config"]["Entrypoint"] == ["/agnhost"]
    assert config["config"]["Cmd"] == ["pause"]


def test_the_layer_holds_the_program_its_directories_and_links(tmp_path: Path) -> None:
    members = members_of(written(tmp_path, "image-agnhost"))
    (layer,) = [content for name, content in members.items() if b"ELF" in content]
    with tarfile.open(fileobj=io.BytesIO(layer)) as packed:
        rows = {member.name: (oct(member.mode), member.linkname) for member in packed}
    assert rows["agnhost"] == ("0o755", "")
    assert rows["agnhost-2"][1] == "agnhost"
    assert rows["tmp"][0] == "0o1777"


def test_the_same_program_makes_the_same_bytes(tmp_path: Path) -> None:
    one = written(tmp_path, "image-pause", "one.tar").read_bytes()
    other = written(tmp_path, "image-pause", "other.tar").read_bytes()
    assert one == other


def test_pause_does_not_run_as_root(tmp_path: Path) -> None:
    assert b'"User":"65535:65535"' in b"".join(members_of(written(tmp_path, "image-pause")).values())


def test_what_a_program_needs_lies_beside_it_and_can_be_run(tmp_path: Path) -> None:
    program, library = tmp_path / "program", tmp_path / "library"
    program.write_bytes(b"\x7fELF a program")
    library.write_bytes(b"a library")
    image = Image(program="bin/program", entrypoint=("/bin/program",), others={"lib/thing.so": library})
    write_image(image, program, reference="example.test/a:1", architecture="amd64", to=tmp_path / "image.tar")
    (layer,) = [content for content in members_of(tmp_path / "image.tar").values() if b"ELF" in content]
    with tarfile.open(fileobj=io.BytesIO(layer)) as packed:
        rows = {member.name: oct(member.mode) for member in packed}
    assert rows == {"bin/program": "0o755", "lib/thing.so": "0o755"}
