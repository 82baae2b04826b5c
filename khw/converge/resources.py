"""
What a task asks for on a node, as values.

A task is a pure function of `(node, cluster, pki)` that yields these; only `khw.converge.apply` acts on them.
Order is the order of acting. From that come dry run, diff, explain, progress totals and tests without a node.
Each has an `id`, unique in its phase on its host: what the journal, the diff and errors call it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from khw.secret import Secret

Content: TypeAlias = str | bytes | Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A directory with its mode and owner."""

    path: str
    mode: int = 0o755
    owner: str = "root:root"

    @property
    def id(self) -> str:
        """What the journal calls it."""
        return f"directory:{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """
    A file with exactly this content, written beside its place and renamed into it.

    A diff shows nothing of a Secret; of one that is `masked`, all but the keys and certificates that it embeds.
    """

    path: str
    content: Content
    mode: int = 0o644
    owner: str = "root:root"
    masked: bool = False

    @property
    def id(self) -> str:
        """What the journal calls it."""
        return f"file:{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """No file, link or directory at this path."""

    path: str

    @property
    def id(self) -> str:
        """What the journal calls it."""
        return f"absent:{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """An executable from the artifacts (a name in the lock file), compared by sha256."""

    path: str
    artifact: str
    mode: int = 0o755

    @property
    def id(self) -> str:
        """What the journal calls it."""
        return f"binary:{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A container image from the artifacts (an OCI archive), imported into containerd's k8s.io namespace."""

    artifact: str
    reference: str
    timeout: float | None = None  # None: as the cluster file says (`khw.converge.limits`)

    @property
    def id(self) -> str:
        """What the journal calls it."""
        return f"image:{self.reference}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package of the node's distribution that puts these commands on PATH."""

    name: str
    provides: str
    timeout: float | None = None

    @property
    def id(self) -> str:
        """What the journal calls it."""
        return f"package:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """
    A systemd service: its unit file, enabled or not, running or not.

    `inputs` are the paths (files, binaries) that it reads at start. It is restarted when any of them, or the unit
    file, differs from what it was started with: the agent records their digests at each start, so that a run that was
    killed between writing a file and restarting is made good by the next. `block=False` starts without waiting for
    Type=notify (etcd's members wait for each other).
    """

    name: str
    content: str
    inputs: tuple[str, ...] = ()
    mode: int = 0o600  # of the unit file (CIS benchmark 1.1.1, 4.1.1; what is in it, systemd tells anybody)
    enabled: bool = True
    running: bool = True
    block: bool = True
    timeout: float | None = None

    @property
    def id(self) -> str:
        """What the journal calls it."""
        return f"unit:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """
    A command that is run only if `unless` fails (exit code not 0); `unless` is also how it is seen to have worked.

    Secrets go to `stdin`, never to `argv`. `by_hand` are the
    lines that a person types on a bare node instead, where `stdin` is a program.
    """

    name: str
    argv: tuple[str, ...]
    unless: tuple[str, ...]
    stdin: Content | None = None
    timeout: float | None = None
    env: tuple[tuple[str, str], ...] = ()
    by_hand: str = ""

    @property
    def id(self) -> str:
        """What the journal calls it."""
        return f"command:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """
    A condition that must come true within `timeout` seconds: `argv` exits 0 and, if `expect` is set, prints it.

    `unit` names the systemd unit whose last journal lines explain a time-out. `listens` is a port of the node's own:
    before somebody listens there the command could only fail, and it is not started (six kubectls that ask again and
    again take the CPU that the API servers need to begin), nor while it says 5xx to `health`, a path that may be asked
    for over TLS without credentials. `watch` is a command that waits for the condition by itself and ends well when it
    holds: it is left to do so, instead of asking again and again.
    """

    name: str
    argv: tuple[str, ...]
    expect: str = ""
    watch: tuple[str, ...] = ()
    listens: int = 0
    health: str = ""
    timeout: float = 120.0
    interval: float = 0.5
    unit: str = ""

    @property
    def id(self) -> str:
        """What the journal calls it."""
        return f"wait:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Kubernetes objects, applied server-side by kubectl on the node with this kubeconfig."""

    name: str
    documents: str = field(repr=False)
    kubeconfig: str
    timeout: float | None = None

    @property
    def id(self) -> str:
        """What the journal calls it."""
        return f"manifest:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Require:
    """
    A finding of preflight: `argv` must exit 0, or the phase fails with `problem` and `hint`; nothing is changed.

    The standard output of a failing `argv` is shown as what was seen.
    """

    name: str
    argv: tuple[str, ...]
    problem: str
    hint: str

    @property
    def id(self) -> str:
        """What the journal calls it."""
        return f"require:{self.name}"


Resource: TypeAlias = Directory | File | Absent | Binary | Image | Package | Unit | Command | Wait | Manifest | Require
