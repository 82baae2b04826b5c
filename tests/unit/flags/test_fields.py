"""Fields that their reader would pass over in silence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from khw.flags.asking import room
from khw.flags.fields import strange_fields, strange_plugins, strange_version

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT = """\
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins.'io.containerd.cri.v1.images']
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "bridge"
    path.write_text('#!/bin/sh\necho \'{"supportedVersions": ["0.4.0", "1.0.0"]}\'\n#json:"hairpinMode" json:"type"\n')
    path.chmod(0o755)
    return path


def test_a_misspelt_field_of_a_network_is_found_at_any_depth(plugin: Path) -> None:
    text = json.dumps({"type": "bridge", "plugins": [{"hairpinmode": True}]})
    assert strange_fields(text, {"bridge": plugin}, "bridge v1") == [
        "plugins is not a field that bridge v1 knows",
        "hairpinmode is not a field that bridge v1 knows; did you mean hairpinMode?",
    ]


def test_a_misspelt_field_of_a_yaml_file_is_found(plugin: Path) -> None:
    assert strange_fields("type: a\n", {"bridge": plugin}, "x") == []
    assert strange_fields("tipe: a\n", {"bridge": plugin}, "x") == [
        "tipe is not a field that x knows; did you mean type?"
    ]


@pytest.mark.parametrize(("version", "problems"), [("1.0.0", 0), ("9.0.0", 1)])
def test_the_version_of_a_network_is_one_that_its_plugin_supports(version: str, problems: int, plugin: Path) -> None:
    with room() as scratch:
        found = strange_version(scratch, json.dumps({"cniVersion": version}), plugin, "bridge v1")
    assert len(found) == problems
    assert all("9.0.0 is not one that bridge v1 supports: 0.4.0, 1.0.0" in problem for problem in found)


def test_a_plugin_or_an_option_that_containerd_does_not_have_is_found() -> None:
    assert strange_plugins(DEFAULT, DEFAULT) == []
    text = DEFAULT.replace("v1.images", "v1.image").replace("SystemdCgroup", "SystemdCgroups")
    assert strange_plugins(text, DEFAULT) == [
        "there is no plugin io.containerd.cri.v1.image; did you mean io.containerd.cri.v1.images?",
        "SystemdCgroups is not an option of the runtime; did you mean SystemdCgroup?",
    ]
