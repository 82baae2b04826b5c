"""What the real binaries' answers mean; the texts are theirs (Kubernetes v1.37.2, etcd v3.6.16, containerd v2.3.7)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from fakes import cluster

from khw.cluster.model import Facts
from khw.cluster.spec import Spec
from khw.converge.resources import File
from khw.flags import trial
from khw.flags.asking import Answer
from khw.flags.rendered import Program, Rendered

if TYPE_CHECKING:
    from khw.flags.trial import Verdict


def failed(message: str) -> str:
    return f'E1123 14:02:45.601090   27482 run.go:72] "command failed" err="{message}"\n'


SENTINELS = {
    "etcd": (
        '{"level":"warn","msg":"failed to verify flags",'
        '"error":"--election-timeout[1ms] should be at least as 5 times as --heartbeat-interval[100ms]"}\n'
    ),
    "kube-apiserver": failed("ensureLogFile: mkdir /dev/null: not a directory"),
    "kube-controller-manager": failed(
        "--secure-port -1 must be between 0 and 65535, inclusive. 0 for turning off secure port"
    ),
    "kube-scheduler": failed("open /dev/null/khw: not a directory"),
    "kube-proxy": failed("open /dev/null/khw: not a directory"),
    "kubelet": failed(
        "failed to validate kubelet configuration, error: invalid configuration: maxOpenFiles (--max-open-files) -1 "
        "must not be a negative number, path: &TypeMeta{Kind:,APIVersion:,}"
    ),
}


def judge(
    artifact: str, err: str, *, code: int | None = 1, config: str = "", tags: Path = Path("/dev/null")
) -> Verdict:
    it = cluster(Spec())
    files = (File(path="/etc/config", content=config),)
    program = Program(
        "it.service", artifact, ("/bin/it",), Rendered(it.controllers[0], it, Facts(), files), ("/etc/config",)
    )
    return trial.judge(program, Answer(code, "", err), cast("Any", None), tags, "v1")


@pytest.fixture
def tags(tmp_path: Path) -> Path:
    path = tmp_path / "binary"
    path.write_bytes(b'json:"omitStages" json:"clientCAFile" toml:"conf_dir"')
    return path


@pytest.mark.parametrize("artifact", trial.TRIALS)
def test_stopped_by_what_was_planted_means_accepted(artifact: str) -> None:
    assert judge(artifact, SENTINELS[artifact]) == trial.Verdict()


@pytest.mark.parametrize("artifact", trial.TRIALS)
def test_any_other_end_is_a_problem(artifact: str) -> None:
    (problem,) = judge(artifact, failed("something else is wrong")).problems
    assert problem == f"it.service: {artifact} v1 refuses it: something else is wrong"


@pytest.mark.parametrize("artifact", trial.TRIALS)
def test_a_server_that_was_not_stopped_at_all_is_a_problem_or_a_doubt(artifact: str) -> None:
    assert judge(artifact, "", code=0).problems
    assert judge(artifact, "", code=None).doubt


def test_what_was_found_beside_what_was_planted_is_a_problem() -> None:
    err = failed(
        "failed to validate kubelet configuration, error: [invalid configuration: imageGCHighThresholdPercent 101 must "
        "be between 0 and 100, inclusive, invalid configuration: maxOpenFiles (--max-open-files) -1 must not be a "
        "negative number], path: &TypeMeta{Kind:,APIVersion:,}"
    )
    (problem,) = judge("kubelet", err).problems
    assert problem.endswith(
        "refuses it: invalid configuration: imageGCHighThresholdPercent 101 must be between 0 and 100, inclusive"
    )
    err = failed(
        '[\\"bogus\\" is not in the list of known controllers, --secure-port -1 must be between 0 and 65535, '
        "inclusive. 0 for turning off secure port]"
    )
    (problem,) = judge("kube-controller-manager", err).problems
    assert problem.endswith('refuses it: "bogus" is not in the list of known controllers')


def test_the_operators_own_cgroups_are_not_the_nodes() -> None:
    err = failed(
        "failed to validate kubelet configuration, error: [invalid configuration: maxOpenFiles (--max-open-files) -1 "
        "must not be a negative number, kubelet is configured to not run on a host using cgroup v1. cgroup v1 support "
        "is unsupported and will be removed in a future release], path: &TypeMeta{Kind:,APIVersion:,}"
    )
    assert judge("kubelet", err) == trial.Verdict()


def test_a_field_that_is_only_warned_about_is_a_problem_of_its_file(tags: Path) -> None:
    err = (
        'I1 codec.go:102] "Using lenient decoding as strict decoding failed" err="strict decoding error: '
        'unknown field \\"authentication.x509.clientCaFile\\", unknown field \\"bogus\\""\n' + SENTINELS["kubelet"]
    )
    config = "authentication:\n  x509:\n    clientCaFile: x\n"
    assert judge("kubelet", err, config=config, tags=tags).problems == (
        "/etc/config: authentication.x509.clientCaFile is not a field that kubelet v1 knows; "
        "did you mean clientCAFile?",
        "it.service: bogus is not a field that kubelet v1 knows",
    )
    err = 'W1 reader.go:81] Audit policy contains errors: strict decoding error: unknown field "omitStage"\n'
    (problem,) = judge("kube-apiserver", err + SENTINELS["kube-apiserver"], tags=tags).problems
    assert "omitStage is not a field that kube-apiserver v1 knows; did you mean omitStages?" in problem


def test_a_key_that_containerd_ignores_is_a_problem(tags: Path) -> None:
    err = (
        'time="…" level=warning msg="Ignoring unknown key in TOML for plugin" error="strict mode: fields in the '
        'document are missing in the target struct" key="cni conf_dirx" plugin=io.containerd.cri.v1.runtime\n'
        'time="…" level=warning msg="Ignoring unknown key in TOML" column=1 error="…" file=c.toml key=bogus row=3\n'
    )
    assert judge("containerd", err, code=0, config="  conf_dirx = ''\n", tags=tags).problems == (
        "/etc/config: io.containerd.cri.v1.runtime → cni.conf_dirx is not a field that containerd v1 knows; "
        "did you mean conf_dir?",
        "it.service: bogus is not a field that containerd v1 knows",
    )


def test_trouble_of_the_operators_machine_is_a_doubt_and_no_problem() -> None:
    verdict = judge("kube-apiserver", failed("failed to listen on 127.0.0.1:6443: bind: address already in use"))
    assert verdict.problems == ()
    assert "address already in use" in verdict.doubt


def test_the_error_of_gos_own_flag_package_is_found_above_the_usage() -> None:
    err = 'invalid value "x" for flag -listen-client-urls: no scheme\nUsage:\n\n  etcd [flags]\n'
    (problem,) = judge("etcd", err, code=2).problems
    assert problem == 'it.service: etcd v1 refuses it: invalid value "x" for flag -listen-client-urls: no scheme'
