"""
One TLS connection tried three ways; a program for the node that is the client (Python 3.9, its standard library only).

It is fed to `python3 -c` by `khw.verify.edges`, with a JSON object on standard input: the edges, and a stranger's pair.
It prints, for each edge, what came of showing the right certificate, none, and the stranger's. No key leaves the node.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Optional, Tuple  # noqa: UP035 - Python 3.9 runs it on the node

AT_ONCE = 16
LIMIT = 5.0  # seconds for one try
REQUEST = "GET %s HTTP/1.1\r\nHost: khw\r\nConnection: close\r\n\r\n"
UNCONNECTED = "no connection"
Pair = Tuple[str, ...]  # noqa: UP006 - likewise; of two paths


def main() -> None:
    """Try every edge."""
    asked = json.load(sys.stdin)
    stranger = (in_memory(asked["stranger"][0].encode()), in_memory(asked["stranger"][1].encode()))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        print(json.dumps(list(pool.map(lambda edge: three_ways(edge, stranger), asked["edges"]))))


def three_ways(edge: dict[str, Any], stranger: Pair) -> dict[str, Any]:
    """
    Return what the server did with each certificate; `other` is a pair of the same authority that has no right.

    Whom it does not get through to at all is asked once.
    """
    try:
        mine = own_pair(edge)
    except (OSError, ValueError) as error:
        return {"mine": f"no certificate to show: {error}"}
    answers = {"mine": attempt(edge, mine)}
    if answers["mine"].startswith(UNCONNECTED):
        return answers
    answers.update({"none": attempt(edge, None), "stranger": attempt(edge, stranger)})
    if edge.get("other"):
        answers["other"] = attempt(edge, tuple(edge["other"]))
    return answers


def own_pair(edge: dict[str, Any]) -> Pair:
    """Return the paths of the client's certificate and key; those in a kubeconfig are only ever in memory."""
    if edge["certificate"]:
        pair = (edge["certificate"], edge["key"])
        for path in pair:
            Path(path).stat()
        return pair
    text = Path(edge["kubeconfig"]).read_text()
    found = [re.search(rf"client-{part}-data: (\S+)", text) for part in ("certificate", "key")]
    if not all(found):
        raise ValueError(f"{edge['kubeconfig']} holds no client certificate")
    return tuple(in_memory(base64.b64decode(match.group(1))) for match in found if match)


def in_memory(data: bytes) -> str:
    """Return a path to a file that is on no disk."""
    descriptor = os.memfd_create("khw")
    os.write(descriptor, data)
    return f"/proc/self/fd/{descriptor}"


def attempt(edge: dict[str, Any], pair: Optional[Pair]) -> str:  # noqa: UP045 - Python 3.9 runs it on the node
    """Return the HTTP status, 'refused: …' if the server ended it, or 'no connection: …'."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(edge["ca"])
        if pair:
            context.load_cert_chain(*pair)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        return f"no certificate to show: {error}"
    try:
        plain = socket.create_connection((edge["address"], edge["port"]), LIMIT)
    except OSError as error:
        return f"{UNCONNECTED}: {error}"
    with plain:
        try:
            with context.wrap_socket(plain, server_hostname=edge["address"]) as secure:
                secure.sendall((REQUEST % edge["path"]).encode())
                words = secure.recv(64).split()
        except ssl.SSLCertVerificationError as error:
            return f"the server was not believed: {error.verify_message}"
        except OSError as error:
            return f"refused: {getattr(error, 'reason', None) or error}"
    return words[1].decode() if len(words) > 1 else "refused: closed without a word"


if __name__ == "__main__":
    main()
