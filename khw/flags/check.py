"""
The check itself: every command line and file of every node, before the first byte goes to one.

What a pinned binary has accepted before is not asked again (`memory`), and nodes that differ only in their names and
addresses are one case, so that a run on a warm cache starts no process.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from khw.converge.changes import Action, Change
from khw.errors import FlagError
from khw.flags import fields, trial
from khw.flags.asking import NotRunnableError, Room, room
from khw.flags.memory import Memory
from khw.flags.names import flags_of, nearest
from khw.flags.rendered import Program, Rendered, planned, render, render_one, specimens
from khw.flags.unitfile import flag_names
from khw.tasks.containerd import CONFIG as CONTAINERD_CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable

    from khw.artifacts.store import Artifact, Store
    from khw.certs.pki import Pki
    from khw.cluster.model import Cluster
    from khw.engine.operator import Run
    from khw.engine.phases import Phase

AT_ONCE = 4  # binaries asked at the same time


def of_run(run: Run) -> list[Change]:
    """Check what this run's cluster file asks for: the machines may not be there yet."""
    from khw.engine.phases import PHASES

    return FlagCheck(PHASES, planned(run.spec), run.store, run.notice, run.check, run.progress).run()


@dataclass
class _Case:
    """One command line, or one file, with the nodes that have it."""

    shape: str
    ask: Callable[[], trial.Verdict]
    memory: Memory
    where: str
    nodes: list[str] = field(default_factory=list)
    verdict: trial.Verdict | None = None


@dataclass
class FlagCheck:
    """All of a cluster's command lines and files against the pinned binaries of `store`."""

    phases: Iterable[Phase]
    cluster: Cluster
    store: Store
    notice: Callable[[str], None]
    check: bool = False  # nothing is fetched, and nothing kept
    progress: Callable[[str], None] = lambda _text: None
    _cases: dict[tuple[str, str], _Case] = field(default_factory=dict)
    _memories: dict[str, Memory] = field(default_factory=dict)
    _not_runnable: dict[str, str] = field(default_factory=dict)
    _remarks: list[str] = field(default_factory=list)
    _here: dict[str, bool] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> list[Change]:
        """Return what was checked, as an unchanged resource; raise FlagError, which names every problem, if any."""
        problems: dict[str, list[str]] = {}
        for rendered in render(self.phases, self.cluster, specimens(self.cluster)):
            for program in rendered.programs():
                unknown = self._unknown_flags(program)
                for problem in unknown:
                    _note(problems, problem, rendered.node.name)
                if not unknown:
                    self._add_program(program)
            for path, binaries in fields.readers(rendered):
                self._add_file(rendered, path, binaries)
            self._add_containerd(rendered)
        self._ask_all()
        for case in self._cases.values():
            self._take(case, problems)
        for remark in dict.fromkeys(self._remarks):
            self.notice(remark)
        for memory in () if self.check else self._memories.values():
            memory.save()
        self._say_what_was_not_checked()
        if problems:
            raise _error(problems)
        return [Change(resource="flags", action=Action.UNCHANGED, after=f"{len(self._cases)} command lines and files")]

    def _unknown_flags(self, program: Program) -> list[str]:
        if not program.unit or not self._is_here(program.artifact):
            return []
        flags = self._flags(program.artifact)
        if flags is None:
            return []
        version = self._name(program.artifact)
        return [
            f"{program.where}: --{name} is not a flag of {version}{nearest(name, flags, dashes='--')}"
            for name in flag_names(program.argv)
            if name.replace("_", "-") not in flags and not self._is_hidden(program.artifact, name)
        ]

    def _is_hidden(self, artifact: str, name: str) -> bool:
        """Whether the binary takes this flag without listing it, as it does some deprecated ones."""
        with room() as scratch:
            hidden = trial.takes(scratch.ask(self._artifact(artifact).path, [f"--{name}=", "--help"]))
        memory = self._memory(artifact)
        if hidden:
            memory.learn((memory.flags or frozenset()) | {name.replace("_", "-")})
        return hidden

    def _flags(self, artifact: str) -> frozenset[str] | None:
        memory = self._memory(artifact)
        if memory.flags is None and artifact not in self._not_runnable:
            try:
                with room() as scratch:
                    memory.learn(flags_of(scratch, self._artifact(artifact).path))
            except NotRunnableError as reason:
                self._not_runnable[artifact] = f"this machine cannot run it ({reason})"
        return memory.flags

    def _add_program(self, program: Program) -> None:
        if not self._is_here(program.artifact) or program.artifact in self._not_runnable:
            return
        self._add(
            program.artifact,
            program.shape(),
            program.where,
            program.rendered.node.name,
            lambda: self._try(program),
        )

    def _add_file(self, rendered: Rendered, path: str, binaries: tuple[str, ...]) -> None:
        text = rendered.files[path]
        missing = [binary for binary in binaries if binary not in rendered.binaries]
        names = [rendered.binaries[binary] for binary in binaries if binary not in missing]
        if not all(self._is_here(name) for name in names or ["kubectl"]):
            return
        self._add(
            names[0] if names else "kubectl",
            _digest(path, rendered.nameless(text), *missing, *(self._sha256(name) for name in names)),
            path,
            rendered.node.name,
            lambda: self._look(path, text, names, missing),
        )

    def _add_containerd(self, rendered: Rendered) -> None:
        if CONTAINERD_CONFIG in rendered.files and self._is_here("containerd"):
            text = rendered.files[CONTAINERD_CONFIG]
            shape = _digest(CONTAINERD_CONFIG, text)
            self._add("containerd", shape, CONTAINERD_CONFIG, rendered.node.name, lambda: self._look_at_plugins(text))

    def _add(self, artifact: str, shape: str, where: str, node: str, ask: Callable[[], trial.Verdict]) -> None:
        case = self._cases.get((artifact, shape + where))
        if case is None:
            memory = self._memory(artifact)
            case = self._cases[artifact, shape + where] = _Case(shape, ask, memory, where)
            if shape in memory.accepted:
                case.verdict = trial.Verdict(remarks=tuple(memory.accepted[shape]))
        if node not in case.nodes:
            case.nodes.append(node)

    def _ask_all(self) -> None:
        open_cases = [case for case in self._cases.values() if case.verdict is None]
        if not open_cases:
            return
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for case, verdict in zip(open_cases, pool.map(_asked, open_cases), strict=True):
                case.verdict = verdict

    def _take(self, case: _Case, problems: dict[str, list[str]]) -> None:
        verdict = case.verdict or trial.Verdict()
        for problem in verdict.problems:
            for node in case.nodes:
                _note(problems, problem, node)
        self._remarks += [f"{case.where}: {remark}" for remark in verdict.remarks]
        if verdict.doubt:
            self._not_runnable.setdefault(case.where, verdict.doubt)
        elif not verdict.problems:
            case.memory.accept(case.shape, list(verdict.remarks))

    def _try(self, program: Program) -> trial.Verdict:
        artifact = self._artifact(program.artifact)
        with room() as scratch:
            place = self._furnish(scratch, program.rendered)
            answer = scratch.ask(artifact.path, trial.arguments(program, scratch, place))
            return trial.judge(program, answer, scratch, artifact.path, artifact.version)

    def _furnish(self, scratch: Room, rendered: Rendered) -> Callable[[str], str]:
        """Put the node's files below the room; return what turns the node's paths into those."""
        true = render_one(self.phases, self.cluster, rendered.node, rendered.facts, self._throwaway)
        paths = sorted({*true.files, *true.directories}, key=len, reverse=True)
        known = re.compile(r"(?<![\w./-])(?:" + "|".join(map(re.escape, paths)) + r")(?![\w-])")

        def place(text: str) -> str:
            return known.sub(lambda match: f"{scratch.path}{match[0]}", text)

        for directory in true.directories:
            scratch.folder(directory)
        for path, text in true.files.items():
            scratch.put(path, place(text).encode("utf-8", "surrogateescape"))
        return place

    @cached_property
    def _throwaway(self) -> Pki:
        """Keys and certificates that are forgotten again: nobody's secret is written for a trial."""
        from khw.certs.pki import load_or_issue

        with self._lock:
            return load_or_issue(Path("/nonexistent"), self.cluster, check=True)

    def _look(self, path: str, text: str, names: list[str], missing: list[str]) -> trial.Verdict:
        if missing:
            return trial.Verdict(tuple(f"{path}: nothing puts {binary} on this node" for binary in missing))
        binaries = {name: self._artifact(name).path for name in names}
        reader = self._name(names[0])
        strange = fields.strange_fields(text, binaries, reader)
        if '"cniVersion"' in text:
            with room() as scratch:
                strange += fields.strange_version(scratch, text, binaries[names[0]], reader)
        return trial.Verdict(tuple(f"{path}: {problem}" for problem in strange))

    def _look_at_plugins(self, text: str) -> trial.Verdict:
        with room() as scratch:
            answer = scratch.ask(self._artifact("containerd").path, ["config", "default"])
        version = self._name("containerd")
        strange = fields.strange_plugins(text, answer.out)
        return trial.Verdict(tuple(f"{CONTAINERD_CONFIG}: {problem} ({version})" for problem in strange))

    def _is_here(self, name: str) -> bool:
        """Whether there is something to ask; a plan fetches nothing."""
        if name not in self._here:
            self._here[name] = not self.check or bool(self.store.digest(name))
            if not self._here[name]:
                self._not_runnable[name] = "not in the artifact cache yet"
        return self._here[name]

    def _sha256(self, name: str) -> str:
        """Return the digest on record in a plan, which reads no binary for this; else that of the checked file."""
        return self.store.digest(name) if self.check else self._artifact(name).sha256

    def _artifact(self, name: str) -> Artifact:
        return self.store.get(name, progress=self.progress)

    def _name(self, artifact: str) -> str:
        return f"{artifact} {self._artifact(artifact).version}"

    def _memory(self, artifact: str) -> Memory:
        if artifact not in self._memories:
            self._memories[artifact] = Memory.of(self.store.cache.root, self._sha256(artifact))
        return self._memories[artifact]

    def _say_what_was_not_checked(self) -> None:
        reasons: dict[str, list[str]] = {}
        for what, reason in self._not_runnable.items():
            reasons.setdefault(reason, []).append(what)
        for reason, whats in reasons.items():
            self.notice(f"flags and fields not checked beforehand for {', '.join(sorted(whats))}: {reason}")


def _asked(case: _Case) -> trial.Verdict:
    try:
        return case.ask()
    except NotRunnableError as reason:
        return trial.Verdict(doubt=f"this machine cannot run it ({reason})")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _note(problems: dict[str, list[str]], problem: str, node: str) -> None:
    nodes = problems.setdefault(problem, [])
    if node not in nodes:
        nodes.append(node)


def _error(problems: dict[str, list[str]]) -> FlagError:
    lines = [f"{problem} ({', '.join(nodes)})" for problem, nodes in problems.items()]
    head = "" if len(lines) == 1 else f"{len(lines)} flags or fields would not be understood\n  "
    return FlagError(head + "\n  ".join(lines), hint="nothing was sent to any node; mend tasks/ or the pinned version")
