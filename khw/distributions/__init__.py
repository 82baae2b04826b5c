"""
What differs by distribution, one small file each: which releases khw knows, and what packages are called.

A new one is a file here that makes a `Distribution`, and its line in `KNOWN`. How packages are installed is the agent's
(`khw/agent/software.py`): apt, so far, which all of these have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.distributions.debian import DEBIAN
from khw.distributions.ubuntu import UBUNTU

if TYPE_CHECKING:
    from khw.cluster.model import Facts
    from khw.distributions.distribution import Distribution

KNOWN: tuple[Distribution, ...] = (DEBIAN, UBUNTU)


def known(facts: Facts) -> Distribution | None:
    """Return a node's distribution, in a release that khw knows; None if it is another."""
    return next((each for each in KNOWN if each.name == facts.distribution and each.has(facts.release)), None)


def package(facts: Facts, name: str) -> str:
    """Return what this node's distribution calls a package that is Debian's `name`."""
    found = known(facts)
    return found.packages.get(name, name) if found else name


def all_known() -> str:
    """Return the known ones, for people."""
    return ", ".join(f"{each.title} {each.oldest} or later" for each in KNOWN)
