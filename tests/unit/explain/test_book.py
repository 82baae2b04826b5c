"""Nothing that khw does is without its what, why and what breaks: held against the tasks, the table and the phases."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from fakes import cluster
from ruamel.yaml import YAML

from khw.certs.identities import AUTHORITIES, identities
from khw.cluster.spec import Proxy, Role, Spec, Static, StaticNode
from khw.converge.resources import Absent, Binary, Directory, File, Manifest, Unit
from khw.engine.phases import PHASES
from khw.explain import book
from khw.explain.book import Entry
from khw.flags.rendered import Rendered, render, specimens
from khw.flags.unitfile import commands, flag_names

CLUSTER = cluster(Spec(proxy=Proxy(mode="nftables")))
CONFIGURED = {
    "/var/lib/kubelet/kubelet-config.yaml": "kubelet",
    "/var/lib/kube-proxy/kube-proxy-config.yaml": "kube-proxy",
    "/etc/kubernetes/config/kube-scheduler.yaml": "kube-scheduler",
    "/etc/containerd/config.toml": "containerd",
    "/etc/cni/net.d/10-bridge.conf": "containerd",
    "/etc/cni/net.d/99-loopback.conf": "containerd",
}


OWN = cluster(
    Spec(
        provider="static",
        static=Static(
            api_address="192.0.2.100",
            balancer="haproxy",
            nodes=(
                StaticNode(
                    name="c",
                    role=Role.CONTROLLER,
                    address=IPv4Address("192.0.2.10"),
                    pod_cidr=IPv4Network("10.200.0.0/24"),
                ),
            ),
        ),
    ),
    api_address="192.0.2.100",
)


@cache
def rendered() -> tuple[Rendered, ...]:
    return tuple(one for each in (CLUSTER, OWN) for one in render(PHASES, each, specimens(each)))


def flags() -> set[tuple[str, str]]:
    units = {unit.name: unit for one in rendered() for unit in one.resources if isinstance(unit, Unit)}
    return {
        (name.removesuffix(".service"), flag)
        for name, unit in units.items()
        for argv in commands(unit.content)
        if argv[0].endswith(f"/{name.removesuffix('.service')}")
        for flag in flag_names(argv)
    }


def paths() -> set[str]:
    found: set[str] = set()
    for one in rendered():
        for resource in one.resources:
            if isinstance(resource, Binary | File | Directory | Absent):
                found.add(resource.path)
            elif isinstance(resource, Unit):
                found.add(f"/etc/systemd/system/{resource.name}")
            elif isinstance(resource, Manifest):
                found.add(resource.name)
    return found


def fields() -> set[tuple[str, str]]:
    return {
        (CONFIGURED[path], name)
        for one in rendered()
        for path, text in one.files.items()
        if path in CONFIGURED
        for name in _names(_load(path, text))
    }


def _load(path: str, text: str) -> Any:
    if path.endswith(".toml"):
        return tomllib.loads(text)
    return YAML(typ="safe").load(text) if path.endswith(".yaml") else json.loads(text)


def _names(tree: Any) -> Iterator[str]:
    """Yield the fields that say something: no plugin's name, none that every file of the kind has."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if not (name in {"apiVersion", "kind", "plugins", "runtimes", "runc", "options", "cni", "containerd"}
                    or name.startswith("io.containerd") or name == "pinned_images"):  # fmt: skip
                yield name
            yield from _names(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _names(value)


def whole(entry: Entry | None, what: object) -> None:
    assert entry is not None, f"khw/explain/book says nothing of {what}"
    for name in ("what", "why", "breaks", "source"):
        text = getattr(entry, name)
        assert text, f"{what} has no {name!r} in khw/explain/book"
        assert text == text.strip()
    assert 1 <= entry.chapter <= 14, what


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
def test_every_phase_has_its_texts(phase: Any) -> None:
    entry = book.phase_entry(phase.name)
    assert entry is not None, f"khw/explain/book says nothing of {phase.name}"
    assert entry.what
    assert entry.why
    assert entry.breaks
    assert entry.source


def test_every_flag_of_every_unit_has_its_texts() -> None:
    assert len(flags()) > 100
    for component, flag in sorted(flags()):
        whole(book.flag_entry(component, flag), f"--{flag} of {component}")


def test_every_file_that_a_task_writes_has_its_texts() -> None:
    assert len(paths()) > 50
    for path in sorted(paths()):
        whole(book.file_entry(path), path)


def test_every_field_of_a_configuration_has_its_texts() -> None:
    assert ("kubelet", "clusterDNS") in fields()
    for component, field in sorted(fields()):
        whole(book.field_entry(component, field), f"{field} of {component}")


def options() -> set[str]:
    units = [unit for one in rendered() for unit in one.resources if isinstance(unit, Unit)]
    return {name for unit in units for name in re.findall(r"^([A-Za-z]+)=", unit.content, re.MULTILINE)}


def test_every_option_of_every_unit_has_its_texts() -> None:
    assert len(options()) > 40
    for option in sorted(options()):
        whole(book.option_entry(option), option)


def test_every_certificate_has_its_texts() -> None:
    names = [f"{authority.name}-ca" for authority in AUTHORITIES]
    names += [identity.name for identity in identities(CLUSTER)]
    for name in names:
        whole(book.certificate_entry(name), name)


def test_nothing_is_said_of_what_is_not_there() -> None:
    """A text outlives a flag easily: then it is in the way."""
    used = {book_of for names in book.FLAGS.values() for book_of in names}
    for name in sorted(used):
        components = [component for component, books in book.FLAGS.items() if name in books]
        for flag in book.chapter_of(name):
            assert any((component, flag) in flags() for component in components), f"--{flag} in {name}.toml"
        for field in book.chapter_of(name, "fields"):
            assert (name, field) in fields(), f"{field} in {name}.toml"
    assert set(book.chapter_of("systemd")) == options()
    for path in book.chapter_of("files"):
        assert any(book.file_entry(known) is book.chapter_of("files")[path] for known in paths()), path
    assert set(book.chapter_of("phases")) == {phase.name for phase in PHASES}


def test_a_flag_without_texts_is_noticed() -> None:
    assert book.flag_entry("etcd", "no-such-flag") is None
    with pytest.raises(AssertionError, match="says nothing of --no-such-flag"):
        whole(book.flag_entry("etcd", "no-such-flag"), "--no-such-flag of etcd")
