"""The pictures: what is in them, that nothing lies on anything else, and that they are well-formed."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from observations import observed

from khw import diagrams
from khw.cluster.edges import edges
from khw.diagrams import components, network, tls
from khw.diagrams.layout import places
from khw.diagrams.picture import Kind, Line

if TYPE_CHECKING:
    from khw.cluster.observed import Observed
    from khw.diagrams import Name
    from khw.diagrams.layout import Rect

MODULES = {"network": network, "components": components, "tls": tls}
SIZES = [
    observed(),
    observed(workers=0),
    observed(workers=1),
    observed(workers=11),
    observed(private=True),
    observed(etcd=3),
]


@pytest.mark.parametrize("name", diagrams.NAMES)
@pytest.mark.parametrize("seen", SIZES, ids=["3", "0", "1", "11", "private", "etcd apart"])
def test_every_box_has_its_place_within_its_parent_and_on_no_other(name: Name, seen: Observed) -> None:
    module = MODULES[name]
    picture = module.picture(seen)
    where, wide, high = places(picture, module.arrangement(seen))
    assert set(where) == {box.id for box in picture.boxes}
    for box in picture.boxes:
        outer = where[box.parent] if box.parent else None
        mine = where[box.id]
        assert mine.x >= 0
        assert mine.right <= wide
        assert mine.bottom <= high
        if outer:
            assert outer.x <= mine.x, box.id
            assert mine.right <= outer.right + 0.01, box.id
            assert outer.y <= mine.y, box.id
            assert mine.bottom <= outer.bottom + 0.01, box.id
    for a, b in combinations(picture.boxes, 2):
        if a.parent == b.parent:
            assert not overlap(where[a.id], where[b.id]), f"{a.id} lies on {b.id}"


def overlap(a: Rect, b: Rect) -> bool:
    return a.x < b.right and b.x < a.right and a.y < b.bottom and b.y < a.bottom


@pytest.mark.parametrize("name", diagrams.NAMES)
def test_it_is_well_formed_has_a_name_and_asks_for_no_file(name: Name) -> None:
    text = diagrams.draw(name, observed())
    root = ET.fromstring(text)  # noqa: S314 - our own
    named = root.attrib["aria-labelledby"].split()
    told = {element.attrib["id"]: element.text for element in root if element.attrib.get("id") in named}
    assert all(told[identity] for identity in named)
    assert not re.findall(r"(?:href|src|url)\s*[=(]\s*[\"']?(?!#)", text)


@pytest.mark.parametrize("name", diagrams.NAMES)
def test_what_comes_from_outside_is_escaped(name: Name) -> None:
    seen = observed()
    bad = tuple(replace(node, unreachable='<script>"&') for node in seen.cluster.nodes)
    silent = {node.name: '<script>"&' for node in bad}
    seen = replace(seen, cluster=replace(seen.cluster, nodes=bad), silent=silent)
    assert "<script>" not in diagrams.draw(name, seen)
    assert "<script>" not in diagrams.draw(name, seen, "mermaid")


@pytest.mark.parametrize("name", diagrams.NAMES)
def test_mermaid_has_every_box_once_and_every_link(name: Name) -> None:
    picture = MODULES[name].picture(observed())
    text = diagrams.draw(name, observed(), "mermaid")
    declared = re.findall(r"^ +(?:subgraph )?(n\d+)\[", text, re.MULTILINE)
    assert sorted(declared) == sorted(f"n{index}" for index in range(len(picture.boxes)))
    assert len(re.findall(r"-->|-\.->|==>", text)) == len(picture.links)
    assert text.count("subgraph ") == text.count("\n    end") + len(re.findall(r"\n {8,}end", text))


def test_a_worker_whose_route_is_missing_is_seen_at_once() -> None:
    picture = network.picture(observed(routes=False))
    assert all(picture.box(f"pods worker-{n}").kind is Kind.FAILED for n in range(3))
    assert [link.label for link in picture.links if link.kind is Line.ROUTE] == ["no route"] * 3


def test_a_unit_that_is_down_and_a_node_that_is_silent_are_told_in_words() -> None:
    seen = observed()
    units = {**seen.units, "worker-0": {**seen.units["worker-0"], "kubelet": "failed"}}
    units.pop("worker-1")
    picture = components.picture(replace(seen, units=units, silent={"worker-1": "no route to host"}))
    down = picture.box("worker-0 kubelet")
    assert (down.kind, down.lines[0].split(",")[0]) == (Kind.FAILED, "✗ failed")
    assert "does not answer" in picture.box("worker-1").lines
    assert picture.box("worker-1 kubelet").lines[0].startswith("? unknown")


def test_every_connection_of_the_table_is_in_the_tls_picture() -> None:
    seen = observed()
    rows = tls.talks(seen)
    assert sum(row.count for row in rows) == len(edges(seen.cluster))
    picture = tls.picture(seen)
    assert [link.number for link in picture.links] == [row.number for row in rows]
    assert {link.source for link in picture.links} <= {box.id for box in picture.boxes}
    assert {link.target for link in picture.links} <= {box.id for box in picture.boxes}
    text = diagrams.draw("tls", seen)
    assert all(f">{row.number}</text>" in text for row in rows)
    assert text.count("shows ") >= len(rows), "the legend tells each number"


def test_etcd_on_machines_of_its_own_stands_beside_the_controllers() -> None:
    seen = observed(etcd=3)
    shown = tls.picture(seen)
    assert (shown.box("etcd").parent, shown.box("kube-apiserver").parent) == ("members", "controllers")
    assert shown.box("members").title == "each of 3 etcd machines"
    assert components.picture(seen).box("etcd-1 etcd").parent == "etcd-1"
    assert "etcd-2" in {box.id for box in network.picture(seen).boxes}
    assert all(box.id != "members" for box in tls.picture(observed()).boxes)


def test_certificates_of_several_are_told_by_what_they_have_in_common() -> None:
    shown = {row.server_shows for row in tls.talks(observed())}
    assert {"etcd-NAME", "kubelet-NAME", "kubernetes"} <= shown


def test_who_may_come_in_is_told_rule_by_rule_and_nothing_is_where_nothing_is_known() -> None:
    lines = network.picture(observed()).box("firewall").lines
    assert lines == (
        "allow-internal: tcp; udp; icmp from 10.0.0.0/8",
        "allow-external: tcp 22, 6443 from 203.0.113.7/32",
        "allow-api: tcp 6443 from 192.0.2.0/24, only controllers",
        "theirs: deny all to 0.0.0.0/0",
    )
    many = replace(observed().firewall[0], others="192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4")
    (line,) = network.picture(replace(observed(), firewall=(many,))).box("firewall").lines
    assert line.endswith("from 192.0.2.1, 192.0.2.2 and 2 more")
    bare = network.picture(replace(observed(), firewall=()))
    assert "firewall" not in {box.id for box in bare.boxes}


def test_private_machines_have_a_bastion_and_nat_in_the_picture_and_in_words() -> None:
    seen = observed(private=True)
    picture = network.picture(seen)
    assert picture.box("bastion").lines[0] == "outside 203.0.113.9"
    assert picture.box("nat").lines[0] == "outside 203.0.113.10"
    assert ("operator", "bastion") in {(link.source, link.target) for link in picture.links}
    assert "no external address" in " ".join(picture.box("worker-0").lines)
    assert "The bastion at 203.0.113.9 leads SSH to them, Cloud NAT leads them out." in picture.description
    assert {"bastion", "nat"}.isdisjoint(box.id for box in network.picture(observed()).boxes)
