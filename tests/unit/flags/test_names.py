"""The names that a binary knows, from the ways in which binaries list them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from khw.flags.asking import room
from khw.flags.names import fields_of, flags_of, nearest

if TYPE_CHECKING:
    from pathlib import Path

LISTS = {
    "pflag": (
        "Flags:\n  -h, --help               help\n      --feature-gates mapStringBool   gates:\n"
        "                               APIServerIdentity=true|false (see --no-flag)\n  -v, --v Level  level\n",
        {"h", "help", "feature-gates", "v"},
    ),
    "etcd": (
        "Member:\n  --name 'default'\n    Name for --no-flag.\n  --memory-mlock\n    Lock.\n",
        {"name", "memory-mlock"},
    ),
    "urfave": ('GLOBAL OPTIONS:\n   --config value, -c value     Path (default: "--x")\n', {"config", "c"}),
    "kubectl": ("Options:\n    -o, --output='':\n\tOutput format.\n", {"o", "output"}),
    "etcdctl": ('OPTIONS:\n  -w, --write-out="simple"\t\tformat, see --no-flag\n', {"w", "write-out"}),
}


@pytest.mark.parametrize("style", LISTS)
def test_flags_are_found_in_every_style_of_help_and_not_in_its_prose(style: str, tmp_path: Path) -> None:
    text, flags = LISTS[style]
    binary = tmp_path / "server"
    binary.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\n")
    binary.chmod(0o755)
    with room() as scratch:
        assert flags_of(scratch, binary) == flags | {"help"}


def test_fields_are_the_names_in_struct_tags(tmp_path: Path) -> None:
    binary = tmp_path / "server"
    binary.write_bytes(b'\0json:"clusterDNS,omitempty"\xff toml:"bin_dirs" yaml:"a-b" json:"-" xml:"no"')
    assert fields_of(binary) == {"clusterDNS", "bin_dirs", "a-b"}


def test_the_nearest_name_disregards_case_first() -> None:
    assert nearest("clusterDns", ["clusters", "clusterDNS"]) == "; did you mean clusterDNS?"
    assert nearest("prot", ["port"], dashes="--") == "; did you mean --port?"
    assert nearest("prot", ["unlike"]) == ""
