"""
Links between resources: Google's URLs, their short forms, and the keys that the state files resources under.

A key is a resource's path below its project: `zones/us-west1-c/instances/worker-0`, `global/networks/n`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from khw.lab.api.problems import ApiError, invalid

BASE = "https://www.googleapis.com/compute/v1/"
"""Every selfLink starts with it, whatever address the API is reached at: as Google's do."""

Level = Literal["global", "region", "zone"]

_PATH = re.compile(r"(global|(?:regions|zones)/[-a-z0-9]+)/([a-zA-Z]+(?:/family)?)/([^/]+)$")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a resource lives."""

    level: Level
    name: str = ""

    @property
    def path(self) -> str:
        """Return the scope as part of a path: global, regions/R or zones/Z."""
        return "global" if self.level == "global" else f"{self.level}s/{self.name}"


@dataclass(frozen=True, slots=True)
class Reference:
    """What a link points at."""

    project: str
    scope: str  # global, regions/R or zones/Z
    collection: str  # as in links: networks, healthChecks, images/family
    name: str

    @property
    def key(self) -> str:
        """Return the path below the project."""
        return f"{self.scope}/{self.collection}/{self.name}"

    @property
    def path(self) -> str:
        """Return the path as errors print it."""
        return f"projects/{self.project}/{self.key}"


def link(project: str, key: str) -> str:
    """Return the full URL of what is filed under `key`."""
    return f"{BASE}projects/{project}/{key}"


def parse(text: object, project: str, field: str) -> Reference:
    """Read a link in any of Google's forms: a URL, projects/P/…, or the path below the project."""
    words = str(text)
    _, found, below = words.partition("projects/")
    if found:
        project, _, words = below.partition("/")
    match = _PATH.match(words)
    if not match:
        raise malformed(text, field)
    return Reference(project, *match.groups())


def malformed(text: object, field: str) -> ApiError:
    """Return the refusal of something that is not a link."""
    return invalid(field, text, "The URL is malformed.")


def last(text: str) -> str:
    """Return a link's last part, which is the name."""
    return text.rsplit("/", 1)[-1]
