"""What the provider says when Google says no. The refusals have Google's own shape."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from google.cloud import compute_v1

from khw.checks import Status
from khw.cluster.spec import Gcp, Spec, Timeouts
from khw.errors import CredentialsError, OperationError, ProviderError
from khw.inventory import provider_for
from khw.inventory.gcp.clients import Api
from khw.inventory.gcp.operations import Job, finish, together
from khw.inventory.gcp.provider import GcpProvider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from khw.inventory.provider import Provider

KEY = "ssh-ed25519 AAAA"


def refusal(code: int, message: str, reason: str) -> tuple[int, dict[str, Any]]:
    detail = {"message": message, "domain": "global", "reason": reason}
    return code, {"error": {"code": code, "message": message, "errors": [detail]}}


@contextmanager
def always(code: int, body: dict[str, Any], port: int = 0) -> Iterator[Provider]:
    """Serve the same answer to every request, and give a provider that asks there."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 (http.server's names)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield a_provider(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def a_provider(endpoint: str) -> Provider:
    gcp = Gcp(project="mine", endpoint=endpoint, credentials="anonymous")
    return provider_for(Spec(gcp=gcp, timeouts=Timeouts(cloud=0.7)), KEY)


def test_a_project_that_does_not_exist_is_named() -> None:
    with (
        always(*refusal(404, "The resource 'projects/mine' was not found", "notFound")) as provider,
        pytest.raises(ProviderError, match="project mine does not exist") as caught,
    ):
        provider.ensure_compute()
    assert "gcp.project" in caught.value.hint


def test_preflight_says_it_once_and_skips_the_rest() -> None:
    with always(*refusal(404, "The resource 'projects/mine' was not found", "notFound")) as provider:
        rows = provider.preflight()
    assert [row.status for row in rows][:1] == [Status.FAILED]
    assert {row.status for row in rows[1:]} == {Status.SKIPPED}
    assert "does not exist" in rows[0].actual


def test_a_login_that_is_refused_is_a_credentials_error() -> None:
    with (
        always(*refusal(401, "Request is missing required authentication credential.", "required")) as provider,
        pytest.raises(CredentialsError) as caught,
    ):
        provider.ensure_compute()
    assert "gcloud auth application-default login" in caught.value.hint


def test_a_missing_right_is_a_credentials_error() -> None:
    message = "Required 'compute.instances.list' permission for 'projects/mine'"
    with (
        always(*refusal(403, message, "forbidden")) as provider,
        pytest.raises(CredentialsError, match=r"compute\.instances\.list") as caught,
    ):
        provider.ensure_compute()
    assert "roles/compute.admin" in caught.value.hint


def test_an_api_that_is_not_enabled_is_told_with_the_command() -> None:
    message = "Compute Engine API has not been used in project 1 before or it is disabled."
    with (
        always(*refusal(403, message, "accessNotConfigured")) as provider,
        pytest.raises(ProviderError, match="not enabled in project mine") as caught,
    ):
        provider.ensure_compute()
    assert "gcloud services enable compute.googleapis.com --project mine" in caught.value.hint


def test_an_error_of_the_api_itself_keeps_its_words() -> None:
    with (
        always(*refusal(500, "Internal error. Please try again.", "backendError")) as provider,
        pytest.raises(ProviderError, match=r"the API failed: Internal error\."),
    ):
        provider.ensure_compute()


def test_an_api_that_does_not_answer_is_told_with_its_endpoint() -> None:
    with pytest.raises(ProviderError, match=r"the API at http://127\.0\.0\.1:9 does not answer") as caught:
        a_provider("http://127.0.0.1:9").discover()
    assert "khw lab up" in caught.value.hint


def test_no_credentials_are_told_before_anything_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    provider = provider_for(Spec(gcp=Gcp(project="mine", endpoint="http://127.0.0.1:9")), KEY)
    with pytest.raises(CredentialsError, match="no credentials for Google Cloud were found") as caught:
        provider.discover()
    assert "gcloud auth application-default login" in caught.value.hint
    rows = provider.preflight()
    assert (rows[0].name, rows[0].status) == ("credentials", Status.FAILED)


def test_an_operation_that_ends_in_an_error_keeps_its_code_and_gets_a_hint() -> None:
    operation = compute_v1.Operation(
        name="operation-1",
        status="DONE",
        error={"errors": [{"code": "QUOTA_EXCEEDED", "message": "Quota 'CPUS' exceeded."}]},
    )
    api = Api(Gcp(project="mine", endpoint="http://127.0.0.1:9", credentials="anonymous"), timeout=5)
    with pytest.raises(OperationError, match=r"creating it: Quota 'CPUS' exceeded\. \(QUOTA_EXCEEDED\)") as caught:
        finish(api, operation, "creating it")
    assert "quota" in caught.value.hint


def test_an_operation_that_does_not_end_in_time_is_told() -> None:
    api = Api(Gcp(project="mine", endpoint="http://127.0.0.1:9", credentials="anonymous"), timeout=0.0)
    running = compute_v1.Operation(name="operation-1", status="RUNNING")
    with pytest.raises(OperationError, match="did not end within 0 s") as caught:
        finish(api, running, "creating it")
    assert "timeouts.cloud" in caught.value.hint


def test_an_api_that_goes_away_during_a_wait_may_come_back() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    api = Api(Gcp(project="mine", endpoint=f"http://127.0.0.1:{port}", credentials="anonymous"), timeout=20)
    running = compute_v1.Operation(name="operation-1", status="RUNNING")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(finish, api, running, "creating it")
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.7)
        with always(200, {"name": "operation-1", "status": "DONE"}, port=port):
            assert waiting.result(timeout=15).status == compute_v1.Operation.Status.DONE


def test_errors_of_several_jobs_are_told_together_and_what_needs_them_is_not_begun() -> None:
    begun: list[str] = []

    def fail(text: str) -> None:
        raise OperationError(text, hint="a hint")

    jobs = [
        Job("a", partial(fail, "a failed")),
        Job("b", partial(fail, "b failed")),
        Job("c", partial(begun.append, "c"), after=("a",)),
        Job("d", partial(begun.append, "d"), after=("missing",)),
    ]
    api = Api(Gcp(project="mine", endpoint="http://127.0.0.1:9", credentials="anonymous"), timeout=5)
    with pytest.raises(OperationError, match="a failed\nb failed"):
        together(api, jobs)
    assert begun == ["d"]


def test_an_interrupted_wait_ends_soon() -> None:
    with always(200, {"name": "operation-1", "status": "RUNNING"}) as provider, ThreadPoolExecutor(1) as pool:
        assert isinstance(provider, GcpProvider)
        api = provider.api
        waiting = pool.submit(finish, api, compute_v1.Operation(name="operation-1", status="RUNNING"), "creating it")
        api.stopped.set()
        with pytest.raises(OperationError, match="interrupted; operation operation-1 goes on without khw"):
            waiting.result(timeout=5)
