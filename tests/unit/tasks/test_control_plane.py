from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from fakes import cluster
from ruamel.yaml import YAML

from khw.certs.pki import Pki, load_or_issue
from khw.cluster.spec import Encryption, Spec
from khw.converge.resources import Binary, Command, Directory, File, Manifest, Unit, Wait
from khw.secret import Secret
from khw.tasks import certificates, control_plane, encryption, etcd, kubeconfigs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource

CLUSTER = cluster()
CONTROLLER = CLUSTER.node("controller-1")
WORKER = CLUSTER.node("worker-2")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return load_or_issue(tmp_path_factory.mktemp("pki"), CLUSTER)


def files(resources: Iterable[Resource]) -> dict[str, File]:
    return {resource.path: resource for resource in resources if isinstance(resource, File)}


def unit(resources: Iterable[Resource], name: str) -> Unit:
    return next(r for r in resources if isinstance(r, Unit) and r.name == f"{name}.service")


def flags(unit: Unit) -> dict[str, str]:
    text = unit.content.replace(" \\\n", " ")
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    pairs = (word.removeprefix("--").partition("=") for word in shlex.split(line)[1:])
    return {name: value for name, _, value in pairs}


def text(file: File) -> str:
    assert isinstance(file.content, str)
    return file.content


def revealed(file: File) -> str:
    assert isinstance(file.content, Secret)
    return file.content.reveal().decode()


# -- chapter 4 ------------------------------------------------------------------------------------------------


def test_a_worker_gets_the_authority_and_its_own_pair_and_no_more(pki: Pki) -> None:
    assert set(files(certificates.resources(WORKER, CLUSTER, pki))) == {
        "/var/lib/kubernetes/ca.pem",
        "/var/lib/kubelet/worker-2.pem",
        "/var/lib/kubelet/worker-2-key.pem",
    }


def test_a_controller_gets_its_own_etcd_pair_and_the_control_planes(pki: Pki) -> None:
    there = files(certificates.resources(CONTROLLER, CLUSTER, pki))
    pairs = (*certificates.CONTROLLER_PAIRS,)
    assert set(there) == {
        *(f"/etc/etcd/{name}.pem" for name in ("ca", "kubernetes", "kubernetes-key")),
        *(f"/var/lib/kubernetes/{name}.pem" for name in ("ca", "ca-key", "etcd-ca", "front-proxy-ca")),
        *(f"/var/lib/kubernetes/{name}.pem" for name in pairs),
        *(f"/var/lib/kubernetes/{name}-key.pem" for name in pairs),
    }
    assert there["/etc/etcd/ca.pem"].content == pki.authority("etcd").certificate
    assert there["/etc/etcd/kubernetes.pem"].content == pki.pair("etcd-controller-1").certificate


@pytest.mark.parametrize("node", [CONTROLLER, WORKER], ids=lambda node: node.name)
def test_every_key_is_secret_and_for_its_reader_alone(node: Node, pki: Pki) -> None:
    for path, file in files(certificates.resources(node, CLUSTER, pki)).items():
        private = path.endswith("-key.pem")
        assert isinstance(file.content, Secret) == private
        owner = "etcd:etcd" if path == "/etc/etcd/kubernetes-key.pem" else "root:root"
        assert (file.mode, file.owner) == (0o600 if private else 0o644, owner)


def test_etcds_user_is_there_before_what_it_owns(pki: Pki) -> None:
    rows = list(certificates.resources(CONTROLLER, CLUSTER, pki))
    user = next(row for row in rows if isinstance(row, Command))
    owned = next(row for row in rows if isinstance(row, File) and row.owner == "etcd:etcd")
    assert user.argv[0] == "useradd"
    assert "/usr/sbin/nologin" in user.argv
    assert rows.index(user) < rows.index(owned)
    assert not [row for row in certificates.resources(WORKER, CLUSTER, pki) if isinstance(row, Command)]


# -- chapters 5 and 6 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "path", "user", "server"),
    [
        (
            WORKER,
            "/var/lib/kubelet/kubeconfig",
            "system:node:worker-2",
            "https://198.51.100.100:6443",
        ),
        (WORKER, "/var/lib/kube-proxy/kubeconfig", "system:kube-proxy", "https://198.51.100.100:6443"),
        (CONTROLLER, "/var/lib/kubernetes/admin.kubeconfig", "admin", "https://127.0.0.1:6443"),
        (
            CONTROLLER,
            "/var/lib/kubernetes/kube-scheduler.kubeconfig",
            "system:kube-scheduler",
            "https://127.0.0.1:6443",
        ),
        (
            CONTROLLER,
            "/var/lib/kubernetes/kube-controller-manager.kubeconfig",
            "system:kube-controller-manager",
            "https://127.0.0.1:6443",
        ),
    ],
)
def test_each_kubeconfig_names_its_user_and_its_server(node: Node, path: str, user: str, server: str, pki: Pki) -> None:
    file = files(kubeconfigs.resources(node, CLUSTER, pki))[path]
    config = YAML(typ="safe").load(revealed(file))
    assert file.mode == 0o600
    assert config["users"][0]["name"] == user
    assert config["clusters"][0]["cluster"]["server"] == server


def test_a_worker_holds_no_administrators_kubeconfig(pki: Pki) -> None:
    assert not [path for path in files(kubeconfigs.resources(WORKER, CLUSTER, pki)) if "admin" in path]


def test_the_remote_kubeconfig_goes_through_the_load_balancer(pki: Pki) -> None:
    config = YAML(typ="safe").load(kubeconfigs.remote_admin(CLUSTER, pki).reveal())
    assert config["clusters"][0]["cluster"]["server"] == CLUSTER.api_url


def test_the_encryption_provider_follows_the_cluster_file(pki: Pki) -> None:
    chosen = cluster(Spec(encryption=Encryption(provider="secretbox")))
    (file,) = files(encryption.resources(CONTROLLER, chosen, pki)).values()
    assert file.path == "/var/lib/kubernetes/encryption-config.yaml"
    assert file.mode == 0o600
    assert "- secretbox:" in revealed(file)


# -- chapter 7 ------------------------------------------------------------------------------------------------


def test_etcd_has_the_guides_flags(pki: Pki) -> None:
    resources = list(etcd.resources(CONTROLLER, CLUSTER, pki))
    etcd_unit = unit(resources, "etcd")
    expected = {
        "name": "controller-1",
        "cert-file": "/etc/etcd/kubernetes.pem",
        "peer-trusted-ca-file": "/etc/etcd/ca.pem",
        "client-cert-auth": "true",
        "peer-client-cert-auth": "true",
        "listen-client-urls": "https://10.240.0.11:2379,https://127.0.0.1:2379",
        "initial-advertise-peer-urls": "https://10.240.0.11:2380",
        "data-dir": "/var/lib/etcd",
    }
    assert expected.items() <= flags(etcd_unit).items()
    assert "Type=notify" in etcd_unit.content
    members = ",".join(f"controller-{i}=https://10.240.0.1{i}:2380" for i in range(3))
    assert f"Environment=ETCD_INITIAL_CLUSTER={members}\n" in etcd_unit.content
    assert not etcd_unit.block  # the members wait for each other
    assert Directory(path="/var/lib/etcd", mode=0o700, owner="etcd:etcd") in resources


def test_etcd_is_asked_for_its_health_last_and_as_the_guide_asks(pki: Pki) -> None:
    *_, last = etcd.resources(CONTROLLER, CLUSTER, pki)
    assert isinstance(last, Wait)
    assert last.unit == "etcd.service"
    assert {
        "--cacert=/etc/etcd/ca.pem",
        "--cert=/etc/etcd/kubernetes.pem",
        "--key=/etc/etcd/kubernetes-key.pem",
    } <= set(last.argv)


# -- chapter 8 ------------------------------------------------------------------------------------------------


def test_the_api_server_has_the_guides_flags_and_what_it_leaves_out(pki: Pki) -> None:
    api_server = unit(control_plane.resources(CONTROLLER, CLUSTER, pki), "kube-apiserver")
    expected = {
        "advertise-address": "10.240.0.11",
        "authorization-mode": "Node,RBAC",
        "etcd-servers": ",".join(f"https://10.240.0.1{i}:2379" for i in range(3)),
        "kubelet-preferred-address-types": "InternalIP,Hostname",
        "service-cluster-ip-range": "10.32.0.0/24",
        "service-account-issuer": "https://198.51.100.100:6443",
        "requestheader-client-ca-file": "/var/lib/kubernetes/front-proxy-ca.pem",
        "encryption-provider-config": "/var/lib/kubernetes/encryption-config.yaml",
        "audit-policy-file": "/etc/kubernetes/config/audit-policy.yaml",
    }
    given = flags(api_server)
    assert expected.items() <= given.items()
    assert "anonymous-auth" not in given  # it and --authentication-config exclude each other
    assert "apiserver-count" not in given


@pytest.mark.parametrize("name", ["kube-controller-manager", "kube-scheduler"])
def test_controller_manager_and_scheduler_serve_on_loopback_with_their_own_certificate(name: str, pki: Pki) -> None:
    given = flags(unit(control_plane.resources(CONTROLLER, CLUSTER, pki), name))
    assert given["bind-address"] == "127.0.0.1"
    assert given["tls-cert-file"] == f"/var/lib/kubernetes/{name}.pem"
    assert given["tls-private-key-file"] == f"/var/lib/kubernetes/{name}-key.pem"


def test_whoever_leads_may_ask_for_all_its_controllers_accounts_at_once(pki: Pki) -> None:
    given = flags(unit(control_plane.resources(CONTROLLER, CLUSTER, pki), "kube-controller-manager"))
    controllers = 50  # of v1.37, about; for each an account looked for and made, and a token
    assert int(given["kube-api-burst"]) >= 3 * controllers
    assert "kube-api-qps" not in given


def test_without_credentials_only_health_can_be_asked_for(pki: Pki) -> None:
    there = files(control_plane.resources(CONTROLLER, CLUSTER, pki))
    config = YAML(typ="safe").load(text(there["/etc/kubernetes/config/authentication.yaml"]))
    assert [c["path"] for c in config["anonymous"]["conditions"]] == ["/livez", "/readyz", "/healthz"]


def test_the_audit_policy_never_asks_for_bodies(pki: Pki) -> None:
    there = files(control_plane.resources(CONTROLLER, CLUSTER, pki))
    policy = YAML(typ="safe").load(text(there["/etc/kubernetes/config/audit-policy.yaml"]))
    assert {rule["level"] for rule in policy["rules"]} == {"None", "Metadata"}
    assert policy["rules"][-1] == {"level": "Metadata"}


def test_the_control_plane_is_settled_when_its_api_server_is_ready(pki: Pki) -> None:
    *_, last = control_plane.resources(CONTROLLER, CLUSTER, pki)
    assert isinstance(last, Wait)
    assert last.unit == "kube-apiserver.service"
    assert "--raw=/readyz" in last.argv


def test_the_api_server_may_reach_kubelets(pki: Pki) -> None:
    (manifest,) = control_plane.rbac(CONTROLLER, CLUSTER, pki)
    assert isinstance(manifest, Manifest)
    role, binding = YAML(typ="safe").load_all(manifest.documents)
    assert role["metadata"]["name"] == "system:kube-apiserver-to-kubelet"
    (rule,) = role["rules"]
    assert set(rule["resources"]) == {f"nodes/{x}" for x in ("proxy", "stats", "log", "spec", "metrics")}
    assert rule["verbs"] == ["*"]
    assert binding["metadata"]["name"] == "system:kube-apiserver"
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "kubernetes"}]


# -- what holds of all ----------------------------------------------------------------------------------------

TASKS = (
    certificates.resources,
    kubeconfigs.resources,
    encryption.resources,
    etcd.resources,
    control_plane.resources,
)


def everything(pki: Pki) -> Iterator[Resource]:
    for task in TASKS:
        yield from task(CONTROLLER, CLUSTER, pki)


def test_every_unit_names_as_inputs_the_files_in_its_flags_and_all_of_them_are_placed(pki: Pki) -> None:
    resources = list(everything(pki))
    placed = {r.path for r in resources if isinstance(r, File | Binary)}
    for one in (r for r in resources if isinstance(r, Unit)):
        assert set(one.inputs) <= placed
        named = {value for value in flags(one).values() if value.startswith("/")}
        written = {"/var/lib/etcd", "/var/log/kubernetes/audit.log"}
        assert named - written <= set(one.inputs), one.name


@pytest.mark.parametrize("task", TASKS)
def test_a_tasks_ids_are_unique_and_it_says_the_same_twice(
    task: Callable[[Node, Cluster, Pki], Iterator[Resource]], pki: Pki
) -> None:
    resources = list(task(CONTROLLER, CLUSTER, pki))
    assert len({resource.id for resource in resources}) == len(resources)
    assert list(task(CONTROLLER, CLUSTER, pki)) == resources


def test_two_tasks_agree_on_every_directory_that_both_need(pki: Pki) -> None:
    seen: dict[str, Directory] = {}
    for node in (CONTROLLER, WORKER):
        for task in TASKS[:2]:
            for resource in task(node, CLUSTER, pki):
                if isinstance(resource, Directory):
                    assert seen.setdefault(resource.path, resource) == resource


def test_no_secret_is_in_the_text_of_any_resource(pki: Pki) -> None:
    assert "PRIVATE" not in repr(list(everything(pki)))
