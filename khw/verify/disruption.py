"""Chapter 13's disruptive part: losing a controller, and a worker's reboot. Only when asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from khw.checks import CheckResult, Status
from khw.cluster.spec import Role
from khw.errors import KhwError
from khw.kubectl import KubectlError
from khw.ssh.connection import RemoteCommand

if TYPE_CHECKING:
    from khw.ssh.connection import Agent
    from khw.verify.context import Context

CONTROLLER_UNITS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
WRITE_SECONDS = 60.0
BACK_SECONDS = 180.0
POLL_SECONDS = 1.0
MARK = "khw-smoke"


def run(context: Context) -> list[CheckResult]:
    """Stop a controller's services, then reboot a worker; each is brought back before the next."""
    return [_timed(_lose_a_controller, context), _timed(_reboot_a_worker, context)]


def _timed(step: Callable[[Context], CheckResult], context: Context) -> CheckResult:
    started = time.monotonic()
    result = step(context)
    return replace(result, seconds=round(time.monotonic() - started, 2))


def _lose_a_controller(context: Context) -> CheckResult:
    """With one controller gone, and its etcd, the API still takes writes; afterwards all of it runs again."""
    name = "losing a controller"
    expected = f"a write through the load balancer within {WRITE_SECONDS:g} s, and all units back"
    node = next((n for n in context.cluster.controllers if n.name in context.agents), None)
    needed = 3 if context.cluster.stacked else 2
    if node is None or len(context.cluster.controllers) < needed:
        return _result(name, "", None, expected, f"it needs {needed} controllers, one of them within reach")
    agent = context.agents[node.name]
    units = (*CONTROLLER_UNITS, *(("etcd",) if Role.ETCD in node.roles else ()))
    started = time.monotonic()
    try:
        _systemctl(agent, "stop", units)
        taken = _until(lambda: _write(context), WRITE_SECONDS)
        seconds = time.monotonic() - started
    except KhwError as error:
        return _result(name, node.name, False, expected, error.message)
    finally:
        _systemctl(agent, "start", units)
    ready = _until(lambda: _ready(agent, units), BACK_SECONDS)
    said = f"{f'written after {seconds:.1f} s' if taken else 'no write'}, {'all back' if ready else 'units are down'}"
    return _result(name, node.name, taken and ready, expected, said)


def _reboot_a_worker(context: Context) -> CheckResult:
    """After a reboot, the node is Ready again with no help."""
    name = "a reboot"
    expected = f"Ready again within {BACK_SECONDS:g} s, by itself"
    node = next((n for n in context.cluster.workers if n.name in context.agents), None)
    if node is None:
        return _result(name, "", None, expected, "no worker is within reach")
    started = time.monotonic()
    try:
        before = _heartbeat(context, node.name)
        # The answer may be lost with the machine: what counts is what the cluster sees.
        context.agents[node.name].run(RemoteCommand(("systemctl", "reboot")), timeout=20.0)
    except KubectlError as error:
        return _result(name, node.name, False, expected, error.message)
    except KhwError:
        pass
    back = _until(lambda: _rebooted(context, node.name, before), BACK_SECONDS)
    seconds = time.monotonic() - started
    return _result(name, node.name, back, expected, f"Ready after {seconds:.0f} s" if back else "not Ready")


def _systemctl(agent: Agent, verb: str, units: Sequence[str]) -> None:
    agent.run(RemoteCommand(("systemctl", verb, *units), timeout=120.0), timeout=150.0)


def _ready(agent: Agent, units: Sequence[str]) -> bool:
    (answer,) = agent.run(RemoteCommand(("systemctl", "is-active", *units)), timeout=30.0)
    return answer.code == 0


def _write(context: Context) -> bool:
    try:
        context.kubectl.run("create", "configmap", MARK, "--namespace=default", "--request-timeout=3s", timeout=10.0)
        context.kubectl.run("delete", "configmap", MARK, "--namespace=default", "--request-timeout=3s", timeout=10.0)
    except KubectlError as error:
        return "already exists" in error.evidence  # an answer that was lost: the write itself came through
    return True


def _heartbeat(context: Context, name: str) -> str:
    """Return since when the kubelet that is running now runs: its node's `Rebooted` or `Starting` events' count."""
    events = context.kubectl.json(
        "get", "events", "--namespace=default", f"--field-selector=involvedObject.name={name},reason=Starting"
    )["items"]
    return "|".join(sorted(f"{e['metadata']['uid']}:{e.get('count', 1)}:{e.get('lastTimestamp')}" for e in events))


def _rebooted(context: Context, name: str, before: str) -> bool:
    try:
        node = context.kubectl.json("get", "node", name, "--request-timeout=5s")
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])
        return ready and _heartbeat(context, name) != before
    except KubectlError:
        return False


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _result(name: str, node: str, ok: bool | None, expected: str, actual: str) -> CheckResult:
    statuses = {True: Status.PASSED, False: Status.FAILED, None: Status.SKIPPED}
    hint = "" if ok is not False else f"khw verify; khw run --limit {node}"
    return CheckResult(name=name, node=node, status=statuses[ok], expected=expected, actual=actual, hint=hint)
