"""
A resource as the shell lines that do the same by hand: the second interpreter of resources, beside `converge.apply`.

POSIX sh, for root on a node. What the operator copies there beforehand (keys, certificates, binaries, images) is read
from `$KHW_FILES/pki` and `$KHW_FILES/artifacts`; `Needed` collects the names.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from khw.converge.compare import unit_name
from khw.converge.resources import (
    Absent,
    Binary,
    Command,
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
from khw.explain import symbols

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PKI = "$KHW_FILES/pki"
ARTIFACTS = "$KHW_FILES/artifacts"
END = "EOF"

FUNCTIONS = {
    "wait_for": """\
wait_for() {  # NAME SECONDS EXPECTED COMMAND…: until the command succeeds and prints what is expected
  name=$1 left=$2 expected=$3
  shift 3
  until said=$("$@" 2>/dev/null) && case $said in *"$expected"*) true ;; *) false ;; esac; do
    [ "$left" -gt 0 ] || { echo "$name: not true in time: $("$@" 2>&1 | tail -n 1)" >&2; exit 1; }
    left=$((left - 1))
    sleep 1
  done
}""",
    "require": """\
failed=0
require() {  # PROBLEM HINT, after a command that looked: said once for all that is missing
  echo "$1" >&2
  echo "  → $2" >&2
  failed=1
}""",
}
"""What scripts call; a script begins with those that it uses."""


@dataclass(slots=True)
class Needed:
    """What a node's script reads from the operator's copies, in the order in which it does."""

    pki: dict[str, None] = field(default_factory=dict)
    artifacts: dict[str, None] = field(default_factory=dict)
    functions: dict[str, None] = field(default_factory=dict)


def script(resources: Iterable[Resource], needed: Needed | None = None) -> str:
    """Return the lines for all of these, in order."""
    needed = Needed() if needed is None else needed
    blocks = [lines(resource, needed) for resource in resources]
    if "require" in needed.functions:
        blocks.append('[ "$failed" -eq 0 ] || exit 1')
    return "\n".join(blocks)


def lines(resource: Resource, needed: Needed) -> str:  # noqa: PLR0911 - one return a kind
    """Return the lines for one resource; what they read and call is added to `needed`."""
    match resource:
        case Directory():
            return f"install -d -m {resource.mode:04o} {_owned(resource.owner)}{quoted(resource.path)}"
        case File():
            return _file(resource, needed)
        case Absent():
            return f"rm -rf {quoted(resource.path)}"
        case Binary():
            needed.artifacts[resource.artifact] = None
            return f'install -m {resource.mode:04o} "{ARTIFACTS}/{resource.artifact}" {quoted(resource.path)}'
        case Image():
            needed.artifacts[resource.artifact] = None
            ctr = "ctr --namespace k8s.io images"
            there = f"{ctr} ls --quiet | grep -qxF {quoted(resource.reference)}"
            return f'{there} || {ctr} import --local "{ARTIFACTS}/{resource.artifact}"'
        case Package():
            commands = " && ".join(f"command -v {name} >/dev/null" for name in resource.provides.split())
            install = f"apt-get update; apt-get install -y --no-install-recommends {resource.name}"
            return f"{{ {commands}; }} || {{ {install}; }}"
        case Unit():
            return _unit(resource)
        case Command():
            return _command(resource)
        case Wait():
            needed.functions["wait_for"] = None
            words = (resource.name, f"{resource.timeout:.0f}", resource.expect)
            return f"wait_for {joined(words)} \\\n  {joined(resource.argv)}"
        case Manifest():
            flags = "--server-side --force-conflicts --field-manager=khw --filename=-"
            return f"kubectl --kubeconfig {quoted(resource.kubeconfig)} apply {flags} {heredoc(resource.documents)}"
        case Require():
            needed.functions["require"] = None
            said = joined((resource.problem, resource.hint))
            return f"{_condition(resource.argv)} >/dev/null || require \\\n  {said}"
        case _:
            assert_never(resource)


def heredoc(text: str, *, expands: bool = False) -> str:
    """Return `<<'EOF'` and the text; with `expands` the shell puts in what `$(…)` gives."""
    end = END
    while f"\n{end}\n" in f"\n{text}":
        end += "_"
    body = text if text.endswith("\n") else f"{text}\n"
    return f"<<{end}\n{body}{end}" if expands else f"<<'{end}'\n{body}{end}"


def quoted(word: str) -> str:
    """Return a word as the shell takes it for itself."""
    return shlex.quote(word)


def joined(words: Iterable[str]) -> str:
    """Return words as one line of shell."""
    return " ".join(quoted(word) for word in words)


def _owned(owner: str) -> str:
    if owner == "root:root":
        return ""
    user, _, group = owner.partition(":")
    return f"-o {user} -g {group or user} "


def _file(file: File, needed: Needed) -> str:
    mode = f"-m {file.mode:04o} {_owned(file.owner)}"
    if name := symbols.file_of(file.content):
        needed.pki[name] = None
        return f'install {mode}"{PKI}/{name}" {quoted(file.path)}'
    text = symbols.text_of(file.content)
    parts = symbols.embedded(text)
    if parts:
        text = text.replace("\\", "\\\\").replace("$", "\\$").replace("`", "\\`")
        for token, name in parts.items():
            needed.pki[name] = None
            text = text.replace(token, _read(name))
    empty = f"install {mode}/dev/null {quoted(file.path)}\n"  # closed to others before anything is in it
    return f"{empty}cat >{quoted(file.path)} {heredoc(text, expands=bool(parts))}"


def _read(name: str) -> str:
    """Return what gives a file's content in base64; the encryption key is kept in base64 already."""
    return f'$(cat "{PKI}/{name}")' if name == symbols.ENCRYPTION_KEY else f'$(base64 -w 0 "{PKI}/{name}")'


def _unit(unit: Unit) -> str:
    name = unit_name(unit.name)
    path = f"/etc/systemd/system/{name}"
    rows = [f"install -m {unit.mode:04o} /dev/stdin {path} {heredoc(unit.content)}", "systemctl daemon-reload"]
    rows.append(f"systemctl {'enable' if unit.enabled else 'disable'} {name}")
    if unit.running:
        rows.append(f"systemctl restart {'' if unit.block else '--no-block '}{name}")
    else:
        rows.append(f"systemctl stop {name}")
    return "\n".join(rows)


def _command(command: Command) -> str:
    if command.by_hand:
        return command.by_hand.rstrip("\n")
    environment = "".join(f"{name}={quoted(value)} " for name, value in command.env)
    doing = environment + _words(command.argv)
    if command.stdin is not None:
        doing += f" {heredoc(symbols.text_of(command.stdin))}"
    return f"if ! {_condition(command.unless)} >/dev/null 2>&1; then\n{_indented(doing)}\nfi"


def _indented(text: str) -> str:
    """Return lines moved to the right, but for what a here-document holds."""
    if "<<" in text:
        return text
    return "\n".join(f"  {line}" for line in text.splitlines())


def _words(argv: Sequence[str]) -> str:
    """Return a command; what is given to `sh -c` alone is written as it is."""
    return argv[2] if tuple(argv[:2]) == ("sh", "-c") and len(argv) == 3 else joined(argv)


def _condition(argv: Sequence[str]) -> str:
    """Return a command to be judged by its exit code, in a shell of its own where it is a script."""
    if tuple(argv[:2]) != ("sh", "-c"):
        return joined(argv)
    text = argv[2].strip("\n")
    if len(argv) > 4:
        text = f"set -- {joined(argv[4:])}\n{text}"
    return f"(\n{text}\n)" if "\n" in text else f"( {text} )"
