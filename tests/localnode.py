"""A node without a machine: the real agent as a local process, its places in a directory, its system tools faked."""

from __future__ import annotations

import getpass
import grp
import hashlib
import os
import select
import shlex
import shutil
import subprocess
import sys
import textwrap
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from khw.agent import bundle
from khw.ssh.client import Agent

if TYPE_CHECKING:
    from collections.abc import Callable

    from khw.artifacts.store import Artifact, Form

ME = f"{getpass.getuser()}:{grp.getgrgid(os.getgid()).gr_name}"

# Each unit is a directory with its properties as files; every call is written down. A shell's own words, because it is
# started hundreds of times: Python takes ten times as long.
SYSTEMCTL = r"""
logged= verb= names= active=active sub=running gap=
for word; do
    case $word in
    --no-block) active=activating sub=start ;;
    --*) ;;
    -*) logged="$logged $word" ;;
    *) logged="$logged $word"; if [ "$verb" ]; then names="$names $word"; else verb=$word; fi ;;
    esac
done
echo "${logged# }" >> "$FAKE/systemctl.log"
value() {
    file=$FAKE/systemd/$name/$1 text=$2
    [ ! -e "$file" ] || read -r text < "$file" || :
}
put() {
    [ -d "$FAKE/systemd/$name" ] || mkdir -p "$FAKE/systemd/$name"
    printf %s "$2" > "$FAKE/systemd/$name/$1"
}
if [ "$verb" = is-system-running ]; then
    if [ -e "$FAKE/fails/reboot" ]; then echo stopping; else echo running; fi
fi
for name in $names; do
    case $verb in
    show)
        printf '%bId=%s\nNeedDaemonReload=no\n' "$gap" "$name"; gap='\n'
        value active inactive; echo "ActiveState=$text"
        value sub dead; echo "SubState=$text"
        value enabled ""; echo "UnitFileState=$text"
        value invocation ""; echo "InvocationID=$text"
        value started 0; echo "ExecMainStartTimestampMonotonic=$text" ;;
    start | restart)
        if [ -e "$FAKE/fails/$name" ]; then
            put active failed; echo "Job for $name failed." >&2; exit 1
        fi
        put active "$active"; put sub "$sub"
        value invocation 0; put invocation $((text + 1))
        put started "$("$PYTHON" -ISc 'import time; print(int(time.monotonic() * 1e6))')" ;;
    stop) put active inactive ;;
    enable | disable) put enabled "${verb}d" ;;
    esac
done
"""

JOURNALCTL = """
print("etcd: cannot bind 2379: address in use")
"""

CTR = """
import os, sys
from pathlib import Path
images = Path(os.environ["FAKE"]) / "images"
if "ls" in sys.argv:
    print(images.read_text() if images.exists() else "", end="")
else:
    with images.open("a") as file:
        file.write(Path(sys.argv[-1]).read_text() + chr(10))
"""

KUBECTL = """
import os, sys
from pathlib import Path
objects = Path(os.environ["FAKE"]) / "objects"
wanted, found = sys.stdin.read(), objects.read_text() if objects.exists() else ""
if "diff" in sys.argv:
    if wanted != found:
        print("--- live"), print("+++ merged"), print("-" + found if found else "", end=""), print("+" + wanted)
        sys.exit(1)
else:
    objects.write_text(wanted)
    print("configmap/x serverside-applied")
"""


class LocalProcess:
    """`khw.ssh.client.Channel` over the pipes of a process on this machine."""

    def __init__(self, environment: dict[str, str], kept: Path) -> None:
        argv = bundle.python_argv(sys.executable, str(kept))
        self.process = subprocess.Popen(argv, stdin=-1, stdout=-1, stderr=-1, env=environment)

    def send(self, data: bytes, timeout: float) -> None:
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def receive(self, limit: int, timeout: float) -> bytes:
        assert self.process.stdout
        try:
            if not select.select([self.process.stdout], [], [], timeout)[0]:
                raise TimeoutError
            return os.read(self.process.stdout.fileno(), limit)
        except ValueError:  # closed by another thread meanwhile: the end, as an SSH channel tells it
            return b""

    def ready(self) -> bool:
        try:
            return bool(select.select([self.process.stdout], [], [], 0)[0])
        except ValueError:  # likewise
            return True

    def last_words(self) -> str:
        assert self.process.stderr
        try:
            return self.process.stderr.read().decode()
        except ValueError:  # likewise
            return ""

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        assert self.process.stderr
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()
        self.process.stderr.close()


@dataclass(frozen=True)
class LocalNode:
    """The directory that stands for a node; `agent()` starts an agent on it."""

    root: Path

    def __post_init__(self) -> None:
        (self.root / "units").mkdir()
        (self.root / "containerd.sock").touch()
        tools = self.root / "bin"
        tools.mkdir()
        self.tool("systemctl", f"PYTHON={shlex.quote(sys.executable)}\n{SYSTEMCTL}")
        for name, code in (("journalctl", JOURNALCTL), ("ctr", CTR), ("kubectl", KUBECTL)):
            (tools / name).write_text(f"#!{sys.executable} -IS\n{code}")
            (tools / name).chmod(0o755)

    def agent(self) -> Agent:
        return Agent("local", self.channel(), timeout=10, places=self.places)

    def channel(self) -> LocalProcess:
        return LocalProcess({**os.environ, "FAKE": str(self.root)}, self.root / "run/agent")

    @property
    def places(self) -> dict[str, str]:
        return {
            "home": str(self.root / "home"),
            "lock": str(self.root / "run/lock"),
            "units": str(self.root / "units"),
            "containerd": str(self.root / "containerd.sock"),
            "path": f"{self.root / 'bin'}:{os.environ['PATH']}",
        }

    def tool(self, name: str, script: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{textwrap.dedent(script)}")
        path.chmod(0o755)

    def systemctl_calls(self, *verbs: str) -> list[str]:
        log = self.root / "systemctl.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line.strip() for line in lines if line.split()[0] in verbs]


class LocalStore:
    """Artifacts from a directory: what `khw.artifacts.store.Store` is to apply."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def digest(self, name: str, architecture: str = "amd64") -> str:
        return self.get(name, architecture).sha256

    def get(self, name: str, architecture: str = "amd64", progress: Callable[[str], None] = print) -> Artifact:
        from khw.artifacts.store import Artifact

        path = self.directory / name
        data = path.read_bytes()
        return Artifact(
            name=name,
            version="1",
            path=path,
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
            source="cache",
            architecture=architecture,
        )

    def compressed_size(self, artifact: Artifact, form: Form) -> int:
        return self.compressed(artifact, form).stat().st_size

    def compressed(self, artifact: Artifact, form: Form) -> Path:
        target = artifact.path.with_suffix({"zstd": ".zst", "gzip": ".gz"}[form])
        tool = [shutil.which("zstd") or "zstd", "-qf"] if form == "zstd" else ["gzip", "-kf"]
        extra = ["-o", str(target)] if form == "zstd" else []
        subprocess.run([*tool, str(artifact.path), *extra], check=True)
        return target
