"""
What the machines of a cluster file cost an hour on Google Cloud: an estimate, from a dated table of list prices.

The table is a file beside this one, with its date and its sources; nothing is asked of anybody. What has no price in it
(another family of machines, a region that is not listed) is named, and not guessed.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from khw.cluster.spec import BASTION_DISK_GB, BASTION_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.cluster.spec import Spec

MACHINES = "e2-standard-2 an hour"
DISKS = "pd-standard a GB and month"


@dataclass(frozen=True, slots=True)
class Item:
    """What costs something: how many, of what, and what all of them cost an hour (None: not known here)."""

    what: str
    count: int
    an_hour: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """An estimate for a whole cluster, in US dollars."""

    region: str
    date: str  # of the prices
    is_free: bool  # the lab: nobody pays
    items: tuple[Item, ...]
    hours_a_month: int

    @property
    def an_hour(self) -> float:
        """The sum of what has a price."""
        return sum(item.an_hour for item in self.items if item.an_hour is not None)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What has no price in the table."""
        return tuple(item.what for item in self.items if item.an_hour is None)

    def as_dict(self) -> dict[str, Any]:
        """Return it as data."""
        return {**asdict(self), "an_hour": round(self.an_hour, 4), "is_estimate": True}

    def __str__(self) -> str:
        month = self.an_hour * self.hours_a_month
        text = (
            f"about ${self.an_hour:.2f} an hour, ${month:.0f} a month, as long as it is there: an estimate from list "
            f"prices of {self.date} for {self.region}, without tax, discounts and traffic"
        )
        if self.unknown:
            text += f"; not in it, because no price is known here: {', '.join(self.unknown)}"
        return f"this is the lab, and free; on Google Cloud it would cost {text}" if self.is_free else f"cost: {text}"


@cache
def _table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files(__package__).joinpath("prices.json").read_text())
    return found


def estimate(spec: Spec) -> Cost | None:
    """Return what the cluster file's machines, disks and addresses cost; None if they are the user's own."""
    if spec.provider != "gcp" or spec.gcp is None:
        return None
    table = _table()
    return Cost(
        region=spec.gcp.region,
        date=table["date"],
        is_free=spec.gcp.endpoint is not None,
        items=tuple(_items(spec, spec.gcp.region)),
        hours_a_month=table["hours_a_month"],
    )


def _items(spec: Spec, region: str) -> Iterator[Item]:
    table = _table()
    pools = [pool for pool in spec.pools.values() if pool.count]
    kinds: Counter[str] = Counter()
    for pool in pools:
        kinds[pool.machine_type] += pool.count
    if spec.private_nodes:
        kinds[BASTION_TYPE] += 1
    base, factors = table[MACHINES].get(region), table["machine_types"]
    for kind, count in sorted(kinds.items()):
        price = base * factors[kind] * count if base is not None and kind in factors else None
        yield Item(f"machine {kind}", count, price)
    gigabytes = sum(pool.disk_gb * pool.count for pool in pools) + spec.private_nodes * BASTION_DISK_GB
    a_month = table[DISKS].get(region)
    yield Item("GB of disk", gigabytes, None if a_month is None else gigabytes * a_month / table["hours_a_month"])
    machines = sum(pool.count for pool in pools)
    addresses = 2 if spec.private_nodes else machines  # the bastion's and NAT's, or each machine's own
    yield Item("external address", addresses, addresses * table["external_address"])
    if spec.private_nodes:
        yield Item("machine behind NAT", machines, min(machines * table["nat_machine"], table["nat_most"]))
    yield Item("forwarding rule", 1, table["forwarding_rule"])
