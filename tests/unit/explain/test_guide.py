"""The scripts of the phases: whole, safe anywhere, without a secret; and chapter 4's, really run."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from khw.certs.pki import load_or_issue
from khw.converge.changes import Action
from khw.engine.phases import PHASES, select
from khw.engine.report import OPERATOR
from khw.errors import UsageError
from khw.explain import operator_shell
from khw.explain.export import markdown
from khw.inventory.gcp import balancer as gcp_balancer
from khw.inventory.gcp import compute as gcp_compute
from khw.inventory.gcp import routes as gcp_routes

if TYPE_CHECKING:
    from khw.explain.guide import Guide


def read_by_sh(text: str) -> None:
    done = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{text}"


@pytest.mark.parametrize("where", ["guide", "google"])
def test_every_phase_is_a_script_for_all_hosts_and_for_each(where: str, request: pytest.FixtureRequest) -> None:
    guide: Guide = request.getfixturevalue(where)
    for phase in PHASES:
        read_by_sh(guide.shell(phase))
        for host in guide.hosts(phase):
            read_by_sh(guide.shell(phase, host))


def test_every_phase_has_something_to_do_by_hand(guide: Guide) -> None:
    for phase in PHASES:
        assert guide.hosts(phase), phase.name
        if phase.operator:
            assert operator_shell.of(guide, phase.name), phase.name


def test_no_script_holds_a_key_or_a_mark_in_its_place(guide: Guide) -> None:
    for phase in PHASES:
        text = guide.shell(phase)
        assert "PRIVATE KEY" not in text
        assert "khw-pki" not in text
        assert "khw-ssh-public-key" not in text


def test_a_script_does_nothing_on_a_machine_that_has_no_part_in_the_phase(guide: Guide) -> None:
    (routes, rbac, etcd) = (select([name])[0] for name in ("routes", "rbac", "etcd"))
    for phase, host in ((routes, "controller-0"), (rbac, "controller-1"), (etcd, "worker-0")):
        text = f"uname() {{ echo {host}; }}\n" + guide.shell(phase)
        done = subprocess.run(["sh"], input=text, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stdout) == (0, "nothing is to be done here\n")


def test_a_host_without_a_part_is_named_with_those_that_have_one(guide: Guide) -> None:
    (routes,) = select(["routes"])
    with pytest.raises(UsageError, match="routes has nothing to do on worker-0"):
        guide.shell_for(routes, "worker-0")


def test_the_operator_copies_to_a_node_what_its_script_reads_and_no_more(guide: Guide) -> None:
    for phase in PHASES:
        if OPERATOR not in guide.hosts(phase):
            continue
        ours = guide.shell(phase, OPERATOR)
        for node in guide.nodes(phase):
            theirs = guide.shell(phase, node.name)
            read = set(re.findall(r"\$KHW_FILES/((?:pki|artifacts)/[\w.-]+)", theirs))
            copied = re.findall(r"^ *(?:for node in ([^;]*); do\n *)?copy (\S+) ((?:.*\\\n)*.*)$", ours, re.MULTILINE)
            mine = [files for names, name, files in copied if node.name in (names.split() or [name])]
            assert set(re.findall(r"(?:pki|artifacts)/[\w.-]+", "".join(mine))) == read


def test_openssl_makes_what_khw_takes_for_its_own(guide: Guide) -> None:
    guide.home.mkdir(exist_ok=True)
    for name in ("encryption", "certificates"):
        text = f'set -eu\nKHW_HOME="{guide.home}"\nmkdir -p "$KHW_HOME/pki"\n' + operator_shell.of(guide, name)
        done = subprocess.run(["sh"], input=text, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    pki = load_or_issue(guide.home / "pki", guide.cluster, check=True)
    assert {change.action for change in pki.changes} == {Action.UNCHANGED}
    assert len(pki.changes) > 18
    assert {path.suffix for path in (guide.home / "pki").iterdir()} <= {".pem", ""}


def _posted(text: str) -> list[tuple[str, Any]]:
    found = re.findall(r"^post (\S+) <<'?EOF'?\n(.*?)\nEOF$", text, re.MULTILINE | re.DOTALL)
    return [(path, json.loads(body)) for path, body in found]


def test_the_labs_api_gets_all_that_the_provider_would_make(guide: Guide) -> None:
    assert guide.api is not None
    rows = {
        "compute": gcp_compute.wanted(guide.cluster.spec, guide.api, "key"),
        "routes": gcp_routes.wanted(guide.api, guide.cluster),
    }
    for phase, wanted in rows.items():
        posted = _posted(operator_shell.of(guide, phase))
        assert [body["name"] for _, body in posted] == [row.name for row in wanted]
    posted = _posted(operator_shell.of(guide, "load-balancer"))
    names = [body["name"] for _, body in posted if "name" in body]
    assert names == [row.name for row in gcp_balancer.wanted(guide.api, guide.cluster)]


def test_on_google_it_is_gcloud_with_the_same_names_and_ranges(google: Guide) -> None:
    compute = operator_shell.of(google, "compute")
    assert "export CLOUDSDK_CORE_PROJECT=my-project" in compute
    for words in (
        "gcloud compute networks create kubernetes-the-hard-way",
        "--range=10.240.0.0/24",
        "--allow=tcp:22,tcp:6443,icmp",
        "--private-network-ip=10.240.0.21",
        "--can-ip-forward",
        "--image-family=debian-12",
        "--image-project=debian-cloud",
        "ssh-keys=khw:$public_key khw",
    ):
        assert words in compute
    routes = operator_shell.of(google, "routes")
    assert routes.count("gcloud compute routes create") == 3
    assert "--next-hop-address=10.240.0.22" in routes


def test_the_whole_guide_is_markdown_with_every_phase_and_runnable_blocks(guide: Guide) -> None:
    text = markdown(guide)
    blocks = re.findall(r"^````sh\n(.*?)^````$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == sum(len(guide.hosts(phase)) for phase in PHASES)
    for phase in PHASES:
        assert f"## {phase.chapter}. {phase.name}: {phase.title}" in text
    assert "| `--client-cert-auth` |" in text
    assert "PRIVATE KEY" not in text
