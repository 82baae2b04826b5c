"""Every certificate and key on every node (chapters 4 to 6): chain, names, days left, file mode."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from khw.cluster.spec import Role
from khw.converge.resources import File
from khw.secret import Secret
from khw.ssh.connection import RemoteCommand
from khw.tasks import certificates, encryption, kubeconfigs
from khw.verify.check import Finding, last_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.certs.pki import Pki
    from khw.cluster.model import Node
    from khw.ssh.connection import Completed
    from khw.verify.context import Context

DAYS = 30
AUTHORITIES = ("kubernetes", "etcd", "front-proxy")
PEM = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class OnNode:
    """A file as the node has it."""

    mode: int
    owner: str
    sha256: str


def files(node: Node, context: Context) -> tuple[File, ...]:
    """Return what chapters 4, 5 and 6 put on this node."""
    controller = Role.CONTROLLER in node.roles
    tasks = (certificates, kubeconfigs, encryption) if controller else (certificates, kubeconfigs)
    wanted = (r for task in tasks for r in task.resources(context.seen(node), context.cluster, context.pki))
    return tuple(resource for resource in wanted if isinstance(resource, File))


def ask(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Ask for mode, owner and digest of every file, and for what the certificates say. No key is read."""
    wanted = files(node, context)
    paths = [file.path for file in wanted]
    public = [file.path for file in wanted if is_certificate(file)]
    return (
        RemoteCommand(("stat", "--format=%a %U:%G %n", *paths)),
        RemoteCommand(("sha256sum", *paths)),
        RemoteCommand(("sh", "-c", " ".join(f"echo == {shlex.quote(p)}; cat {shlex.quote(p)};" for p in public))),
    )


def judge(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Give one finding for all that is well, else one for each file that is not."""
    stats, digests, contents = answers
    wanted = files(node, context)
    seen = parse_files(stats.out, digests.out)
    texts = parse_contents(contents.out)
    if not seen:
        yield Finding(ok=False, expected=f"{len(wanted)} files", actual=last_line(stats))
        return
    days: list[int] = []
    bad = False
    for file in wanted:
        problems = [*file_problems(file, seen.get(file.path))]
        if is_certificate(file) and file.path in seen:
            left, said = certificate_problems(texts.get(file.path, b""), _bytes(file), context.pki)
            days.append(left)
            problems += said
        if problems:
            bad = True
            yield Finding(
                ok=False,
                subject=file.path,
                expected=f"as khw issued it, mode {file.mode:04o}, {file.owner}, over {DAYS} days left",
                actual="; ".join(problems),
                hint=f"khw run --phase certificates --phase kubeconfigs --limit {node.name} puts it right",
            )
    if not bad:
        yield Finding(
            ok=True,
            expected=f"{len(wanted)} files: chain, names, over {DAYS} days left, mode",
            actual=f"{len(wanted)} right, the first certificate ends in {min(days, default=0)} days",
        )


def is_certificate(file: File) -> bool:
    """Whether this is a certificate and nothing secret."""
    return not isinstance(file.content, Secret) and _bytes(file).lstrip().startswith(PEM)


def parse_files(stats: str, digests: str) -> dict[str, OnNode]:
    """Return what `stat` and `sha256sum` print, by path."""
    sums = {path.lstrip("*"): digest for digest, path in _split(digests, 1)}
    rows = {path: (mode, owner) for mode, owner, path in _split(stats, 2)}
    return {path: OnNode(int(mode, 8), owner, sums.get(path, "")) for path, (mode, owner) in rows.items()}


def parse_contents(text: str) -> dict[str, bytes]:
    """Return the files that `ask` printed, by path."""
    parts = (part.partition("\n") for part in f"\n{text}".split("\n== ")[1:])
    return {path: content.encode() for path, _, content in parts}


def file_problems(file: File, seen: OnNode | None) -> Iterable[str]:
    """Say what is wrong with a file: missing, mode, owner, or not what khw issued."""
    if seen is None:
        yield "missing"
        return
    if seen.mode != file.mode:
        yield f"mode {seen.mode:04o}"
    if seen.owner != file.owner:
        yield f"owner {seen.owner}"
    if seen.sha256 != hashlib.sha256(_bytes(file)).hexdigest():
        yield "not what khw issued"


def certificate_problems(text: bytes, issued: bytes, pki: Pki) -> tuple[int, list[str]]:
    """Return the days left, and what is wrong: its chain, its names, its time."""
    try:
        certificate = x509.load_pem_x509_certificate(text)
    except ValueError:
        return 0, ["no certificate"]
    left = (certificate.not_valid_after_utc - datetime.now(UTC)).days
    problems = [] if left > DAYS else [f"{left} days left"]
    if certificate.not_valid_before_utc > datetime.now(UTC):
        problems.append("not valid yet")
    if not any(_issued_by(certificate, pki.authority(name).certificate) for name in AUTHORITIES):
        problems.append(f"issued by {certificate.issuer.rfc4514_string()}, which is none of our authorities")
    names, wanted = _names(certificate), _names(x509.load_pem_x509_certificate(issued))
    if names != wanted:
        problems.append(f"names {', '.join(sorted(names)) or 'none'} instead of {', '.join(sorted(wanted))}")
    return left, problems


def _issued_by(certificate: x509.Certificate, authority: bytes) -> bool:
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names}


def _split(text: str, times: int) -> list[list[str]]:
    rows = (line.split(maxsplit=times) for line in text.splitlines())
    return [row for row in rows if len(row) == times + 1]


def _bytes(file: File) -> bytes:
    if isinstance(file.content, Secret):
        return file.content.reveal()
    return file.content.encode() if isinstance(file.content, str) else file.content
