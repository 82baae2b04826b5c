"""What `--failed` and `--resume` choose, from journals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from khw.cluster.spec import Gcp, Spec
from khw.engine.events import PhaseEnded, RunEnded, RunStarted
from khw.engine.phases import select
from khw.engine.report import Outcome, PhaseResult
from khw.errors import UsageError
from khw.history.journal import Journal
from khw.session import Session, plan_for, plan_to_resume

if TYPE_CHECKING:
    from pathlib import Path

    from khw.engine.engine import Plan

LANE = ("certificates", "runtime", "workers")


@pytest.fixture
def session(tmp_path: Path) -> Session:
    it = Session(spec=Spec(gcp=Gcp(project="p")), file=tmp_path / "khw.yaml")
    it.workspace.prepare()
    return it


def ran(session: Session, run_id: str, lanes: dict[str, tuple[str, ...]], **outcomes: dict[str, Outcome]) -> None:
    """Write the journal of a run in which phases ended like that, by host ('_' for '-')."""
    journal = Journal(session.workspace.runs, run_id)
    journal(RunStarted(run_id, tuple(lanes), LANE, lanes))
    for host, ends in outcomes.items():
        for phase, outcome in ends.items():
            name = host.replace("_", "-")
            journal(PhaseEnded(PhaseResult(host=name, phase=phase, outcome=outcome, started=0, ended=1)))
    journal(RunEnded(run_id, 0, 1))
    journal.close()


def failed(session: Session, limit: str | None = None) -> Plan | None:
    return plan_for(session, select(), limit=limit, failed=True, parallel=1)


def begins(plan: Plan | None) -> dict[str, str]:
    assert plan is not None
    assert plan.limit == frozenset(plan.begin)
    return dict(plan.begin)


def test_before_the_first_run_there_is_nothing_to_take_up(session: Session) -> None:
    with pytest.raises(UsageError, match="no run yet"):
        failed(session)
    with pytest.raises(UsageError, match="no run yet"):
        plan_to_resume(session, parallel=1)


def test_failed_takes_up_every_run_and_resume_the_last_one(session: Session) -> None:
    ran(session, "1", {"worker-0": LANE}, worker_0={"certificates": Outcome.OK, "runtime": Outcome.FAILED})
    ran(session, "2", {"worker-1": LANE[1:]}, worker_1={"runtime": Outcome.CANCELLED})
    assert begins(failed(session)) == {"worker-0": "runtime", "worker-1": "runtime"}
    assert begins(failed(session, "worker-0")) == {"worker-0": "runtime"}
    resumed = plan_to_resume(session, parallel=1)
    assert begins(resumed) == {"worker-1": "runtime"}
    assert resumed is not None
    assert tuple(phase.name for phase in resumed.phases) == LANE


def test_a_phase_mended_by_itself_leaves_those_after_it(session: Session) -> None:
    ran(session, "1", {"worker-0": LANE}, worker_0={"certificates": Outcome.OK, "runtime": Outcome.FAILED})
    ran(session, "2", {"worker-0": ("runtime",)}, worker_0={"runtime": Outcome.CHANGED})
    assert begins(failed(session)) == {"worker-0": "workers"}
    assert plan_to_resume(session, parallel=1) is None, "the last run is through"


def test_with_a_machine_that_was_away_the_operators_side_is_taken_up_from_what_lets_it_in(session: Session) -> None:
    lanes = {"worker-0": LANE, "operator": ("load-balancer", "smoke")}
    ran(session, "1", lanes, worker_0={"certificates": Outcome.UNREACHABLE}, operator={"load-balancer": Outcome.OK})
    assert begins(failed(session)) == {"worker-0": "certificates", "operator": "load-balancer"}


def test_nothing_undone_is_nothing_to_do_and_hosts_that_are_no_more_are_let_go(session: Session) -> None:
    ran(session, "1", {"worker-7": ("runtime",)}, worker_7={"runtime": Outcome.UNREACHABLE})
    assert failed(session) is None
    assert plan_to_resume(session, parallel=1) is None


def test_after_a_destroy_there_is_nothing_to_take_up(session: Session) -> None:
    ran(session, "1", {"worker-0": LANE}, worker_0={"certificates": Outcome.FAILED})
    journal = Journal(session.workspace.runs, "2")
    journal.destroying()
    journal.close()
    with pytest.raises(UsageError, match="destroyed"):
        failed(session)
