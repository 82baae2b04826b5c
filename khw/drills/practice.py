"""Practising: start a drill, ask for hints, have the repair checked, and have all as it was."""

from __future__ import annotations

import secrets
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from khw.checks import Status
from khw.drills import way_back
from khw.drills.drill import values_of
from khw.drills.ground import Ground
from khw.drills.state import Stage, State, load, save
from khw.drills.table import DRILLS, drill
from khw.engine.lock import hold
from khw.errors import KhwError, StepError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from khw.checks import CheckResult
    from khw.cluster.spec import Spec
    from khw.drills.drill import Drill
    from khw.session import Outcome, Session
    from khw.verify.verdict import Verdict

SETTLING = 120.0  # seconds that a cluster is given to be well again


@dataclass(frozen=True, slots=True)
class Hint:
    """A hint, and how many there are."""

    number: int
    total: int
    text: str


class Practice:
    """The drills of one cluster; `say` hears what is being done."""

    def __init__(self, session: Session, say: Callable[[str], None] = lambda _text: None) -> None:
        self._session = session
        self._say = say

    @property
    def _file(self) -> Path:
        return self._session.workspace.drill

    @property
    def _folder(self) -> Path:
        return self._session.workspace.drill_folder

    @property
    def _snapshot(self) -> Path:
        return self._folder / "etcd.db"

    def fitting(self) -> list[Drill]:
        """Return the drills that this cluster is large enough for."""
        return [row for row in DRILLS if not lacks(row, self._session.spec)]

    def running(self) -> State | None:
        """Return the drill that runs, if one does."""
        return load(self._file)

    def start(self, name: str | None, *, really: str = "") -> str:
        """
        Break something, and return the story; without a name, one drill of those that fit.

        LockedError while a run holds the cluster; UsageError where it is not for breaking: not in a lab, too small, a
        drill that runs already.
        """
        require_lab(self._session.spec, really)
        self._session.workspace.prepare()
        with hold(self._session.workspace.lock, "drill start"):
            self._refuse_second()
            chosen = drill(name) if name else secrets.choice(self.fitting())
            if why := lacks(chosen, self._session.spec):
                raise UsageError(f"the drill {chosen.name} needs {why}", hint="khw drill list shows what each needs")
            with self._ground() as ground:
                self._say("looking whether all is well before")
                self._require_well(chosen, ground)
                values = dict(values_of(ground.cluster))
                values |= chosen.find(ground) if chosen.find else {}
                state = State(drill=chosen.name, values=values, found=way_back.files_of_others(ground))
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                way_back.keep_snapshot(ground, self._snapshot)
                save(self._file, state)
                self._say("breaking something")
                chosen.make(ground, values)
            save(self._file, state.at(Stage.RUNNING))
            return chosen.told(values)

    def hint(self) -> Hint:
        """Return the next hint; after the last one, the last one again."""
        state = self._require_running()
        steps = drill(state.drill).steps(state.values)
        number = min(state.hints + 1, len(steps))
        save(self._file, state.hinted(number))
        return Hint(number, len(steps), steps[number - 1])

    def check(self, *, wait: float = 0.0) -> list[CheckResult]:
        """Look whether what was broken works again, by whatever way; with `wait` again until it does."""
        state = self._require_running()
        deadline = time.monotonic() + wait
        while True:
            with self._ground() as ground:
                results = prove(drill(state.drill), ground)
            if not failures(results) or time.monotonic() >= deadline:
                return results

    def stop(self, name: str | None, run: Callable[[], Outcome]) -> Verdict:
        """
        Put the cluster right, however it is, and end the drill if it is; return the checks that say so.

        `run` is khw's own run; what it does not put right is done here before. May be called again and again.
        """
        with hold(self._session.workspace.lock, "drill stop"):
            state = self._state_to_stop(name)
            save(self._file, state.at(Stage.STOPPING))
            self._make_project_whole()
            with self._ground() as ground:
                self._say("taking away what a run does not put right")
                if state.found:  # without a note of what was there nothing is taken for new
                    way_back.sweep(ground, state.found)
                values = {**values_of(ground.cluster), **state.values}
                with self._as_far_as_possible():
                    drill(state.drill).mend(ground, values)
                with self._as_far_as_possible():
                    way_back.revive_etcd(ground, self._snapshot)
        if run().report.exit_code:
            self._begin_again_from_snapshot()
            run()
        verdict = self._session.verify(wait=SETTLING)
        if verdict.ok:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._file.unlink(missing_ok=True)
        return verdict

    @contextmanager
    def _as_far_as_possible(self) -> Iterator[None]:
        """Go on after a failure: a machine that was made anew has nothing to mend yet; a run brings what it needs."""
        try:
            yield
        except StepError as error:
            self._say(f"not possible yet: {error}")

    def _begin_again_from_snapshot(self) -> None:
        """Take etcd's members back to the snapshot if they are what a run cannot put right."""
        with hold(self._session.workspace.lock, "drill stop"), self._ground() as ground:
            if self._snapshot.exists() and not way_back.whole(ground):
                self._say("etcd begins again from the snapshot that was taken before the drill")
                way_back.restore_etcd(ground, self._snapshot)

    def _state_to_stop(self, name: str | None) -> State:
        state = load_or_none(self._file) if name else load(self._file)
        if state is None:
            if name is None:
                raise UsageError("no drill is running", hint="khw drill stop NAME puts right what that drill breaks")
            return State(drill=drill(name).name, values={}, found=())
        if name not in {None, state.drill}:
            raise UsageError(f"the drill that runs is {state.drill}, not {name}", hint="khw drill stop")
        return state

    def _make_project_whole(self) -> None:
        from khw.inventory.gcp.provider import GcpProvider

        if isinstance(self._session.provider, GcpProvider):
            from khw.drills import cloud

            self._say("looking after the project")
            cloud.make_whole(self._session.provider)

    def _refuse_second(self) -> None:
        if state := load(self._file):
            word = "was begun" if state.stage is Stage.STARTING else "runs"
            raise UsageError(
                f"a drill {word} already, since {state.since}",
                hint="khw drill check, or khw drill stop, which puts the cluster right again",
            )

    def _require_running(self) -> State:
        state = load(self._file)
        if state is None:
            raise UsageError("no drill is running", hint="khw drill start")
        if state.stage is not Stage.RUNNING:
            raise UsageError(
                f"the drill is not running: its {state.stage} was cut off",
                hint="khw drill stop puts the cluster right, then start again",
            )
        return state

    def _require_well(self, chosen: Drill, ground: Ground) -> None:
        if failed := failures(prove(chosen, ground)):
            names = ", ".join(f"{row.name} {row.node}".rstrip() for row in failed)
            raise KhwError(
                f"the cluster is not well before the drill: {names}",
                hint="khw verify, then khw run; a drill needs both",
            )

    @contextmanager
    def _ground(self) -> Iterator[Ground]:
        with self._session.connected() as context:
            yield Ground(context=context, folder=self._folder)


def prove(chosen: Drill, ground: Ground) -> list[CheckResult]:
    """Run the checks that look at the drill's effect."""
    from khw.verify.rounds import run_checks
    from khw.verify.table import CHECKS

    return run_checks(ground.context, [check for check in CHECKS if check.name in chosen.proof])


def failures(results: Sequence[CheckResult]) -> list[CheckResult]:
    """Return the failed ones."""
    return [row for row in results if row.status is Status.FAILED]


def lacks(chosen: Drill, spec: Spec) -> str:
    """Return what a drill needs that this cluster does not have; '' if it fits."""
    from khw.cluster.spec import Role

    roles = [machine.role for machine in spec.planned]
    counts = {Role.CONTROLLER: chosen.controllers, Role.WORKER: chosen.workers}
    needs = [f"{count} {role}s" for role, count in counts.items() if roles.count(role) < count]
    if sum(Role.ETCD in machine.roles for machine in spec.planned) < chosen.members:
        needs.append(f"{chosen.members} members of etcd")
    needs += ["etcd on the controllers"] if chosen.stacked and Role.ETCD in roles else []
    needs += ["a cloud project (or the lab's)"] if chosen.project and spec.provider != "gcp" else []
    return " and ".join(needs)


def in_lab(spec: Spec) -> bool:
    """Whether this is a cluster of the lab: a project whose API is on this machine, and asks for no credentials."""
    if spec.provider != "gcp" or spec.gcp is None or spec.gcp.credentials != "anonymous":
        return False
    try:
        return ip_address(urlsplit(spec.gcp.endpoint or "").hostname or "").is_loopback
    except ValueError:
        return False


def require_lab(spec: Spec, really: str) -> None:
    """Raise a UsageError for a cluster that is not in a lab, unless it was named."""
    if in_lab(spec) or really == spec.name:
        return
    raise UsageError(
        f"cluster {spec.name} is not in a lab, and a drill breaks what runs on it",
        hint=f"khw lab up and khw init make one to break; --really {spec.name} breaks this one all the same",
    )


def load_or_none(file: Path) -> State | None:
    """Return the state, or None if there is none that can be read."""
    try:
        return load(file)
    except UsageError:
        return None
