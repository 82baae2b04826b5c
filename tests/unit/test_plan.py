"""`khw plan` whole, from the command line to an emulated project, before there is any machine."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from emulated import PROJECT, served
from fakes import FakeBackend

from khw.cli.main import main
from khw.cluster.spec import Role, roles_of
from khw.engine import phases as table
from khw.engine.lock import hold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from emulated import Cloud

NODES = ("controller-0", "worker-0", "worker-1")


class Folder:
    """A user's folder with a cluster file, and khw in it."""

    def __init__(self, path: Path, cloud: Cloud, backend: FakeBackend) -> None:
        self.path = path
        self.cloud = cloud
        self.backend = backend
        (path / "khw.yaml").write_text(
            f"gcp: {{project: {PROJECT}, endpoint: '{cloud.endpoint}', credentials: anonymous}}\n"
            "controllers: {count: 1, first_address: 10.240.0.10}\n"
            "workers: {count: 2, first_address: 10.240.0.20}\n"
        )

    def __call__(self, *args: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(main, ["-f", str(self.path / "khw.yaml"), *args])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    def json(self, *args: str) -> Any:
        code, out, err = self(*args, "-o", "json")
        assert code == 0, err
        return json.loads(out)

    @property
    def files(self) -> set[str]:
        return {str(file.relative_to(self.path)) for file in self.path.rglob("*")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    root = tmp_path_factory.mktemp("plan")
    for name in ("lab", "cluster"):
        (root / name).mkdir()
    backend = FakeBackend()
    with pytest.MonkeyPatch.context() as patch, served(root / "lab", backend) as (cloud, _):
        patch.setenv("KHW_CACHE", str(root / "cache"))
        yield Folder(root / "cluster", cloud, backend)


@pytest.fixture(scope="module")
def planned(folder: Folder) -> Any:
    return folder.json("plan")


def rows(report: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for host, phases in report["hosts"].items():
        for row in phases:
            for change in row["changes"]:
                yield host, row["phase"], change


def test_every_host_of_the_cluster_file_is_planned_through_all_its_phases(planned: Any) -> None:
    assert planned["check"]
    assert planned["ok"]
    assert set(planned["hosts"]) == {"operator", *NODES}
    for host, phases in planned["hosts"].items():
        roles = roles_of(Role(host.split("-")[0]), pods=False, also=None) if host != "operator" else frozenset()
        mine = {p.name for p in table.PHASES if (p.roles & roles if roles else p.operator)}
        assert {row["phase"] for row in phases} == mine


def test_files_units_certificates_cloud_resources_and_objects_are_all_to_be_created(planned: Any) -> None:
    found = {(host, change["resource"]) for host, _, change in rows(planned) if change["action"] == "created"}
    assert {
        ("operator", "network:kubernetes-the-hard-way"),
        ("operator", "instance:worker-1"),
        ("operator", "authority:etcd"),
        ("operator", "certificate:kubelet-worker-0"),
        ("operator", "forwarding-rule:kubernetes-the-hard-way-api"),
        ("operator", "route:kubernetes-route-10-200-1-0-24"),
        ("operator", "kubeconfig:kubeconfig"),
        ("controller-0", "file:/etc/etcd/kubernetes.pem"),
        ("controller-0", "unit:kube-apiserver.service"),
        ("controller-0", "file:/var/lib/kubernetes/encryption-config.yaml"),
        ("controller-0", "manifest:coredns"),
        ("controller-0", "manifest:kube-apiserver-to-kubelet"),
        ("worker-1", "binary:/usr/local/bin/kubelet"),
        ("worker-1", "unit:kubelet.service"),
        ("worker-0", "image:registry.k8s.io/pause:3.10.2"),
    } <= found


def test_on_a_new_machine_only_packages_and_commands_are_not_certain(planned: Any) -> None:
    open_ones = {change["resource"].split(":")[0] for _, _, change in rows(planned) if not change.get("certain", True)}
    assert open_ones == {"package", "command"}


def test_nothing_is_planned_twice(planned: Any) -> None:
    everything = [(host, change["resource"]) for host, _, change in rows(planned)]
    assert len(everything) == len(set(everything))


def test_artifacts_that_are_not_in_the_cache_are_planned_and_not_fetched(folder: Folder, planned: Any) -> None:
    wanted = {change["resource"] for _, phase, change in rows(planned) if phase == "tools"}
    assert {"artifact:kubelet", "artifact:image-pause", "tool:kubectl"} <= wanted
    assert not (folder.path.parent / "cache").exists()


def test_a_plan_writes_nothing_and_makes_nothing(folder: Folder, planned: Any) -> None:
    assert planned["changed"] > 100
    assert folder.files == {"khw.yaml"}
    assert not folder.backend.specs
    assert list(folder.cloud.networks.list(project=PROJECT)) == []


def test_no_key_and_no_certificate_is_in_a_plan_in_any_form(planned: Any) -> None:
    text = json.dumps(planned)
    assert "BEGIN" not in text
    assert "LS0tLS1CRUdJTi" not in text, "base64 of PEM"
    assert not re.search(r"(key|certificate|authority)-data: (?!\()", text)
    assert not re.search(r"secret: (?!\()", text)


def test_certificates_are_planned_as_fields(planned: Any) -> None:
    (diff,) = (change["diff"] for _, _, change in rows(planned) if change["resource"] == "certificate:kubelet-worker-0")
    for line in ("subject: CN=system:node:worker-0,O=system:nodes", "name: worker-0", "address: 10.240.0.20"):
        assert f"+{line}" in diff.splitlines()


def test_units_and_kubeconfigs_are_shown_with_what_is_not_known_yet_named(planned: Any) -> None:
    diffs = {(host, change["resource"]): change.get("diff", "") for host, _, change in rows(planned)}
    assert (
        "--service-account-issuer=https://known-once-it-is-made:6443"
        in diffs["controller-0", "unit:kube-apiserver.service"]
    )
    assert "server: https://known-once-it-is-made:6443" in diffs["worker-0", "file:/var/lib/kubelet/kubeconfig"]
    assert "client-key-data: (masked)" in diffs["worker-0", "file:/var/lib/kubelet/kubeconfig"]


def test_a_private_key_is_only_said_to_be_there(planned: Any) -> None:
    (key,) = (
        c for h, _, c in rows(planned) if (h, c["resource"]) == ("worker-0", "file:/var/lib/kubelet/worker-0-key.pem")
    )
    assert key == {
        "resource": "file:/var/lib/kubelet/worker-0-key.pem",
        "action": "created",
        "before": "absent",
        "after": "secret",
    }


def test_plan_is_run_with_check_and_diff(folder: Folder) -> None:
    selection = ("--phase", "etcd", "--limit", "controller-0")
    one, other = folder("plan", *selection), folder("run", "--check", "--diff", *selection)
    assert one[0] == other[0] == 0
    without_seconds = [re.sub(r"\d+\.\d+", "", text) for text in (one[1], other[1])]
    assert without_seconds[0] == without_seconds[1]
    assert "controller-0  etcd  created  unit:etcd.service" in one[1]
    assert "+ExecStart=/usr/local/bin/etcd" in one[1]
    assert "+ExecStart" not in folder("run", "--check", *selection)[1]


def test_what_is_pending_is_exit_code_1_only_where_it_is_asked_for(folder: Folder) -> None:
    assert folder("plan", "--phase", "encryption")[0] == 0
    assert folder("plan", "--phase", "encryption", "--exit-code")[0] == 1
    assert folder("plan", "--phase", "smoke", "--exit-code")[0] == 0


def test_the_operator_comes_first_then_the_hosts_in_their_order(folder: Folder) -> None:
    out = folder("plan")[1]
    hosts = [line.split()[0] for line in out.splitlines() if re.match(r"\S+  \S+  (created|ran)  ", line)]
    assert list(dict.fromkeys(hosts)) == ["operator", *NODES]


def test_who_is_not_made_yet_is_told_on_stderr(folder: Folder) -> None:
    _, out, err = folder("plan", "--phase", "encryption")
    assert "planned from the cluster file, not made yet: controller-0, worker-0, worker-1" in err
    assert "khw run --phase compute" in err
    assert "planned from" not in out


def test_an_unknown_host_is_still_an_error(folder: Folder) -> None:
    code, _, err = folder("plan", "--limit", "worker-9")
    assert code == 2
    assert "worker-1" in err


def test_a_plan_while_a_run_is_going_on_is_refused_and_names_it(folder: Folder, tmp_path: Path) -> None:
    other = Folder(tmp_path, folder.cloud, folder.backend)
    state = tmp_path / ".khw/kubernetes-the-hard-way"
    state.mkdir(parents=True)
    with hold(state / "lock", "run --from etcd"):
        before = (state / "lock").read_text()
        code, _, err = other("plan")
        assert code == 1
        assert "run --from etcd" in err
        assert (state / "lock").read_text() == before
    assert other("plan", "--phase", "encryption")[0] == 0
    assert (state / "lock").read_text() == before


def test_destroy_check_writes_nothing_either(folder: Folder) -> None:
    assert folder("destroy", "--check")[0] == 0
    assert folder.files == {"khw.yaml"}
