"""khw's command line as the lab's tests type it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1
from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAB = os.environ.get("KHW_TEST_LAB", "tests")  # another name where the tests run twice on one machine
KHW = str(Path(sys.executable).with_name("khw"))


@dataclass(frozen=True)
class FirstPlan:
    """The plan of everything, what was in its folder afterwards, and what `khw destroy --check` then found."""

    report: Any
    files: list[str]
    found: str


@dataclass(frozen=True)
class Khw:
    """The command line in a folder of its own, as a user would type it."""

    folder: Path

    def line(self, *command: str) -> list[str]:
        """Return how a command is typed where the user stands."""
        return list(command)

    def __call__(self, *args: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.line(KHW, *args), cwd=self.folder, capture_output=True, text=True, timeout=timeout, check=False
        )

    def ok(self, *args: str) -> str:
        done = self(*args)
        assert done.returncode == 0, f"khw {' '.join(args)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *args: str) -> Any:
        return json.loads(self.ok(*args, "-o", "json"))

    def on(self, node: str, *command: str) -> str:
        return self.ok("ssh", node, *command)

    def kubectl(self, *args: str) -> str:
        kubeconfig = (self.folder / self.ok("kubeconfig").strip()).resolve()
        done = subprocess.run(
            self.line(str(kubeconfig.parent / "bin" / "kubectl"), *args),
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def is_a_cluster(khw: Khw) -> None:
    """Make it, verify it, and find nothing to change."""
    assert khw.json("run")["ok"]
    khw.ok("verify", "--wait", "60")
    assert khw.json("run")["changed"] == 0


def instance(khw: Khw, name: str, method: str) -> None:
    """Stop or start a machine the way a person does in Google's console."""
    gcp = YAML(typ="safe").load((khw.folder / "khw.yaml").read_text())["gcp"]
    options = {"credentials": AnonymousCredentials(), "client_options": {"api_endpoint": gcp["endpoint"]}}
    zone = next(row["zone"] for row in khw.json("inventory") if row["name"] == name)
    where = {"project": gcp["project"], "zone": zone}
    client = compute_v1.InstancesClient(**options)
    operation = getattr(client, f"{method}_unary")(**where, instance=name)
    waited = compute_v1.ZoneOperationsClient(**options).wait(**where, operation=operation.name)
    assert waited.status == compute_v1.Operation.Status.DONE


class Going:
    """A run that is going on; its progress is read line by line."""

    def __init__(self, khw: Khw, *args: str) -> None:
        self.process = subprocess.Popen(
            [KHW, *args], cwd=khw.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.seen: list[str] = []

    def until(self, reached: Callable[[str], bool]) -> bool:
        """Read until a line is reached; False if the run ends before."""
        assert self.process.stderr
        for line in self.process.stderr:
            self.seen.append(line)
            if reached(line):
                return True
        return False

    def end(self, timeout: float = 120) -> tuple[int, float]:
        began = time.monotonic()
        _, rest = self.process.communicate(timeout=timeout)
        self.seen.append(rest)
        return self.process.returncode, time.monotonic() - began


@contextmanager
def going(khw: Khw, *args: str) -> Iterator[Going]:
    run = Going(khw, *args)
    try:
        yield run
    finally:
        run.process.kill()
        run.process.communicate()
