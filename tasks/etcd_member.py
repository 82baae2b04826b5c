"""
How a controller without etcd data becomes a member; a program for the node (Python 3.9, its standard library only).

It is fed to `python3 -` by `khw.tasks.etcd`, with a JSON object as its argument, and writes what etcd is started with:
the environment file that etcd.service reads, and removes when etcd is ready. A member that lost its data is removed and
added again, and starts as `existing`. It starts as `new` only if the operator's side says that etcd was never whole
(`may_bootstrap`) and no other controller serves etcd. docs/decisions/0019.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CONNECT = 1.0
INTERVAL = 1.0
LIMITS = ("--dial-timeout=2s", "--command-timeout=3s")  # one that listens and does not serve says nothing at all


def main() -> None:
    """Decide, and write the environment file."""
    wish = json.loads(sys.argv[1])
    _run("systemctl", "stop", "etcd.service")  # whatever runs there lost its data, or cannot use it
    environment = decide(wish)
    clear(Path(wish["data"]))
    write(wish["environment"], environment)


def clear(data: Path) -> None:
    """Make room: data that is of no use any more is put aside, not thrown away; a start that got nowhere is."""
    member = data / "member"
    if any(member.glob("wal/*.wal")):
        member.rename(data / f"put-aside-{time.time_ns()}")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(member)


def decide(wish: dict[str, Any]) -> dict[str, str]:
    """Return what etcd is to be started with; exit with an error if nothing is safe."""
    deadline = time.monotonic() + wish["patience"]
    while True:
        there = [url for url in wish["others"] if _open(url)]
        listed = _list(wish, there) if there else None
        if wish["may_bootstrap"] and (listed is None or listed.returncode):
            # whoever began sooner listens before it serves: it waits for this one
            return environment_of("new", {url: name for name, url in wish["members"].items()})
        problem = _step(wish, there, listed) if listed else "none of the others serves etcd"
        if isinstance(problem, dict):
            return problem
        if time.monotonic() > deadline:
            sys.exit(
                f"{problem}: a member without data can only join a cluster that lives, and never starts another one"
            )
        time.sleep(INTERVAL)


def _list(wish: dict[str, Any], there: list[str]) -> subprocess.CompletedProcess[str]:
    return _run(*_etcdctl(wish, there), "member", "list", "--consistency=s", "--write-out=json", *LIMITS)


def _etcdctl(wish: dict[str, Any], there: list[str]) -> list[str]:
    return [*wish["etcdctl"], f"--endpoints={','.join(there)}"]


def _step(wish: dict[str, Any], there: list[str], listed: subprocess.CompletedProcess[str]) -> Any:
    """Do one step towards being a member that may start; return its environment, or what is still in the way."""
    etcdctl = _etcdctl(wish, there)
    if listed.returncode:
        return _last(listed)
    members = json.loads(listed.stdout)["members"]
    mine = next((m for m in members if wish["url"] in m.get("peerURLs", []) or m.get("name") == wish["name"]), None)
    if mine and wish["url"] in mine.get("peerURLs", []) and not mine.get("clientURLs"):
        names = {url: name for name, url in wish["members"].items()}
        known = {url: m.get("name") or names.get(url, f"{m['ID']:x}") for m in members for url in m["peerURLs"]}
        return environment_of("existing", {**known, wish["url"]: wish["name"]})
    if mine:
        done = _run(*etcdctl, "member", "remove", f"{mine['ID']:x}")
    else:
        done = _run(*etcdctl, "member", "add", wish["name"], f"--peer-urls={wish['url']}")
    return _last(done) if done.returncode else "a change of members is under way"


def environment_of(state: str, names: dict[str, str]) -> dict[str, str]:
    """Return etcd's variables; `names` are the members' names by URL."""
    cluster = ",".join(f"{name}={url}" for url, name in sorted(names.items(), key=lambda row: row[1]))
    return {"ETCD_INITIAL_CLUSTER": cluster, "ETCD_INITIAL_CLUSTER_STATE": state}


def write(path: str, environment: dict[str, str]) -> None:
    """Write systemd's EnvironmentFile, whole or not at all."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    new.replace(file)


def _open(url: str) -> bool:
    host, _, port = url.rpartition("//")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT).close()
    except OSError:
        return False
    return True


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1] if lines else f"{done.args[-1]} ended with exit code {done.returncode}"


if __name__ == "__main__":
    main()
