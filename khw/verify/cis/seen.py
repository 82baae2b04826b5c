"""
What a node is asked for the benchmark, in one exchange, and what it said.

No secret is read: of keys and kubeconfigs mode and owner, of the encryption configuration the providers' names.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from khw.ssh.connection import RemoteCommand
from khw.tasks import certificates, containerd, control_plane, etcd, kube_proxy, kubelet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from khw.ssh.connection import Completed

CONTROLLER_UNITS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
WORKER_UNITS = ("kubelet", "kube-proxy")
UNITS = (*CONTROLLER_UNITS, *WORKER_UNITS)
UNIT_FILES = "/etc/systemd/system"
ENCRYPTION = f"{certificates.KUBERNETES}/encryption-config.yaml"
AUTHORITIES = (f"{certificates.KUBERNETES}/ca.pem", f"{certificates.ETCD}/ca.pem")
TEXTS = (
    control_plane.SCHEDULER,
    control_plane.AUTHENTICATION,
    control_plane.AUDIT_POLICY,
    control_plane.ADMISSION_CONFIG,
    kubelet.CONFIG,
    kube_proxy.CONFIG,
)
PLACES = (
    *(f"{UNIT_FILES}/{unit}.service" for unit in UNITS),
    certificates.KUBERNETES,
    f"{certificates.KUBERNETES}/*",
    f"{certificates.ETCD}/*",
    etcd.DATA,
    f"{containerd.CNI_CONF}/*",
    f"{kubelet.HOME}/*.pem",
    kubelet.KUBECONFIG,
    kubelet.CONFIG,
    kube_proxy.KUBECONFIG,
)
MARK = "== "

ARGUMENTS = f"""\
for u in {" ".join(UNITS)}; do
  p=$(systemctl show --property=MainPID --value $u.service)
  [ "${{p:-0}}" = 0 ] && continue
  echo "{MARK}$u"
  tr '\\0' '\\n' </proc/$p/cmdline
done
"""
READ = f'for f in {" ".join(TEXTS)}; do [ -f "$f" ] && echo "{MARK}$f" && cat "$f"; done; true'
MODES = f"stat --format='%a %U:%G %n' {' '.join(PLACES)} 2>/dev/null; true"
PROVIDERS = rf"grep -oE '^ +- (aescbc|aesgcm|secretbox|kms|identity):' {ENCRYPTION} 2>/dev/null | tr -d ' :-'"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A node, as far as the benchmark is about it."""

    arguments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by unit: flags as it was started
    modes: Mapping[str, tuple[int, str]] = field(default_factory=dict)  # by path: 0o600, root:root
    texts: Mapping[str, str] = field(default_factory=dict)  # by path
    providers: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)  # of the authorities

    def flag(self, unit: str, name: str) -> str | None:
        """Return a flag's value ('true' if it stands alone); None if it is not given."""
        return self.arguments.get(unit, {}).get(name)

    def document(self, path: str) -> Mapping[str, Any]:
        """Return what a configuration file says; nothing if it is not there."""
        from ruamel.yaml import YAML

        return YAML(typ="safe").load(self.texts.get(path, "")) or {}


def ask() -> Sequence[RemoteCommand]:
    """Return the questions."""
    return (
        RemoteCommand(("sh", "-c", ARGUMENTS)),
        RemoteCommand(("sh", "-c", MODES)),
        RemoteCommand(("sh", "-c", READ)),
        RemoteCommand(("sh", "-c", PROVIDERS)),
        RemoteCommand(("sha256sum", *AUTHORITIES)),
    )


def parse(answers: Sequence[Completed]) -> Seen:
    """Return what the answers say."""
    arguments, modes, texts, providers, digests = (answer.out for answer in answers)
    return Seen(
        arguments={unit: flags(words.splitlines()[1:]) for unit, words in _parts(arguments).items()},
        modes=dict(_mode(line) for line in modes.splitlines()),
        texts=_parts(texts),
        providers=tuple(providers.split()),
        digests={path: digest for digest, path in (line.split(maxsplit=1) for line in digests.splitlines())},
    )


def flags(words: Sequence[str]) -> dict[str, str]:
    """Return the flags of a command line, by name."""
    found = (re.fullmatch(r"--([\w-]+)(?:=(.*))?", word, re.DOTALL) for word in words)
    return {match[1]: "true" if match[2] is None else match[2] for match in found if match}


def command_line(unit_file: str) -> list[str]:
    """Return the words of a unit file's ExecStart (as the specimens of the tests and the documents have it)."""
    text = unit_file.replace("\\\n", " ")
    line = next((line for line in text.splitlines() if line.startswith("ExecStart=")), "ExecStart=")
    return shlex.split(line.removeprefix("ExecStart="))


def _mode(line: str) -> tuple[str, tuple[int, str]]:
    mode, owner, path = line.split(maxsplit=2)
    return path, (int(mode, 8), owner)


def _parts(text: str) -> dict[str, str]:
    parts = (part.partition("\n") for part in f"\n{text}".split(f"\n{MARK}")[1:])
    return {name: content for name, _, content in parts}
