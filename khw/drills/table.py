"""Every drill, from the outside in: the project, who is who, etcd, the control plane, the workers."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from khw.drills import control_plane, etcd, identity, project, worker
from khw.errors import UsageError

if TYPE_CHECKING:
    from khw.drills.drill import Drill

DRILLS: tuple[Drill, ...] = (
    *project.DRILLS,
    *identity.DRILLS,
    *etcd.DRILLS,
    *control_plane.DRILLS,
    *worker.DRILLS,
)


def drill(name: str) -> Drill:
    """Return the drill of this name; UsageError names one that is near."""
    found = next((row for row in DRILLS if row.name == name), None)
    if found is None:
        near = get_close_matches(name, [row.name for row in DRILLS], 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        msg = f"there is no drill {name!r}{meant}"
        raise UsageError(msg, hint="khw drill list shows them all")
    return found
