from __future__ import annotations

import os
import random
import socket
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

import pytest
from localnode import ME, LocalNode, LocalStore

import khw.converge.compare
from khw.certs.authority import make_authority
from khw.certs.identities import Authority
from khw.converge.apply import converge
from khw.converge.changes import Action, Change
from khw.converge.compare import Touched, spec
from khw.converge.resources import (
    Absent,
    Binary,
    Command,
    Directory,
    File,
    Image,
    Manifest,
    Package,
    Require,
    Resource,
    Unit,
    Wait,
)
from khw.errors import StepError
from khw.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from khw.ssh.client import Agent


@pytest.fixture
def node(tmp_path: Path) -> LocalNode:
    root = tmp_path / "node"
    root.mkdir()
    return LocalNode(root)


@pytest.fixture
def agent(node: LocalNode) -> Iterator[Agent]:
    with node.agent() as agent:
        yield agent


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setattr(khw.converge.compare, "SUPERUSER", ME)
    directory = tmp_path / "artifacts"
    directory.mkdir()
    return LocalStore(directory)


def apply(agent: Agent, store: LocalStore, *resources: Resource, **options: Any) -> list[Change]:
    return converge(agent, resources, cast("Any", store), node="local", **options)


def actions(changes: list[Change]) -> list[str]:
    return [change.action.value for change in changes]


def test_files_and_directories_are_made_once_and_then_left(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    etc = node.root / "etc"
    wanted: tuple[Resource, ...] = (
        Directory(path=str(etc), mode=0o700, owner=ME),
        File(path=str(etc / "a.conf"), content="a = 1\n", mode=0o640, owner=ME),
        File(path=str(etc / "key"), content=Secret("hidden"), mode=0o600, owner=ME),
    )
    assert actions(apply(agent, store, *wanted)) == ["created"] * 3
    assert (etc / "a.conf").read_text() == "a = 1\n"
    assert etc.stat().st_mode & 0o777 == 0o700
    assert (etc / "key").stat().st_mode & 0o777 == 0o600
    trips = agent.round_trips
    assert actions(apply(agent, store, *wanted)) == ["unchanged"] * 3
    assert agent.round_trips == trips + 1, "a run that changes nothing is one exchange"


def test_a_changed_file_comes_with_a_diff_unless_it_is_secret(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    plain, secret = str(node.root / "plain"), str(node.root / "secret")
    apply(
        agent,
        store,
        File(path=plain, content="one\n", owner=ME),
        File(path=secret, content=Secret("x1y2"), owner=ME),
    )
    changes = apply(
        agent,
        store,
        File(path=plain, content="two\n", owner=ME),
        File(path=secret, content=Secret("x3y4"), owner=ME),
    )
    assert actions(changes) == ["updated", "updated"]
    assert "-one\n+two" in changes[0].diff
    assert changes[1].diff == ""
    assert not {"x1y2", "x3y4"} & set(repr(changes).split("'"))
    assert (node.root / "secret").read_text() == "x3y4"


def test_only_a_wrong_mode_is_mended_without_sending_the_content(
    agent: Agent, store: LocalStore, node: LocalNode
) -> None:
    wanted = File(path=str(node.root / "f"), content="x" * 40_000, owner=ME)
    apply(agent, store, wanted)
    (node.root / "f").chmod(0o600)
    before = agent.bytes_sent
    (change,) = apply(agent, store, wanted)
    assert (change.action, change.before, change.after) == (Action.UPDATED, f"mode 0600 {ME}", f"mode 0644 {ME}")
    assert agent.bytes_sent - before < 2000


def test_check_says_what_would_be_done_and_does_nothing(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    path = node.root / "new"
    unit = Unit(name="etcd", content="[Service]\n", inputs=(str(path),))
    apply(agent, store, unit)
    changes = apply(agent, store, File(path=str(path), content="x", owner=ME), unit, check=True)
    assert actions(changes) == ["created", "restarted"]
    assert not path.exists()
    assert len(node.systemctl_calls("restart")) == 0


def test_absent_removes_files_and_whole_directories(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    (node.root / "d/e").mkdir(parents=True)
    (node.root / "d/e/f").touch()
    (node.root / "d/link").symlink_to(node.root / "units")
    changes = apply(agent, store, Absent(path=str(node.root / "d")), Absent(path=str(node.root / "nothing")))
    assert actions(changes) == ["removed", "unchanged"]
    assert not (node.root / "d").exists()
    assert (node.root / "units").is_dir()


@pytest.mark.parametrize("zstd", [True, False])
def test_a_binary_is_streamed_checked_and_sent_only_if_it_differs(
    agent: Agent, store: LocalStore, node: LocalNode, monkeypatch: pytest.MonkeyPatch, *, zstd: bool
) -> None:
    content = random.Random(1).randbytes(30_000_000)  # noqa: S311 - any bytes do
    (store.directory / "kubelet").write_bytes(content)
    if not zstd:
        monkeypatch.setattr(agent, "facts", khw.cluster.model.Facts(zstd=False))
    wanted = Binary(path=str(node.root / "bin/kubelet"), artifact="kubelet")
    taken: list[int] = []
    assert actions(apply(agent, store, wanted, on_bytes=taken.append)) == ["created"]
    assert (node.root / "bin/kubelet").read_bytes() == content
    assert (node.root / "bin/kubelet").stat().st_mode & 0o777 == 0o755
    assert sum(taken) > 29_000_000
    assert len(taken) > 10
    before = agent.bytes_sent
    assert actions(apply(agent, store, wanted)) == ["unchanged"]
    assert agent.bytes_sent - before < 1000
    assert [p.name for p in (node.root / "bin").iterdir() if p.name.startswith(".")] == []


def test_what_is_begun_is_told_before_it_is_done_with_what_is_sent_for_it(
    agent: Agent, store: LocalStore, node: LocalNode
) -> None:
    told: list[tuple[str, str]] = []
    sizes: list[int] = []

    def start(resource: Resource, size: int) -> None:
        told.append(("begun", resource.id))
        sizes.append(size)

    there = File(path=f"{node.root}/there", content="x", owner=ME)
    apply(agent, store, there)
    wanted = (
        File(path=f"{node.root}/a", content="four", owner=ME),
        there,
        File(path=f"{node.root}/b", content="2", owner=ME),
    )
    apply(agent, store, *wanted, on_start=start, on_change=lambda change: told.append(("done", change.resource)))
    a, b = wanted[0].id, wanted[2].id
    assert told == [("begun", a), ("done", a), ("done", there.id), ("begun", b), ("done", b)]
    assert sizes == [4, 1]


def test_what_arrives_wrong_is_never_put_in_place(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    (store.directory / "runc").write_bytes(b"right")
    (store.directory / "other").write_bytes(b"wrong")
    compressed = store.compressed(store.get("other"), "zstd")
    store.compressed = lambda artifact, form: compressed  # type: ignore[method-assign]  # a store that is corrupt
    with pytest.raises(StepError, match=r"binary:.*runc: .*sha256"):
        apply(agent, store, Binary(path=str(node.root / "runc"), artifact="runc"))
    assert not (node.root / "runc").exists()
    assert actions(apply(agent, store, Directory(path=str(node.root / "next"), owner=ME))) == ["created"]


def test_the_digest_of_a_big_file_is_remembered_until_it_changes(
    agent: Agent, store: LocalStore, node: LocalNode
) -> None:
    (store.directory / "etcd").write_bytes(os.urandom(200_000))
    wanted = Binary(path=str(node.root / "etcd"), artifact="etcd")
    apply(agent, store, wanted)
    digests = node.root / "home/digests.json"
    assert str(node.root / "etcd") in digests.read_text()
    assert digests.stat().st_mode & 0o777 == 0o600
    with (node.root / "etcd").open("r+b") as file:
        file.write(b"tampered")
    assert actions(apply(agent, store, wanted)) == ["updated"]


def test_a_unit_starts_and_restarts_when_an_input_changes(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    config = str(node.root / "kubelet.yaml")
    unit = Unit(name="kubelet", content="[Service]\nExecStart=/x\n", inputs=(config,))
    first = apply(agent, store, File(path=config, content="a", owner=ME), unit)
    assert actions(first) == ["created", "created"]
    assert (node.root / "units/kubelet.service").read_text() == unit.content
    assert actions(apply(agent, store, File(path=config, content="a", owner=ME), unit)) == ["unchanged"] * 2
    second = apply(agent, store, File(path=config, content="b", owner=ME), unit)
    assert actions(second) == ["updated", "restarted"]
    assert node.systemctl_calls("start", "restart", "enable") == [
        "enable kubelet.service",
        "start kubelet.service",
        "restart kubelet.service",
    ]


def test_a_run_killed_between_a_file_and_its_restart_is_made_good(
    agent: Agent, store: LocalStore, node: LocalNode
) -> None:
    config = node.root / "config"
    config.write_text("old")
    unit = Unit(name="etcd", content="[Service]\n", inputs=(str(config),))
    apply(agent, store, unit)
    config.write_text("new")  # written by a run that did not live to restart
    assert actions(apply(agent, store, unit)) == ["restarted"]
    assert actions(apply(agent, store, unit)) == ["unchanged"]


def test_an_input_that_is_put_back_as_it_was_restarts_nothing(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    config = File(path=str(node.root / "config"), content="right", owner=ME)
    unit = Unit(name="etcd", content="[Service]\n", inputs=(config.path,))
    apply(agent, store, config, unit)
    (node.root / "config").write_text("tampered")
    assert actions(apply(agent, store, config, unit, check=True)) == ["updated", "unchanged"]
    assert actions(apply(agent, store, config, unit)) == ["updated", "unchanged"]
    assert node.systemctl_calls("restart") == []


def test_a_stopped_unit_is_started(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    unit = Unit(name="etcd", content="[Service]\n")
    apply(agent, store, unit)
    (node.root / "systemd/etcd.service/active").write_text("inactive")
    (change,) = apply(agent, store, unit)
    assert (change.action, change.before, change.after) == (Action.STARTED, "inactive", "active")


def test_units_that_wait_for_each_other_start_without_blocking(
    agent: Agent, store: LocalStore, node: LocalNode
) -> None:
    unit = Unit(name="etcd", content="[Service]\n", block=False)
    (change,) = apply(agent, store, unit)
    assert change.after == "activating"
    assert actions(apply(agent, store, unit)) == ["unchanged"], "it is on its way"
    (node.root / "systemd/etcd.service/sub").write_text("auto-restart")
    assert actions(apply(agent, store, unit)) == ["started"], "it fails again and again"


@pytest.mark.parametrize(("active", "sub"), [("active", "running"), ("activating", "auto-restart")])
def test_a_unit_that_fails_again_and_again_is_restarted_whatever_moment_is_seen(
    agent: Agent, store: LocalStore, node: LocalNode, active: str, sub: str
) -> None:
    config = File(path=str(node.root / "config"), content="right", owner=ME)
    unit = Unit(name="kubelet", content="[Service]\n", inputs=(config.path,))
    apply(agent, store, config, unit)
    better = replace(config, content="better")
    (node.root / "systemd/kubelet.service/active").write_text(active)
    (node.root / "systemd/kubelet.service/sub").write_text(sub)
    assert actions(apply(agent, store, better, unit, check=True)) == ["updated", "restarted"]
    assert actions(apply(agent, store, better, unit)) == ["updated", "restarted"]


def test_several_units_are_read_by_systemd_once(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    apply(agent, store, *(Unit(name=name, content="[Service]\n") for name in ("a", "b", "c")))
    assert node.systemctl_calls("enable") == ["enable a.service b.service c.service"]
    assert node.systemctl_calls("daemon-reload") == [], "enable has it read all units again"
    apply(agent, store, *(Unit(name=name, content="[Service]\nNice=1\n") for name in ("a", "b", "c")))
    assert len(node.systemctl_calls("daemon-reload")) == 1


def test_a_unit_that_fails_names_itself_and_shows_its_journal(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    (node.root / "fails").mkdir()
    (node.root / "fails/etcd.service").touch()
    done: list[Change] = []
    with pytest.raises(StepError) as caught:
        apply(
            agent,
            store,
            Directory(path=str(node.root / "d"), owner=ME),
            Unit(name="etcd", content="[Service]\n"),
            Directory(path=str(node.root / "never"), owner=ME),
            on_change=done.append,
        )
    assert "unit:etcd: etcd.service does not start" in str(caught.value)
    assert "address in use" in caught.value.evidence
    assert "journalctl -u etcd.service" in caught.value.hint
    assert actions(done) == ["created"]
    assert not (node.root / "never").exists()
    (node.root / "fails/etcd.service").unlink()
    assert actions(apply(agent, store, Unit(name="etcd", content="[Service]\n"))) == ["started"]


def test_a_unit_that_does_not_start_because_the_machine_reboots_says_that(
    agent: Agent, store: LocalStore, node: LocalNode
) -> None:
    (node.root / "fails").mkdir()
    for name in ("etcd.service", "reboot"):
        (node.root / "fails" / name).touch()
    with pytest.raises(StepError, match=r"etcd.service does not start: the machine is going down") as caught:
        apply(agent, store, Unit(name="etcd", content="[Service]\n"))
    assert "khw run --failed" in caught.value.hint


def test_a_unit_that_should_not_run_is_stopped(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    apply(agent, store, Unit(name="x", content="[Service]\n"))
    off = Unit(name="x", content="[Service]\n", running=False, enabled=False)
    assert actions(apply(agent, store, off)) == ["updated"]
    assert actions(apply(agent, store, off)) == ["unchanged"]
    assert node.systemctl_calls("stop", "disable") == ["disable x.service", "stop x.service"]


def test_a_command_runs_until_its_test_holds(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    mark = str(node.root / "mark")
    command = Command(
        name="mark", argv=("tee", mark), unless=("test", "-e", mark), stdin=Secret("s3cret"), env=(("A", "1"),)
    )
    assert actions(apply(agent, store, command)) == ["ran"]
    assert (node.root / "mark").read_text() == "s3cret"
    assert actions(apply(agent, store, command)) == ["unchanged"]


def test_a_command_that_changes_nothing_is_a_failure(agent: Agent, store: LocalStore) -> None:
    with pytest.raises(StepError, match="command:idle: the command ended well and changed nothing"):
        apply(agent, store, Command(name="idle", argv=("true",), unless=("false",)))


def test_a_failing_command_shows_its_last_words(agent: Agent, store: LocalStore) -> None:
    loud = ("sh", "-c", "echo no such thing >&2; exit 3")
    with pytest.raises(StepError, match=r"command:loud: .*exit code 3") as caught:
        apply(agent, store, Command(name="loud", argv=loud, unless=("false",)))
    assert caught.value.evidence == "no such thing"


def test_a_command_after_a_change_is_tested_again_at_its_place(
    agent: Agent, store: LocalStore, node: LocalNode
) -> None:
    path = str(node.root / "f")
    command = Command(name="c", argv=("false",), unless=("test", "-e", path))
    assert actions(apply(agent, store, File(path=path, content="", owner=ME), command)) == ["created", "unchanged"]


def test_a_wait_is_fulfilled_by_what_comes_before_it(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    path = str(node.root / "ready")
    wait = Wait(name="ready", argv=("cat", path), expect="yes", timeout=5)
    changes = apply(agent, store, File(path=path, content="yes\n", owner=ME), wait)
    assert actions(changes) == ["created", "unchanged"]


def test_a_wait_that_times_out_says_what_it_saw(agent: Agent, store: LocalStore) -> None:
    wait = Wait(name="etcd ready", argv=("echo", "no"), expect="yes", timeout=0.3, interval=0.1, unit="etcd")
    with pytest.raises(StepError, match=r"wait:etcd ready: not true after 0.3 s") as caught:
        apply(agent, store, wait)
    assert "no" in caught.value.evidence
    assert "etcd.service is inactive" in caught.value.evidence
    assert "address in use" in caught.value.evidence


def test_a_wait_starts_no_command_before_somebody_listens(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    began = node.root / "began"
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        wait = Wait(name="api", argv=("touch", str(began)), listens=server.getsockname()[1], timeout=0.3, interval=0.1)
        with pytest.raises(StepError, match="not true after") as caught:
            apply(agent, store, wait)
        assert "nobody listens on port" in caught.value.evidence
        assert not began.exists()
        server.listen()
        assert actions(apply(agent, store, wait)) == ["unchanged"]
    assert began.exists()


@contextmanager
def saying(folder: Path, *codes: int) -> Iterator[tuple[int, list[str]]]:
    """A server behind TLS: it gives these answers, the last one again and again, and keeps what it was asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(codes[min(len(asked), len(codes)) - 1])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    pair = make_authority(Authority("test", "test", "test"), days=1)
    (folder / "server.pem").write_bytes(pair.certificate + pair.key.reveal())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


def test_a_wait_starts_no_command_while_the_server_itself_says_not_yet(
    agent: Agent, store: LocalStore, node: LocalNode
) -> None:
    looks = node.root / "looks"
    with saying(node.root, 500, 503, 401) as (port, asked):
        wait = Wait(
            name="api",
            argv=("sh", "-c", f"echo look >> {looks}; wc -l < {looks}"),
            expect="2",  # once at the first look, which asks the command alone, and once when the server is well
            listens=port,
            health="/readyz",
            interval=0.01,
            timeout=20,
        )
        assert actions(apply(agent, store, wait)) == ["unchanged"]
        assert asked == ["/readyz"] * 3
    assert looks.read_text().count("look") == 2


def test_a_wait_leaves_the_waiting_to_a_command_that_can(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    """It looks once, then one command waits, until it is through; there is no second look in between."""
    looks, go = node.root / "looks", node.root / "go"
    os.mkfifo(go)
    wait = Wait(
        name="ready",
        argv=("sh", "-c", f"echo look >> {looks}; echo no"),
        expect="yes",
        watch=("sh", "-c", f"cat {go}"),  # until somebody writes into it
        interval=0.01,
        timeout=20,
    )
    with ThreadPoolExecutor(1) as pool:
        applied = pool.submit(apply, agent, store, wait)
        go.write_text("on")  # opening it waits for who reads
        assert actions(applied.result(10)) == ["unchanged"]
    assert looks.read_text() == "look\n"


def test_a_wait_whose_command_does_not_get_through_says_what_is(agent: Agent, store: LocalStore) -> None:
    wait = Wait(name="ready", argv=("echo", "not yet"), expect="yes", watch=("false",), timeout=0.3, interval=0.1)
    with pytest.raises(StepError, match=r"wait:ready: not true after 0.3 s") as caught:
        apply(agent, store, wait)
    assert "not yet" in caught.value.evidence


def test_trailing_waits_run_inside_settle(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    seen: list[str] = []
    path = str(node.root / "f")

    @contextmanager
    def settle() -> Iterator[None]:
        seen.append("settling")
        yield
        seen.append("settled")

    wanted: tuple[Resource, ...] = (
        File(path=path, content="", owner=ME),
        Wait(name="there", argv=("test", "-e", path)),
    )
    apply(agent, store, *wanted, settle=settle, on_change=lambda change: seen.append(change.resource))
    assert seen == [f"file:{path}", "settling", "wait:there", "settled"]
    seen.clear()
    apply(agent, store, *wanted, settle=settle, on_change=lambda change: seen.append(change.resource))
    assert seen == [f"file:{path}", "wait:there"], "nothing to settle"


def test_everything_that_a_node_lacks_is_named_before_anything_is_done(
    agent: Agent, store: LocalStore, node: LocalNode
) -> None:
    lacking = ("sh", "-c", "echo 512 MB; exit 1")
    with pytest.raises(StepError, match="too little memory; no systemd") as caught:
        apply(
            agent,
            store,
            Directory(path=str(node.root / "d"), owner=ME),
            Require(name="memory", argv=lacking, problem="too little memory", hint="give it 2 GB"),
            Require(name="python", argv=("true",), problem="never", hint="never"),
            Require(name="systemd", argv=("false",), problem="no systemd", hint="boot with it"),
        )
    assert "memory: 512 MB" in caught.value.evidence
    assert "give it 2 GB" in caught.value.hint
    assert not (node.root / "d").exists()


def test_images_are_imported_once(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    (store.directory / "image-pause").write_text("registry.k8s.io/pause:3.10")
    image = Image(artifact="image-pause", reference="registry.k8s.io/pause:3.10")
    assert actions(apply(agent, store, image)) == ["created"]
    assert actions(apply(agent, store, image)) == ["unchanged"]
    assert not list((node.root / "home").glob("*.tar"))


def test_images_are_absent_before_containerd_is_there(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    (node.root / "containerd.sock").unlink()
    (store.directory / "image-pause").write_text("p:1")
    assert actions(apply(agent, store, Image(artifact="image-pause", reference="p:1"), check=True)) == ["created"]


def test_manifests_are_applied_if_they_differ(agent: Agent, store: LocalStore) -> None:
    first = Manifest(name="dns", documents="kind: ConfigMap\n", kubeconfig="/k")
    assert actions(apply(agent, store, first)) == ["created"]
    assert actions(apply(agent, store, first)) == ["unchanged"]
    (change,) = apply(agent, store, Manifest(name="dns", documents="kind: Other\n", kubeconfig="/k"))
    assert change.action is Action.UPDATED
    assert "-kind: ConfigMap" in change.diff


def test_a_package_that_cannot_be_had_is_named(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    node.tool("dpkg", "exit 0")
    node.tool("apt-get", "echo 'E: Unable to locate package socat-ng' >&2; exit 100")
    with pytest.raises(StepError, match="the package socat-ng") as caught:
        apply(agent, store, Package(name="socat-ng", provides="socat-of-no-machine"))
    assert "Unable to locate" in caught.value.evidence
    assert "apt-get install socat-ng" in caught.value.hint


def test_a_package_is_installed_if_its_command_is_missing(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    node.tool("dpkg", "exit 0")
    node.tool("apt-get", f"cp {node.root}/bin/dpkg {node.root}/bin/conntrack-of-no-machine")
    package = Package(name="conntrack", provides="conntrack-of-no-machine sh")
    assert actions(apply(agent, store, package)) == ["created"]
    assert actions(apply(agent, store, package)) == ["unchanged"]


def test_dpkg_asks_nobody_about_a_configuration_that_is_there_before_its_package(
    agent: Agent, store: LocalStore, node: LocalNode
) -> None:
    """Without a terminal its question ends the installation: 'end of file on stdin at conffile prompt'."""
    node.tool("dpkg", "exit 0")
    program = node.root / "bin" / "haproxy-of-no-machine"
    node.tool("apt-get", f'echo "$@" >>{node.root}/asked; cp {node.root}/bin/dpkg {program}')
    apply(agent, store, Package(name="haproxy", provides=program.name))
    assert "--option=Dpkg::Options::=--force-confold" in (node.root / "asked").read_text()


def test_a_full_or_read_only_place_is_an_error_that_names_it(agent: Agent, store: LocalStore) -> None:
    with pytest.raises(StepError, match="file:/proc/khw/x"):
        apply(agent, store, File(path="/proc/khw/x", content="x", owner=ME))


def planned_and_done(agent: Agent, store: LocalStore, *phases: Sequence[Resource]) -> tuple[list[Any], list[Any]]:
    """Plan all phases of a node, then do them: (phase, resource, action) of each."""

    def rows(**options: Any) -> list[Any]:
        return [
            (index, change.resource, change.action.value)
            for index, phase in enumerate(phases)
            for change in apply(agent, store, *phase, **options)
            if change.changed
        ]

    return rows(check=True, foreseen=Touched()), rows()


def test_a_plan_knows_what_earlier_phases_will_have_changed(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    folder = Directory(path=str(node.root / "etc"), mode=0o750, owner=ME)
    certificate = File(path=str(node.root / "etc/node.pem"), content="one", owner=ME)
    unit = Unit(name="kubelet", content="[Service]\n", inputs=(certificate.path,))
    phases = ((folder, certificate), (folder, unit))
    plan, done = planned_and_done(agent, store, *phases)
    assert plan == done == [(0, folder.id, "created"), (0, certificate.id, "created"), (1, unit.id, "created")]
    again = File(path=certificate.path, content="two", owner=ME)
    plan, done = planned_and_done(agent, store, (folder, again), (folder, unit))
    assert plan == done == [(0, certificate.id, "updated"), (1, unit.id, "restarted")]
    assert planned_and_done(agent, store, (folder, again), (folder, unit)) == ([], [])


def test_a_plan_knows_that_a_file_brings_its_directory(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    first = (File(path=str(node.root / "a/b/c"), content="x", owner=ME),)
    second = (
        Directory(path=str(node.root / "a"), owner=ME),
        Directory(path=str(node.root / "a/b"), mode=0o700, owner=ME),
    )
    plan, done = planned_and_done(agent, store, first, second)
    assert plan == done == [(0, first[0].id, "created"), (1, second[1].id, "updated")]


def test_a_plan_shows_all_of_a_new_file_and_of_a_new_unit(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    config, unit = File(path=str(node.root / "c"), content="a: 1\n", owner=ME), Unit(name="x", content="[Service]\n")
    file, service = apply(agent, store, config, unit, check=True)
    assert "+a: 1" in file.diff.splitlines()
    assert "+[Service]" in service.diff.splitlines()


def test_a_plan_leaves_nothing_on_the_node(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    big = node.root / "big"
    big.write_bytes(os.urandom(100_000))
    (store.directory / "etcd").write_bytes(b"another")
    wanted = (Binary(path=str(big), artifact="etcd"), Unit(name="x", content="[Service]\n", inputs=(str(big),)))
    before = {path: path.stat().st_mtime_ns for path in node.root.rglob("*") if path.name != "systemctl.log"}
    apply(agent, store, *wanted, check=True)
    after = {path: path.stat().st_mtime_ns for path in node.root.rglob("*") if path.name != "systemctl.log"}
    before.pop(node.root, None)
    after.pop(node.root, None)
    assert after == before
    assert not (node.root / "home").exists()


def test_a_plan_gets_no_artifact_and_says_what_it_cannot_know(
    agent: Agent, store: LocalStore, node: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    (node.root / "there").write_text("old")
    (node.root / "there").chmod(0o755)
    monkeypatch.setattr(LocalStore, "get", None)
    monkeypatch.setattr(LocalStore, "digest", lambda *_, **__: "")
    new, old = apply(
        agent,
        store,
        Binary(path=str(node.root / "new"), artifact="etcd"),
        Binary(path=str(node.root / "there"), artifact="etcd"),
        check=True,
    )
    assert (new.action, new.certain) == (Action.CREATED, True)
    assert (old.action, old.certain) == (Action.UPDATED, False)


def test_a_restart_for_an_artifact_that_is_not_there_yet_is_not_certain_either(
    agent: Agent, store: LocalStore, node: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store.directory / "etcd").write_bytes(b"etcd")
    binary = Binary(path=str(node.root / "etcd"), artifact="etcd")
    config = File(path=str(node.root / "config"), content="1", owner=ME)
    unit = Unit(name="etcd", content="[Service]\n", inputs=(binary.path, config.path))
    apply(agent, store, binary, config, unit)
    monkeypatch.setattr(LocalStore, "digest", lambda *_, **__: "")
    assert [change.certain for change in apply(agent, store, binary, config, unit, check=True)] == [False, True, False]
    config = File(path=config.path, content="2", owner=ME)
    assert [change.certain for change in apply(agent, store, binary, config, unit, check=True)] == [False, True, True]


def test_of_a_masked_secret_the_node_sends_no_secret(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    path = str(node.root / "kubeconfig")
    wanted = {"owner": ME, "path": path, "masked": True, "mode": 0o600}
    apply(agent, store, File(content=Secret("server: a\nclient-key-data: c2VjcmV0\n"), **cast("Any", wanted)))
    (state,) = agent.probe([spec(File(content=Secret("other"), **cast("Any", wanted)), cast("Any", None))])
    assert "c2VjcmV0" not in state["text"]
    change = File(content=Secret("server: b\nclient-key-data: b3RoZXI=\n"), **cast("Any", wanted))
    (planned,) = apply(agent, store, change, check=True)
    assert {"-server: a", "+server: b"} <= set(planned.diff.splitlines())
    assert "+client-key-data: (another, masked)" in planned.diff.splitlines()
    assert "c2VjcmV0" not in planned.diff
    assert "b3RoZXI" not in planned.diff


def test_a_secret_that_is_not_masked_is_not_read_at_all(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    key = File(path=str(node.root / "key"), content=Secret("one"), owner=ME)
    apply(agent, store, key)
    (state,) = agent.probe([spec(File(path=key.path, content=Secret("two"), owner=ME), cast("Any", None))])
    assert "text" not in state


def test_objects_that_no_api_server_can_compare_yet_are_not_certain(
    agent: Agent, store: LocalStore, node: LocalNode
) -> None:
    manifest = Manifest(name="coredns", documents="kind: Service\n", kubeconfig="/k")
    node.tool("kubectl", "echo refused >&2; exit 7")
    (change,) = apply(agent, store, manifest, check=True)
    assert (change.action, change.certain) == (Action.CREATED, False)
    assert "+kind: Service" in change.diff.splitlines()


def test_images_of_a_stopped_containerd_are_taken_to_be_as_they_were_imported(
    agent: Agent, store: LocalStore, node: LocalNode
) -> None:
    (store.directory / "image-pause").write_text("pause:1")
    image = Image(artifact="image-pause", reference="pause:1")
    apply(agent, store, image)
    (node.root / "containerd.sock").unlink()
    assert actions(apply(agent, store, image, check=True)) == ["unchanged"]
    (node.root / "containerd.sock").touch()
    assert actions(apply(agent, store, image)) == ["unchanged"]


def restarted_by_somebody(node: LocalNode, unit: str) -> None:
    subprocess.run(
        [node.root / "bin/systemctl", "restart", unit],
        check=True,
        env={"FAKE": str(node.root), "PATH": os.environ["PATH"]},
    )


def test_a_unit_put_back_as_it_was_started_is_not_restarted(agent: Agent, store: LocalStore, node: LocalNode) -> None:
    unit = Unit(name="etcd", content="[Service]\n")
    apply(agent, store, unit)
    (node.root / "units/etcd.service").write_text("[Service]\n# by hand\n")
    plan, done = planned_and_done(agent, store, [unit])
    assert plan == done == [(0, unit.id, "updated")]


def test_a_unit_that_somebody_restarted_with_another_file_or_input_is_restarted(
    agent: Agent, store: LocalStore, node: LocalNode
) -> None:
    config = File(path=str(node.root / "config"), content="right", owner=ME)
    unit = Unit(name="etcd", content="[Service]\n", inputs=(config.path,))
    apply(agent, store, config, unit)
    (node.root / "units/etcd.service").write_text("[Service]\n# by hand\n")
    restarted_by_somebody(node, "etcd.service")
    plan, done = planned_and_done(agent, store, [config], [unit])
    assert plan == done == [(1, unit.id, "restarted")]
    (node.root / "config").write_text("wrong")
    restarted_by_somebody(node, "etcd.service")
    plan, done = planned_and_done(agent, store, [config], [unit])
    assert plan == done == [(0, config.id, "updated"), (1, unit.id, "restarted")]
    assert planned_and_done(agent, store, [config], [unit]) == ([], [])


def test_a_unit_that_came_back_by_itself_with_the_same_inputs_is_left(
    agent: Agent, store: LocalStore, node: LocalNode
) -> None:
    config = File(path=str(node.root / "config"), content="right", owner=ME)
    unit = Unit(name="etcd", content="[Service]\n", inputs=(config.path,))
    apply(agent, store, config, unit)
    restarted_by_somebody(node, "etcd.service")
    assert planned_and_done(agent, store, [config], [unit]) == ([], [])


@pytest.mark.parametrize("seed", range(5))
def test_what_a_plan_says_of_any_drift_is_what_is_then_done(
    agent: Agent, store: LocalStore, node: LocalNode, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - drifts, not secrets
    etc = node.root / "etc"

    def phases() -> list[list[Resource]]:
        files = [File(path=str(etc / f"d{i % 2}/f{i}"), content=contents[i], mode=modes[i], owner=ME) for i in range(6)]
        units = [Unit(name=f"u{i}", content=texts[i], inputs=(files[i].path, files[i + 3].path)) for i in range(3)]
        folders = [Directory(path=str(etc / f"d{i}"), owner=ME) for i in range(2)]
        return [[folders[0], *files[:3]], [*folders, *files[3:], units[0]], [Absent(path=str(etc / "x")), *units[1:]]]

    def drift() -> None:  # noqa: PLR0912 - one branch a way to drift
        for i in range(6):
            path = etc / f"d{i % 2}/f{i}"
            match chance.randrange(6):
                case 0:
                    path.unlink(missing_ok=True)
                case 1 if path.exists():
                    path.write_text(chance.choice("xyz"))
                case 2 if path.exists():
                    path.chmod(0o600)
                case 3:
                    contents[i] = chance.choice("abc")
                case 4:
                    modes[i] = chance.choice([0o644, 0o640])
        for i in range(3):
            path = node.root / f"units/u{i}.service"
            state = node.root / f"systemd/u{i}.service/active"
            match chance.randrange(7):
                case 0:
                    path.unlink(missing_ok=True)
                case 1 if path.exists():
                    path.write_text("[Service]\n# by hand\n")
                case 2 if state.exists():
                    state.write_text("inactive")
                case 3:
                    texts[i] = f"[Service]\n# {chance.choice('abc')}\n"
                case 4 if state.exists():
                    restarted_by_somebody(node, f"u{i}.service")
        if chance.random() < 0.3:
            etc.mkdir(exist_ok=True)
            (etc / "x").write_text("stray")

    contents, modes, texts = ["a"] * 6, [0o644] * 6, ["[Service]\n"] * 3
    for _ in range(4):
        plan, done = planned_and_done(agent, store, *phases())
        assert plan == done
        assert planned_and_done(agent, store, *phases()) == ([], [])
        drift()


def test_what_programs_ask_of_others_is_asked_at_once(agent: Agent, tmp_path: Path) -> None:
    """Each of the two is true only while the other one is asked."""
    one, two = tmp_path / "one", tmp_path / "two"
    for pipe in (one, two):
        os.mkfifo(pipe)  # opening one end waits for who opens the other
    asked = (f"echo > {one}; cat {two}", f"cat {one}; echo > {two}")
    waits = [Wait(name=what, argv=("sh", "-c", what), timeout=5) for what in asked]
    states = agent.probe([spec(wait, cast("Any", None)) for wait in waits])
    assert [state["true"] for state in states] == [True, True]
