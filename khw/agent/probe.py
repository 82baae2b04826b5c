"""Resources as they are now. What a probe needs may not be there yet: then the state says so; nothing fails."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any, Optional

from khw.agent import software, units
from khw.agent.masking import visible
from khw.agent.paths import look, text_of
from khw.agent.processes import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from khw.agent.node import Node

OF_OTHERS = ("manifest", "wait")
TEXT_LIMIT = 256 << 10
SEEN_LIMIT = 4000  # characters of a command's output that go back


def probe(node: Node, specs: Sequence[dict[str, Any]], *, record: bool) -> list[dict[str, Any]]:
    """Return the state of each spec; `record` keeps the digests of big files for the next time."""
    asked = _Asked(node, [spec for spec in specs if spec["kind"] in OF_OTHERS])
    names = [spec["name"] for spec in specs if spec["kind"] == "unit"]
    shown = units.show(node, names) if names else {}
    present = software.references(node) if any(spec["kind"] == "image" for spec in specs) else None
    states = []
    for spec in specs:
        if spec["kind"] == "unit":
            states.append(units.probe(node, spec, shown[spec["name"]]))
        elif spec["kind"] == "image":
            states.append(_image(node, spec, present))
        elif spec["kind"] in OF_OTHERS:
            states.append(asked.answer(spec))
        else:
            states.append(_PROBES[spec["kind"]](node, spec))
    if record:
        node.save()
    return states


class _Asked:
    """What a program asks of somebody else, who takes his time: all of it at once, beside what is looked at here."""

    def __init__(self, node: Node, specs: Sequence[dict[str, Any]]) -> None:
        self._answers: dict[int, dict[str, Any]] = {}
        self._threads = {id(spec): threading.Thread(target=self._ask, args=(node, spec), daemon=True) for spec in specs}
        for thread in self._threads.values():
            thread.start()

    def answer(self, spec: dict[str, Any]) -> dict[str, Any]:
        self._threads[id(spec)].join()
        return self._answers[id(spec)]

    def _ask(self, node: Node, spec: dict[str, Any]) -> None:
        try:
            self._answers[id(spec)] = _PROBES[spec["kind"]](node, spec)
        except Exception as error:  # noqa: BLE001 - a state, as every other
            self._answers[id(spec)] = {"true": False, "code": 2, "out": "", "err": repr(error)}


def holds(node: Node, spec: dict[str, Any], timeout: float) -> tuple[bool, Result]:
    """Return whether a Wait's condition is true now, and what its command said."""
    if spec["listens"] and not _listened_at(spec["listens"]):
        return False, Result(1, "", f"nobody listens on port {spec['listens']}")
    result = node.processes.run(spec["argv"], None, timeout)
    return result.code == 0 and spec["expect"] in result.out, result


def _listened_at(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def unwell(port: int, path: str) -> bool:
    """
    Whether a server of this node says 5xx there, over TLS.

    It is asked without credentials and its certificate is not looked at: all that depends on the answer is whether a
    command that looks at both is worth its start.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as plain, context.wrap_socket(plain) as server:
            server.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            return server.recv(64)[9:10] == b"5"  # HTTP/1.1 500
    except OSError:
        return False


def diff(node: Node, spec: dict[str, Any]) -> Result:
    """Return what `kubectl diff` says of a Manifest: exit code 0 the same, 1 differs, more: it cannot say."""
    argv = ["kubectl", "--kubeconfig", spec["kubeconfig"], "diff", "--server-side", "--force-conflicts"]
    argv += ["--field-manager=khw", "--filename=-"]
    return node.processes.run(argv, spec["documents"].encode(), spec["timeout"])


def _file(node: Node, spec: dict[str, Any]) -> dict[str, Any]:
    state = look(node, spec["path"], digest=True)
    if spec["text"] and state.get("sha256") not in (None, spec["sha256"]):
        state["text"] = visible(text_of(spec["path"], TEXT_LIMIT), spec["salt"])
    return state


def _directory(node: Node, spec: dict[str, Any]) -> dict[str, Any]:
    return look(node, spec["path"], follow=True)


def _absent(node: Node, spec: dict[str, Any]) -> dict[str, Any]:
    return look(node, spec["path"])


def _image(node: Node, spec: dict[str, Any], present: Optional[set[str]]) -> dict[str, Any]:  # noqa: UP045 - Python 3.9
    """Return whether an image is there; while containerd does not answer, what was imported last is taken to be."""
    recorded = node.images.get(spec["reference"]) or ""
    there = bool(recorded) if present is None else spec["reference"] in present
    return {"present": there, "sha256": recorded, "seen": present is not None}


def _package(_node: Node, spec: dict[str, Any]) -> dict[str, Any]:
    return {"present": software.has_commands(spec["provides"])}


def _command(node: Node, spec: dict[str, Any]) -> dict[str, Any]:
    return _said(node.processes.run(spec["unless"], None, spec["timeout"], dict(spec["env"])))


def _require(node: Node, spec: dict[str, Any]) -> dict[str, Any]:
    return _said(node.processes.run(spec["argv"], None, 30.0))


def _wait(node: Node, spec: dict[str, Any]) -> dict[str, Any]:
    true, result = holds(node, spec, spec["timeout"])
    return {"true": true, **_said(result)}


def _manifest(node: Node, spec: dict[str, Any]) -> dict[str, Any]:
    result = diff(node, spec)
    return {"code": result.code, "out": result.out, "err": result.err[-SEEN_LIMIT:]}


def _said(result: Result) -> dict[str, Any]:
    return {"code": result.code, "out": result.out[-SEEN_LIMIT:], "err": result.err[-SEEN_LIMIT:]}


_PROBES: dict[str, Callable[[Node, dict[str, Any]], dict[str, Any]]] = {
    "file": _file,
    "directory": _directory,
    "absent": _absent,
    "package": _package,
    "command": _command,
    "require": _require,
    "wait": _wait,
    "manifest": _manifest,
}
