"""Readings that are begun before their turn: as many as were expected, and none after something was written."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from khw.cluster.spec import Gcp
from khw.errors import CredentialsError
from khw.inventory.gcp import ahead as gcp_ahead
from khw.inventory.gcp.ahead import Ahead, Reading
from khw.inventory.gcp.clients import Api
from khw.inventory.gcp.kinds import FIREWALL, INSTANCE
from khw.inventory.gcp.operations import finish
from khw.inventory.gcp.reads import question

from ..conftest import KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from khw.inventory.gcp.provider import GcpProvider

    from ..conftest import Lab

NAME = "kubernetes-the-hard-way"
ALL = ("prerequisites", "compute", "load-balancer", "routes")
FIRST = Reading.of("C", "get", {"a": "1"})


class Counting:
    """What is read, counted."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, _client: str, method: str, request: Mapping[str, Any]) -> str:
        with self.lock:
            self.seen.append(f"{method} {request['a']}")
        return f"answer {request['a']}"


def ahead(read: Counting) -> Ahead:
    return Ahead(lambda: None, read)


def test_an_answer_is_there_for_as_many_as_were_expected() -> None:
    read = Counting()
    them = ahead(read)
    them.begin([FIRST, FIRST])
    for _ in range(2):
        begun = them.take("C", "get", {"a": "1"})
        assert begun
        assert begun.result(5) == "answer 1"
    assert them.take("C", "get", {"a": "1"}) is None
    assert read.seen == ["get 1"]


def test_what_was_not_expected_has_to_be_asked_for() -> None:
    them = ahead(Counting())
    them.begin([FIRST])
    assert them.take("C", "get", {"a": "2"}) is None
    assert them.take("C", "list", {"a": "1"}) is None


def test_after_something_was_written_nothing_of_it_counts() -> None:
    them = ahead(Counting())
    them.begin([FIRST])
    them.forget()
    assert them.take("C", "get", {"a": "1"}) is None


def test_an_answer_that_nobody_took_in_time_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcp_ahead, "FRESH", -1.0)
    them = ahead(Counting())
    them.begin([FIRST])
    assert them.take("C", "get", {"a": "1"}) is None


def test_a_login_that_fails_is_tried_once_and_told_to_everyone_who_asks() -> None:
    tries: list[int] = []

    def log_in() -> None:
        tries.append(1)
        raise CredentialsError("no credentials")

    them = Ahead(log_in, Counting())
    them.begin([FIRST, Reading.of("C", "get", {"a": "2"})])
    for number in ("1", "2"):
        begun = them.take("C", "get", {"a": number})
        assert begun
        with pytest.raises(CredentialsError):
            begun.result(5)
    assert tries == [1]


# The provider's


def everything(lab: Lab, *, ahead: bool, **changes: object) -> GcpProvider:
    provider = lab.provider(**changes)
    if ahead:
        provider.look_ahead(ALL)
    provider.preflight()
    lab.made(provider)
    return provider


def test_a_run_that_changes_nothing_asks_for_nothing_that_was_not_expected(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything(lab, ahead=False)
    asked: list[tuple[str, str]] = []
    ask = Api._ask

    def noted(api: Api, client: str, method: str, request: Mapping[str, Any]) -> Any:
        asked.append((client, threading.current_thread().name.partition("_")[0]))
        return ask(api, client, method, request)

    monkeypatch.setattr(Api, "_ask", noted)
    everything(lab, ahead=True)
    assert len(asked) > 20
    assert {who for _, who in asked} == {"khw-ahead"}


def test_what_is_expected_is_asked_and_no_more(lab: Lab) -> None:
    everything(lab, ahead=False)
    provider = everything(lab, ahead=True)
    assert provider.api._ahead._begun == {}


def test_machines_of_several_zones_are_expected_where_they_are(lab: Lab) -> None:
    zones = ("us-west1-a", "us-west1-b")
    gcp = Gcp(project="khw-unit", endpoint=lab.endpoint, credentials="anonymous", zones=zones)
    everything(lab, ahead=False, gcp=gcp)
    provider = everything(lab, ahead=True, gcp=gcp)
    assert provider.api._ahead._begun == {}


def test_what_this_run_has_made_is_seen_by_what_comes_after(lab: Lab) -> None:
    everything(lab, ahead=True)  # from nothing: each reading ahead found nothing there
    again = lab.provider()
    assert not [change for change in again.ensure_compute() if change.changed]


def test_what_somebody_else_does_between_two_discoveries_is_seen(lab: Lab) -> None:
    everything(lab, ahead=False)
    provider = lab.provider()
    assert provider.discover().node("worker-1").exists
    api = lab.api
    request = {**api.place(INSTANCE), "instance": "worker-1"}
    finish(api, api.start(INSTANCE.client, "delete_unary", request), "a test's delete")
    assert not provider.discover().node("worker-1").exists


# Without the library


def test_a_run_that_changes_nothing_never_loads_the_library(lab: Lab) -> None:
    everything(lab, ahead=False)
    code = (
        "import sys\n"
        "from khw.cluster.spec import Spec\n"
        "from khw.inventory import provider_for\n"
        f"spec = Spec.model_validate_json({lab.spec().model_dump_json()!r})\n"
        f"provider = provider_for(spec, {KEY!r})\n"
        f"provider.look_ahead({ALL!r})\n"
        "changes = [*provider.preflight(), *provider.ensure_compute()]\n"
        "cluster = provider.discover()\n"
        "changes += [*provider.ensure_load_balancer(cluster), *provider.ensure_routes(cluster)]\n"
        "heavy = {'google.cloud.compute_v1.types', 'google.api_core', 'proto', 'grpc'}\n"
        "print(len(changes) > 20, sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("True []\n", "")


@pytest.mark.parametrize("name", ["GOOGLE_API_USE_CLIENT_CERTIFICATE", "GOOGLE_CLOUD_UNIVERSE_DOMAIN"])
def test_where_a_connection_has_to_be_the_librarys_the_library_reads(
    lab: Lab, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything(lab, ahead=False)
    request = {**lab.api.place(FIREWALL), "firewall": f"{NAME}-allow-internal"}
    assert question(FIREWALL.client, "get", request)
    ours = lab.provider().discover()
    monkeypatch.setenv(name, "googleapis.com" if "DOMAIN" in name else "false")
    assert question(FIREWALL.client, "get", request) is None
    theirs = lab.provider()
    assert theirs.discover() == ours
    assert not [change for change in theirs.ensure_compute() if change.changed]
    assert theirs.api._clients


def test_every_page_of_a_list_is_read(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    everything(lab, ahead=False)
    api = lab.api
    whole = [rule.name for rule in api.list(FIREWALL)]
    assert len(whole) > 3
    place = api.place

    def in_pages(kind: Any, zone: str = "") -> dict[str, str]:
        return {**place(kind, zone), "max_results": "1"}

    monkeypatch.setattr(api, "place", in_pages)
    assert [rule.name for rule in api.list(FIREWALL)] == whole
