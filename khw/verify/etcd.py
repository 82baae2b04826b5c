"""etcd (chapter 7): every member answers over TLS, one leader, no alarm, and strangers are refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from khw.artifacts import lock
from khw.ssh.connection import RemoteCommand
from khw.verify.check import Finding, last_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.cluster.model import Node
    from khw.ssh.connection import Completed
    from khw.verify.context import Context

CA = "--cacert=/etc/etcd/ca.pem"
IDENTITY = ("--cert=/etc/etcd/kubernetes.pem", "--key=/etc/etcd/kubernetes-key.pem")
CLOSED = ("connection error", "broken pipe", "connection reset")
HINT = "sudo systemctl status etcd; sudo journalctl -u etcd -n 50"


def etcdctl(endpoints: str, *arguments: str, identity: tuple[str, ...] = IDENTITY, wait: int = 4) -> RemoteCommand:
    """Return an etcdctl command as the guide types it; it gives up after `wait` seconds."""
    argv = ("/usr/local/bin/etcdctl", *arguments, f"--endpoints={endpoints}", CA, *identity)
    return RemoteCommand((*argv, f"--command-timeout={wait}s", f"--dial-timeout={wait}s"), timeout=15.0)


def ask_member(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Ask a member how it is, at its own address, and whom it knows."""
    url = f"https://{node.internal_ip}:2379"
    return (
        etcdctl(url, "endpoint", "status", "--write-out=json"),
        etcdctl("https://127.0.0.1:2379", "member", "list", "--write-out=json"),
    )


def judge_member(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Expect an answer, the pinned version, no error, and every controller as a started member."""
    status, members = answers
    version = lock.entry("etcd").version.removeprefix("v")
    names = sorted(n.name for n in context.cluster.etcd_members)
    expected = f"answers over TLS at {node.internal_ip}:2379, version {version}"
    row = _first(_json(status))
    if row is None:
        yield Finding(ok=False, expected=expected, actual=said(status), hint=HINT)
        return
    state = row["Status"]
    seen = f"answers, version {state['version']}, {state['dbSize'] // 1024} KiB"
    errors = [error for error in state.get("errors") or [] if "alarm:" not in error]  # alarms have a check of their own
    yield Finding(
        ok=state["version"] == version and not errors,
        expected=expected,
        actual=f"{seen}, {'; '.join(errors)}" if errors else seen,
        hint=HINT,
    )
    known = [m.get("name") or f"{m['peerURLs'][0]} (not started)" for m in _json(members, {}).get("members", [])]
    yield Finding(
        ok=sorted(known) == names,
        subject="members",
        expected=", ".join(names),
        actual=", ".join(sorted(known)) or said(members),
        hint="etcdctl member list (chapter 7): a member that is missing or not started never joined",
    )


def ask_leader(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Ask, from this member, every member who leads."""
    urls = ",".join(f"https://{n.internal_ip}:2379" for n in context.cluster.etcd_members)
    return (
        etcdctl(urls, "endpoint", "status", "--write-out=json"),
        etcdctl(f"https://{node.internal_ip}:2379", "alarm", "list"),
    )


def judge_leader(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Expect that all members that answer name the same leader, and that no alarm is raised."""
    statuses, alarms = answers
    rows = _json(statuses, [])
    leaders = {row["Status"].get("leader", 0) for row in rows}
    total = len(context.cluster.etcd_members)
    yield Finding(
        ok=len(leaders) == 1 and 0 not in leaders,
        subject="leader",
        expected="one leader, the same for every member",
        actual=f"{_leaders(leaders)}, {len(rows)} of {total} members answer" if rows else said(statuses),
        hint=f"members that cannot reach each other on 2380 elect none: {HINT}",
    )
    raised = alarms.out.strip()
    yield Finding(
        ok=alarms.code == 0 and not raised,
        subject="alarms",
        expected="no alarm",
        actual=raised or ("no alarm" if alarms.code == 0 else said(alarms)),
        hint="etcdctl alarm list; NOSPACE: the database is full, compact and defragment it",
    )


def ask_stranger(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Try to read without a client certificate. etcdctl tries again until its time is over, so that is short."""
    url = f"https://{node.internal_ip}:2379"
    return (etcdctl(url, "get", "/", "--limit=1", "--keys-only", identity=(), wait=1),)


def judge_stranger(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """
    Expect that the client is refused, and not because nobody listens.

    The server closes the connection; whether etcdctl still reads why ('certificate required'), or meets the closed
    connection while it writes, is a race.
    """
    (answer,) = answers
    closed = any(sign in answer.err for sign in CLOSED)
    refused = answer.code != 0 and closed and "dial" not in answer.err
    yield Finding(
        ok=refused,
        subject="mutual TLS",
        expected="a client without a certificate is refused",
        actual="refused" if refused else (said(answer) if answer.code else "it was let in"),
        hint="etcd must run with --client-cert-auth=true: sudo systemctl cat etcd",
    )


def said(answer: Completed) -> str:
    """Return what etcdctl gave as the cause: that of its log line (JSON), else its last line."""
    causes = [str(row["error"]) for line in answer.err.splitlines() if (row := _row(line)).get("error")]
    return causes[-1].rpartition("desc = ")[2].strip('"') if causes else last_line(answer)


def _row(line: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _json(answer: Completed, otherwise: Any = None) -> Any:
    try:
        return json.loads(answer.out)
    except ValueError:
        return otherwise


def _first(rows: Any) -> Any:
    return rows[0] if rows else None


def _leaders(leaders: set[int]) -> str:
    if leaders == {0}:
        return "no leader"
    return f"leader {next(iter(leaders)):x}" if len(leaders) == 1 else f"{len(leaders)} different leaders"
