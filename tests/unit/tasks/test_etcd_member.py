"""A member without data joins; it starts a cluster only where there never was one."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes import cluster

from khw.converge.resources import Command, Unit
from khw.tasks import control_plane, etcd, etcd_member

if TYPE_CHECKING:
    from pathlib import Path

CLUSTER = cluster()
NODE = CLUSTER.node("controller-1")
MEMBERS = {f"controller-{i}": f"https://10.240.0.1{i}:2380" for i in range(3)}
ALL = ",".join(f"{name}={url}" for name, url in MEMBERS.items())


@dataclass
class Etcd:
    """The other members: who serves, and what they list; members are removed and added for real."""

    serving: set[str] = field(default_factory=set)
    members: list[dict[str, Any]] = field(default_factory=list)
    quorum: bool = True
    mute: bool = False  # they listen, and are not ready to serve
    asked: list[str] = field(default_factory=list)

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        said, code = "", 0
        if self.mute:
            said, code = "Error: context deadline exceeded", 1
        elif "list" in argv:
            said = json.dumps({"members": self.members})
        elif not self.quorum:
            said, code = "Error: etcdserver: request timed out", 1
        elif "remove" in argv:
            self.asked.append("remove")
            self.members = [m for m in self.members if f"{m['ID']:x}" != argv[-1]]
        elif "add" in argv:
            self.asked.append("add")
            self.members.append({"ID": 99, "peerURLs": [argv[-1].removeprefix("--peer-urls=")]})
        return subprocess.CompletedProcess(argv, code, said, "")


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Etcd:
    it = Etcd()
    monkeypatch.setattr(etcd_member, "_run", it.run)
    monkeypatch.setattr(etcd_member, "_open", lambda url: url in it.serving)
    monkeypatch.setattr(etcd_member, "INTERVAL", 0.0)
    return it


def wish(*, may_bootstrap: bool, patience: float = 5.0) -> dict[str, Any]:
    rows = etcd.resources(NODE, replace(CLUSTER, may_bootstrap=may_bootstrap), None)  # type: ignore[arg-type]  # unused
    (command,) = [row for row in rows if isinstance(row, Command)]
    return {**json.loads(command.argv[-1]), "patience": patience}


def member(name: str, *, started: bool = True) -> dict[str, Any]:
    row: dict[str, Any] = {"ID": int(name[-1]) + 1, "name": name, "peerURLs": [MEMBERS[name]]}
    return {**row, "clientURLs": ["https://x:2379"]} if started else row


ALIVE = {"https://10.240.0.10:2379", "https://10.240.0.12:2379"}


def test_where_there_never_was_a_cluster_one_is_started(others: Etcd) -> None:
    decided = etcd_member.decide(wish(may_bootstrap=True))
    assert decided == {"ETCD_INITIAL_CLUSTER": ALL, "ETCD_INITIAL_CLUSTER_STATE": "new"}


def test_a_member_that_began_sooner_and_waits_for_this_one_is_no_cluster_to_join(others: Etcd) -> None:
    others.serving, others.mute = {"https://10.240.0.10:2379"}, True
    assert etcd_member.decide(wish(may_bootstrap=True)) == {
        "ETCD_INITIAL_CLUSTER": ALL,
        "ETCD_INITIAL_CLUSTER_STATE": "new",
    }
    with pytest.raises(SystemExit, match="never starts another one"):
        etcd_member.decide(wish(may_bootstrap=False, patience=0))


def test_a_wiped_member_never_starts_a_cluster_also_if_nobody_answers(others: Etcd) -> None:
    with pytest.raises(SystemExit, match="never starts another one"):
        etcd_member.decide(wish(may_bootstrap=False, patience=0))


def test_a_wiped_member_is_removed_and_added_and_joins(others: Etcd) -> None:
    others.serving = ALIVE
    others.members = [member(name) for name in MEMBERS]
    decided = etcd_member.decide(wish(may_bootstrap=False))
    assert others.asked == ["remove", "add"]
    assert decided == {"ETCD_INITIAL_CLUSTER": ALL, "ETCD_INITIAL_CLUSTER_STATE": "existing"}


def test_who_may_start_a_cluster_joins_where_there_is_one(others: Etcd) -> None:
    others.serving = ALIVE
    others.members = [member(name) for name in MEMBERS]
    assert etcd_member.decide(wish(may_bootstrap=True))["ETCD_INITIAL_CLUSTER_STATE"] == "existing"


def test_a_run_that_was_cut_off_between_remove_and_add_is_taken_up(others: Etcd) -> None:
    others.serving = ALIVE
    others.members = [member("controller-0"), member("controller-2")]
    etcd_member.decide(wish(may_bootstrap=False))
    assert others.asked == ["add"]


def test_a_member_that_was_added_and_never_started_is_not_added_again(others: Etcd) -> None:
    others.serving = {"https://10.240.0.10:2379"}
    others.members = [member("controller-0"), member("controller-1", started=False), member("controller-2")]
    others.quorum = False
    assert etcd_member.decide(wish(may_bootstrap=True))["ETCD_INITIAL_CLUSTER_STATE"] == "existing"
    assert others.asked == []


def test_without_a_quorum_no_member_is_changed_and_the_reason_is_told(others: Etcd) -> None:
    others.serving = {"https://10.240.0.10:2379"}
    others.members = [member(name) for name in MEMBERS]
    others.quorum = False
    with pytest.raises(SystemExit, match="request timed out"):
        etcd_member.decide(wish(may_bootstrap=False, patience=0))
    assert len(others.members) == 3


def test_the_environment_is_as_systemd_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "khw" / "etcd.env"
    etcd_member.write(str(file), {"A": "1", "B": "2"})
    assert file.read_text() == "A=1\nB=2\n"
    assert [path.name for path in file.parent.iterdir()] == ["etcd.env"]


def test_data_of_no_use_is_put_aside_and_what_a_start_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "member" / "snap").mkdir(parents=True)
    etcd_member.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "member" / "wal").mkdir(parents=True)
    (tmp_path / "member" / "wal" / "0.wal").write_text("log")
    etcd_member.clear(tmp_path)
    etcd_member.clear(tmp_path)
    assert [path.read_text() for path in tmp_path.glob("put-aside-*/wal/0.wal")] == ["log"]
    assert not (tmp_path / "member").exists()


def test_without_data_and_without_a_note_etcd_does_not_start() -> None:
    line, _ = [row for row in etcd.unit(NODE, CLUSTER).splitlines() if row.startswith("ExecStartPre=")]
    assert f"test -f {etcd.ENVIRONMENT}" in line
    assert "exit 1" in line


def test_what_root_put_into_the_data_directory_is_etcds_before_it_starts() -> None:
    rows = etcd.unit(NODE, CLUSTER).splitlines()
    assert "User=etcd" in rows
    assert [row for row in rows if row.startswith("ExecStartPre=")][-1] == (
        "ExecStartPre=+/bin/chown --recursive etcd:etcd /var/lib/etcd"
    )


def test_the_unit_joins_unless_a_note_says_otherwise_and_the_note_goes_when_etcd_is_ready() -> None:
    text = etcd.unit(NODE, CLUSTER)
    assert "ETCD_INITIAL_CLUSTER_STATE=existing" in text
    assert "--initial-cluster=" not in text  # a flag would overrule the note
    assert "--initial-cluster-state" not in text
    assert f"EnvironmentFile=-{etcd.ENVIRONMENT}" in text
    assert f"ExecStartPost=+-/bin/rm -f {etcd.ENVIRONMENT}" in text


def test_the_unit_is_the_same_before_and_after_the_bootstrap() -> None:
    assert etcd.unit(NODE, CLUSTER) == etcd.unit(NODE, replace(CLUSTER, may_bootstrap=True))


def test_the_decision_comes_before_the_start() -> None:
    rows = list(etcd.resources(NODE, CLUSTER, None))  # type: ignore[arg-type]  # unused
    kinds = [type(row) for row in rows]
    assert kinds.index(Command) < kinds.index(Unit)


def test_a_majority_of_etcd_and_one_api_server_must_be_well_before_another_is_disturbed() -> None:
    assert (etcd.health(NODE, CLUSTER).needed, len(etcd.health(NODE, CLUSTER).others)) == (2, 2)
    assert control_plane.health(NODE, CLUSTER).needed == 1
