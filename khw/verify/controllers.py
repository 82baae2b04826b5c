"""The controller manager and the scheduler (chapter 8): healthy on each controller, and one of each leads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from khw.verify.api_server import raw
from khw.verify.check import Finding, last_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.cluster.model import Node
    from khw.ssh.connection import Completed, RemoteCommand
    from khw.verify.context import Context

COMPONENTS = {"kube-controller-manager": 10257, "kube-scheduler": 10259}
CLOCK_SLACK = 15.0  # seconds that the operator's clock may be off before a lease looks stale


def ask(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Ask both on their own ports."""
    return tuple(raw(f"https://127.0.0.1:{port}", "/healthz") for port in COMPONENTS.values())


def judge(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Expect 'ok' from each."""
    for (name, port), answer in zip(COMPONENTS.items(), answers, strict=True):
        fine = answer.code == 0 and answer.out.strip() == "ok"
        yield Finding(
            ok=fine,
            subject=name,
            expected=f"ok at 127.0.0.1:{port}/healthz",
            actual="ok" if fine else last_line(answer),
            hint=f"sudo systemctl status {name}; sudo journalctl -u {name} -n 50",
        )


def leases(context: Context) -> Iterable[Finding]:
    """Expect that each lease is held by a controller, and was renewed within its duration."""
    rows = context.kubectl.json("get", "leases", "--namespace=kube-system")["items"]
    specs = {row["metadata"]["name"]: row["spec"] for row in rows}
    for name in COMPONENTS:
        yield judge_lease(context, name, specs.get(name), datetime.now(UTC))


def judge_lease(context: Context, name: str, spec: Any, now: datetime) -> Finding:
    """Judge one lease, as it is at `now`."""
    expected = "held by a controller, and renewed in time"
    hint = f"no {name} leads: sudo systemctl status {name} on each controller"
    holder = str((spec or {}).get("holderIdentity") or "")
    if not holder:
        return Finding(ok=False, subject=name, expected=expected, actual="nobody holds it", hint=hint)
    age = (now - datetime.fromisoformat(spec["renewTime"])).total_seconds()
    host = holder.partition("_")[0]
    known = any(host.partition(".")[0] == node.name for node in context.cluster.controllers)
    return Finding(
        ok=known and age < spec["leaseDurationSeconds"] + CLOCK_SLACK,
        subject=name,
        expected=expected,
        actual=f"held by {host}, renewed {max(age, 0.0):.0f} s ago",
        hint=hint,
    )


def component_status(context: Context) -> Iterable[Finding]:
    """
    Expect every component Healthy in `kubectl get componentstatuses`.

    Deprecated upstream, and what the guide shows; the checks beside it do not depend on it.
    """
    for item in context.kubectl.json("get", "componentstatuses")["items"]:
        name = item["metadata"]["name"]
        condition: dict[str, str] = next((c for c in item.get("conditions") or [] if c["type"] == "Healthy"), {})
        yield Finding(
            ok=condition.get("status") == "True",
            subject=name,
            expected="Healthy",
            actual=_words(condition),
            hint="kubectl get componentstatuses; then the component's own check above",
        )


def _words(condition: dict[str, str]) -> str:
    if condition.get("status") == "True":
        return "Healthy"
    return condition.get("error") or condition.get("message") or "no condition"
