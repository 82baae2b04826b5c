from __future__ import annotations

from typing import Any, cast

import pytest

from khw.ssh.connection import Completed
from khw.verify.etcd import judge_stranger

REFUSED = "latest balancer error: connection error: desc = remote error: tls: certificate required"
CUT = "latest balancer error: write tcp 10.240.0.11:60422->10.240.0.11:2379: write: broken pipe"
NOBODY = "connection error: desc = transport: Error while dialing: dial tcp 10.240.0.11:2379: connect: refused"


@pytest.mark.parametrize(
    ("code", "err", "ok"),
    [(1, REFUSED, True), (1, CUT, True), (1, NOBODY, False), (1, "context deadline exceeded", False), (0, "", False)],
)
def test_a_stranger_is_refused_by_etcd_and_not_by_its_absence(code: int, err: str, ok: bool) -> None:
    anything = cast("Any", None)
    (finding,) = judge_stranger(anything, anything, [Completed(("etcdctl",), code, "", err)])
    assert finding.ok is ok
