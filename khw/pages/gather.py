"""Where the report's facts come from: a journal, the workspace, the artifact cache, the live cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from khw import __version__
from khw.artifacts.survey import listed
from khw.certs.survey import held
from khw.errors import KhwError, UsageError
from khw.history import timeline
from khw.pages.facts import Facts
from khw.verify.kept import kept

if TYPE_CHECKING:
    from khw.cluster.observed import Observed
    from khw.history.timeline import Timeline
    from khw.session import Session


def gather(session: Session, run_id: str = "", *, live: bool = True) -> Facts:
    """
    Return what can be had, and for the rest the reason; UsageError if a run is asked for that there is not.

    With `live` the machines are looked at for the pictures; without, or where they cannot be, there are none.
    """
    missing: list[str] = []
    run = _run(session, run_id, missing)
    verified = kept(session.workspace.verified)
    if verified is None:
        missing.append("no whole verify was kept: khw verify")
    benchmarked = kept(session.workspace.benchmarked)
    if benchmarked is None:
        missing.append("the CIS benchmark was not looked at: khw verify --profile cis")
    return Facts(
        cluster=session.spec.name,
        version=__version__,
        at=datetime.now(UTC),
        run=run,
        verified=verified,
        benchmarked=benchmarked,
        seen=_seen(session, missing) if live else None,
        certificates=tuple(held(session.workspace.pki)),
        artifacts=tuple(listed(session.store)),
        missing=tuple(missing),
    )


def _run(session: Session, run_id: str, missing: list[str]) -> Timeline | None:
    try:
        return timeline.read(session.workspace.runs, run_id)
    except UsageError as error:
        if run_id:
            raise
        missing.append(f"{error.message}: {error.hint}")
        return None


def _seen(session: Session, missing: list[str]) -> Observed | None:
    try:
        return session.observe()
    except KhwError as error:
        missing.append(f"the machines could not be looked at, so there are no pictures of them: {error.message}")
        return None
