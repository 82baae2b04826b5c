"""The agent as it is sent: a line of Python for the command line of the node, and its source for standard input."""

from __future__ import annotations

import json
import shlex
import zlib
from functools import cache
from pathlib import Path

# In the order of their imports: each is run when those that it needs are there.
MODULES = (
    "compiled",
    "wire",
    "session",
    "processes",
    "relay",
    "node",
    "fence",
    "masking",
    "paths",
    "units",
    "software",
    "facts",
    "probe",
    "act",
    "main",
)

KEPT = "/run/khw/agent"  # where they are kept compiled, for the next one that starts (khw.agent.compiled)

# Runs with any Python; says itself what it lacks. Sources come as JSON: a list of (name, text). What is kept is good
# for the same sources and the same Python; only root writes there.
BOOTSTRAP = """
import sys
if sys.version_info < (3, 9): sys.exit("khw needs Python 3.9 or later, this is " + sys.version.split()[0])
try: import json, marshal, types, zlib
except ImportError as error: sys.exit("khw needs all of the standard library of Python, there is no " + error.name)
key, modules, package = (sys.version, sys.stdin.buffer.read(int(sys.argv[2]))), None, types.ModuleType("khw.agent")
try:
    with open(sys.argv[1], "rb") as file: kept = marshal.load(file)
    if kept[:2] == key: modules = kept[2]
except Exception: pass
if not modules:
    modules = [(name, compile(source, "khw/agent/" + name + ".py", "exec"))
        for name, source in json.loads(zlib.decompress(key[1]))]
    package.new = sys.argv[1], (*key, modules)
sys.modules.update({"khw": types.ModuleType("khw"), "khw.agent": package})
for name, code in modules:
    module = sys.modules["khw.agent." + name] = types.ModuleType("khw.agent." + name)
    setattr(package, name, module)
    exec(code, module.__dict__)
sys.modules["khw.agent.main"].main()
"""


@cache
def source() -> bytes:
    """Return the agent's modules, compressed."""
    here = Path(__file__).parent
    modules = [(name, (here / f"{name}.py").read_text()) for name in MODULES]
    return zlib.compress(json.dumps(modules).encode(), 9)


def python_argv(python: str = "python3", kept: str = KEPT) -> list[str]:
    """Return the command that starts the agent; it reads `source()` first."""
    return [python, "-I", "-S", "-B", "-c", BOOTSTRAP, kept, str(len(source()))]


def remote_command(*, password: bool = False) -> str:
    """
    Return the same for the shell of a node: as root, by sudo unless the login is root already.

    With `password` the input begins with it, twice, a line each (`preamble`): the first is tried on nothing, so that a
    wrong one is one failure and no guess of sudo's at what comes behind it; the second is read by sudo itself. Where
    sudo asks for none, both are passed over.
    """
    start = shlex.join(python_argv())
    if not password:  # is / ours? It is root's, so that no process (id) need be started to ask
        script = f'[ -O / ] || set -- sudo -n; exec "$@" {start}'
        return f"sh -c {shlex.quote(script)}"
    script = f"""\
IFS= read -r first
if [ "$(id -u)" = 0 ]; then IFS= read -r second; exec {start}; fi
if sudo -kn true 2>/dev/null; then IFS= read -r second; exec sudo -n {start}; fi
printf '%s\\n' "$first" | sudo -kS -p '' true || {{ echo 'sudo does not take the password' >&2; exit 1; }}
unset first
exec sudo -kS -p '' {start}"""
    return f"sh -c {shlex.quote(script)}"


def preamble(password: bytes) -> bytes:
    """Return what goes ahead of `source()` where the command was made with `password`."""
    return (password + b"\n") * 2
