"""As whom khw asks the project: the login that is there, or the account that it may act as; Google is never asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import google.auth
import pytest
from google.auth.credentials import AnonymousCredentials
from google.auth.impersonated_credentials import Credentials

from khw.cluster.rules import findings
from khw.cluster.spec import Gcp, Spec
from khw.inventory.gcp.clients import SCOPES, Api
from khw.inventory.gcp.errors import explained

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCOUNT = "khw@p.iam.gserviceaccount.com"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """Have a login on this machine; return how it was asked for."""
    rows: list[Mapping[str, Any]] = []

    def default(**how: Any) -> tuple[AnonymousCredentials, str]:
        rows.append(how)
        return AnonymousCredentials(), "p"

    monkeypatch.setattr(google.auth, "default", default)
    return rows


def test_the_login_of_this_machine_is_held_to_what_khw_does(asked: list[Mapping[str, Any]]) -> None:
    Api(Gcp(project="p", quota_project="q"), timeout=1.0)._login()
    assert asked == [{"scopes": SCOPES, "quota_project_id": "q"}]


def test_khw_acts_as_the_account_that_the_file_names_with_no_more_scopes(asked: list[Mapping[str, Any]]) -> None:
    found = Api(Gcp(project="p", impersonate=ACCOUNT, quota_project="q"), timeout=1.0)._login()
    assert isinstance(found, Credentials)
    assert found.service_account_email == ACCOUNT
    assert found.quota_project_id == "q"
    assert found._target_scopes == list(SCOPES)
    assert asked == [{"scopes": ("https://www.googleapis.com/auth/cloud-platform",)}]


def test_who_may_not_act_as_the_account_is_told_what_it_takes() -> None:
    from google.auth.exceptions import RefreshError

    from khw.errors import CredentialsError

    with (
        pytest.raises(CredentialsError, match="Unable to acquire impersonated credentials") as caught,
        explained("logging in", Gcp(project="p", impersonate=ACCOUNT)),
    ):
        raise RefreshError("Unable to acquire impersonated credentials")
    assert "roles/iam.serviceAccountTokenCreator on it" in caught.value.hint
    assert "iamcredentials.googleapis.com" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"impersonate": "me@example.com"}, ("gcp", "impersonate")),
        ({"impersonate": ACCOUNT, "credentials": "anonymous"}, ("gcp", "impersonate")),
        ({"quota_project": "q", "credentials": "anonymous"}, ("gcp", "quota_project")),
        ({"zones": ("us-west1-a", "us-east1-b")}, ("gcp", "zones", 1)),
        ({"zones": ("us-west1-a", "us-west1-a")}, ("gcp", "zones", 1)),
    ],
)
def test_what_cannot_be_is_told_with_its_place(given: dict[str, Any], place: tuple[Any, ...]) -> None:
    assert [where for where, _ in findings(Spec(gcp=Gcp(project="p", **given)))] == [place]


def test_an_account_and_zones_that_can_be_are_accepted() -> None:
    spec = Spec(gcp=Gcp(project="p", impersonate=ACCOUNT, zones=("us-west1-a", "us-west1-b")))
    assert list(findings(spec)) == []
