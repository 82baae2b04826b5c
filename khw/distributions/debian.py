"""Debian: all other distributions are told apart from it."""

from __future__ import annotations

from khw.distributions.distribution import Distribution

DEBIAN = Distribution(name="debian", title="Debian", oldest="12")
