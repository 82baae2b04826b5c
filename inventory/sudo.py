"""
The password that sudo asks for on machines of one's own: asked once, held in memory, written nowhere.

It goes to a node on the SSH channel's input, which no argument, environment, log, journal or report sees.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import cache
from typing import TYPE_CHECKING

from khw.errors import UsageError
from khw.secret import Secret

if TYPE_CHECKING:
    from khw.cluster.spec import Ssh

VARIABLE = "KHW_SUDO_PASSWORD"
DESCRIPTOR = "KHW_SUDO_PASSWORD_FD"
ONE_QUESTION = threading.Lock()


def sudo_password(ssh: Ssh) -> Secret | None:
    """Return the password, asked for at first use; None where sudo asks for none."""
    if ssh.sudo != "password":
        return None
    with ONE_QUESTION:  # logins run side by side
        return _asked()


@cache
def _asked() -> Secret:
    if (given := os.environ.pop(VARIABLE, None)) is not None:  # no child of khw's inherits it
        return _fit(given, VARIABLE)
    if (descriptor := os.environ.pop(DESCRIPTOR, None)) is not None:
        try:
            with os.fdopen(int(descriptor), "rb") as file:
                return _fit(file.readline().decode().rstrip("\n"), DESCRIPTOR)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{DESCRIPTOR}={descriptor} cannot be read: {error}", hint=f"{DESCRIPTOR}=3 khw run 3<FILE"
            ) from None
    if not sys.stdin.isatty():
        raise UsageError(
            "sudo needs a password (ssh.sudo in khw.yaml), and there is no terminal to ask for it",
            hint=f"give it in the environment ({VARIABLE}), or as a file descriptor: {DESCRIPTOR}=3 khw run 3<FILE",
        )
    from getpass import getpass

    return _fit(getpass("sudo password on the nodes: "), "the answer")


def _fit(text: str, source: str) -> Secret:
    if not text or "\n" in text:
        raise UsageError(f"{source} is empty or has more than one line: it is no password")
    return Secret(text)
