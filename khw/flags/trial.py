"""
A binary judges its own command line and files, and is stopped there.

Each server is started as its unit starts it, on files of a throwaway cluster, with one value at the end that it must
refuse, and that it refuses only after all else was read and found right. What stopped it tells how far it came: the
value that was planted, or something that a node would have met.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from khw.flags.names import fields_of, flags_of, nearest
from khw.tasks.containerd import CONFIG as CONTAINERD_CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from khw.flags.asking import Answer, Room
    from khw.flags.rendered import Program

WALL = "/dev/null/khw"  # no file can be made there, not even by root


@dataclass(frozen=True, slots=True)
class Trial:
    """
    What is put after the unit's own flags, and how the binary then says that it came to the end of them.

    `excused` is what it says of the operator's machine, which is not the node.
    """

    planted: tuple[str, ...]
    stop: str
    excused: str = "(?!)"


TRIALS: Mapping[str, Trial] = {
    "etcd": Trial(("--election-timeout=1",), r"--election-timeout\[1ms\] should be at least.*"),
    "kube-apiserver": Trial(
        (
            "--bind-address=127.0.0.1",
            "--secure-port={port}",
            "--etcd-servers=https://127.0.0.1:1",
            "--cert-dir={room}/certs",
            f"--audit-log-path={WALL}/audit.log",  # opened after all files were read
        ),
        r"ensureLogFile: mkdir /dev/null: .*",
    ),
    "kube-controller-manager": Trial(("--secure-port=-1",), r"--secure-port -1 must be between[^,]*, inclusive[^\],]*"),
    "kube-scheduler": Trial((f"--write-config-to={WALL}",), rf"open {WALL}: .*"),
    "kube-proxy": Trial((f"--write-config-to={WALL}",), rf"open {WALL}: .*"),
    "kubelet": Trial(
        ("--max-open-files=-1",),
        r"(?:invalid configuration: )?maxOpenFiles \(--max-open-files\) -1 must not be a negative number"
        r"|, path: &TypeMeta\{.*",
        r"(?:invalid configuration: )?kubelet is configured to not run on a host using cgroup v1[^,\]]*",
    ),
}

_FINAL = re.compile(r'"command failed" err="((?:[^"\\]|\\.)*)"|"failed to verify flags","error":"((?:[^"\\]|\\.)*)"')
_UNKNOWN_FIELD = re.compile(r'unknown field \\*"([^"\\]+)\\*"')
_UNKNOWN_FLAG = re.compile(r"(?:unknown flag: |flag provided but not defined: )-{1,2}([\w.-]+)")
_DEPRECATED = re.compile(r"Flag --([\w-]+) has been deprecated, (.*)")
_TOML = re.compile(r'Ignoring unknown key in TOML.*?\bkey=("[^"]*"|\S+)(?:.* plugin=(\S+))?')
_ERROR = re.compile(r"^error: |invalid value .* for flag|flag provided but not defined", re.IGNORECASE)
_PREFIX = re.compile(r"^failed to validate kubelet configuration, error: |^\[|\]$")
_HOST = re.compile(
    r"address already in use|cannot assign requested|too many open files|no space left|permission denied"
    r"|cannot allocate memory|temporarily unavailable|operation not permitted",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`problems`: what the binary refuses; `remarks`: what it says beside; `doubt`: why it could not be asked."""

    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    doubt: str = ""


def arguments(program: Program, room: Room, place: Callable[[str], str]) -> list[str]:
    """Return the program's arguments for its trial; `place` puts the node's paths below the room."""
    own = [place(word) for word in program.argv[1:]]
    if program.artifact == "containerd" and program.unit:
        return ["--config", place(CONTAINERD_CONFIG), "config", "dump"]
    trial = TRIALS.get(program.artifact) if program.unit else None
    if trial is None:
        return [*own, "--help"]
    port = _free_port()
    return [*own, *(word.format(port=port, room=room.path) for word in trial.planted)]


def judge(program: Program, answer: Answer, room: Room, binary: Path, version: str) -> Verdict:
    """Return what the binary's answer means."""
    if answer.code is None:
        return Verdict(doubt="it did not come to an end in time")
    trial = TRIALS.get(program.artifact) if program.unit else None
    remarks = tuple(
        f"--{name} is deprecated in {program.artifact} {version}: {text}"
        for name, text in _DEPRECATED.findall(answer.err)
        if trial is None or f"--{name}=" not in "".join(trial.planted)
    )
    fields = list(dict.fromkeys([*_UNKNOWN_FIELD.findall(answer.text), *_toml_keys(answer.err)]))
    if fields:
        known = fields_of(binary)
        return Verdict(
            tuple(
                f"{_file_with(program, field)}: {field} is not a field that {program.artifact} {version} knows"
                f"{nearest(_last(field), known)}"
                for field in fields
            ),
            remarks,
        )
    rest = _beside_the_stop(answer, trial)
    if not rest:
        return Verdict((), remarks)
    if _HOST.search(rest):
        return Verdict(doubt=rest)
    if flag := _UNKNOWN_FLAG.search(rest):
        words = [word for word in program.argv[1:] if not word.startswith("-")]
        meant = nearest(flag[1], flags_of(room, binary, words), dashes="--")
        return Verdict((f"{program.where}: --{flag[1]} is not a flag of {program.artifact} {version}{meant}",), remarks)
    return Verdict((f"{program.where}: {program.artifact} {version} refuses it: {rest}",), remarks)


def takes(answer: Answer) -> bool:
    """Return whether a binary that was given one flag knows it, whatever it thinks of the value."""
    return answer.code is not None and not _UNKNOWN_FLAG.search(answer.text)


def _beside_the_stop(answer: Answer, trial: Trial | None) -> str:
    """Return what the binary found wrong beside what was planted, or ''."""
    if trial is None:
        return "" if answer.code == 0 else _last_line(answer)
    final = _FINAL.search(answer.err)
    said = (final[1] or final[2]).replace('\\"', '"') if final else _last_line(answer)
    if not re.search(trial.stop, said):
        return said or f"it ended with exit code {answer.code}"
    rest = re.sub(trial.excused, "", re.sub(trial.stop, "", said))
    while (shorter := _PREFIX.sub("", rest).strip(", ")) != rest:
        rest = shorter
    return rest


def _last_line(answer: Answer) -> str:
    lines = [line.strip() for line in answer.text.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.search(line)]
    return (errors or lines or [f"it ended with exit code {answer.code}"])[-1].removeprefix("Error: ")


def _toml_keys(err: str) -> list[str]:
    return [
        " → ".join(part for part in (plugin, key.strip('"').replace(" ", ".")) if part)
        for key, plugin in _TOML.findall(err)
    ]


def _file_with(program: Program, field: str) -> str:
    """Return which of the program's files has this field; the unit, if none seems to."""
    word = re.compile(rf"^[\s'\"-]*{re.escape(_last(field))}\b", re.MULTILINE)
    files = program.rendered.files
    return next((path for path in program.inputs if word.search(files.get(path, ""))), program.where)


def _last(field: str) -> str:
    return re.split(r"[. ]", field)[-1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
