"""
systemd services.

A unit is restarted when its file or an input is not what it was started with. What it was started with is recorded
at each start, in units.json, so that a run that was killed between writing a file and restarting is made good later.
With it goes the InvocationID that systemd gave that start: if it is another by now, somebody else has restarted the
unit (a person, a reboot, a crash), and it was started with what has not changed since.

A unit that fails again and again is active for a moment and then waits to be started again. Whichever of the two is
seen, it is the same unit: stale, it is restarted, so that a plan says what the run a second later does.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from typing import TYPE_CHECKING, Any

from khw.agent.masking import visible
from khw.agent.node import CREATED, RESTARTED, STARTED, UNCHANGED, UPDATED, FailureError, Outcome
from khw.agent.paths import look, sha256_of, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from khw.agent.node import Node

SHOWN = ("LoadState", "ActiveState", "SubState", "UnitFileState", "NeedDaemonReload")
STARTED_AT = ("InvocationID", "ExecMainStartTimestampMonotonic")
INVOCATION = "invocation"
ALIVE = ("active", "reloading", "activating")  # runs, or systemd is at starting it, perhaps again and again
ENABLED = ("enabled", "static", "alias", "indirect", "generated", "linked")
TEXT_LIMIT = 256 << 10
INVOCATION_PATIENCE = 2.0  # seconds


def show(node: Node, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return what systemd says of these units, in one call."""
    argv = ["systemctl", "show", f"--property={','.join(('Id', *SHOWN, *STARTED_AT))}", "--", *names]
    blocks = node.must(argv, "systemctl does not answer").out.strip().split("\n\n")
    rows = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]
    return dict(zip(names, rows))


def probe(node: Node, spec: dict[str, Any], shown: dict[str, str]) -> dict[str, Any]:
    """Return a unit as it is; `started_with` are the digests at its last start, `stale` what differs from them now."""
    path = _path(node, spec)
    file = look(node, path, digest=True)
    if spec.get("text") and file.get("sha256") not in (None, spec["sha256"]):
        file["text"] = visible(text_of(path, TEXT_LIMIT), "")
    stale = _stale(node, spec, shown)
    if not stale and shown.get("ActiveState") == "active":
        _remember(node, spec, shown)
    return {
        "path": path,
        "file": file,
        "active": shown.get("ActiveState", "inactive"),
        "sub": shown.get("SubState", "dead"),
        "enabled": shown.get("UnitFileState", "") in ENABLED,
        "started_with": _started_with(node, spec, shown),
        "stale": stale,
    }


def prepare(node: Node, ops: Sequence[dict[str, Any]]) -> None:
    """Write the unit files of all these and tell systemd once. Each starts later, at its own place in the order."""
    shown = show(node, [op["name"] for op in ops])
    reload = any(row.get("NeedDaemonReload") == "yes" for row in shown.values())
    for op in ops:
        op["found"] = look(node, _path(node, op), digest=True)
        op["was"] = shown[op["name"]].get("ActiveState", "inactive")
        if _differs(op):
            _write(_path(node, op), op["content"].encode(), op["mode"])
            reload = True
    for verb, wanted in (("enable", True), ("disable", False)):
        names = [o["name"] for o in ops if o["enabled"] is wanted and _enabled(shown[o["name"]]) is not wanted]
        if names:
            node.must(["systemctl", verb, *names], f"cannot {verb} {', '.join(names)}")
            reload = False  # systemctl has told it to read all units again, after this as after a daemon-reload
        for op in ops:
            op["switched"] = op.get("switched", False) or op["name"] in names
    if reload:
        node.must(["systemctl", "daemon-reload"], "systemd cannot read its units again")


def converge(node: Node, op: dict[str, Any]) -> Outcome:
    """Bring one prepared unit to where it should be."""
    name = op["name"]
    shown = show(node, [name])[name]
    active = shown.get("ActiveState", "inactive")
    written = CREATED if op["found"]["kind"] == "absent" else UPDATED if _differs(op) or op["switched"] else UNCHANGED
    if not op["running"]:
        if active in ("inactive", "failed"):
            return Outcome(written, active, active)
        node.must(["systemctl", "stop", name], f"{name} does not stop", op["timeout"])
        return Outcome(UPDATED, active, "inactive")
    up = active in ("active", "reloading") or (active == "activating" and shown.get("SubState") != "auto-restart")
    stale = active in ALIVE and bool(_stale(node, op, shown))
    if up and not stale:
        if active == "activating" and op["block"]:
            _systemctl(node, op, "start")
            return Outcome(STARTED, active, "active")
        return Outcome(written, active, active)
    _launch(node, op, "restart" if active != "inactive" else "start")
    after = "active" if op["block"] else "activating"
    if written == CREATED:
        return Outcome(CREATED, "absent", after)
    return Outcome(RESTARTED if stale else STARTED, active, after)


def journal(node: Node, name: str) -> str:
    """Return the last lines of a unit's journal."""
    result = node.run("journalctl", "--unit", name, "--lines", "20", "--no-pager", "--output", "cat", timeout=10.0)
    return result.out.strip() or result.evidence()


def _launch(node: Node, op: dict[str, Any], verb: str) -> None:
    name = op["name"]
    inputs = _inputs(node, op)
    before = show(node, [name])[name].get("InvocationID", "")
    node.units.put(name, None)
    node.units.save()
    node.run("systemctl", "reset-failed", name)
    _systemctl(node, op, verb)
    node.units.put(name, {**inputs, INVOCATION: _new_invocation(node, name, before)})
    node.units.save()


def _new_invocation(node: Node, name: str, before: str) -> str:
    """Return the InvocationID of this start; '' if it has none yet: a start that nobody waits for may be queued."""
    deadline = time.monotonic() + INVOCATION_PATIENCE
    while True:
        now = show(node, [name])[name].get("InvocationID", before)
        if now != before or time.monotonic() > deadline:
            return now if now != before else ""
        time.sleep(0.02)


def _remember(node: Node, spec: dict[str, Any], shown: dict[str, str]) -> None:
    """Record a start of somebody else's, or one whose InvocationID was not known then: its inputs are those of now."""
    record = node.units.get(spec["name"])
    if record and shown.get("InvocationID") and record.get(INVOCATION) != shown["InvocationID"]:
        node.units.put(spec["name"], {**_inputs(node, spec), INVOCATION: shown["InvocationID"]})


def _systemctl(node: Node, op: dict[str, Any], verb: str) -> None:
    name = op["name"]
    argv = ["systemctl", verb, *([] if op["block"] else ["--no-block"]), name]
    result = node.processes.run(argv, None, op["timeout"])
    failed = result.code != 0 or (op["block"] and show(node, [name])[name].get("ActiveState") == "failed")
    if failed and _going_down(node):
        raise FailureError(
            f"{name} does not start: the machine is going down", result.evidence(), "once it is back: khw run --failed"
        )
    if failed:
        raise FailureError(
            f"{name} does not start: {result.evidence(1) or 'it failed at once'}",
            journal(node, name),
            f"on the node: sudo systemctl status {name}; sudo journalctl -u {name}",
        )


def _going_down(node: Node) -> bool:
    """Whether the machine is on its way to a reboot or to its end: systemd starts nothing then (systemctl(1))."""
    return node.processes.run(["systemctl", "is-system-running"], None, 5.0).out.strip() == "stopping"


def _started_with(node: Node, spec: dict[str, Any], shown: dict[str, str]) -> dict[str, str]:
    """Return the digests of what the unit was last started with, as far as they are known."""
    record = dict(node.units.get(spec["name"]) or {})
    ours, current = record.pop(INVOCATION, ""), shown.get("InvocationID", "")
    if not record or not ours or not current or ours == current:
        return record
    age = time.monotonic() - int(shown.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
    started = time.time() - age
    return {path: sha256 for path, sha256 in _inputs(node, spec).items() if _written(path) < started}


def _written(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return math.inf  # who knows when it went


def _stale(node: Node, spec: dict[str, Any], shown: dict[str, str]) -> list[str]:
    started_with = _started_with(node, spec, shown)
    now = _inputs(node, spec)
    return sorted(path for path in {*now, *started_with} if now.get(path) != started_with.get(path))


def _inputs(node: Node, spec: dict[str, Any]) -> dict[str, str]:
    paths = [_path(node, spec), *spec["inputs"]]
    return {path: sha256_of(node, path) for path in paths}


def _path(node: Node, spec: dict[str, Any]) -> str:
    return os.path.join(node.places.units, spec["name"])


def _differs(op: dict[str, Any]) -> bool:
    wanted = hashlib.sha256(op["content"].encode()).hexdigest()
    found = op["found"]
    return (found.get("sha256"), found.get("mode")) != (wanted, op["mode"])


def _enabled(shown: dict[str, str]) -> bool:
    return shown.get("UnitFileState", "") in ENABLED


def _write(path: str, content: bytes, mode: int) -> None:
    temporary = f"{path}.khw-new"
    with open(temporary, "wb") as file:
        file.write(content)
    os.chmod(temporary, mode)
    os.replace(temporary, path)
