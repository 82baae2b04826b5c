"""
Packages without the cost of their `__init__`: whole for whoever wants more of them.

Some libraries import all that they have as soon as one asks for a part. `lazily` puts such a package into
`sys.modules` with its `__init__` not run: what is known to be needed comes from where it is defined, anything else
runs the `__init__` after all (docs/decisions/0028-start-up.md).
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import contextmanager
from importlib import import_module, reload
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# Objects made before the garbage collector looks: with Python's 700 it looks at all modules again and again while they
# are imported. All that a run imports are 80,000, and one look at those is 10 ms.
COLLECT_AFTER = 200_000


def own_process() -> None:
    """Settle what may only be settled where the process is khw's own: before anything else is imported."""
    gc.set_threshold(COLLECT_AFTER)
    # or pydantic looks through everything that is installed for plugins of its own; khw has none
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    lazily("importlib.metadata", {"entry_points": _entry_points}.get)  # with it, email and zipfile


def _entry_points(**params: Any) -> Any:
    """Do as importlib.metadata's; pydantic names it, and would call it to look for plugins."""
    metadata: Any = import_module("importlib.metadata")
    _ = metadata.EntryPoints  # which is not known beforehand: with it comes all of the package, this function's own too
    return metadata.entry_points(**params)


class LazyPackage(ModuleType):
    """A package; `khw_defined` finds what it exports where that is defined, or returns None."""

    khw_defined: Callable[[str], Any]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and name not in {"__all__", "__version__"}:
            raise AttributeError(name)
        found = self.khw_defined(name)
        if found is None:
            package: ModuleType = self
            package.__class__ = ModuleType  # from here on it is the package as everybody knows it
            reload(package)
            return getattr(self, name)
        setattr(self, name, found)
        return found


def lazily(name: str, defined: Callable[[str], Any]) -> ModuleType:
    """Return the package; the one that is there, if somebody imported it already. `defined` is its `khw_defined`."""
    if (there := sys.modules.get(name)) is not None:
        return there
    spec = find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(name, name=name)
    lazy = module_from_spec(spec)
    lazy.__class__ = LazyPackage
    lazy.khw_defined = defined  # type: ignore[attr-defined]  # its class is new
    sys.modules[name] = lazy
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(import_module(parent), child, lazy)
    return lazy


class Later:
    """A module that is imported when something of it is first named."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(import_module(self._name), attribute)
        setattr(self, attribute, found)
        return found


@contextmanager
def without(name: str) -> Iterator[None]:
    """Let a package that is optional to what is imported in the block be missing there, unless it is loaded already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # the import system's own way of saying so
    try:
        yield
    finally:
        del sys.modules[name]
