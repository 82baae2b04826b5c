"""What `khw explain` finds and says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from khw.certs.pki import load_or_issue
from khw.errors import UsageError
from khw.explain.topics import Topics

if TYPE_CHECKING:
    from khw.explain.guide import Guide


def kinds(guide: Guide, word: str) -> list[tuple[str, str]]:
    return [(said.kind, said.name) for said in Topics(guide).find(word)]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("runtime", [("phase", "runtime")]),
        ("--client-cert-auth", [("flag of etcd", "--client-cert-auth")]),
        ("kubelet:node-ip", [("flag of kubelet", "--node-ip")]),
        ("clusterDNS", [("field of kubelet", "clusterDNS")]),
        ("10-bridge.conf", [("file", "/etc/cni/net.d/10-bridge.conf")]),
        ("/etc/etcd/ca.pem", [("file", "/etc/etcd/ca.pem")]),
        ("kube-scheduler.service", [("unit", "/etc/systemd/system/kube-scheduler.service")]),
        ("pod-to-pod", [("check", "pod to pod")]),
        ("apiserver-etcd-client", [("certificate", "apiserver-etcd-client")]),
        ("front-proxy-ca", [("certificate", "front-proxy-ca")]),
        ("kube-apiserver-to-kubelet", [("manifest", "kube-apiserver-to-kubelet")]),
    ],
)
def test_a_word_is_found_as_what_it_is(guide: Guide, word: str, found: list[tuple[str, str]]) -> None:
    assert kinds(guide, word) == found


def test_a_word_that_is_several_things_is_all_of_them(guide: Guide) -> None:
    assert {kind for kind, _ in kinds(guide, "etcd")} == {"phase", "check", "directory", "unit", "binary"}
    shared = kinds(guide, "bind-address")
    assert [kind for kind, _ in shared] == [
        "flag of kube-apiserver",
        "flag of kube-controller-manager",
        "flag of kube-scheduler",
    ]


def test_a_word_that_is_nothing_is_named_with_the_nearest(guide: Guide) -> None:
    with pytest.raises(UsageError, match="'--client-cert-atuh'; did you mean client-cert-auth"):
        Topics(guide).find("--client-cert-atuh")


def test_every_name_that_is_listed_is_found(guide: Guide) -> None:
    topics = Topics(guide)
    names = topics.names()
    assert len(names) > 200
    for name in names:
        for said in topics.find(name):
            assert said.what
            assert said.why
            assert said.breaks
            assert said.chapter


def test_a_flag_shows_its_value_on_each_node(guide: Guide) -> None:
    (said,) = Topics(guide).find("node-ip")
    assert said.here.splitlines()[1] == "10.240.0.21  (worker-1)"


def test_secrets_are_masked_in_what_is_shown(guide: Guide) -> None:
    load_or_issue(guide.home / "pki", guide.cluster)
    key = (guide.home / "pki" / "encryption-key").read_text().strip()
    topics = Topics(guide)
    for name in topics.names():
        for said in topics.find(name):
            assert key not in said.here + said.by_hand
            assert "PRIVATE KEY" not in said.here + said.by_hand
    (said,) = topics.find("encryption-config.yaml")
    assert "secret: (masked)" in said.here
    (said,) = topics.find("ca-key.pem")
    assert said.here.endswith("(masked)")


def test_a_certificate_that_was_issued_shows_what_it_says_and_who_sees_it(guide: Guide) -> None:
    load_or_issue(guide.home / "pki", guide.cluster)
    (said,) = Topics(guide).find("apiserver-etcd-client")
    assert "subject: CN=kube-apiserver-etcd-client,O=Kubernetes" in said.here
    assert "/var/lib/kubernetes/apiserver-etcd-client.pem on controller-0, controller-1, controller-2" in said.here
    assert "kube-apiserver on controller-0 shows it to etcd on controller-1 at 10.240.0.11:2379" in said.here
    assert "issue apiserver-etcd-client etcd" in said.by_hand
