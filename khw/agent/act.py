"""Resources as they should be: one after another, each reported when it is done; the first failure ends it."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Any

from khw.agent import software, units
from khw.agent.node import CREATED, RAN, REMOVED, UNCHANGED, UPDATED, FailureError, Outcome
from khw.agent.paths import look, own, write
from khw.agent.probe import diff, holds, unwell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from khw.agent.node import Node


WATCHED = 20.0  # seconds after which a command that waits is started again: its connection may be dead
LAST_LOOK = 5.0


def act(node: Node, ops: Sequence[dict[str, Any]], operator: str, run: str) -> None:
    """Do all ops, in order, with the node to ourselves."""
    with node.fence.claim(node, operator, run):
        for index, op in enumerate(ops):
            started = time.monotonic()
            try:
                outcome = _one(node, op, ops[index:])
            except FailureError as failure:
                _failed(node, op, failure)
                return
            except (OSError, ValueError) as error:
                _failed(node, op, _explained(op, error))
                return
            finally:
                node.save()
            seconds = time.monotonic() - started
            port = op.get("port", 0)
            node.session.tell(event="done", index=index, seconds=seconds, port=port, **outcome._asdict())
    node.session.tell(event="end")


def _failed(node: Node, op: dict[str, Any], failure: FailureError) -> None:
    node.session.tell(
        event="failed", id=op["id"], message=failure.message, evidence=failure.evidence, hint=failure.hint
    )


def _explained(op: dict[str, Any], error: Exception) -> FailureError:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        place = op.get("path") or "/var/lib"
        return FailureError("the disk of the node is full", hint=f"on the node: df -h {os.path.dirname(place)}")
    return FailureError(str(error))


def _one(node: Node, op: dict[str, Any], rest: Sequence[dict[str, Any]]) -> Outcome:
    if op["kind"] == "unit" and "found" not in op:
        units.prepare(node, [other for other in rest if other["kind"] == "unit"])
    return _ACTS[op["kind"]](node, op)


def _directory(node: Node, op: dict[str, Any]) -> Outcome:
    found = look(node, op["path"], follow=True)
    if found["kind"] not in ("absent", "directory"):
        raise FailureError(f"{op['path']} is a {found['kind']}, and should be a directory")
    os.makedirs(op["path"], mode=0o755, exist_ok=True)
    os.chmod(op["path"], op["mode"])
    own(op["path"], op["owner"])
    return Outcome(CREATED if found["kind"] == "absent" else UPDATED)


def _file(node: Node, op: dict[str, Any]) -> Outcome:
    before = look(node, op["path"])["kind"]
    if op["payload"]:
        write(node, op)
    else:  # only its mode or owner differ
        os.chmod(op["path"], op["mode"])
        own(op["path"], op["owner"])
    return Outcome(CREATED if before == "absent" else UPDATED)


def _absent(node: Node, op: dict[str, Any]) -> Outcome:
    kind = look(node, op["path"])["kind"]
    if kind == "absent":
        return Outcome(UNCHANGED)
    if kind == "directory":
        _remove_tree(op["path"])
    else:
        os.unlink(op["path"])
    return Outcome(REMOVED, kind, "absent")


def _remove_tree(path: str) -> None:
    for directory, directories, files in os.walk(path, topdown=False):
        for name in files:
            os.unlink(os.path.join(directory, name))
        for name in directories:
            child = os.path.join(directory, name)
            (os.unlink if os.path.islink(child) else os.rmdir)(child)
    os.rmdir(path)


def _command(node: Node, op: dict[str, Any]) -> Outcome:
    stdin = b"".join(node.session.payload()) if op["payload"] else None
    env = dict(op["env"])
    if node.processes.run(op["unless"], None, op["timeout"], env).code == 0:
        return Outcome(UNCHANGED)
    result = node.processes.run(op["argv"], stdin, op["timeout"], env)
    if result.code:
        raise FailureError(f"the command ended with exit code {result.code}", result.evidence())
    seen = node.processes.run(op["unless"], None, op["timeout"], env)
    if seen.code:
        raise FailureError(
            f"the command ended well and changed nothing: its test still ends with exit code {seen.code}",
            seen.evidence(),
        )
    return Outcome(RAN)


def _wait(node: Node, op: dict[str, Any]) -> Outcome:
    deadline = time.monotonic() + op["timeout"]
    while True:
        left = max(1.0, deadline - time.monotonic())
        if op["health"] and unwell(op["listens"], op["health"]):
            true, result = False, None
        elif op["watch"]:
            true, result = node.processes.run(op["watch"], None, min(WATCHED, left)).code == 0, None
        else:
            true, result = holds(node, op, min(30.0, left))
        if true:
            return Outcome(UNCHANGED)
        if time.monotonic() + op["interval"] >= deadline:
            break
        time.sleep(op["interval"])
    if result is None:
        _, result = holds(node, op, LAST_LOOK)  # says more of what is than that it was waited for
    evidence = [f"last exit code {result.code}", result.evidence()]
    if op["expect"] and result.code == 0:
        evidence.insert(1, f"expected in the output: {op['expect']}")
    if op["unit"]:
        state = units.show(node, [op["unit"]])[op["unit"]].get("ActiveState", "unknown")
        evidence += [f"{op['unit']} is {state}; its journal ends:", units.journal(node, op["unit"])]
    hint = f"on the node: sudo journalctl -u {op['unit']}" if op["unit"] else ""
    raise FailureError(f"not true after {op['timeout']:g} s", "\n".join(line for line in evidence if line), hint)


def _manifest(node: Node, op: dict[str, Any]) -> Outcome:
    difference = diff(node, op)
    if difference.code == 0:
        return Outcome(UNCHANGED)
    argv = ["kubectl", "--kubeconfig", op["kubeconfig"], "apply", "--server-side", "--force-conflicts"]
    argv += ["--field-manager=khw", "--filename=-"]
    result = node.processes.run(argv, op["documents"].encode(), op["timeout"])
    if result.code:
        raise FailureError(f"kubectl apply ended with exit code {result.code}", result.evidence())
    removed = any(line.startswith("-") and not line.startswith("---") for line in difference.out.splitlines())
    return Outcome(UPDATED if removed else CREATED, after=" ".join(result.out.split())[:200])


_ACTS: dict[str, Callable[[Node, dict[str, Any]], Outcome]] = {
    "directory": _directory,
    "file": _file,
    "absent": _absent,
    "image": software.import_image,
    "package": software.install,
    "unit": units.converge,
    "command": _command,
    "wait": _wait,
    "manifest": _manifest,
}
