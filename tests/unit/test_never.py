"""Things that must never happen: a lost key is made anew, a second cluster is started, a key is seen by others."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from fakes import cluster

from khw.agent import paths
from khw.agent.node import Node as AgentNode
from khw.agent.node import Places
from khw.certs.pki import load_or_issue
from khw.cluster.workspace import Workspace
from khw.converge.changes import Action, Change
from khw.converge.compare import content_bytes, spec
from khw.converge.resources import Command, File, Unit
from khw.engine import operator
from khw.engine.operator import Run
from khw.errors import PkiError
from khw.files import write_private
from khw.tasks import certificates, control_plane, encryption, etcd, kubeconfigs, workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.certs.pki import Pki
    from khw.converge.resources import Resource

CLUSTER = cluster()
TASKS = (
    certificates.resources,
    kubeconfigs.resources,
    encryption.resources,
    etcd.resources,
    control_plane.resources,
    control_plane.rbac,
    workers.prepare,
    workers.resources,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    it = Workspace.beside(tmp_path / "khw.yaml", "test")
    it.prepare()
    return it


def run(workspace: Workspace, *, check: bool = False, made: tuple[str, ...] = ()) -> Run:
    changes = [Change(resource=f"instance:{name}", action=Action.CREATED) for name in made]
    provider = SimpleNamespace(discover=lambda: CLUSTER, ensure_compute=lambda check: changes)
    return Run(
        spec=CLUSTER.spec,
        workspace=workspace,
        provider=cast("Any", provider),
        store=cast("Any", None),
        check=check,
    )


# -- a lost local key is never made anew ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lost",
    [
        "encryption-key",
        "kubernetes-ca-key.pem",
        "etcd-ca.pem",
        "front-proxy-ca-key.pem",
        "service-accounts-key.pem",
        "*etcd*",
        "*",
    ],
)
def test_a_lost_key_stops_every_later_run_and_is_named(workspace: Workspace, lost: str) -> None:
    assert run(workspace).pki.changes
    gone = list(workspace.pki.glob(lost))
    for path in gone:
        path.unlink()
    left = {path: path.read_bytes() for path in workspace.pki.iterdir()}
    for check in (False, True):
        with pytest.raises(PkiError, match="lost") as caught:
            _ = run(workspace, check=check).pki
        assert any(str(path) in caught.value.message for path in gone)
        assert "backup" in caught.value.hint
    assert {path: path.read_bytes() for path in workspace.pki.iterdir()} == left


def test_the_loss_of_the_whole_directory_is_a_loss(workspace: Workspace) -> None:
    _ = run(workspace).pki
    for path in workspace.pki.iterdir():
        path.unlink()
    workspace.pki.rmdir()
    with pytest.raises(PkiError, match="lost"):
        _ = run(workspace).pki
    assert not workspace.pki.exists()


def test_what_was_given_up_is_made_anew(workspace: Workspace) -> None:
    _ = run(workspace).pki
    for path in workspace.pki.iterdir():
        path.unlink()
    operator.give_up(workspace)
    assert run(workspace).pki.changes


# -- a second cluster is never bootstrapped ---------------------------------------------------------------------


def test_etcd_may_be_started_anew_until_it_was_whole_and_never_again(workspace: Workspace) -> None:
    first = run(workspace)
    assert first.pki
    assert first.cluster.may_bootstrap
    assert run(workspace).cluster.may_bootstrap  # a run that was cut off before etcd was whole
    operator.etcd_lives(first)
    assert not run(workspace).cluster.may_bootstrap


def test_a_lost_note_is_a_no(workspace: Workspace) -> None:
    load_or_issue(workspace.pki, CLUSTER)  # a workspace from before the note, or from a backup
    assert not run(workspace).cluster.may_bootstrap


def test_a_plan_leaves_no_note(workspace: Workspace) -> None:
    plan = run(workspace, check=True)
    assert plan.cluster.may_bootstrap
    assert plan.pki
    assert not workspace.bootstrap.exists()
    assert not workspace.issued.exists()


def test_one_machine_made_again_is_no_new_cluster(workspace: Workspace) -> None:
    it = run(workspace)
    assert it.pki
    operator.etcd_lives(it)
    operator.compute(run(workspace, made=("controller-0", "controller-1", "controller-2")))
    assert not run(workspace).cluster.may_bootstrap


def test_when_every_machine_is_new_there_is_no_member_anywhere(workspace: Workspace) -> None:
    it = run(workspace)
    assert it.pki
    operator.etcd_lives(it)
    operator.compute(run(workspace, made=tuple(node.name for node in CLUSTER.nodes)))
    assert run(workspace).cluster.may_bootstrap


# -- a private key is never readable by others, and never shows -------------------------------------------------


@pytest.fixture
def modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """Every mode that a file under `tmp_path` has after any call that opens, closes, renames or changes one."""
    seen: set[int] = set()

    def look() -> None:
        seen.update(stat.S_IMODE(p.lstat().st_mode) for p in tmp_path.rglob("*") if p.is_file())

    def watched(name: str) -> None:
        original = getattr(os, name)

        def call(*args: Any, **options: Any) -> Any:
            result = original(*args, **options)
            look()
            return result

        monkeypatch.setattr(os, name, call)

    for name in ("open", "write", "fsync", "chmod", "replace", "rename", "chown", "fdopen"):
        watched(name)
    before = os.umask(0)
    yield seen
    os.umask(before)


def test_a_key_is_closed_from_its_first_byte_here(tmp_path: Path, modes: set[int]) -> None:
    write_private(tmp_path / "key", b"hidden")
    write_private(tmp_path / "key", b"another")
    assert modes == {0o600}


def test_a_key_is_closed_from_its_first_byte_on_a_node(tmp_path: Path, modes: set[int]) -> None:
    session = SimpleNamespace(payload=lambda: iter([b"hid", b"den"]), ticket=lambda: None)
    node = AgentNode(Places(home=str(tmp_path)), cast("Any", session), cast("Any", None), cast("Any", None))
    op = {
        "path": str(tmp_path / "key"),
        "mode": 0o600,
        "owner": f"{Path(tmp_path).owner()}:{Path(tmp_path).group()}",
        "encoding": "",
        "sha256": hashlib.sha256(b"hidden").hexdigest(),
        "artifact": False,
    }
    paths.write(node, op)
    assert (tmp_path / "key").read_bytes() == b"hidden"
    assert modes == {0o600}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return load_or_issue(tmp_path_factory.mktemp("keys") / "pki", CLUSTER)


def secrets_of(pki: Pki) -> list[str]:
    """Return a line of every key, as it would show."""
    keys = [pair.key for pair in (*pki.pairs.values(), *pki.authorities.values())]
    return [key.reveal().decode().splitlines()[1] for key in keys]


def every_resource(pki: Pki) -> Iterator[Resource]:
    for node in CLUSTER.nodes:
        for task in TASKS:
            controllers_only = task.__module__.endswith(("encryption", "etcd", "control_plane"))
            workers_only = task.__module__.endswith("workers")
            if not (controllers_only and node in CLUSTER.workers) and not (
                workers_only and node in CLUSTER.controllers
            ):
                yield from task(node, CLUSTER, pki)


def test_no_key_shows_in_a_resource_a_probe_a_command_line_or_a_unit(pki: Pki) -> None:
    secrets = secrets_of(pki)
    articles = cast("Any", SimpleNamespace(sha256=lambda _name: "0"))
    count = 0
    for resource in every_resource(pki):
        count += 1
        shown = repr(resource) + json.dumps(spec(resource, articles))
        if isinstance(resource, Command):
            shown += " ".join((*resource.argv, *resource.unless)) + str(resource.env)
        if isinstance(resource, Unit):
            shown += resource.content
        assert not [secret for secret in secrets if secret in shown], resource.id
    assert count > 100


def test_every_file_with_a_key_in_it_is_a_secret_and_closed(pki: Pki) -> None:
    found = 0
    for resource in every_resource(pki):
        if isinstance(resource, File) and b"PRIVATE KEY" in content_bytes(resource.content):
            found += 1
            assert repr(resource.content) == "<secret>", resource.path
            assert resource.mode & 0o077 == 0, resource.path
    assert found > 20


def test_a_key_in_hand_shows_in_no_traceback(pki: Pki) -> None:
    with pytest.raises(TypeError) as caught:
        _ = pki.pair("admin").key + 1  # type: ignore[operator]  # on purpose
    shown = str(caught.getrepr(showlocals=True, style="long"))
    assert not [secret for secret in secrets_of(pki) if secret in shown]
