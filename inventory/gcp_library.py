"""
google-cloud-compute without the start-up cost of the hundred clients that khw does not use.

`import google.cloud.compute_v1` imports a client for each kind of resource that Google has, which took more time than
a run that changes nothing. `compute_v1` here is the same package, whose `__init__` has not run: messages and clients
come from their own modules when they are first named, anything else runs the `__init__` after all. So it is whole for
whoever else imports it in this process (docs/decisions/0028-start-up.md).
"""

from __future__ import annotations

import re
import sys
from importlib import import_module, reload
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

NAME = "google.cloud.compute_v1"


class LazyPackage(ModuleType):
    """The package; what it exports is looked up where it is defined."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and name not in {"__all__", "__version__"}:
            raise AttributeError(name)
        found = _defined(name)
        if found is None:
            package: ModuleType = self
            package.__class__ = ModuleType  # from here on it is the package as everybody knows it
            reload(package)
            return getattr(self, name)
        setattr(self, name, found)
        return found


def _defined(name: str) -> Any:
    """Return the client, the submodule or the message of this name; None if it is none of these."""
    if name.endswith("Client"):
        service = f"{NAME}.services.{re.sub(r'(?<!^)(?=[A-Z])', '_', name.removesuffix('Client')).lower()}"
        return getattr(import_module(service), name, None) if find_spec(service) else None
    if name[0].isupper():
        return getattr(import_module(f"{NAME}.types.compute"), name, None)
    return import_module(f"{NAME}.{name}") if find_spec(f"{NAME}.{name}") else None


def package() -> ModuleType:
    """Return the package; the one that is there, if somebody imported it already."""
    if (there := sys.modules.get(NAME)) is not None:
        return there
    spec = find_spec(NAME)
    if spec is None:
        raise ModuleNotFoundError(NAME, name=NAME)
    lazy = module_from_spec(spec)
    lazy.__class__ = LazyPackage
    sys.modules[NAME] = lazy
    return lazy


class _Refusals:
    """What the API's refusals are; imported when the first comes, or somebody asks for one."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(import_module("google.api_core.exceptions"), name)
        setattr(self, name, found)
        return found


if TYPE_CHECKING:
    from google.api_core import exceptions as refusals
    from google.cloud import compute_v1
else:
    refusals = _Refusals()
    compute_v1 = package()

__all__ = ["compute_v1", "refusals"]
