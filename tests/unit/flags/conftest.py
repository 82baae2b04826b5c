"""Pinned binaries as scripts: they list flags, refuse what they do not know, and say so as the real ones do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from fakes import cluster

from khw.cluster.spec import Role, Spec
from khw.converge.resources import Binary, File, Unit
from khw.engine.phases import Phase
from khw.flags.check import FlagCheck
from khw.tasks.units import render

if TYPE_CHECKING:
    from pathlib import Path

    from khw.converge.changes import Change

SERVER = """\
#!/bin/sh
# a server with the flags name, config, port and (hidden, deprecated) old-port
help=
for word in "$@"; do
  case "$word" in
    --help) help=yes ;;
    --name=*|--port=*) ;;
    --old-port=*) echo "Flag --old-port has been deprecated, use --port" >&2 ;;
    --config=*)
      path=${word#--config=}
      if [ -n "$path" ] && grep -q bogus "$path"; then
        echo 'E1 run.go:72] "command failed" err="strict decoding error: unknown field \\"bogus\\""' >&2
        exit 1
      fi ;;
    *) echo "Error: unknown flag: ${word%%=*}" >&2; exit 1 ;;
  esac
done
[ "$help" ] || { echo "it runs" >&2; exit 9; }
cat <<END
Usage:
  server [flags]

Flags:
      --config string   where the configuration is
  -h, --help            help for server
      --name string     its name
      --port int        where it listens
END
"""


@dataclass
class Stage:
    """Two controllers with one server each, and what was said about its flags."""

    folder: Path
    flags: dict[str, str] = field(default_factory=lambda: {"name": "{node}", "config": "/etc/server.yaml"})
    config: str = "kind: Server\nport: 1\n"
    script: bytes = SERVER.encode()
    here: bool = True
    said: list[str] = field(default_factory=list)

    @property
    def binary(self) -> Path:
        path = self.folder / "server"
        if not path.exists():
            path.write_bytes(self.script)
            path.chmod(0o755)
        return path

    @property
    def kept(self) -> list[Path]:
        return list((self.folder / ".flags").glob("*"))

    def get(self, name: str, **_: object) -> Any:
        assert self.here, "nothing is fetched for a plan"
        return SimpleNamespace(
            name=name, version="v1.2", path=self.binary, sha256=hashlib.sha256(self.script).hexdigest()
        )

    def digest(self, _name: str) -> str:
        return hashlib.sha256(self.script).hexdigest() if self.here else ""

    def task(self, node: Any, _cluster: Any, _pki: Any) -> Any:
        flags = {name: value.format(node=node.name) for name, value in self.flags.items()}
        yield Binary(path="/usr/local/bin/server", artifact="server")
        yield File(path="/etc/server.yaml", content=self.config)
        yield Unit(
            name="server.service",
            content=render(description="", documentation="", binary="/usr/local/bin/server", flags=flags),
            inputs=("/usr/local/bin/server", "/etc/server.yaml"),
        )

    def look(self, *, check: bool = False) -> list[Change]:
        phase = Phase(name="server", chapter=1, title="", roles=frozenset({Role.CONTROLLER}), task=self.task)
        store = SimpleNamespace(get=self.get, digest=self.digest, cache=SimpleNamespace(root=self.folder))
        return FlagCheck((phase,), cluster(Spec()), cast("Any", store), self.said.append, check).run()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)
