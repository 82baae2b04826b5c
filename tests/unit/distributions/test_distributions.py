from __future__ import annotations

import pytest
from fakes import cluster

from khw.cluster.model import Facts
from khw.converge.resources import Require
from khw.distributions import known, package
from khw.distributions.distribution import Distribution
from khw.flags.rendered import specimens
from khw.tasks import prerequisites


@pytest.mark.parametrize(
    ("name", "release", "title"),
    [
        ("debian", "12", "Debian"),
        ("debian", "13", "Debian"),
        ("debian", "", "Debian"),  # testing says no number
        ("ubuntu", "22.04", "Ubuntu"),
        ("ubuntu", "24.04", "Ubuntu"),
        ("debian", "11", None),
        ("ubuntu", "20.04", None),
        ("fedora", "43", None),
    ],
)
def test_a_distribution_is_known_from_its_oldest_release_on(name: str, release: str, title: str | None) -> None:
    found = known(Facts(distribution=name, release=release))
    assert (found.title if found else None) == title


def test_packages_are_called_as_the_distribution_calls_them(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Distribution(name="other", title="Other", oldest="1", packages={"conntrack": "conntrack-tools"})
    monkeypatch.setattr("khw.distributions.KNOWN", (other,))
    assert package(Facts(distribution="other", release="1"), "conntrack") == "conntrack-tools"
    assert package(Facts(distribution="other", release="1"), "socat") == "socat"


def test_an_unknown_one_is_a_finding_that_names_it_and_the_way_out() -> None:
    it = cluster()
    node = it.node("worker-0").with_facts(Facts(distribution="fedora", release="43"))
    rows = prerequisites.resources(node, it, specimens(it))
    finding = next(row for row in rows if isinstance(row, Require) and row.name == "distribution")
    assert finding.problem == "the distribution is fedora 43, and khw knows Debian 12 or later, Ubuntu 22.04 or later"
    assert finding.argv[-1] == "unknown"
    assert "khw/distributions" in finding.hint
