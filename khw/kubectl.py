"""kubectl on the operator's side: the cluster's own binary and kubeconfig, every call with a timeout."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Timer
from typing import TYPE_CHECKING, Any

from khw import interrupt
from khw.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from khw.secret import Secret

_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


class KubectlError(StepError):
    """kubectl failed, or did not end in time; `evidence` holds what it said."""


class KubectlTimeoutError(KubectlError):
    """kubectl did not end in time."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with one kubeconfig. The user's own KUBECONFIG and ~/.kube/config are never read."""

    path: Path
    kubeconfig: Path
    limit: float = 120.0  # seconds for any call: the cluster file's timeouts.command

    def run(self, *arguments: str, stdin: str | Secret | None = None, timeout: float = 30.0) -> str:
        """
        Return what `kubectl ARGUMENTS` prints. Secrets go to `stdin`.

        KubectlError if it fails, KubectlTimeoutError if it does not end.
        """
        try:
            done = interrupt.run(self._command(*arguments), stdin=_bytes(stdin), timeout=min(timeout, self.limit))
        except subprocess.TimeoutExpired as error:
            raise KubectlTimeoutError(
                f"kubectl {_short(arguments)} did not end within {min(timeout, self.limit):g} s"
            ) from error
        except OSError as error:
            raise KubectlError(
                f"kubectl cannot be run: {error.strerror}: {self.path}", hint="khw run --phase tools"
            ) from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise KubectlError(f"kubectl {_short(arguments)}: {_last_line(said)}", evidence=said)
        return done.stdout.decode(errors="replace")

    def json(self, *arguments: str, stdin: str | Secret | None = None, timeout: float = 30.0) -> Any:
        """Return what `kubectl ARGUMENTS --output=json` prints, decoded."""
        text = self.run(*arguments, "--output=json", stdin=stdin, timeout=timeout)
        try:
            return json.loads(text)
        except ValueError as error:
            raise KubectlError(f"kubectl {_short(arguments)} printed no JSON: {text[:80]!r}") from error

    @contextmanager
    def port_forward(self, target: str, port: int, *, namespace: str, timeout: float = 15.0) -> Iterator[int]:
        """Forward a free local port to `port` of `target` ('pod/NAME'), and give that local port."""
        arguments = ("port-forward", f"--namespace={namespace}", "--address=127.0.0.1", target, f":{port}")
        with (
            subprocess.Popen(
                self._command(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                process_group=0,
            ) as process,
            interrupt.ends_by(lambda: interrupt.kill_group(process)),
        ):
            watchdog = Timer(timeout, process.kill)
            watchdog.start()
            try:
                yield _forwarded_port(process, arguments)
            finally:
                watchdog.cancel()
                process.terminate()

    def _command(self, *arguments: str) -> tuple[str, ...]:
        return (str(self.path), f"--kubeconfig={self.kubeconfig}", *arguments)


def _forwarded_port(process: subprocess.Popen[str], arguments: tuple[str, ...]) -> int:
    said = ""
    for line in process.stdout or ():
        found = _FORWARDING.search(line)
        if found:
            return int(found.group(1))
        said = line.strip() or said
    raise KubectlError(f"kubectl {_short(arguments)}: {said or 'ended without a word'}")


def _bytes(stdin: str | Secret | None) -> bytes | None:
    if stdin is None:
        return None
    return stdin.encode() if isinstance(stdin, str) else stdin.reveal()


def _short(arguments: tuple[str, ...]) -> str:
    return " ".join(arguments[:6])


def _last_line(text: str) -> str:
    return text.splitlines()[-1] if text else "failed without a word"
