"""One round of checks: every node asked in one exchange, all at once, and the operator's side beside them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from khw.checks import CheckResult, Status
from khw.errors import KhwError
from khw.explain.book import check_entry
from khw.verify.bench import bench
from khw.verify.check import ClusterCheck, Finding, NodeCheck, PodCheck

if TYPE_CHECKING:
    from khw.cluster.model import Node
    from khw.verify.check import Check
    from khw.verify.context import Context

Ranked: TypeAlias = tuple[int, CheckResult]

PART = 0.5  # of the time that a command may take: a minute for all that is asked of a node, if khw.yaml does not say
REACHABLE = "reachable"
AT_ONCE = 64  # nodes


def run_checks(context: Context, checks: Sequence[Check]) -> list[CheckResult]:
    """
    Run these checks and return what they found, in their order.

    No error of a check ends the round: it is that check's finding. An unreachable node is one failed check.
    """
    ranked = list(enumerate(checks))
    node_checks = [(rank, check) for rank, check in ranked if isinstance(check, NodeCheck)]
    cluster_checks = [(rank, check) for rank, check in ranked if isinstance(check, ClusterCheck)]
    pod_checks = [(rank, check) for rank, check in ranked if isinstance(check, PodCheck)]
    nodes = [node for node in context.cluster.nodes if node.name in context.agents] if node_checks else []
    suspects = set(context.unreachable)
    door = _Door(any(check.opens for _, check in cluster_checks))
    with ThreadPoolExecutor(min(AT_ONCE, len(nodes)) + 2) as pool:
        jobs = [pool.submit(_ask_cluster, context, cluster_checks, door)]
        if pod_checks:
            jobs.append(pool.submit(_ask_pods, context, pod_checks, suspects, door))
        jobs += [pool.submit(_ask_node, context, node, node_checks, suspects) for node in nodes]
        found = [row for job in jobs for row in job.result()]
    order = {node.name: position for position, node in enumerate(context.cluster.nodes)}
    found.sort(key=lambda row: (row[0], order.get(row[1].node, -1)))
    return [*_unreachable(context), *(result for _, result in found)]


class _Door:
    """Whether the API answers through the load balancer, once that is known; open if nobody looks."""

    def __init__(self, looked_at: bool) -> None:
        self._closed = False
        self._known = threading.Event()
        if not looked_at:
            self._known.set()

    def tell(self, *, opened: bool) -> None:
        """Say what was found."""
        self._closed = not opened
        self._known.set()

    @property
    def closed(self) -> bool:
        """Wait until it is known."""
        self._known.wait()
        return self._closed


CLOSED = "the API does not answer through the load balancer"


def _unreachable(context: Context) -> list[CheckResult]:
    hint = "is it running? khw inventory; then khw run --failed"
    findings = (
        Finding(ok=False, node=name, expected="it answers over SSH", actual=reason, hint=hint)
        for name, reason in sorted(context.unreachable.items())
    )
    return [_result(REACHABLE, finding, "", 0.0) for finding in findings]


def _ask_node(
    context: Context, node: Node, checks: Sequence[tuple[int, NodeCheck]], suspects: set[str]
) -> list[Ranked]:
    """
    Ask a node everything in one exchange, and let each check judge its own answers.

    A node with a failed check joins the `suspects`: nobody waits long for its test pod.
    """
    mine = [(rank, check, tuple(check.ask(node, context))) for rank, check in checks if node.roles & check.roles]
    limit = PART * context.cluster.spec.timeouts.command
    started = time.monotonic()
    try:
        answers = context.agents[node.name].run(*(q for _, _, asked in mine for q in asked), timeout=limit)
    except KhwError as error:
        suspects.add(node.name)
        failed = _failure(error, expected="it answers over SSH")
        return [(-1, _result(REACHABLE, failed, node.name, time.monotonic() - started))]
    seconds = time.monotonic() - started
    rows: list[Ranked] = []
    for rank, check, asked in mine:
        own, answers = answers[: len(asked)], answers[len(asked) :]
        findings = _guarded(lambda check=check, own=own: check.judge(node, context, own))  # type: ignore[misc]
        rows += [(rank, _result(check.name, finding, node.name, seconds)) for finding in findings]
    if any(result.status is Status.FAILED for _, result in rows):
        suspects.add(node.name)
    return rows


def _ask_cluster(context: Context, checks: Sequence[tuple[int, ClusterCheck]], door: _Door) -> list[Ranked]:
    rows: list[Ranked] = []
    for rank, check in sorted(checks, key=lambda row: not row[1].opens):
        if check.api and not check.opens and door.closed:
            rows.append(_shut(rank, check))
            continue
        found = _timed(rank, check.name, lambda check=check: check.look(context))  # type: ignore[misc]
        if check.opens:
            door.tell(opened=all(result.status is not Status.FAILED for _, result in found))
        rows += found
    return rows


def _shut(rank: int, check: ClusterCheck | PodCheck) -> Ranked:
    return rank, _result(check.name, Finding(ok=None, expected="an answer of the API", actual=CLOSED), "", 0.0)


def _ask_pods(
    context: Context, checks: Sequence[tuple[int, PodCheck]], suspects: set[str], door: _Door
) -> list[Ranked]:
    if door.closed:
        return [_shut(rank, check) for rank, check in checks]
    rows: list[Ranked] = []
    try:
        with bench(context.kubectl, context.cluster, suspects) as pods:
            for rank, check in checks:
                rows += _timed(rank, check.name, lambda check=check: check.look(context, pods))  # type: ignore[misc]
    except KhwError as error:
        finding = _failure(error, expected="test pods run")
        rows.append((checks[0][0], _result("test pods", finding, "", 0.0)))
    return rows


def _timed(rank: int, name: str, look: Callable[[], Iterable[Finding]]) -> list[Ranked]:
    started = time.monotonic()
    findings = _guarded(look)
    seconds = time.monotonic() - started
    return [(rank, _result(name, finding, "", seconds)) for finding in findings]


def _guarded(look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Return the findings; an error of khw's own, or an answer of an unknown shape, is a finding too."""
    try:
        return list(look())
    except KhwError as error:
        return [_failure(error, expected="an answer")]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return [Finding(ok=False, expected="an answer that makes sense", actual=f"{type(error).__name__}: {error}")]


def _failure(error: KhwError, expected: str) -> Finding:
    return Finding(ok=False, expected=expected, actual=error.message, hint=error.hint, node=error.node)


def _result(name: str, finding: Finding, node: str, seconds: float) -> CheckResult:
    statuses = {True: Status.PASSED, False: Status.FAILED, None: Status.MANUAL if finding.manual else Status.SKIPPED}
    result = CheckResult(
        name=f"{name} {finding.subject}".rstrip(),
        check=name,
        subject=finding.subject,
        node=finding.node or node,
        status=statuses[finding.ok],
        expected=finding.expected,
        actual=finding.actual,
        seconds=round(seconds, 2),
    )
    return explained(result, finding) if finding.ok is False else result


def explained(result: CheckResult, finding: Finding) -> CheckResult:
    """Return a failed result with its likely cause, the evidence, and the command that shows it."""
    entry = check_entry(result.check, result.subject)
    show = finding.command or (entry.show if entry else "")
    return replace(
        result,
        hint=finding.hint,
        cause=entry.likely if entry else "",
        evidence=finding.evidence,
        command=show.replace("{node}", result.node).replace("{subject}", result.subject),
    )
