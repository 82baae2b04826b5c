"""khw's command line as the lab's tests type it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def __call__(self, *args: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [KHW, *args], cwd=self.folder, capture_output=True, text=True, timeout=timeout, check=False
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
        kubeconfig = Path(self.ok("kubeconfig").strip())
        done = subprocess.run(
            [str(kubeconfig.parent / "bin" / "kubectl"), *args],
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
