"""
HTTP for downloads: a short limit to connect, a longer one to read, and a memory of hosts that do not answer.

Without internet each host costs its limit once in a process, not once for each artifact. `base` sends every request
elsewhere, by host: `https://HOST/PATH` becomes `BASE/HOST/PATH`, which is how a mirror with the upstream's layout is
laid out. `file:` addresses work too.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from khw import interrupt
from khw.artifacts.cache import no_space, room_for
from khw.artifacts.progress import Progress, megabytes
from khw.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from urllib.response import addinfourl

CONNECT = 5.0
READ = 60.0
CHUNK = 1 << 20
EVERY = 2.0  # seconds between two lines of progress
ATTEMPTS = 2
NOT_FOUND = 404


class HttpError(ArtifactError):
    """The server answered, and not with what was asked for."""

    def __init__(self, url: str, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"{url}: HTTP {status}")
        self.status = status
        self.headers = headers


class NotThereError(ArtifactError):
    """The place answers, and does not have this file."""


class Web:
    """GET requests, each with limits; one for each source and process."""

    def __init__(self, base: str = "") -> None:
        self.base = base.rstrip("/")
        self._dead: dict[str, str] = {}
        self._opener = urllib.request.build_opener(_Http, _Https)

    def open(self, url: str, headers: Mapping[str, str] | None = None) -> addinfourl:
        """Open the address; raise HttpError for an answer that is an error, ArtifactError for none."""
        address = self._address(url)
        host = urlsplit(address).netloc
        if host in self._dead:
            msg = f"{host} did not answer before ({self._dead[host]})"
            raise ArtifactError(msg)
        request = urllib.request.Request(address)  # noqa: S310 - addresses are the lock file's or the user's mirror
        for key, value in (headers or {}).items():
            request.add_unredirected_header(key, value)  # a token stays with the host that it is for
        try:
            return cast("addinfourl", self._opener.open(request, timeout=READ))
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == NOT_FOUND:
                msg = f"{address}: HTTP {NOT_FOUND}, it is not there"
                raise NotThereError(msg) from None
            raise HttpError(address, error.code, dict(error.headers.items())) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if not host:  # a file: address
                msg = f"{address} cannot be read: {reason}"
                raise NotThereError(msg) from None
            self._dead[host] = str(reason)
            msg = f"{host} does not answer: {reason}"
            raise ArtifactError(
                msg, hint="without internet, load a bundle (khw artifacts load), or use the mirror or the build source"
            ) from None

    def read(self, url: str, headers: Mapping[str, str] | None = None) -> tuple[bytes, Mapping[str, str]]:
        """Return a small answer's body and headers."""
        with self.open(url, headers) as response:
            try:
                return response.read(), dict(response.headers.items())
            except (OSError, http.client.HTTPException) as error:
                msg = f"{url} broke off: {error}"
                raise ArtifactError(msg) from None

    def download(  # noqa: PLR0913 - what, where to, how it is hashed and asked for, and who listens
        self,
        url: str,
        to: Path,
        *,
        algorithm: str,
        what: str,
        progress: Progress,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Write the answer's body to `to` and return its digest as ALGORITHM:HEX; a broken transfer is tried again."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._download(url, to, algorithm, what, progress, headers)
            except _BrokenOffError:
                if attempt == ATTEMPTS:
                    raise
                progress(f"{what}: the transfer broke off, once more")
        raise AssertionError  # the loop returns or raises

    def _download(  # noqa: PLR0913 - as download
        self,
        url: str,
        to: Path,
        algorithm: str,
        what: str,
        progress: Progress,
        headers: Mapping[str, str] | None,
    ) -> str:
        digest = hashlib.new(algorithm)
        with self.open(url, headers) as response:
            total = int(response.headers.get("Content-Length") or 0)
            if total > shutil.disk_usage(to.parent).free:
                raise no_space(total, to.parent, what)
            progress(f"{what}: downloading {megabytes(total) if total else ''} from {urlsplit(url).netloc or url}")
            done, told = 0, time.monotonic()
            with room_for(total, to.parent, what), to.open("wb") as file:
                while chunk := _next(response, url):
                    interrupt.raise_if_ended()
                    digest.update(chunk)
                    file.write(chunk)
                    done += len(chunk)
                    if time.monotonic() - told > EVERY:
                        told = time.monotonic()
                        progress(f"{what}: {megabytes(done)} of {megabytes(total) if total else 'an unknown size'}")
            if total and done != total:
                raise _BrokenOffError(f"{url} broke off after {done:,} of {total:,} bytes")
        return f"{algorithm}:{digest.hexdigest()}"

    def _address(self, url: str) -> str:
        if not self.base:
            return url
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        return f"{self.base}/{parts.netloc}{parts.path}{query}"


class _BrokenOffError(ArtifactError):
    """A transfer ended before its end."""


def _next(response: addinfourl, url: str) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(f"{url} broke off: {error}") from None


def _reach(connection: http.client.HTTPConnection) -> None:
    """Resolve the name within the limit: the resolver itself has none that could be set."""
    errors: list[OSError] = []

    def resolve() -> None:
        try:
            socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(CONNECT)
    if errors:
        raise errors[0]
    if thread.is_alive():
        msg = f"its name was not resolved in {CONNECT:.0f} s"
        raise TimeoutError(msg)
    connection.timeout = CONNECT


class _HttpConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        _reach(self)
        super().connect()
        self.sock.settimeout(READ)


class _HttpsConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        _reach(self)
        super().connect()
        self.sock.settimeout(READ)


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpConnection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpsConnection, req)
