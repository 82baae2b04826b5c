from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from khw.cluster.file import _all_keys, load, template
from khw.cluster.spec import Spec
from khw.errors import ClusterFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GCP = "gcp:\n  project: mine\n"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPrivate"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "khw.yaml"
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str) -> str:
    path = written(tmp_path, text)
    with pytest.raises(ClusterFileError) as caught:
        load(path)
    return str(caught.value).replace(f"{path}:", "khw.yaml:")


def test_the_template_is_a_cluster_file_with_the_defaults(tmp_path: Path) -> None:
    spec = load(written(tmp_path, template()))
    assert spec.gcp
    assert (spec.gcp.project, spec.gcp.endpoint, spec.gcp.credentials) == (
        "khw-default",
        "http://127.240.0.2:8471",
        "anonymous",
    )
    assert spec == Spec(gcp=spec.gcp)


def test_the_template_for_google_has_no_endpoint(tmp_path: Path) -> None:
    spec = load(written(tmp_path, template(project="my-project")))
    assert spec.gcp
    assert (spec.gcp.project, spec.gcp.endpoint, spec.gcp.credentials) == ("my-project", None, "default")


def test_the_template_names_every_key() -> None:
    text = template()
    assert [key for key in _all_keys(Spec) if f"{key.rpartition('.')[2]}:" not in text] == []


def test_the_commented_defaults_are_the_defaults(tmp_path: Path) -> None:
    lines = template().splitlines()
    static = next(i for i, line in enumerate(lines) if line.startswith("# Machines of your own"))
    rows = [
        line.replace("# ", "", 1) if line.lstrip().startswith("# ") and ":" in line else line
        for line in lines[:static]
        if not line.startswith("# ") or line[2:].split(":")[0] in Spec.model_fields or line.startswith("#   ")
    ]
    examples = ("mirror", "private_key", "config", "bastion", "name, names", "source_ranges")
    examples += ("impersonate", "quota_project")
    rows = [row for row in rows if not row.lstrip().startswith(examples)]
    spec = load(written(tmp_path, "\n".join(rows)))
    plain: Any = YAML(typ="safe").load("\n".join(rows))
    assert plain["timeouts"]["boot"] == 180
    assert spec.model_dump(exclude={"gcp", "controllers", "workers"}) == Spec().model_dump(
        exclude={"gcp", "controllers", "workers"}
    )
    assert spec.controllers.machine_type == Spec().controllers.machine_type
    assert spec.planned == Spec().planned


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("mirror", "{folder}/mirror"),
        ("../mirror", "{folder}/../mirror"),
        ("/srv/mirror", "/srv/mirror"),
        ("~/mirror", "{home}/mirror"),
        ("https://mirror.example/khw", "https://mirror.example/khw"),
        ("file:///srv/mirror", "file:///srv/mirror"),
    ],
)
def test_a_relative_path_is_one_from_the_cluster_files_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, meant: str
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    spec = load(written(tmp_path, f"{GCP}artifacts: {{mirror: '{said}'}}\nssh: {{private_key: keys/khw}}\n"))
    assert spec.artifacts.mirror == meant.format(folder=tmp_path, home="/home/somebody")
    assert spec.ssh.private_key == f"{tmp_path}/keys/khw"


def test_an_unknown_key_is_named_with_its_line_and_a_near_name(tmp_path: Path) -> None:
    text = f"name: c\n{GCP}contollers:\n  count: 3\n"
    assert problems(tmp_path, text) == "khw.yaml:4: unknown key 'contollers'; did you mean 'controllers'?"


def test_an_unknown_key_in_a_section_is_named_with_its_line(tmp_path: Path) -> None:
    text = f"{GCP}network:\n  name: n\n  cluster_cdir: 10.1.0.0/16\n"
    assert problems(tmp_path, text) == "khw.yaml:5: unknown key 'cluster_cdir'; did you mean 'cluster_cidr'?"


def test_a_key_in_the_wrong_section_is_told_where_it_belongs(tmp_path: Path) -> None:
    text = f"{GCP}machine_type: e2-small\n"
    assert "did you mean 'controllers.machine_type'?" in problems(tmp_path, text)


def test_every_problem_is_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    found = problems(tmp_path, "nme: x\nprovider: gpc\ngcp:\n  zone: z\n").splitlines()
    assert [row.split(": ")[0] for row in found] == ["khw.yaml:1", "khw.yaml:2", "khw.yaml:3"]
    assert "did you mean 'gcp'?" in found[1]
    assert "'gcp.project' is missing" in found[2]


def test_a_pool_needs_to_say_only_what_differs(tmp_path: Path) -> None:
    spec = load(written(tmp_path, f"{GCP}controllers:\n  count: 1\nworkers:\n  names: [a, b]\n"))
    assert [(m.name, str(m.address)) for m in spec.planned] == [
        ("controller-0", "10.240.0.10"),
        ("a", "10.240.0.20"),
        ("b", "10.240.0.21"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("network:\n  cluster_cidr: 10.240.0.0/16\n", 4, "cluster_cidr 10.240.0.0/16 overlaps subnet_cidr"),
        ("network:\n  service_cidr: 10.200.7.0/24\n", 4, "service_cidr 10.200.7.0/24 overlaps cluster_cidr"),
        ("network:\n  service_cidr: 10.32.0.0/29\n", 4, "kube-dns has the tenth address"),
        ("network:\n  service_cidr: 10.0.0.0/8\n", 4, "the API server's limit"),
        ("network:\n  cluster_cidr: 10.200.0.0/23\n", 4, "holds 2 pod ranges (/24) for 3 workers"),
        ("network:\n  cluster_cidr: 10.200.0.0/25\n", 4, "holds 0 pod ranges"),
        ("network:\n  subnet_cidr: 10.240.0.0/30\n", 4, "too small"),
        ("network:\n  subnet_cidr: 10.250.0.0/24\n", 4, "controller-0 is outside the subnet 10.250.0.0/24"),
        ("network:\n  subnet_cidr: 10.240.0.1/24\n", 4, "the network of that address is 10.240.0.0/24"),
        ("network:\n  node_ports: all\n", 4, "is not a range such as 30000-32767"),
        ("network:\n  api_port: 22\n", 4, "cannot be used"),
        ("controllers:\n  count: 2\n", 4, "etcd needs an odd number"),
        ("controllers:\n  count: 0\n", 4, "there must be at least one"),
        ("controllers:\n  count: three\n", 4, "'controllers.count' is 'three'; it should be a valid integer"),
        ("controllers: 3\n", 3, "'controllers' has keys of its own"),
        ("workers:\n  first_address: 10.240.0.12\n", 4, "worker-0 and controller-2 have the same address"),
        ("workers:\n  first_address: 10.241.0.20\n", 4, "worker-0 is outside the subnet 10.240.0.0/24"),
        ("workers:\n  first_address: 10.240.0.1\n", 4, "is the gateway's"),
        ("workers:\n  first_address: 10.240.0.254\n", 4, "reserved by GCP (the second-last)"),
        ("workers:\n  first_address: 10.240.0.255\n", 4, "the broadcast address"),
        ("workers:\n  first_address: host\n", 4, "it should be an IPv4 address such as"),
        ("workers:\n  addresses:\n    - 10.240.0.5\n    - 10.240.0.5\n", 6, "have the same address"),
        ("workers:\n  names: [w, w]\n", 4, "two machines are named w"),
        ("workers:\n  names: [W_1]\n", 4, "is no host name"),
        ("workers:\n  count: 1\n  names: [a, b]\n", 5, "2 names for 1 workers"),
        ("workers:\n  count: 1\n  images: [a, b]\n", 5, "2 images for 1 workers"),
        ("provider: static\n", 3, "there is no section 'static'"),
        ("artifacts:\n  sources: [mirror]\n", 4, "names none"),
        ("timeouts:\n  boot: 0\n", 4, "greater than 0"),
    ],
)
def test_what_cannot_be_is_told_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    found = problems(tmp_path, GCP + text)
    assert found.startswith(f"khw.yaml:{line}: ")
    assert words in found


def test_a_zone_outside_the_region_is_told(tmp_path: Path) -> None:
    found = problems(tmp_path, f"{GCP}  zone: europe-west1-b\n")
    assert found == "khw.yaml:3: zone europe-west1-b is not in region us-west1"


def test_gcp_without_a_section_is_told(tmp_path: Path) -> None:
    assert "there is no section 'gcp'" in problems(tmp_path, "")
    assert problems(tmp_path, "# nothing\nprovider: gcp\n").startswith("khw.yaml:2: ")


def static(nodes: str) -> str:
    return f"provider: static\nstatic:\n  api_address: 192.0.2.1\n  nodes:\n{nodes}"


def a_node(name: str, role: str, address: str, *, pods: str = "", key: str = KEY) -> str:
    rows = [
        f"    - name: {name}",
        f"      role: {role}",
        f"      address: {address}",
        f"      host_keys: [{key}]",
    ]
    return "\n".join([*rows, *([f"      pod_cidr: {pods}"] if pods else []), ""])


CONTROLLER = a_node("c", "controller", "192.0.2.10")
WORKER = a_node("w", "worker", "192.0.2.20", pods="10.200.0.0/24")


def test_a_static_cluster_plans_its_nodes(tmp_path: Path) -> None:
    spec = load(written(tmp_path, static(WORKER + CONTROLLER)))
    assert [machine.name for machine in spec.planned] == ["c", "w"]


@pytest.mark.parametrize(
    ("nodes", "line", "words"),
    [
        (CONTROLLER, 4, "0 workers"),
        (WORKER, 4, "0 controllers"),
        (
            CONTROLLER + a_node("c", "worker", "192.0.2.2", pods="10.200.0.0/24"),
            9,
            "two machines are named c",
        ),
        (CONTROLLER + a_node("w", "worker", "192.0.2.10", pods="10.200.0.0/24"), 11, "have the same address"),
        (CONTROLLER + a_node("w", "worker", "10.32.0.4", pods="10.200.0.0/24"), 11, "is inside service_cidr"),
        (CONTROLLER + a_node("w", "worker", "127.0.0.1", pods="10.200.0.0/24"), 11, "is a loopback address"),
        (CONTROLLER + a_node("w", "worker", "224.0.0.1", pods="10.200.0.0/24"), 11, "is no machine's own"),
        (
            CONTROLLER + WORKER + "      host: 192.0.2.10\n",
            14,
            "w and c are one machine to SSH: 192.0.2.10, port 22",
        ),
        (CONTROLLER + WORKER + "      port: 70000\n", 14, "port 70000 of w is no port"),
        (CONTROLLER + a_node("w", "worker", "192.0.2.2"), 9, "worker w has no pod_cidr"),
        (CONTROLLER + a_node("w", "worker", "192.0.2.2", pods="10.1.0.0/24"), 13, "outside cluster_cidr"),
        (
            CONTROLLER + WORKER + a_node("v", "worker", "192.0.2.2", pods="10.200.0.0/25"),
            18,
            "pod_cidr 10.200.0.0/25 of v overlaps 10.200.0.0/24 of w",
        ),
        (CONTROLLER + WORKER + a_node("v", "controller", "192.0.2.2"), 4, "2 controllers"),
        (a_node("c", "controller", "192.0.2.1", key="AAAA") + WORKER, 8, "host key of c is not of the form"),
        (
            "    - name: c\n      role: master\n",
            5,
            "'static.nodes[0].address' is missing",
        ),
    ],
)
def test_a_static_cluster_that_cannot_be_is_told_with_its_line(
    tmp_path: Path, nodes: str, line: int, words: str
) -> None:
    found = problems(tmp_path, static(nodes))
    assert found.startswith(f"khw.yaml:{line}: ")
    assert words in found


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("https://192.0.2.1", "api_address 'https://192.0.2.1' is no IPv4 address and no name"),
        ("192.0.2.1:6443", "the port is said elsewhere (api_port)"),
        ("192.0.2.256", "is no IPv4 address and no name"),
        ("''", "api_address '' is no IPv4 address"),
        ("2001:db8::1", "is no IPv4 address"),
        ("127.0.0.1", "is a loopback address"),
        ("10.32.0.1", "api_address 10.32.0.1 is inside service_cidr"),
    ],
)
def test_an_api_address_at_which_nobody_answers_is_told_with_its_line(tmp_path: Path, said: str, words: str) -> None:
    found = problems(tmp_path, static(CONTROLLER + WORKER).replace("192.0.2.1\n", f"{said}\n", 1))
    assert found.startswith("khw.yaml:3: ")
    assert words in found


@pytest.mark.parametrize(
    ("port", "words"),
    [
        (6443, "is api_port, where the API server listens on the same machine"),
        (30100, "is inside node_ports 30000-32767, which Services get"),
        (22, "cannot be used"),
        (65536, "cannot be used"),
    ],
)
def test_a_port_that_haproxy_cannot_have_is_told_with_its_line(tmp_path: Path, port: int, words: str) -> None:
    more = f"  balancer: haproxy\n  balancer_port: {port}\n"
    found = problems(tmp_path, static(CONTROLLER + WORKER).replace("  nodes:", f"{more}  nodes:"))
    assert found == f"khw.yaml:5: balancer_port {port} {words}"


@pytest.mark.parametrize("said", ["192.0.2.9", "api.example.com", "kube-1"])
def test_an_api_address_is_an_address_or_a_name(tmp_path: Path, said: str) -> None:
    file = written(tmp_path, static(CONTROLLER + WORKER).replace("192.0.2.1\n", f"{said}\n", 1))
    assert load(file).static is not None


def test_machines_behind_one_address_are_told_apart_by_their_ports(tmp_path: Path) -> None:
    file = static(CONTROLLER + "      host: door.example\n" + WORKER + "      host: door.example\n      port: 2222\n")
    assert len(load(written(tmp_path, file)).planned) == 2


@pytest.mark.parametrize("hop", ["a:b@c", "ops@door:ssh", "''", "ops@door,", "-x", "ops@ door"])
def test_a_bastion_that_ssh_would_not_take_is_told_with_its_line(tmp_path: Path, hop: str) -> None:
    found = problems(tmp_path, static(CONTROLLER + WORKER) + f"ssh:\n  bastion: {hop}\n")
    assert found.startswith("khw.yaml:15: bastion ")
    assert "USER@HOST:PORT" in found


@pytest.mark.parametrize(
    "hop", ["door", "me@corp.example@door", "ops@door:2222", "a@b, ops@192.0.2.7", "ssh://ops@door:22"]
)
def test_a_bastion_is_what_ssh_takes_after_j(tmp_path: Path, hop: str) -> None:
    file = static(CONTROLLER + WORKER) + f"ssh:\n  bastion: {hop}\n"
    assert load(written(tmp_path, file)).ssh.bastion == hop


def test_a_missing_file_points_to_init(tmp_path: Path) -> None:
    with pytest.raises(ClusterFileError, match="does not exist") as caught:
        load(tmp_path / "khw.yaml")
    assert "khw init" in caught.value.hint
    assert caught.value.exit_code == 2


def test_a_directory_is_no_cluster_file(tmp_path: Path) -> None:
    with pytest.raises(ClusterFileError, match="is a directory"):
        load(tmp_path)


def test_a_file_under_a_file_cannot_be_read(tmp_path: Path) -> None:
    path = written(tmp_path, GCP)
    with pytest.raises(ClusterFileError, match="cannot be read: Not a directory"):
        load(path / "khw.yaml")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root reads everything: be nobody for a while."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, GCP)
    path.chmod(0)
    with as_nobody(), pytest.raises(ClusterFileError, match="cannot be read: Permission denied"):
        load(path)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("gcp:\n  project: [mine\n", "khw.yaml:3: bad YAML: "),
        ("name: a\nname: b\n", "khw.yaml:2: bad YAML: found duplicate key"),
        ("gcp:\n\tproject: x\n", "khw.yaml:2: bad YAML: "),
        ("- gcp\n", "khw.yaml:1: a cluster file is a mapping of keys to values, not a list"),
        ("gcp\n", "khw.yaml:1: a cluster file is a mapping of keys to values, not a single value"),
    ],
)
def test_bad_yaml_is_told_with_its_line(tmp_path: Path, text: str, start: str) -> None:
    assert problems(tmp_path, text).startswith(start)


def test_a_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "khw.yaml"
    path.write_bytes(b"name: x\n\xff\xfe\n")
    with pytest.raises(ClusterFileError, match=r"khw\.yaml:2: this is not text in UTF-8"):
        load(path)
