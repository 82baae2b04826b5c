"""Every flag and field that khw renders, and misspelt ones, judged by the pinned binaries themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from fakes import cluster

from khw.artifacts.store import Store
from khw.cluster.spec import Spec
from khw.converge.resources import File, Unit, Wait
from khw.engine.phases import PHASES
from khw.errors import FlagError
from khw.flags.check import FlagCheck
from khw.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from khw.artifacts.store import Artifact
    from khw.converge.resources import Resource
    from khw.engine.phases import Phase

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


@dataclass
class Shelf:
    """The artifacts of the machine's cache, with a memory of the test's own beside them."""

    store: Store
    folder: Path

    @property
    def cache(self) -> Any:
        return self

    @property
    def root(self) -> Path:
        return self.folder

    def digest(self, name: str) -> str:
        return self.get(name).sha256

    def get(self, name: str, **_: object) -> Artifact:
        artifact = self.store.cached(name)
        if artifact is None:
            pytest.skip(f"{name} is not in the artifact cache")
        return artifact


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(Store(("cache",)), tmp_path_factory.mktemp("memory"))


def check(shelf: Shelf, phases: tuple[Phase, ...] = PHASES) -> list[str]:
    said: list[str] = []
    FlagCheck(phases, cluster(Spec()), cast("Any", shelf), said.append).run()
    return said


def misspelt(where: str, old: str, new: str) -> tuple[Phase, ...]:
    """Return the phases with `old` rendered as `new` in the resource whose id holds `where`."""

    def task_of(phase: Phase) -> Any:
        def task(*arguments: Any) -> Iterator[Resource]:
            for resource in phase.task(*arguments) if phase.task else ():
                yield _changed(resource, old, new) if where in resource.id else resource

        return task

    return tuple(replace(phase, task=task_of(phase)) if phase.task else phase for phase in PHASES)


def _changed(resource: Resource, old: str, new: str) -> Resource:
    if isinstance(resource, Wait):
        return replace(resource, argv=tuple(word.replace(old, new) for word in resource.argv))
    assert isinstance(resource, File | Unit)
    content = resource.content
    text = content.reveal().decode() if isinstance(content, Secret) else str(content)
    assert old in text
    return replace(resource, content=text.replace(old, new))


def test_all_that_khw_renders_is_known_to_the_pinned_binaries_without_a_remark(shelf: Shelf) -> None:
    assert check(shelf) == []


def test_a_deprecated_flag_that_help_hides_is_told_and_no_error(shelf: Shelf) -> None:
    (said,) = check(shelf, misspelt("unit:kube-apiserver", "--v=2", "--apiserver-count=3"))
    assert said.startswith("kube-apiserver.service: --apiserver-count is deprecated in kube-apiserver v1.")


WRONG = {
    "a flag": ("unit:kubelet", "--node-ip", "--node-ipp", "kubelet.service: --node-ipp is.*mean --node-ip?"),
    "a removed flag": ("unit:kubelet", "--v=2", "--container-runtime=remote", "--container-runtime is not a flag"),
    "a value": ("unit:kube-apiserver", "--event-ttl=1h", "--event-ttl=1hour", 'invalid argument "1hour"'),
    "a plugin": ("unit:kube-apiserver", "NodeRestriction", "NodeRestrictions", 'plugin "NodeRestrictions" is unknown'),
    "etcd": ("unit:etcd", "https://127.0.0.1:2379", "ftp://127.0.0.1:2379", "URL scheme must be http"),
    "controllers": ("unit:kube-controller", "--v=2", "--controllers=bogus", "not in the list of known controllers"),
    "kubelet": ("kubelet-config", "clientCAFile", "clientCaFile", "x509.clientCaFile is not .*mean clientCAFile?"),
    "kubelet value": ("kubelet-config", "Percent: 100", "Percent: 101", "101 must be between 0 and 100"),
    "kube-proxy": ("kube-proxy-config", "hostnameOverride", "hostNameOverride", "mean hostnameOverride?"),
    "scheduler": ("kube-scheduler.yaml", "enableProfiling", "enableProfilings", "mean enableProfiling?"),
    "audit": ("audit-policy", "omitStages", "omitStage", "audit-policy.yaml: omitStage .*mean omitStages?"),
    "authentication": ("authentication.yaml", "conditions", "condition", "mean conditions?"),
    "encryption": ("encryption-config", "keys:", "keyz:", "encryption-config.yaml: .*keyz is not a field"),
    "containerd": ("config.toml", "bin_dirs", "bin_dirz", "config.toml: .*bin_dirz is not a field"),
    "runc": ("config.toml", "SystemdCgroup", "SystemdCgroups", "mean SystemdCgroup?"),
    "cni": ("10-bridge", "hairpinMode", "hairpinmode", "mean hairpinMode?"),
    "kubeconfig": ("admin.kubeconfig", "client-key-data", "client-key-date", "mean client-key-data?"),
    "a step": ("wait:etcd", "--command-timeout", "--comand-timeout", "mean --command-timeout?"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_pinned_binary_does_not_know_is_named(what: str, shelf: Shelf) -> None:
    where, old, new, said = WRONG[what]
    with pytest.raises(FlagError, match=said.replace("?", r"\?")):
        check(shelf, misspelt(where, old, new))
