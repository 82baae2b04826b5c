"""
Netmiko, paramiko and Nornir as far as a login needs them, which is a third of what they import by themselves.

netmiko's `__init__` imports its classes for a hundred vendors' devices; a node is none of them. paramiko takes `invoke`
(with asyncio and unittest.mock) for one rule of ssh_config, and can do without. Nornir takes ruamel.yaml for
inventories in files. All are whole for whoever else uses them in this process (docs/decisions/0028-start-up.md).
"""

from __future__ import annotations

import logging
import threading
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from khw.imports import Later, lazily, without

NODE = "terminal_server"  # netmiko's kind of device that expects nothing of the far end

_lock = threading.Lock()


def load() -> None:
    """Import them; logins that begin at once wait for the first of them."""
    with _lock:
        lazily("ruamel.yaml", _of_yaml)
        with without("invoke"):
            config: Any = import_module("paramiko.config")
        if config.invoke is None and find_spec("invoke"):
            config.invoke = Later("invoke")  # for Match exec in somebody's ssh_config
        lazily("netmiko", _defined)
        import_module("nornir_netmiko.connections")
        import_module("netmiko.terminal_server.terminal_server")


def _defined(name: str) -> Any:
    """Return what a login names of netmiko, or a submodule of it; None for anything else."""
    if name in _GIVEN:
        return _GIVEN[name]
    if name == "BaseConnection":
        return import_module("netmiko.base_connection").BaseConnection
    return _submodule("netmiko", name)


def _of_yaml(name: str) -> Any:
    return _submodule("ruamel.yaml", name)


def _submodule(package: str, name: str) -> Any:
    return import_module(f"{package}.{name}") if find_spec(f"{package}.{name}") else None


def _connect(*args: Any, **kwargs: Any) -> Any:
    """Do as netmiko's ConnectHandler."""
    if kwargs.get("device_type") == NODE:
        return import_module("netmiko.terminal_server.terminal_server").TerminalServerSSH(*args, **kwargs)
    return import_module("netmiko.ssh_dispatcher").ConnectHandler(*args, **kwargs)


def _transfer(*args: Any, **kwargs: Any) -> Any:
    """Do as netmiko's file_transfer."""
    return import_module("netmiko.scp_functions").file_transfer(*args, **kwargs)


def _log() -> logging.Logger:
    log = logging.getLogger("netmiko")
    log.addHandler(logging.NullHandler())
    return log


_GIVEN = {"ConnectHandler": _connect, "file_transfer": _transfer, "log": _log()}
