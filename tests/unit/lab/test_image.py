from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from khw.errors import LabError
from khw.lab import guest
from khw.lab.image import build_command, recipe, sources

MIRROR = "http://mirror.example/debian/"


def test_the_tag_follows_the_recipe_and_nothing_else() -> None:
    first = recipe("debian-12")
    assert first.reference == recipe("debian-12").reference
    assert replace(first, packages=(*first.packages, "vim")).reference != first.reference
    assert replace(first, overlay=b"other").reference != first.reference
    assert recipe("debian-13").reference != first.reference


def test_an_unknown_image_is_refused_by_name() -> None:
    with pytest.raises(LabError, match="windows-95") as caught:
        recipe("windows-95")
    assert "debian-12, debian-13" in caught.value.hint


def test_packages_come_from_the_mirrors_of_this_machine() -> None:
    lines = sources(
        "trixie", [f"{MIRROR} bookworm Debian", "http://sec.example/debian-security/ bookworm-security Debian"]
    )
    assert [line.split("] ")[1] for line in lines] == [
        "http://mirror.example/debian trixie main",
        "http://mirror.example/debian trixie-updates main",
        "http://sec.example/debian-security trixie-security main",
    ]


def test_another_distributions_mirror_is_not_used() -> None:
    assert sources("bookworm", ["http://archive.example/ubuntu jammy Ubuntu"]) == ()


def test_the_command_carries_the_machines_proxy_and_our_hooks() -> None:
    wanted = recipe("debian-12")
    command = build_command(wanted, ["deb x"], ['Acquire::http::Proxy "http://proxy";'], Path("/o.tar"))
    assert '--aptopt=Acquire::http::Proxy "http://proxy";' in command
    assert "--customize-hook=tar-in /o.tar /" in command
    assert command[-3:] == ["bookworm", "-", "deb x"]


def test_a_bare_machine_has_what_it_will_be_asked_for_on_its_mirror_and_not_installed() -> None:
    wanted = recipe("bare-debian-12")
    assert wanted.packages == recipe("debian-12").packages
    (hook,) = set(wanted.hooks) - set(recipe("debian-12").hooks)
    assert "--download-only" in hook
    assert "haproxy keepalived" in hook
    assert "deb [trusted=yes] file:/srv/mirror ./" in hook


def test_the_image_bakes_in_no_host_key_and_no_machine_id() -> None:
    hooks = " ".join(recipe("debian-12").hooks)
    assert "ssh_host_*" in hooks
    assert "machine-id" in hooks


def test_the_overlay_is_the_same_bytes_each_time() -> None:
    assert guest.overlay() == guest.overlay()
    with tarfile.open(fileobj=io.BytesIO(guest.overlay())) as archive:
        entries = {entry.name: entry for entry in archive}
    assert entries["etc/sudoers.d/google_sudoers"].mode == 0o440
    assert entries["usr/lib/khw-lab/guest"].mode == 0o755
    assert entries["etc/systemd/system/getty@tty1.service"].linkname == "/dev/null"
