"""The report of the real cluster, opened in Chromium: light and dark, on a phone and on paper."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from webpage import CHROMIUM, DRIVER, browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from commandline import Khw
    from webpage import Browser

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium and its driver: on Debian scripts/prepare.sh tests installs them"
)
SECTIONS = [
    "run",
    "changes",
    "checks",
    "hardening",
    "network",
    "components",
    "tls",
    "certificates",
    "versions",
    "effort",
]
NODES = [f"{role}-{number}" for role in ("controller", "worker") for number in range(3)]


@pytest.fixture(scope="module")
def page(khw: Khw, first_run: object) -> Path:
    assert first_run
    khw.ok("verify", "--wait", "60")
    khw.ok("report", "-o", "report.html")
    return khw.folder / "report.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as it:
        yield it


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_whole_readable_and_asks_nobody_for_anything(page: Path, chromium: Browser, scheme: str) -> None:
    chromium.look(scheme=scheme)
    chromium.open(page)
    assert chromium.ask("return [...document.querySelectorAll('section')].map(s => s.id)") == SECTIONS
    assert chromium.too_pale() == []
    assert chromium.complaints() == []
    assert chromium.requests() == {page.as_uri()}
    dark = chromium.ask("return getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark is (scheme == "dark")


@needs_chromium
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_sticks_out_at_the_side(page: Path, chromium: Browser, width: int) -> None:
    chromium.look(width=width)
    chromium.open(page)
    chromium.ask("for (const d of document.querySelectorAll('details')) d.open = true")
    assert chromium.ask("return document.documentElement.scrollWidth") <= width


@needs_chromium
def test_on_paper_what_is_folded_is_there_and_what_is_for_clicking_is_not(page: Path, chromium: Browser) -> None:
    chromium.open(page)
    chromium.look(media="print")
    assert chromium.ask("return document.querySelector('#changes details:not([open]) table').offsetHeight") > 0
    assert chromium.ask("return getComputedStyle(document.querySelector('nav')).display") == "none"
    pdf = chromium.pdf()
    assert pdf.startswith(b"%PDF-")
    assert 5 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 40


@needs_chromium
def test_every_picture_and_every_scrolling_part_has_a_name(page: Path, chromium: Browser) -> None:
    chromium.look()
    chromium.open(page)
    unnamed = "return [...document.querySelectorAll('svg, [role=region]')].filter(e => !(e.ariaLabel || "
    unnamed += "document.getElementById((e.getAttribute('aria-labelledby') || '').split(' ')[0])?.textContent)).length"
    assert chromium.ask(unnamed) == 0
    assert chromium.ask("return document.querySelectorAll('svg').length") == 4
    assert chromium.ask("return new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size") == chromium.ask(
        "return document.querySelectorAll('[id]').length"
    ), "no id is there twice"


def test_no_secret_of_the_cluster_is_in_it(page: Path, khw: Khw) -> None:
    text = page.read_text()
    home = khw.folder / ".khw" / "kubernetes-the-hard-way"
    assert "PRIVATE KEY" not in text
    secrets = [home / "ssh_key", home / "kubeconfig", *(home / "pki").glob("*-key*")]
    for path in secrets:
        for line in path.read_text().splitlines():
            if len(line) > 30 and not line.startswith("-----"):
                assert line.strip() not in text, path


def test_the_pictures_show_the_machines_that_are_there(khw: Khw, page: Path) -> None:
    assert page.exists()
    for name in ("network", "components", "tls"):
        root = ET.fromstring(khw.ok("diagram", name))  # noqa: S314 - our own
        said = " ".join("".join(element.itertext()) for element in root.iter() if element.tag.endswith("text"))
        assert root.tag.endswith("svg")
        if name == "network":
            assert all(node in said for node in NODES)
            assert "no route" not in said
        elif name == "components":
            assert said.count("✓ active") == 3 * 4 + 3 * 3
    assert khw.ok("diagram", "tls", "-o", "mermaid").startswith("---\ntitle: ")


def test_a_unit_that_is_down_and_a_node_that_is_silent_show(khw: Khw, page: Path) -> None:
    assert page.exists()
    khw.on("worker-1", "sudo systemctl stop kube-proxy")
    try:
        assert "✗ inactive" in khw.ok("diagram", "components")
    finally:
        khw.on("worker-1", "sudo systemctl start kube-proxy")
