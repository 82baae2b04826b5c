"""
google-cloud-compute without the start-up cost of the hundred clients that khw does not use.

`import google.cloud.compute_v1` imports a client for each kind of resource that Google has, which took more time than
a run that changes nothing. `compute_v1` here is the same package, whose `__init__` has not run: messages and clients
come from their own modules when they are first named, anything else runs the `__init__` after all. So it is whole for
whoever else imports it in this process (docs/decisions/0028-start-up.md).
"""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from khw.imports import Later, lazily

NAME = "google.cloud.compute_v1"


def _defined(name: str) -> Any:
    """Return the client, the submodule or the message of this name; None if it is none of these."""
    if name.endswith("Client"):
        service = f"{NAME}.services.{re.sub(r'(?<!^)(?=[A-Z])', '_', name.removesuffix('Client')).lower()}"
        return getattr(import_module(service), name, None) if find_spec(service) else None
    if name[0].isupper():
        return getattr(import_module(f"{NAME}.types.compute"), name, None)
    return import_module(f"{NAME}.{name}") if find_spec(f"{NAME}.{name}") else None


if TYPE_CHECKING:
    from google.api_core import exceptions as refusals
    from google.cloud import compute_v1
else:
    refusals = Later("google.api_core.exceptions")
    compute_v1 = lazily(NAME, _defined)

__all__ = ["compute_v1", "refusals"]
