"""What a host's next phases ask for is looked at with the first, and counts until something is changed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from khw.cluster.model import Node
from khw.cluster.spec import Role, Spec
from khw.converge.resources import File, Resource
from khw.engine import ahead
from khw.engine.ahead import LookAhead, Still
from khw.engine.phases import ON_NODES, Phase
from khw.errors import PkiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NODE = Node(name="controller-0", role=Role.CONTROLLER, internal_ip="10.240.0.10")


class Machine:
    """A node on which every path is what it was named at the last probe."""

    facts = SimpleNamespace(architecture="amd64", zstd=True)

    def __init__(self) -> None:
        self.probes: list[list[str]] = []

    def probe(self, specs: Sequence[Mapping[str, Any]], *, record: bool = True) -> list[dict[str, Any]]:
        self.probes.append([spec["path"] for spec in specs])
        return [{"kind": "file", "seen": f"{spec['path']} at probe {len(self.probes)}"} for spec in specs]


def phase(name: str, *, files: int = 1, once: bool = False, error: Exception | None = None) -> Phase:
    def task(_node: Any, _cluster: Any, _pki: Any) -> Iterator[Resource]:
        if error:
            raise error
        yield from (File(path=f"/{name}/{number}", content=name) for number in range(files))

    return Phase(name=name, chapter=1, title=name, roles=ON_NODES, task=task, once=once)


class Host:
    """One lane: takes its phases as the engine does."""

    def __init__(self, *phases: Phase, new: bool = False) -> None:
        run = SimpleNamespace(
            cluster=SimpleNamespace(may_bootstrap=new), pki=None, spec=Spec(), store=None, check=False
        )
        self.machine = Machine()
        self.still = Still()
        self.ahead = LookAhead(cast("Any", run), self.still, phases)
        self.phases = {row.name: row for row in phases}

    def take(self, name: str) -> list[str]:
        row = self.phases[name]
        resources = self.ahead.resources(row, NODE)
        looked = self.ahead.look(row, cast("Any", self.machine), NODE, resources)
        assert [spec["path"] for spec in looked.specs] == [cast("File", r).path for r in resources]
        return [state["seen"] for state in looked.states]


def test_all_phases_are_one_exchange_and_each_gets_its_own() -> None:
    host = Host(phase("a"), phase("b", files=2), phase("c"))
    assert host.take("a") == ["/a/0 at probe 1"]
    assert host.take("b") == ["/b/0 at probe 1", "/b/1 at probe 1"]
    assert host.take("c") == ["/c/0 at probe 1"]
    assert host.machine.probes == [["/a/0", "/b/0", "/b/1", "/c/0"]]


def test_once_anything_was_changed_every_phase_looks_for_itself() -> None:
    host = Host(phase("a"), phase("b"), phase("c"))
    host.take("a")
    host.still.holds = False
    assert host.take("b") == ["/b/0 at probe 2"]
    assert host.take("c") == ["/c/0 at probe 3"]
    assert host.machine.probes[1:] == [["/b/0"], ["/c/0"]]


def test_what_one_host_does_for_all_is_not_asked_before_it_is_that_hosts() -> None:
    host = Host(phase("a"), phase("rbac", once=True), phase("dns", once=True))
    host.take("a")
    assert host.machine.probes == [["/a/0"]]
    host.take("rbac")
    assert host.take("dns") == ["/dns/0 at probe 2"]
    assert host.machine.probes[1:] == [["/rbac/0", "/dns/0"]]


def test_where_a_cluster_is_new_nothing_is_asked_ahead() -> None:
    host = Host(phase("a"), phase("b"), new=True)
    host.take("a")
    assert host.machine.probes == [["/a/0"]]


def test_what_cannot_be_asked_for_yet_is_told_when_its_turn_comes() -> None:
    host = Host(phase("a"), phase("b", error=PkiError("a key is lost")), phase("c"))
    host.take("a")
    assert host.machine.probes == [["/a/0"]]
    with pytest.raises(PkiError, match="a key is lost"):
        host.take("b")


def test_a_look_of_long_ago_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(phase("a"), phase("b"))
    host.take("a")
    monkeypatch.setattr(ahead, "FRESH", -1.0)
    assert host.take("b") == ["/b/0 at probe 2"]


def test_a_look_counts_from_its_answer_however_long_that_took(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(phase("a"), phase("b"))
    clock = [0.0]
    monkeypatch.setattr(ahead, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    probe = host.machine.probe

    def slow(specs: Sequence[Mapping[str, Any]], *, record: bool = True) -> list[dict[str, Any]]:
        clock[0] += 2 * ahead.FRESH  # a wait in it that asked an API server which does not answer
        return probe(specs, record=record)

    monkeypatch.setattr(host.machine, "probe", slow)
    host.take("a")
    assert host.take("b") == ["/b/0 at probe 1"]
