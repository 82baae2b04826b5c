"""Ubuntu: its packages have the names of Debian's."""

from __future__ import annotations

from khw.distributions.distribution import Distribution

UBUNTU = Distribution(name="ubuntu", title="Ubuntu", oldest="22.04")
