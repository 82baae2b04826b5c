"""
A resource and its state on a node, compared: what would be done, and what the node is asked to do.

Pure: no node is touched here. `spec` is what the agent is asked to look at, `judge` compares, `operation` and `payload`
are what the agent is sent.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

from khw.certs import fields
from khw.converge import difference
from khw.converge.changes import Action, Change
from khw.converge.resources import (
    Absent,
    Binary,
    Command,
    Content,
    Directory,
    File,
    Image,
    Manifest,
    Package,
    Require,
    Resource,
    Unit,
    Wait,
)
from khw.secret import Secret
from khw.ssh.client import Payload

if TYPE_CHECKING:
    from khw.artifacts.store import Artifact, Form, Store

State: TypeAlias = Mapping[str, Any]

ALIVE = ("active", "reloading", "activating")  # as the agent's: runs, or systemd is at starting it
SUPERUSER = "root:root"
SQUEEZED = 64 << 10  # contents from this size on go compressed
DIFF_LIMIT = 256 << 10
CERTIFICATE = "certificate"
SHOWN = 12  # digits of a digest that people see
USUAL = 120.0  # seconds, where neither task nor cluster file says
SLOW = 300.0
QUESTION = 30.0  # seconds at most for a command that only looks
GLANCE = 10.0  # likewise for a condition that may well not be true yet


@dataclass(slots=True)
class Touched:
    """
    What was, or would be, changed so far on this node.

    A run needs it for the length of a phase. A plan keeps it from phase to phase, as nothing is really changed: then
    `seen` says how a path would look by now.
    """

    digests: dict[str, str] = field(default_factory=dict)  # of files, as they will be
    anything: bool = False
    paths: dict[str, State] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)  # of these it is not certain that they change

    def note(self, resource: Resource, change: Change, articles: Articles) -> None:
        """Add a change."""
        if not change.changed:
            return
        self.anything = True
        if isinstance(resource, File | Binary):
            sha256 = spec(resource, articles)["sha256"]
            self.digests[resource.path] = sha256
            if not change.certain:
                self.open.add(resource.path)
            self.paths[resource.path] = _state("file", resource.mode, _owner(resource)) | {"sha256": sha256}
        elif isinstance(resource, Absent):
            self.digests[resource.path] = ""
            self.paths[resource.path] = {"kind": "absent"}
        elif isinstance(resource, Directory):
            self.paths[resource.path] = _state("directory", resource.mode, resource.owner)

    def seen(self, resource: Resource, state: State) -> State:
        """Return the state that the resource would have by now, if this is the one that it has."""
        if not isinstance(resource, Directory | File | Binary | Absent):
            return state
        if resource.path in self.paths:
            return self.paths[resource.path]
        below = resource.path.rstrip("/") + "/"
        if state["kind"] == "absent" and any(
            path.startswith(below) and state["kind"] != "absent" for path, state in self.paths.items()
        ):
            return _state("directory", 0o755, SUPERUSER)  # made on the way to what is below it
        return state


@dataclass(frozen=True, slots=True)
class Articles:
    """The artifacts that resources name, for one node's architecture."""

    store: Store
    form: Form
    found: Mapping[str, Artifact]
    digests: Mapping[str, str]

    @classmethod
    def of(cls, store: Store, names: set[str], architecture: str, *, zstd: bool) -> Articles:
        """Get them all from the store."""
        found = {name: store.get(name, architecture=architecture) for name in sorted(names)}
        digests = {name: artifact.sha256 for name, artifact in found.items()}
        return cls(store, "zstd" if zstd else "gzip", found, digests)

    @classmethod
    def foreseen(cls, store: Store, names: set[str], architecture: str) -> Articles:
        """Take only what is known of them without getting any."""
        return cls(store, "gzip", {}, {name: store.digest(name, architecture=architecture) for name in names})

    def sha256(self, name: str) -> str:
        """Return an artifact's digest; of a plan '' if it is not in the cache yet."""
        return self.digests[name]

    def payload(self, name: str) -> Payload:
        """Return an artifact's content, compressed."""
        size = self.store.compressed_size(self.found[name], self.form)
        return Payload(lambda: self.store.compressed(self.found[name], self.form).open("rb"), self.form, size)


def unit_name(name: str) -> str:
    """Return a unit's full name."""
    return name if "." in name else f"{name}.service"


def spec(resource: Resource, articles: Articles) -> dict[str, Any]:  # noqa: PLR0911 - one return a kind
    """Return what the agent has to look at."""
    match resource:
        case Directory() | Absent():
            return {"kind": "directory" if isinstance(resource, Directory) else "absent", "path": resource.path}
        case File():
            data = content_bytes(resource.content)
            secret = isinstance(resource.content, Secret)
            text = (resource.masked or not secret) and len(data) <= DIFF_LIMIT
            salt = difference.SALT if secret else ""
            return {"kind": "file", "path": resource.path, "sha256": digest(data), "text": text, "salt": salt}
        case Binary():
            sha256 = articles.sha256(resource.artifact)
            return {"kind": "file", "path": resource.path, "sha256": sha256, "text": False, "salt": ""}
        case Image():
            return {"kind": "image", "reference": resource.reference}
        case Package():
            return {"kind": "package", "provides": resource.provides}
        case Unit():
            return {
                "kind": "unit",
                "name": unit_name(resource.name),
                "inputs": resource.inputs,
                "sha256": digest(resource.content.encode()),
                "text": True,
            }
        case Command():
            asked = min(QUESTION, _limit(resource.timeout))
            return {"kind": "command", "unless": resource.unless, "env": resource.env, "timeout": asked}
        case Wait():
            asked = min(GLANCE, resource.timeout)
            what = {"argv": resource.argv, "expect": resource.expect, "listens": resource.listens}
            return {"kind": "wait", **what, "timeout": asked}
        case Manifest():
            what = {"kubeconfig": resource.kubeconfig, "documents": resource.documents}
            return {"kind": "manifest", **what, "timeout": min(QUESTION, _limit(resource.timeout))}
        case Require():
            return {"kind": "require", "argv": resource.argv}
        case _:
            assert_never(resource)


def operation(resource: Resource, state: State, articles: Articles) -> dict[str, Any]:
    """Return what the agent has to do; `payload` says whether bytes follow."""
    op = spec(resource, articles) | {"id": resource.id, "payload": False}
    match resource:
        case Directory():
            op |= {"mode": resource.mode, "owner": resource.owner}
        case File() | Binary():
            sent = payload(resource, state, articles)
            op |= {"mode": resource.mode, "owner": _owner(resource), "payload": sent is not None}
            op |= {"encoding": sent.encoding if sent else "", "artifact": isinstance(resource, Binary)}
        case Image():
            op |= {"payload": True, "encoding": articles.form, "sha256": articles.sha256(resource.artifact)}
            op |= {"timeout": _limit(resource.timeout, SLOW)}
        case Package():
            op |= {"name": resource.name, "timeout": _limit(resource.timeout, SLOW)}
        case Unit():
            op |= {
                "content": resource.content,
                "mode": resource.mode,
                "enabled": resource.enabled,
                "running": resource.running,
            }
            op |= {"block": resource.block, "timeout": _limit(resource.timeout)}
        case Command():
            op |= {"argv": resource.argv, "timeout": _limit(resource.timeout), "payload": resource.stdin is not None}
        case Wait():
            unit = unit_name(resource.unit) if resource.unit else ""
            op |= {"timeout": resource.timeout, "interval": resource.interval, "unit": unit}
            op |= {"watch": resource.watch, "health": resource.health}
        case Manifest():
            op |= {"timeout": _limit(resource.timeout)}
        case Absent() | Require():
            pass
        case _:
            assert_never(resource)
    return op


def payload(  # noqa: PLR0911 - one return a kind
    resource: Resource, state: State, articles: Articles
) -> Payload | None:
    """Return the bytes that go with the operation."""
    match resource:
        case File():
            data = content_bytes(resource.content)
            if state.get("sha256") == digest(data):
                return None
            if len(data) < SQUEEZED:
                return Payload.of(data)
            squeezed = gzip.compress(data, 1)
            return Payload(Payload.of(squeezed).open, "gzip", len(squeezed))
        case Binary():
            same = state.get("sha256") == articles.sha256(resource.artifact)
            return None if same else articles.payload(resource.artifact)
        case Image():
            return articles.payload(resource.artifact)
        case Command():
            return None if resource.stdin is None else Payload.of(content_bytes(resource.stdin))
        case _:
            return None


def judge(resource: Resource, state: State, touched: Touched, articles: Articles) -> Change:  # noqa: PLR0911 - one a kind
    """Return what there is to do, as the Change that it would be."""
    match resource:
        case Directory():
            return _directory(resource, state)
        case File():
            return _file(resource, state, digest(content_bytes(resource.content)))
        case Binary():
            return _file(resource, state, articles.sha256(resource.artifact))
        case Absent():
            gone = state["kind"] == "absent"
            return _change(resource, Action.UNCHANGED if gone else Action.REMOVED, state["kind"], "absent")
        case Image():
            return _image(resource, state, articles.sha256(resource.artifact))
        case Package():
            there = state["present"]
            change = _change(resource, Action.UNCHANGED if there else Action.CREATED, "" if there else "absent")
            return replace(change, certain=not state.get("guessed", False))
        case Unit():
            return _unit(resource, state, touched)
        case Command():
            change = _change(resource, Action.UNCHANGED if state["code"] == 0 else Action.RAN)
            return replace(change, certain=not state.get("guessed", False))
        case Manifest():
            return _manifest(resource, state)
        case Wait() | Require():
            return _change(resource, Action.UNCHANGED)
        case _:
            assert_never(resource)


def must_act(resource: Resource, state: State, change: Change, touched: Touched) -> bool:
    """Whether the node has something to do, or must look again: what was true may not be so after other changes."""
    if isinstance(resource, Wait):
        return touched.anything or not state["true"]
    if isinstance(resource, Image) and not state["seen"]:
        return True
    return change.changed or (isinstance(resource, Command) and touched.anything)


def content_bytes(content: Content) -> bytes:
    """Return the bytes of a content."""
    if isinstance(content, Secret):
        return content.reveal()
    return content.encode() if isinstance(content, str) else content


def digest(data: bytes) -> str:
    """Return the sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def _limit(timeout: float | None, otherwise: float = USUAL) -> float:
    return otherwise if timeout is None else timeout


def _owner(resource: File | Binary) -> str:
    return resource.owner if isinstance(resource, File) else SUPERUSER


def _change(resource: Resource, action: Action, before: str = "", after: str = "", diff: str = "") -> Change:
    same = action is Action.UNCHANGED
    return Change(
        resource=resource.id,
        action=action,
        before="" if same else before,
        after="" if same else after,
        diff="" if same else diff,
    )


def _directory(resource: Directory, state: State) -> Change:
    wanted = _rights(resource.mode, resource.owner)
    if state["kind"] == "absent":
        return _change(resource, Action.CREATED, "absent", wanted)
    found = _rights(state["mode"], state["owner"]) if state["kind"] == "directory" else state["kind"]
    return _change(resource, Action.UNCHANGED if found == wanted else Action.UPDATED, found, wanted)


def _file(resource: File | Binary, state: State, sha256: str) -> Change:
    secret = isinstance(resource, File) and isinstance(resource.content, Secret)
    after = "secret" if secret else _named(resource, sha256)
    if state["kind"] == "absent":
        return _change(resource, Action.CREATED, "absent", after, _diff_of(resource, state))
    if not sha256:
        return replace(_change(resource, Action.UPDATED, "present", after), certain=False)
    if state.get("sha256") != sha256:
        before = f"sha256:{state.get('sha256', state['kind'])[:SHOWN]}"
        if secret or after == CERTIFICATE:
            before = f"another {after}"
        return _change(resource, Action.UPDATED, before, after, _diff_of(resource, state))
    wanted, found = _rights(resource.mode, _owner(resource)), _rights(state["mode"], state["owner"])
    return _change(resource, Action.UNCHANGED if found == wanted else Action.UPDATED, found, wanted)


def _named(resource: File | Binary, sha256: str) -> str:
    """Return what a person may call the content: a certificate's fields are in the diff, its digest says nothing."""
    if isinstance(resource, File) and fields.is_certificate(content_bytes(resource.content)):
        return CERTIFICATE
    return f"sha256:{sha256[:SHOWN]}" if sha256 else "not in the cache yet"


def _diff_of(resource: File | Binary, state: State) -> str:
    """Return the lines that differ, of what may be shown; all of them if the file is not there."""
    before, absent = state.get("text"), state["kind"] == "absent"
    if isinstance(resource, Binary) or (before is None and not absent):
        return ""
    data = content_bytes(resource.content)
    if len(data) > DIFF_LIMIT:
        return ""
    if isinstance(resource.content, Secret):
        return difference.of_masked(resource.path, before, data.decode()) if resource.masked else ""
    if fields.is_certificate(data):
        return difference.of_certificate(resource.path, before, data)
    try:
        return difference.of_text(resource.path, before, data.decode())
    except UnicodeDecodeError:
        return ""


def _image(resource: Image, state: State, sha256: str) -> Change:
    if not state["present"]:
        return _change(resource, Action.CREATED, "absent", f"sha256:{sha256[:SHOWN]}")
    same = state["sha256"] == sha256
    before = f"sha256:{state['sha256'][:SHOWN]}" if state["sha256"] else "present"
    return _change(resource, Action.UNCHANGED if same else Action.UPDATED, before, f"sha256:{sha256[:SHOWN]}")


def _unit(resource: Unit, state: State, touched: Touched) -> Change:
    file, active = state["file"], state["active"]
    same = file.get("sha256") == digest(resource.content.encode()) and file.get("mode") == resource.mode
    diff = ""
    if file["kind"] == "absent" or file.get("text") is not None:
        diff = difference.of_text(unit_name(resource.name), file.get("text"), resource.content)
    if not resource.running:
        quiet = active in ("inactive", "failed") and same and state["enabled"] is resource.enabled
        return _change(resource, Action.UNCHANGED if quiet else Action.UPDATED, active, "inactive", diff)
    if file["kind"] == "absent":
        return _change(resource, Action.CREATED, "absent", "active", diff)
    if active not in ALIVE:
        return _change(resource, Action.STARTED, active, "active", diff)
    up = _up(resource, state)
    settled = {path: touched.digests[path] for path in resource.inputs if path in touched.digests}
    settled[state["path"]] = digest(resource.content.encode())
    others = {path for path in state["stale"] if path not in settled}
    others |= {path for path, sha256 in settled.items() if state["started_with"].get(path, "") != sha256}
    if others:
        change = _change(resource, Action.RESTARTED, active, "active", diff)
        return replace(change, certain=not up or not others <= touched.open)
    if not up:
        return _change(resource, Action.STARTED, active, "active", diff)
    same = same and state["enabled"] is resource.enabled
    return _change(resource, Action.UNCHANGED if same else Action.UPDATED, active, active, diff)


def _up(resource: Unit, state: State) -> bool:
    if state["active"] == "activating":
        return not resource.block and state["sub"] != "auto-restart"
    return state["active"] in ("active", "reloading")


def _manifest(resource: Manifest, state: State) -> Change:
    if state["code"] == 0:
        return _change(resource, Action.UNCHANGED)
    if state["code"] != 1:  # there is no API server to ask yet
        change = _change(resource, Action.CREATED, diff=difference.of_text(resource.name, None, resource.documents))
        return replace(change, certain=state.get("new", False))
    diff = difference.of_objects(state["out"])
    removed = any(line.startswith("-") and not line.startswith("---") for line in diff.splitlines())
    return _change(resource, Action.UPDATED if removed else Action.CREATED, diff=diff)


def _rights(mode: int, owner: str) -> str:
    return f"mode {mode:04o} {owner}"


def _state(kind: str, mode: int, owner: str) -> dict[str, Any]:
    return {"kind": kind, "mode": mode, "owner": owner}
