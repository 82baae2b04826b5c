"""
The crowd's agents: khw's own agent, a process a machine, each in a directory that is its whole file system.

    python -m benchmarks.crowd.agents SOCKET DIRECTORY

A thousand Pythons would take longer to start than all that is to be measured, and on real machines each has its own:
so one process has the agent's modules, and forks for each that is asked for. What is sent as the program has to be,
byte for byte, what this process has; from there on it is the real agent, with real files. Needs root (chroot).
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import stat
import sys
from pathlib import Path

from khw.agent import bundle, main

ACCOUNTS = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\netcd:x:998:998::/var/lib/etcd:/usr/sbin/nologin\n",
    "group": "root:x:0:\netcd:x:998:\n",
}
SHELL = "crowd"  # the front's own program: as `sh` it says that whatever it is asked for is so already
EMPTY = ("proc", "run", "tmp", "var/lib")  # in /proc nothing runs: nobody's orphans are looked for


def serve(path: str, directory: Path) -> None:
    """Fork an agent for each connection, for ever."""
    signal.signal(signal.SIGCHLD, _reap)
    expected = bundle.source()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(4096)
        gc.collect()
        gc.freeze()
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _be_agent(connection, directory, expected)
            connection.close()


def _reap(*_: object) -> None:
    """Let go of those that have ended; their CPU is this process's children's from then on."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _be_agent(connection: socket.socket, directory: Path, expected: bytes) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(connection.fileno(), 0)
    os.dup2(connection.fileno(), 1)
    connection.close()
    machine, length = sys.stdin.buffer.readline().decode().split()
    if sys.stdin.buffer.read(int(length)) != expected:
        sys.stderr.write(f"{machine} was sent another agent than this one\n")
        os._exit(1)
    os.chroot(_root(directory / machine, directory.parent / SHELL))
    main.main()


def _root(root: Path, shell: Path) -> Path:
    if not root.exists():
        for name in (*EMPTY, "bin", "dev", "etc"):
            (root / name).mkdir(parents=True)
        for name in ("sh", "id"):
            (root / "bin" / name).hardlink_to(shell)
        os.mknod(root / "dev" / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        for name, text in ACCOUNTS.items():
            (root / "etc" / name).write_text(text)
    return root


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
