"""The agent's loop: one request after another, until the channel closes."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from khw.agent.act import act
from khw.agent.facts import facts
from khw.agent.fence import Fence
from khw.agent.node import FailureError, Node, Places
from khw.agent.paths import look
from khw.agent.probe import probe
from khw.agent.processes import Processes
from khw.agent.session import Session
from khw.agent.wire import CHUNK


def main() -> None:
    """Serve the operator at the other end of standard input and output."""
    os.umask(0o022)
    os.chdir("/")
    processes = Processes()
    session = Session(sys.stdin.buffer, sys.stdout.buffer, processes.kill_all)
    session.listen()
    hello = session.request()
    places = Places(**hello["places"])
    # kubectl keeps no cache on the node: 12 ms more a call, and looking leaves nothing behind
    os.environ.update(PATH=places.path, LC_ALL="C", KUBECACHEDIR=os.devnull)
    fence = Fence(places.lock)
    session.on_life = fence.heard
    node = Node(places, session, processes, fence)
    session.tell(event="end", facts=facts())
    while True:
        request = session.request()
        try:
            _serve(node, request, hello["operator"])
        except FailureError as failure:
            session.tell(event="failed", message=failure.message, evidence=failure.evidence, hint=failure.hint)
        except Exception as error:  # noqa: BLE001 - whatever it is, the operator has to hear of it
            import traceback  # 2 ms, for what is not to happen

            last = traceback.format_exc().strip().splitlines()[-8:]
            session.tell(event="failed", message=f"the agent failed: {error!r}", evidence="\n".join(last))


def _serve(node: Node, request: dict[str, Any], operator: str) -> None:
    if request["do"] == "probe":
        node.session.tell(event="end", states=probe(node, request["specs"], record=request["record"]))
    elif request["do"] == "act":
        if request["relay"]:
            node.shelf.open(**request["relay"])
        act(node, request["ops"], operator, request["run"])
    elif request["do"] == "run":
        node.session.tell(event="end", results=_run(node, request))
    elif request["do"] == "stat":
        states = [look(node, path, digest=request["digest"]) for path in request["paths"]]
        node.save()
        node.session.tell(event="end", states=states)
    elif request["do"] == "read":
        _read(node, request["path"])


def _run(node: Node, request: dict[str, Any]) -> list[list[Any]]:
    deadline = time.monotonic() + request["timeout"]
    results = []
    for command in request["commands"]:
        stdin = b"".join(node.session.payload()) if command["payload"] else None
        left = max(0.1, min(command["timeout"], deadline - time.monotonic()))
        result = node.processes.run(command["argv"], stdin, left)
        results.append([result.code, result.out, result.err])
    return results


def _read(node: Node, path: str) -> None:
    try:
        with open(path, "rb") as file:
            for piece in iter(lambda: file.read(CHUNK), b""):
                node.session.send(piece)
    except OSError as error:
        raise FailureError(f"{path} cannot be read: {error.strerror}") from None
    node.session.tell(event="end")
